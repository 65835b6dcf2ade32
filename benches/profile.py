"""Where the time of both cores goes in each row: samples by perf while it is measured, by what they were doing.

usage: profile.py --binary FILE [--rows PATTERNS] [--scale 1.0] [--json FILE]

perf (Debian's linux-perf) samples the whole machine by the CPU clock. A sample of the gateways counts for the first kind below of which
a name stands in its stack; a stack is the kernel's, and the function of ours that is running. So the kernel's copying of what is
received counts as network, and its sync of a blob as disk.
"""

import argparse
import json
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import uploads
import work
from bench import WORK, Bench, chosen, made
from processes import measure
from rows import ROWS

RATE = 997  # samples a second and core
KINDS = {
    "SHA-256": r"sha256|sha2::",
    "TLS": r"aws_lc|rustls|chacha|gcm",
    "changes of threads": r"futex|schedule\b|__schedule|finish_task_switch|epoll|try_to_wake_up|ttwu|eventfd|sched_",
    "disk": r"ext4|blk_|bio_|iomap|virtblk|virtio|fdatasync|vfs_fsync|pwrite|pread|fallocate|jbd2|nvme|submit_",
    "network": r"tcp_|sock_|inet_|skb|ip_|net_rx|sendto|recvfrom|loopback|__sys_sendmsg|unix_stream",
    "memory": r"malloc|cfree|_int_free|realloc|calloc|memmove|memcpy|page_fault|mmap|munmap|madvise|clear_page",
    "SQLite": r"sqlite3|walCheck|pcache|vdbe|btree|rusqlite",
}
KNOWN = [(kind, re.compile(names, re.IGNORECASE)) for kind, names in KINDS.items()]


def kind_of(thread, stack):
    for kind, names in KNOWN:
        if any(names.search(each) for each in stack):
            return kind
    return "records" if thread == "records" else "the rest of ours"


def samples(file):
    """Each sample: the process, the thread's name, and its stack, innermost first."""
    told = subprocess.run(["perf", "script", "-i", file, "-F", "comm,pid,ip,sym"], check=True, capture_output=True, text=True).stdout
    for block in told.split("\n\n"):
        head, *frames = [line for line in block.splitlines() if line.strip()] or [""]
        found = re.match(r"\s*(.+?)\s+(\d+)\s*$", head)
        if found:
            yield int(found[2]), found[1], [frame.strip().partition(" ")[2] for frame in frames]


class Profiled:
    """Does as `measure`, and has perf look on."""

    def __init__(self, file):
        self.file, self.seconds, self.pids = file, 0.0, set()

    def __call__(self, servers, work):
        command = ["perf", "record", "-q", "-a", "-F", str(RATE), "-e", "cpu-clock", "-g", "-o", self.file]
        perf = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        try:
            result = measure(servers, work)
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()
        self.seconds, self.pids = result.seconds, {server.pid for server in servers}
        return result

    def shares(self):
        """Of all samples: what the gateways did by kind, what others did, and nothing."""
        counted = Counter()
        for pid, thread, stack in samples(self.file):
            ours = pid in self.pids
            counted["idle" if pid == 0 else kind_of(thread, stack) if ours else "the other programs"] += 1
        whole = sum(counted.values())
        return {kind: count / whole for kind, count in counted.most_common()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rows", default="ingest-*-storescu-1,ingest-*-replay-*,stow-*,onward-*,move-*,get-*,wado-*")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", type=Path, default=WORK / "profile.json")
    options = parser.parse_args()
    options.binary = str(Path(options.binary).resolve())
    WORK.mkdir(parents=True, exist_ok=True)
    bench, done = Bench(options), {}
    kinds = [*KINDS, "records", "the rest of ours", "the other programs", "idle"]
    print("| row | " + " | ".join(kinds) + " |\n" + "|---" * (len(kinds) + 1) + "|")
    try:
        for row in chosen([row for row in ROWS if not row.smaller], options.rows):
            bench.onward = row.work is work.onward
            profiled = Profiled(WORK / "profile.perf")
            for module in (work, uploads):
                module.measure = profiled
            row.work(bench, "weybridge", made(row.set, options), row.how)
            shares = done[row.name] = profiled.shares()
            print(f"| {row.name} | " + " | ".join(f"{shares.get(kind, 0):.0%}" for kind in kinds) + " |", flush=True)
            options.json.write_text(json.dumps(done, indent=1))
    finally:
        bench.end()


if __name__ == "__main__":
    main()
