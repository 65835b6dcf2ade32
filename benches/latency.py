"""How long after the answer to its C-STORE an instance is verified at the neighbour, while the machine has nothing else to do."""

import json
import threading
import time
from types import SimpleNamespace

from data import uid
from encoded import numbered, requested
from processes import Measured, measure
from sender import Association

STUDIES, EACH = 200, 4
PACE = 0.5  # seconds from one study's start to the next one's


class Study(Association):
    """One association with the instances of one study, whose requests are encoded already; notes when each was answered."""

    def __init__(self, server, kind, requests):
        super().__init__(server.port, server.called, [], threading.Barrier(1))
        self.contexts, self.requests, self.answered = {1: kind}, requests, {}

    def prepare(self):
        for instance, request in self.requests:
            yield request
            # The next one is asked for once this one is answered.
            self.answered[instance] = time.time()


def studies_of(server, data):
    """The presentation context of all of them, and for each study its encoded requests by instance."""
    studies, kind = [], None
    for at, path in enumerate(data.files[: min(STUDIES, data.instances // EACH) * EACH]):
        if at % EACH == 0:
            studies.append([])
        kind, instance, request = requested(server, path)
        head = numbered(request, [uid("ct"), uid("ct", int(path.parent.name))], at // EACH)
        studies[-1].append((instance, head + request[len(head) :]))
    return kind, studies


def verified(site):
    """When each instance was verified at the destination, by the site's ledger: seconds since 1970."""
    instances, times = {}, {}
    for line in site.cli("ledger", "export").splitlines():
        entry = json.loads(line)
        facts = json.loads(entry["bytes"])["facts"]
        if entry["kind"] == "received":
            uids = {version["id"]: version["uid"] for version in facts["versions"]}
            instances |= {made["id"]: uids[made["instance"]] for made in facts["made"]}
        for step in facts.get("steps", []):
            if step["to"] == "verified":
                times |= {instances[transfer]: entry["at"] / 1e6 for transfer in step["transfers"]}
    return times


def sent(server, kind, studies):
    """One study after the other, each at its time; for each when its instances were answered."""
    start, answered = time.monotonic(), []
    for number, requests in enumerate(studies):
        time.sleep(max(0.0, start + number * PACE - time.monotonic()))
        study = Study(server, kind, requests)
        study.run()
        if study.trouble:
            raise RuntimeError(f"study {number}: {study.trouble}")
        answered.append(study.answered)
    return answered


def latency(bench, _name, data, _):
    """Studies at a pace that leaves both sites idle between; of each study the instance that took longest counts."""
    a, b = bench.two_sites("weybridge", started=True)
    answered = []
    try:
        kind, studies = studies_of(a, data)
        begun = time.process_time()

        def all_of_them():
            start = time.monotonic()
            answered.extend(sent(a, kind, studies))
            time.sleep(PACE)  # the last one is not to be asked about while it is on its way
            a.arrived(b, SimpleNamespace(files=data.files[: len(studies) * EACH]))
            return time.monotonic() - start, time.process_time() - begun

        result, done = measure([*a.servers, *b.servers], all_of_them), verified(a)
    finally:
        a.stop()
        b.stop()
    took = sorted(max(done[each] - at for each, at in study.items()) for study in answered)
    middle, late = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
    note = {"p50_ms": middle * 1e3, "p99_ms": late * 1e3, "most_ms": took[-1] * 1e3, "paced": len(took)}
    return Measured(late, result.cpu, result.memory_mb, result.foreign, note)


def told(note):
    return f"p50 {note['p50_ms']:.4g} ms, p99 {note['p99_ms']:.4g} ms, most {note['most_ms']:.4g} ms of {note['paced']:.0f} studies"
