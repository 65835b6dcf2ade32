"""Counts the instructions of each hot inner part and compares them with the counts that were kept.

usage: benches/counts [--keep] [--parts PATTERNS] [--within 1.03] [--inner FILE]

The bench `inner` runs one part so often as it is told. It runs twice under callgrind, the second time twice as often: what that took
more, divided by the units of the runs, is the part's own, without the start of the process and the making of the input.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "benches" / "counts.tsv"
COLUMNS = ["part", "unit", "instructions", "input", "commit"]
COLLECTED = re.compile(rb"^==\d+== Collected : (\d+)$", re.MULTILINE)


@dataclass
class Part:
    name: str
    unit: str
    units: int  # of one run
    times: int
    input: str


def built():
    """The bench, built as the gateway is; cargo says where it lies."""
    command = ["cargo", "build", "--release", "--quiet", "--bench", "inner", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [each["executable"] for each in told if each.get("target", {}).get("name") == "inner" and each.get("executable")][-1]


def listed(inner, patterns):
    lines = subprocess.run([inner], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    rows = (line.split("\t") for line in lines)
    parts = [Part(name, unit, int(units), int(times), what) for name, unit, units, times, what in rows]
    return [part for part in parts if any(fnmatch(part.name, pattern) for pattern in patterns)]


def collected(inner, part, times):
    """The instructions of a whole process that runs the part so often."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", inner, part.name, str(times)]
        # What is recorded goes to a folder of its own, in memory if there is one: nothing of it is timed.
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else folder
        done = subprocess.run(command, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": memory})
    found = COLLECTED.search(done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"counts: {part.name} failed:\n{done.stderr.decode(errors='replace')}")
    return int(found[1])


def counted(inner, part):
    """Instructions of a unit."""
    once, twice = (collected(inner, part, times) for times in (part.times, 2 * part.times))
    return (twice - once) / (part.times * part.units)


def words(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def surroundings():
    """What else decides the counts. Libraries choose their code by the CPU, of which valgrind shows no more than AVX2."""
    flags = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split())
    vectors = next((name for name in ("avx2", "avx", "sse4_2") if name in flags), "sse2")
    return f"{words('valgrind', '--version')}, {words('rustc', '--version').split(' (')[0]}, {os.uname().machine} with {vectors}"


def read():
    """The kept counts by part, and what they were counted with."""
    if not KEPT.exists():
        return {}, None
    lines = KEPT.read_text().splitlines()
    return {row["part"]: row for row in csv.DictReader(lines[1:], delimiter="\t")}, lines[0].removeprefix("# ")


def write(rows, around):
    with KEPT.open("w", newline="") as out:
        out.write(f"# {around}\n")
        writer = csv.DictWriter(out, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="benches/counts")
    parser.add_argument("--keep", action="store_true", help="write benches/counts.tsv anew, of the parts that were counted")
    parser.add_argument("--parts", default="*", help="which, by comma, with wildcards")
    parser.add_argument("--within", type=float, default=1.03, help="how many times the kept count a part may take")
    parser.add_argument("--inner", help="the bench, built; without it cargo builds it")
    told = parser.parse_args()
    inner = told.inner or built()
    parts = listed(inner, told.parts.split(","))
    kept, around_then = read()
    around, commit = surroundings(), words("git", "describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*")
    if around_then not in (None, around):
        print(f"kept with {around_then}; this is {around}: what differs may be that")
    print(f"{'part':18} {'instructions':>12} {'kept':>12} {'ratio':>7}  of each")
    grown, rows = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part, count in zip(parts, pool.map(lambda part: counted(inner, part), parts)):
            before = float(kept[part.name]["instructions"]) if part.name in kept else None
            ratio = count / before if before else None
            grown += [part.name] if ratio and ratio > told.within else []
            shown = (f"{before:12,.1f}", f"{ratio:7.3f}") if before else ("new", "")
            print(f"{part.name:18} {count:12,.1f} {shown[0]:>12} {shown[1]:>7}  {part.unit}: {part.input}", flush=True)
            rows.append(dict(zip(COLUMNS, [part.name, part.unit, f"{count:.1f}", part.input, commit])))
    for name in kept.keys() - {part.name for part in listed(inner, ["*"])}:
        print(f"{name} is kept, but is no part any more")
    if told.keep:
        new = {row["part"]: row for row in rows}
        others = [] if told.parts == "*" else [part.name for part in listed(inner, ["*"])]
        write([new.get(name) or kept[name] for name in others if name in new | kept] or rows, around)
    elif grown:
        sys.exit(f"counts: more than {told.within} times what was kept: {', '.join(grown)}")


main()
