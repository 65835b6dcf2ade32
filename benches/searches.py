"""The rows of searches: C-FIND and QIDO-RS among many studies, each over one connection that is kept; all are asked the same."""

import random
import threading
import time

from contenders import StoreScp, Weybridge
from data import facts_of
from finder import Dimse, Qido
from processes import Measured, measure
from sender import Shared, Streaming, read_meta
from work import must_hold

# Searches of one kind in a round, and how many go before them as a warm-up.
SEARCHES, WARM_UP = 200, 20
# Seconds after which a round puts no further search, so that nine rounds end; a tenth of that for the warm-up.
BUDGET, LEAST = 40, 3


def by_find(server):
    return Dimse(server.port, server.called)


def by_qido(server):
    """Plain HTTP on loopback, as viewers on the same machine use it."""
    if isinstance(server, Weybridge):
        return Qido(server.viewer, "/dicom-web", {"Authorization": f"Bearer {server.token}"})
    return Qido(server.http, "/dicom-web")


def fill(name, server, data):
    """Stores everything, made while it is sent."""
    print(f"filling {name} with {data.instances} studies", flush=True)
    meta = read_meta(next(data.objects()))
    objects, go, start = Shared(data.objects()), threading.Barrier(server.associations), time.monotonic()
    threads = [Streaming(server.port, server.called, objects, go, (meta[0], meta[2])) for _ in range(server.associations)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trouble = [thread.trouble for thread in threads if thread.trouble]
    if trouble:
        raise RuntimeError(f"filling {name} had trouble: {trouble}")
    must_hold(name, server, data)
    print(f"filled {name} in {time.monotonic() - start:.0f} s", flush=True)


def filled(bench, name, data):
    """A contender that holds all of them, or as many as it can."""
    out = StoreScp(bench.folder / f"out-{name}")
    server = None
    try:
        server = bench.contender(name, out=out, alone=True)
        fill(name, server, data.first(server.most))
        return server, out
    except BaseException:
        for each in filter(None, (server, out)):
            each.stop()
        raise


def put(connection, questions, least, budget):
    """The seconds and matches of each search, until the budget is spent."""
    answers, end = [], time.monotonic() + budget
    for question in questions:
        if len(answers) >= least and time.monotonic() > end:
            break
        answers.append(connection.find(question))
    return answers


def query(bench, name, data, how):
    """The 99th percentile of many searches. What can hold only some of the studies is asked for those."""
    connect, keys = how
    server, _ = bench.kept((name, data.name), lambda: filled(bench, name, data))
    held, asked, begun = data.first(server.most).instances, random.Random(4711), time.process_time()
    facts = ({**facts_of(asked.randrange(held)), "studies": held} for _ in range(WARM_UP + SEARCHES))
    questions = [keys(number, each) for number, each in enumerate(facts)]
    connection, warm, answers = connect(server), [], []

    def all_of_them():
        start = time.monotonic()
        warm.extend(put(connection, questions[:WARM_UP], 1, BUDGET / 10))
        answers.extend(put(connection, questions[WARM_UP:], LEAST, BUDGET))
        return time.monotonic() - start, time.process_time() - begun

    try:
        result = measure(server.servers, all_of_them)
    finally:
        connection.close()
    matches = sum(found for _, found in answers)
    if not matches:
        raise RuntimeError(f"{name} found nothing")
    seconds = sorted(took for took, _ in answers)
    count = len(seconds)
    middle, late = seconds[count // 2], seconds[min(count - 1, count * 99 // 100)]
    note = {"p50_ms": middle * 1e3, "p99_ms": late * 1e3, "matches": matches / count, "searches": count, "studies": held,
            "cpu_ms": result.cpu / (count + len(warm)) * 1e3}  # fmt: skip
    return Measured(late, result.cpu, result.memory_mb, result.foreign, note)
