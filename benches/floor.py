"""The CPU that taking objects in costs the gateway, beside the floor: our store alone, which hashes, writes and syncs.

The floor has neither DICOM nor records, routes or a ledger. It is the bench of the store (store.rs), given the row's shape.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

from processes import ENVIRONMENT, Measured, measure
from work import by_sender, children_cpu, ingest

ROOT = Path(__file__).resolve().parent.parent
PRINTED = re.compile(r"in +(\d+) MB/s +\d+/s +([\d.]+) CPU s/GB.*^peak resident (\d+) MB", re.MULTILINE | re.DOTALL)


def built():
    """The bench of the store, built as the gateway is; cargo says where it lies."""
    command = ["cargo", "build", "--release", "--quiet", "--bench", "store", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [each["executable"] for each in told if each.get("target", {}).get("name") == "store" and each.get("executable")][-1]


def floor(bench, data, connections):
    """The store alone, with as many objects of the same size on as many connections; its own CPU, without its senders'."""
    folder, each = bench.folder / "floor", data.instances // connections
    size, asked = data.bytes // data.instances, children_cpu()
    command = list(map(str, [bench.options.store, folder, connections, each, size]))
    printed = []

    def run():
        done = subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, text=True)
        printed.append(done.stdout)
        return 0.0, children_cpu() - asked

    try:
        foreign = measure([], run).foreign
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = PRINTED.search(printed[0])
    if not found:
        raise RuntimeError(f"the bench of the store printed something else: {printed[0][:200]}")
    rate, cpu, peak = map(float, found.groups())
    return Measured(data.bytes / rate / 1e6, cpu * data.bytes / 1e9, peak, foreign)


def cpu(bench, name, data, connections):
    """From the first byte to the last answer; the sender encodes before, and its CPU is not counted."""
    if name == "floor":
        return floor(bench, data, connections)
    return ingest(bench, name, data, by_sender(connections))
