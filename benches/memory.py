"""What both sites need of memory while many large instances come in at once and as many go out."""

import threading
import time

from data import data_set, uid
from encoded import numbered, requested
from processes import Measured, measure, memory
from sender import Association
from work import must_hold

SETS = {"mf-8": 8, "mf-64": 64}  # so many at once
SAMPLED = 0.01  # seconds


class Large:
    """Twice so many instances, all of one file: half of them wait to go out while the others come in."""

    def __init__(self, root, name, options):
        self.name, self.count = name, SETS[name]
        # 64 whole ones, twice at two sites, would be 134 GB.
        share = options.frames / 1000 if self.count > 8 else 1
        one = data_set(root, "mf", options.scale * share)
        self.files = one.files * (2 * self.count)
        self.instances, self.bytes = len(self.files), one.bytes * len(self.files)


class One(Association):
    """An association that sends one instance, of which only the beginning is its own."""

    def __init__(self, server, kind, request, number):
        super().__init__(server.port, server.called, [], None)
        self.contexts, self.request = {1: kind}, request
        self.head = numbered(request, [uid("mf"), uid("mf", "series"), uid("mf", "instance")], number)

    def run(self):
        try:
            self.connect()
            self.socket.sendall(self.head)
            self.socket.sendall(memoryview(self.request)[len(self.head) :])
            if status := self.read_status():
                raise ConnectionError(f"status {status:04x}")
            self.release()
        except Exception as error:  # noqa: BLE001 - told by who waits for it
            self.trouble = repr(error)


class Watch(threading.Thread):
    """The most anonymous memory of servers by the kernel's account, looked at all the time: there is no high-water mark of it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.over = {}, threading.Event()

    def run(self):
        while not self.over.wait(SAMPLED):
            for pid in list(self.most):
                self.most[pid] = max(self.most[pid], memory(pid, "RssAnon"))

    def add(self, site):
        self.most[site.servers[0].pid] = 0.0


def all_at_once(associations):
    for each in associations:
        each.start()
    for each in associations:
        each.join()
    trouble = [each.trouble for each in associations if each.trouble]
    if trouble:
        raise RuntimeError(f"sending had trouble: {trouble[:3]}")


def in_and_out(bench, _name, data, _):
    """A first wave waits for a neighbour that is not there; then the neighbour comes, and a second wave with it."""
    a, b = bench.two_sites("weybridge", started=False)
    watch, begun = Watch(), time.process_time()
    try:
        kind, _, request = requested(a, data.files[0])
        waves = [[One(a, kind, request, wave * data.count + at) for at in range(data.count)] for wave in (0, 1)]
        watch.add(a)
        watch.start()
        all_at_once(waves[0])
        b.start()
        watch.add(b)

        def second():
            start = time.monotonic()
            a.cli("transfers", "retry", "--to", "b")
            all_at_once(waves[1])
            a.arrived(b, data)
            return time.monotonic() - start, time.process_time() - begun

        result = measure([*a.servers, *b.servers], second)
        must_hold("b", b, data)
        anonymous = [watch.most[site.servers[0].pid] for site in (a, b)]
        peaks = [memory(site.servers[0].pid, "VmHWM") for site in (a, b)]
    finally:
        watch.over.set()
        a.stop()
        b.stop()
    note = {"resident_mb": max(peaks), "anonymous_mb": max(anonymous), "resident_b_mb": peaks[1], "anonymous_b_mb": anonymous[1],
            "at_once": data.count, "each_mb": data.bytes / data.instances / 1e6}  # fmt: skip
    return Measured(result.seconds, result.cpu, result.memory_mb, result.foreign, note)


def told(note):
    a, b = ((note[f"resident{site}"], note[f"anonymous{site}"]) for site in ("_mb", "_b_mb"))
    sizes = f"{note['at_once']:.0f} of {note['each_mb']:.0f} MB in and out"
    return f"{sizes}: peak {a[0]:.0f} MB, {a[1]:.0f} MB anonymous; at the neighbour {b[0]:.0f} and {b[1]:.0f} MB"
