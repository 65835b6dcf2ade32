"""Servers under measurement: started, watched, stopped; their CPU and memory by the kernel's account."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field

TICKS = os.sysconf("SC_CLK_TCK")
# DCMTK leaves Nagle's algorithm on, which costs 45 to 90 ms a message on loopback; everyone runs without it.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
# As modalities are found, and as DCMTK is delivered.
WITH_NAGLE = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


def cpu_seconds(pid):
    """User and system time of a process, of the children it has reaped and of those that live."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    own = sum(int(fields[at]) for at in (11, 12, 13, 14)) / TICKS
    return own + sum(cpu_seconds(child) for child in children(pid))


def memory(pid, line):
    """Megabytes by that line of its status, the largest of the process and its living children."""
    most = 0.0
    for each in [pid, *children(pid)]:
        try:
            with open(f"/proc/{each}/status") as file:
                lines = [text for text in file if text.startswith(f"{line}:")]
            most = max(most, int(lines[0].split()[1]) * 1024 / 1e6)
        except (OSError, IndexError):
            pass
    return most


def peak_memory(pid):
    return memory(pid, "VmHWM")


def busy_seconds():
    """CPU seconds that the whole machine has spent on anything."""
    with open("/proc/stat") as file:
        fields = [int(word) for word in file.readline().split()[1:]]
    return sum(fields[at] for at in (0, 1, 2, 5, 6)) / TICKS


class Server:
    """A process that listens on ports."""

    def __init__(self, command, ports, log, cwd=None):
        self.log = open(log, "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=ENVIRONMENT, cwd=cwd)
        self.pid = self.process.pid
        for port in ports:
            self.wait_for(port)

    def wait_for(self, port, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: see {self.log.name}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"nobody listens on {port}: see {self.log.name}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


@dataclass
class Measured:
    seconds: float
    cpu: float  # of the servers
    memory_mb: float  # the largest server's peak
    foreign: float  # cores that neither the servers nor their clients used
    note: dict = field(default_factory=dict)  # what else a row tells


def measure(servers, work):
    """Runs `work()`, which returns (seconds, CPU seconds of the client), and accounts for the servers meanwhile."""
    before, machine, start = [cpu_seconds(s.pid) for s in servers], busy_seconds(), time.monotonic()
    seconds, client = work()
    whole = time.monotonic() - start
    cpu = sum(cpu_seconds(s.pid) - was for s, was in zip(servers, before))
    foreign = max(0.0, (busy_seconds() - machine - cpu - client) / whole)
    return Measured(seconds, cpu, max((peak_memory(s.pid) for s in servers), default=0.0), foreign)
