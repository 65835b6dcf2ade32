"""What taking objects in costs more while the gateway reads, moves or verifies what it holds; beside the same without."""

import json
import math
import subprocess
import threading
import time
from pathlib import Path

from contenders import Weybridge
from data import uid
from encoded import numbered, requested
from processes import ENVIRONMENT, Measured, measure
from sender import Association
from work import by_sender, children_cpu

# So many slices are held before the clock starts, at any scale: two segments are full then, and one is begun.
HELD = 1200
# Of so many one is kept where the others are dropped: less than a quarter of a segment, so that it is compacted.
KEPT = 5
# What keeps the chore away, and what has it go on without end. How fast it goes is left as it is shipped: `store.scrub_rate`.
SETTINGS = {
    "scrub": ("", '[store]\nscrub_every = "1s"\n'),
    "compact": ('[retention]\nevery = "1h"\n', '[retention]\nevery = "100ms"\n'),
    "verify": ("", ""),
}
BEGUN = 8e6  # bytes that a start itself may read
PATIENCE = 120  # seconds until a chore has begun, or has ended


class Filling(Association):
    """One association, whose requests are made as they are sent."""

    def __init__(self, server, kind, requests):
        super().__init__(server.port, server.called, [], threading.Barrier(1))
        self.contexts, self.requests = {1: kind}, requests

    def prepare(self):
        return self.requests


def fill(server, data):
    """The slices of the row's set under other UIDs, on four associations; of each five one in an odd study, the others in an even one."""

    def requests(at):
        wave, which = divmod(at, data.instances)
        path = data.files[which]
        _, instance, request = requested(server, path)
        uids = [uid("ct"), uid("ct", int(path.parent.name)), instance]
        head = numbered(request, uids, 2 * wave + (1 if at % KEPT == 0 else 2))
        return head + request[len(head) :]

    kind = requested(server, data.files[0])[0]
    threads = [Filling(server, kind, map(requests, range(first, HELD, 4))) for first in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    trouble = [each.trouble for each in threads if each.trouble]
    if trouble or server.held() != HELD:
        raise RuntimeError(f"filling had trouble: {trouble}, {server.held()} of {HELD} are held")


def drop(server, data):
    """All even studies: their blobs leave holes."""
    for wave in range(math.ceil(HELD / data.instances)):
        server.cli("store", "drop", f"{uid('ct')[:-7]}{2 * wave + 2:07d}", "--reason", "bench")


def restart(server, settings):
    """Starts a site anew; with the second of these settings in place of the first, if any are given."""
    server.servers[0].stop()
    if settings:
        file = server.folder / "weybridge.toml"
        file.write_text(file.read_text().removesuffix(settings[0]) + settings[1])
    server.start()


def account(pid, line):
    """Bytes by that line of what the kernel accounts for a process; 0 if it is gone."""
    try:
        found = [text.split()[1] for text in Path(f"/proc/{pid}/io").read_text().splitlines() if text.startswith(f"{line}:")]
    except OSError:
        return 0
    return int(found[0]) if found else 0


def until(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"not after {PATIENCE} s: {what}")
        time.sleep(0.02)


class House:
    """The gateway's own chores, by the bytes that it reads from the disk: of what only comes in it reads nothing."""

    def __init__(self, server):
        self.server, self.trouble = server, None

    def bytes(self):
        return account(self.server.servers[0].pid, "read_bytes")

    def start(self):
        pass

    def stop(self):
        pass


class Verifying(threading.Thread):
    """`store verify`, one after the other, by the bytes that it reads."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.command = [str(server.binary), "--config", str(server.folder / "weybridge.toml"), "store", "verify", "--json"]
        self.over, self.process, self.whole, self.most, self.trouble = threading.Event(), None, 0, 0, None

    def run(self):
        while not self.over.is_set():
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
            said, told = self.process.communicate()
            if self.over.is_set():
                return
            if self.process.returncode:
                self.trouble = f"store verify ended with {self.process.returncode}: {told[-300:]}"
                return
            self.whole += json.loads(said)["bytes"]

    def bytes(self):
        """Of the runs that have ended, what they say; of the one that goes on, what the kernel says."""
        whole, process = self.whole, self.process
        # One that has just ended is in neither for a moment.
        self.most = max(self.most, whole + (account(process.pid, "rchar") if process else 0))
        return self.most

    def stop(self):
        self.over.set()
        if self.process:
            self.process.terminate()
        self.join()


def emptied(segment):
    return lambda: not segment.exists()


def beside(bench, name, data, chore):
    """CT on four associations, as in `ingest-ct-replay-4`, into a site that holds some: with the chore under way all the while, or alone."""
    alone = name == "alone"
    server = Weybridge(bench.folder / name, bench.options.binary, bench.certs, alone=True, settings=SETTINGS[chore][0])
    watched = Verifying(server) if chore == "verify" else House(server)
    try:
        fill(server, data)
        oldest = min((server.folder / "data" / "blobs").glob("*.seg"))
        if chore == "compact" and not alone:  # a start by itself empties a segment
            drop(server, data)
        subprocess.run(["sync"], check=True)
        restart(server, None if alone else SETTINGS[chore])
        one, held, took = data.bytes // data.instances, server.held(), []
        if not alone:
            watched.start()
            until(f"the chore of beside-{chore} has begun", lambda: watched.trouble or watched.bytes() >= BEGUN + one)
        begun, asked = watched.bytes(), children_cpu()

        def work():
            seconds, _ = by_sender(4)(server.port, server.called, data)
            took.append(watched.bytes() - begun)
            if not alone:
                watched.stop()
            return seconds, children_cpu() - asked

        result = measure(server.servers, work)
        if server.held() - held != data.instances:
            raise RuntimeError(f"{name} has taken in {server.held() - held} of {data.instances}")
        if not alone and (watched.trouble or took[0] < one):
            raise RuntimeError(f"beside-{chore}: the chore read {took[0]} bytes meanwhile, which says nothing: {watched.trouble}")
        if chore == "compact" and not alone:
            until("a segment was emptied: it was no compaction that read", emptied(oldest))
        if alone and not oldest.exists():
            raise RuntimeError(f"beside-{chore}: a segment went where nothing was to be moved")
        return Measured(result.seconds, result.cpu, result.memory_mb, result.foreign, {"chore_mb": took[0] / 1e6})
    finally:
        if not alone:
            watched.stop()
        server.stop()
