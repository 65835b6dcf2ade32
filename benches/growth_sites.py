"""Two sites that hold much, and a workstation that is down for most of the time: what a growing gateway has around it."""

import http.client
import json
import os
import socket
import sqlite3
import threading
import time

from contenders import Weybridge, fresh
from finder import Dimse, Qido
from processes import Server, free_port
from sender import Shared, Streaming, read_meta

# What is stored under this title goes to the workstation too, or waits for it.
WAITING = "WB_WAIT"
WAIT = 600  # seconds for anything

SETTINGS = f"""
[[route]]
name = "waiting"
called = ["{WAITING}"]
to = ["OUT"]

# The workstation is tried so often that nobody waits long once it is there.
[courier]
retry_first = "200ms"
retry_longest = "500ms"
outage_probe = "1s"

# Reading everything again goes on at its slowest, for it costs the same whatever is held.
[store]
scrub_rate = "64 KiB"

[retention]
purge = false
"""


class Workstation:
    """DCMTK's storescp at a port of its own, started only while something is to leave for it."""

    called = "OUT"

    def __init__(self, folder):
        self.folder, self.port, self.server = fresh(folder), free_port(), None

    def start(self):
        command = ["storescp", "+B", "+xa", "-pdu", "131072", "-od", str(self.folder), str(self.port)]
        self.server = Server(command, [], f"{self.folder}.log")

    def held(self):
        return sum(1 for _ in self.folder.iterdir())

    def stop(self):
        if self.server:
            self.server.stop()
            self.server = None
        fresh(self.folder)


class AdminSocket(http.client.HTTPConnection):
    """HTTP over the gateway's own socket, without the start of a command."""

    def __init__(self, path):
        super().__init__("localhost", timeout=WAIT)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def post(self, target, body):
        self.request("POST", target, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{target} was answered {answer.status}: {said[:200]!r}")
        return json.loads(said) if said else None


class Site(Weybridge):
    """A gateway that is filled, stopped and started again."""

    def __init__(self, folder, binary, certs, name, out, peer=None):
        super().__init__(folder, binary, certs, name, peer=peer, start=False, out=out, routed=False)
        settings = self.folder / "weybridge.toml"
        # A search is answered by what this site has.
        settings.write_text(settings.read_text().replace('verify = "present"', 'verify = "present"\npriors = false') + SETTINGS)
        self.data = self.folder / "data"
        self.start()

    @property
    def server(self):
        return self.servers[0]

    def start(self):
        """Seconds until it takes calls and commands; those are the last thing that a start brings."""
        begun = time.monotonic()
        command = [str(self.binary), "--config", str(self.folder / "weybridge.toml"), "serve"]
        self.servers = [Server(command, [], self.folder / "log", cwd=self.folder)]
        while not self.answers():
            if self.server.process.poll() is not None or time.monotonic() > begun + WAIT:
                raise RuntimeError(f"site {self.name} does not start: see {self.server.log.name}")
            time.sleep(0.001)
        return time.monotonic() - begun

    def answers(self):
        probe = AdminSocket(str(self.data / "admin.sock"))
        try:
            probe.connect()
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False
        finally:
            probe.close()

    def rest(self):
        """Stops it in good order, all it wrote being in place then."""
        self.server.stop()

    def kill(self):
        self.server.process.kill()
        self.server.process.wait()
        self.server.log.close()

    def find(self):
        return Dimse(self.port, self.called)

    def search(self):
        return Qido(self.viewer, "/dicom-web", {"Authorization": f"Bearer {self.token}"})

    def order(self, study, to):
        """What `weybridge send --study` has done, on a connection that is kept."""
        said = {"study": study, "from": None, "to": to, "urgent": False, "again": False, "who": "bench", "reason": ""}
        return self.admin().post("/orders", said)["owed"]

    def admin(self):
        if getattr(self, "socket_of", None) != self.server.pid:
            self.socket, self.socket_of = AdminSocket(str(self.data / "admin.sock")), self.server.pid
        return self.socket

    def records(self):
        return sqlite3.connect(f"file:{self.data / 'records.db'}?mode=ro", uri=True)

    def open_transfers(self, to):
        """How many transfers are not done. By an index: counting those of the commands would read all that wait elsewhere."""
        sql = "SELECT count(*) FROM transfers WHERE lane IS NOT NULL AND destination = (SELECT id FROM destinations WHERE name = ?)"
        records = self.records()
        try:
            return records.execute(sql, (to,)).fetchone()[0]
        finally:
            records.close()

    def records_bytes(self):
        return sum(os.stat(path).st_size for path in self.data.glob("records.db*") if not path.name.endswith("-shm"))


def store(server, called, objects, associations):
    """Stores objects made while they are sent, on so many associations."""
    objects = iter(objects)
    first = next(objects, None)
    if first is None:
        return
    meta = read_meta(first)
    shared, go = Shared(chain(first, objects)), threading.Barrier(associations)
    threads = [Streaming(server.port, called, shared, go, (meta[0], meta[2])) for _ in range(associations)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trouble = [thread.trouble for thread in threads if thread.trouble]
    if trouble:
        raise RuntimeError(f"filling {server.name} had trouble: {trouble[:3]}")


def chain(first, rest):
    yield first
    yield from rest


def fill(server, kind, numbers, waiting):
    """Instances by number; of those with `waiting`, each tenth is owed to the workstation too."""
    if not numbers:
        return
    start, before = time.monotonic(), server.held()
    tenth = [number for number in numbers if waiting and number % 10 == 0]
    rest = numbers if not waiting else (number for number in numbers if number % 10)
    store(server, server.called, kind.objects(rest), 32)
    store(server, WAITING, kind.objects(tenth), 32)
    if server.held() != before + len(numbers):
        raise RuntimeError(f"{server.name} holds {server.held()}, not {before + len(numbers)}")
    seconds = time.monotonic() - start
    print(f"filled site {server.name} with {len(numbers)} in {seconds:.0f} s, {len(numbers) / seconds:.0f} a second", flush=True)
