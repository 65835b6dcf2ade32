#!/usr/bin/env python3
"""Shows that Linux may call a sync a success whose blocks are lost, if ext4 is shut down at that very moment.

Writers append a block, sync it and count it; then the file system is shut down as the power-cut tests do it, while the
writers run (or stand still, with --freeze). What was counted before the shutdown began is always there. What was counted
while it was under way may not be, which is why those tests stop the gateway first.

usage: power_cut_lie.py ROUNDS [--freeze]      (root; makes its own disk in a temporary folder)
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CUT = Path(__file__).parent / "it/python/power_cut.py"
BLOCK = 8192


def write(path, count):
    """Appends and syncs until that fails; the number of blocks that were called durable stands in `count`."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    told = os.open(count, os.O_RDWR | os.O_CREAT, 0o644)
    number = 0
    while True:
        number += 1
        try:
            os.pwrite(handle, number.to_bytes(8, "little") * (BLOCK // 8), (number - 1) * BLOCK)
            os.fdatasync(handle)
        except OSError:
            os._exit(0)
        os.pwrite(told, number.to_bytes(8, "little"), 0)


def counted(folder, writers):
    return [int.from_bytes((folder / f"count{n}").read_bytes(), "little") for n in range(writers)]


def found(path):
    data, number = path.read_bytes() if path.exists() else b"", 0
    while data[number * BLOCK : (number + 1) * BLOCK] == (number + 1).to_bytes(8, "little") * (BLOCK // 8):
        number += 1
    return number


def stands(pid):
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] in "TDZ"


def one(folder, freeze, writers=4):
    """One cut: of each writer what it had counted before, what after, and what is there."""
    image, disk = folder / "disk.img", folder / "disk"
    disk.mkdir(exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    for n in range(writers):
        (folder / f"count{n}").write_bytes(bytes(8))
    children = []
    for n in range(writers):
        child = os.fork()
        if child == 0:
            write(disk / f"file{n}", folder / f"count{n}")
        children.append(child)
    time.sleep(random.uniform(0.2, 0.6))
    if freeze:
        for child in children:
            os.kill(child, signal.SIGSTOP)
        while not all(map(stands, children)):
            pass
    before = counted(folder, writers)
    subprocess.run([sys.executable, CUT, disk], check=True)
    if freeze:
        for child in children:
            os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    after = counted(folder, writers)
    subprocess.run(["umount", disk], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    there = [found(disk / f"file{n}") for n in range(writers)]
    subprocess.run(["umount", disk], check=True)
    return before, after, there


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    rounds, freeze = int(sys.argv[1]), "--freeze" in sys.argv
    early, late = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for before, after, there in zip(*one(Path(folder), freeze)):
                early += there < before
                late += before <= there < after
    print(f"{rounds} cuts of 4 writers{', which stood still' if freeze else ''}: "
          f"{early} lost what was counted before the cut, {late} only what was counted while it was under way")


main()
