"""What is measured of a site that holds much. Each gives the values of one round by the names of their rows."""

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

from processes import ENVIRONMENT, cpu_seconds, peak_memory
from growth_sites import WAIT
from searches import put
from work import by_sender

SEARCHES, WARM_UP = 400, 20
MB = 1e6


def until(met, what):
    end = time.monotonic() + WAIT
    while not met():
        if time.monotonic() > end:
            raise RuntimeError(f"after {WAIT} s still not: {what}")
        time.sleep(0.002)


def settled():
    """What others left unwritten is not to cost the next one."""
    subprocess.run(["sync"], check=True)
    time.sleep(0.5)


def ingest(site, kind, numbers, folder):
    """Further instances on four associations, encoded before the clock starts, owed to nobody."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in numbers:
        (folder / f"{number:09d}.dcm").write_bytes(kind.object(number))
    settled()
    used = cpu_seconds(site.server.pid)
    seconds, _ = by_sender(4)(site.port, site.called, SimpleNamespace(folder=folder, files=sorted(folder.iterdir())))
    used = cpu_seconds(site.server.pid) - used
    shutil.rmtree(folder)
    return {"ingest": len(numbers) / seconds, "ingest-cpu": used / len(numbers) * 1e3}


def forward(site, neighbour, studies, count):
    """So many instances of these studies, ordered while the neighbour is paused, from its resumption until all are verified there."""
    before = neighbour.held()
    site.cli("peers", "pause", neighbour.name, "--reason", "bench")
    if sum(site.order(study, neighbour.name) for study in studies) != count:
        raise RuntimeError("not everything of the studies could be ordered")
    settled()
    pids, start = (site.server.pid, neighbour.server.pid), time.monotonic()
    used = sum(map(cpu_seconds, pids))
    site.cli("peers", "resume", neighbour.name)
    until(lambda: not site.open_transfers(neighbour.name), "verified")
    seconds, used = time.monotonic() - start, sum(map(cpu_seconds, pids)) - used
    if neighbour.held() != before + count:
        raise RuntimeError(f"the neighbour got {neighbour.held() - before} of {count}")
    return {"forward": count / seconds, "forward-cpu": used / count * 1e3}


def order_each(site, neighbour, studies):
    """One study of one instance after another, from its order until the neighbour shows it."""
    settled()
    asked, took = neighbour.search(), []
    for study in studies:
        start = time.perf_counter()
        if site.order(study, neighbour.name) != 1:
            raise RuntimeError(f"study {study} could not be ordered")
        until(lambda wanted=study: asked.find({"StudyInstanceUID": wanted})[1] == 1, "shown by the neighbour")
        took.append((time.perf_counter() - start) * 1e3)
        until(lambda: not site.open_transfers(neighbour.name), "verified")
    asked.close()
    return {"order-p50": late(took, 50), "order-p99": late(took, 99)}


def late(values, hundredth):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * hundredth // 100)]


def lease(site, workstation, most):
    """The workstation comes up: so many of all that wait for it, one a lease, from the first one there to the last."""
    count = min(most, site.open_transfers(workstation.called) // 2)
    settled()
    workstation.start()
    try:
        until(workstation.held, "at the workstation")
        first, start, used = workstation.held(), time.monotonic(), cpu_seconds(site.server.pid)
        until(lambda: workstation.held() >= first + count, "at the workstation")
        seconds, got = time.monotonic() - start, workstation.held() - first
        used = cpu_seconds(site.server.pid) - used
    finally:
        workstation.stop()
    return {"lease": got / seconds, "lease-cpu": used / got * 1e3}


def searches(site, kind, numbers, total, seed):
    """By what one study has, random ones of those held; and pages behind nine tenths of everything."""
    chosen, found = random.Random(seed), {}
    facts = [kind.facts(chosen.choice(numbers)) for _ in range(WARM_UP + SEARCHES)]
    deep = [{"limit": "100", "offset": str(total * 9 // 10 + at % (total // 20 + 1))} for at in range(WARM_UP + SEARCHES // 4)]
    rows = {
        "find-patient": (site.find, [{"PatientID": each["id"]} for each in facts]),
        "qido-order": (site.search, [{"AccessionNumber": each["order"]} for each in facts]),
        "qido-page": (site.search, deep),
    }
    for name, (connect, questions) in rows.items():
        connection = connect()
        put(connection, questions[:WARM_UP], 1, 5)
        answers = put(connection, questions[WARM_UP:], 5, 40)
        connection.close()
        if any(matches == 0 for _, matches in answers):
            raise RuntimeError(f"{name} did not find what is held")
        took = [seconds * 1e3 for seconds, _ in answers]
        found |= {f"{name}-p50": late(took, 50), f"{name}-p99": late(took, 99)}
    return found


def start(site):
    """After a kill, until it takes calls and commands."""
    site.kill()
    return {"start": site.start() * 1e3}


def anonymous(pid):
    """Megabytes of memory that is no page of a file."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("RssAnon:")) * 1024 / MB
    except OSError:
        return 0.0


def prove(site):
    """`ledger verify` of a site at rest: entries a second, and the most memory it had."""
    command = [str(site.binary), "--config", str(site.folder / "weybridge.toml"), "ledger", "verify", "--json"]
    answer, peak, apart = Path(f"{site.folder}.verify"), 0.0, 0.0
    with open(answer, "wb") as out:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=out, env=ENVIRONMENT)
        while process.poll() is None:
            peak, apart = max(peak, peak_memory(process.pid)), max(apart, anonymous(process.pid))
            time.sleep(0.002)
        seconds = time.monotonic() - begun
    said = json.loads(answer.read_text())
    if process.returncode or said["problems"]:
        raise RuntimeError(f"the ledger is not sound: {said['problems'][:3]}")
    os.unlink(answer)
    return {"verify": said["entries"] / seconds, "verify-peak": peak, "verify-anonymous": apart, "entries": said["entries"]}
