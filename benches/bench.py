"""The bench: each row runs its contenders in alternation and prints how many times as fast we are.

usage: bench.py --binary FILE [--earlier FILE] [--store FILE] [--rounds 9] [--rows PATTERNS] [--million] [--scale 1.0]
                [--frames 125] [--json FILE]
"""

import argparse
import fnmatch
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from contenders import DcmQrScp, Orthanc, StoreScp, Weybridge, make_certificates
from data import data_set
from floor import built, cpu
from memory import SETS, Large
from rows import ROWS
from searches import query
from work import ingest, onward

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / "target" / "bench"
EARLIER = (0.97, 1.0)  # what has been added since is to cost less than 3 %
QUIET = 0.3  # foreign cores above which a run says little


class Bench:
    """Makes the contenders, and keeps those that several rounds share."""

    def __init__(self, options):
        self.options, self.folder, self.shared = options, WORK / "run", {}
        self.certs = make_certificates(WORK / "certs")

    def contender(self, name, out=None, tls=False, alone=False):
        folder = self.folder / name
        if name in ("weybridge", "earlier"):
            binary = self.options.binary if name == "weybridge" else self.options.earlier
            return Weybridge(folder, binary, self.certs, out=out, alone=alone)
        if name == "orthanc":
            return Orthanc(folder, self.certs, tls=tls, out=out)
        return DcmQrScp(folder) if name == "dcmqrscp" else StoreScp(folder)

    def two_sites(self, name, started):
        """A site and its neighbour, to which it sends what it gets."""
        if name == "weybridge":
            b = Weybridge(self.folder / "b", self.options.binary, self.certs, "b", start=started)
            return Weybridge(self.folder / "a", self.options.binary, self.certs, "a", peer=b.url), b
        b = Orthanc(self.folder / "ob", self.certs, tls=True)
        a = Orthanc(self.folder / "oa", self.certs, peer=b.url, stable=self.onward)
        if name == "orthanc-peer":
            a.way = "/peers/b/store"
        return a, b

    onward = False  # whether Orthanc is to send by itself what is stable

    def kept(self, key, make):
        """What `make` gives, made once for the set."""
        for old in [other for other in self.shared if other[1] != key[1]]:
            self.drop(old)
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def drop(self, key):
        for server in self.shared.pop(key):
            server.stop()

    def end(self):
        for key in list(self.shared):
            self.drop(key)


def said(row, data, seconds):
    """How much of the row's unit that is."""
    return {"MB/s": data.bytes / seconds / 1e6, "instances/s": data.instances / seconds, "ms": seconds * 1e3}[row.unit]


def fewer(note, data):
    """Said of a contender that cannot hold all of them."""
    held = note.get("studies", data.instances)
    return f" among {held:.0f} studies of {data.instances}" if held < data.instances else ""


def searched(note, data, spread=""):
    """What is said of searches: times in the middle and late, what they found, how many were put, among how many."""
    return (f"p50 {note['p50_ms']:.4g} ms, p99 {note['p99_ms']:.4g} ms{spread}, {note['matches']:.4g} matches each, "
            f"{note['searches']:.0f} searches{fewer(note, data)}")  # fmt: skip


def run_row(bench, row, data, rounds):
    """Every contender once a round, in an order that turns, so that a slow minute hurts all alike."""
    bench.onward = row.work is onward
    names = ["weybridge", *row.beside]
    results = {each: [] for each in names}
    for number in range(rounds):
        turn = number % len(names)
        for each in names[turn:] + names[:turn]:
            result = row.work(bench, each, data, row.how)
            results[each].append(result)
            told = searched(result.note, data) if row.work is query else f"{said(row, data, result.seconds):.4g} {row.unit}"
            if row.told:
                told = row.told(result.note)
            elif row.work is cpu:
                told = f"{result.cpu / data.bytes * 1e9:.3g} CPU s/GB at {told}"
            noisy = " (noisy)" if result.foreign > QUIET else ""
            print(f"  {row.name} round {number + 1} {each}: {told}{noisy}", flush=True)
    return results


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def times(theirs, ours):
    """How many times as long they took as we, round by round."""
    return summary([t.seconds / o.seconds for t, o in zip(theirs, ours)])


def cost(theirs, ours):
    """How many times as much CPU we took as they, round by round."""
    return summary([o.cpu / t.cpu for t, o in zip(theirs, ours)])


def shown(ratio):
    return f"[{ratio['least']:.2f} - {ratio['most']:.2f}]"


def verdict(value, least, goal, less=False):
    """Whether enough is there; or little enough, where less is better."""
    sign = -1 if less else 1
    return "goal met" if sign * value >= sign * goal else "met" if sign * value >= sign * least else "NOT MET"


def bounded(row, line):
    """What is wanted of ours by itself: of a time its median counts, of memory the most."""
    bounds = {}
    for key, (most, goal) in row.within.items():
        value = line[key]["median" if row.unit == "ms" else "most"]
        bound = bounds[key] = {"value": value, "at_most": most, "goal": goal, "verdict": verdict(value, most, goal, less=True)}
        print(f"summary: {row.name} {key} {value:.4g}, at most {most:.4g}, goal {goal:.4g}: {bound['verdict']}", flush=True)
    return bounds


def report(row, data, results, smaller=None):
    """The row as JSON and as printed lines: theirs over ours in time, and ours over what the smaller row took."""
    out = {"row": row.name, "unit": row.unit, "bytes": data.bytes, "instances": data.instances, "contenders": {}, "ratios": {}}
    for each, runs in results.items():
        line = out["contenders"][each] = {
            "rate": summary([said(row, data, r.seconds) for r in runs]),
            "cpu_s_per_gb": summary([r.cpu / data.bytes * 1e9 for r in runs]),
            "peak_mb": max(r.memory_mb for r in runs),
            "noisy_runs": sum(r.foreign > QUIET for r in runs),
            **{key: summary([r.note[key] for r in runs]) for key in runs[0].note},
        }
        used = f"{line['cpu_ms']['median']:.3g} CPU ms each" if "cpu_ms" in line else f"{line['cpu_s_per_gb']['median']:.2f} CPU s/GB"
        spread = f" [{line['rate']['least']:.4g} - {line['rate']['most']:.4g}]"
        told = f"{line['rate']['median']:.4g} {row.unit}{spread}"
        if row.work is query:
            told = searched({key: line[key]["median"] for key in runs[0].note}, data, spread)
        elif row.told:
            told = row.told({key: line[key]["median" if row.unit == "ms" else "most"] for key in runs[0].note})
        print(f"{row.name:22} {each:12} {told}, {used}, {line['peak_mb']:.0f} MB peak")
    out["bounds"] = bounded(row, out["contenders"]["weybridge"])
    less = row.work is cpu
    for each, wanted in row.beside.items():
        ratio = out["ratios"][each] = (cost if less else times)(results[each], results["weybridge"])
        told = " in CPU" if less else fewer(results[each][0].note, data)
        if wanted:
            least, goal = wanted
            met = verdict(ratio["median"], least, goal, less)
            ratio |= {"at_most" if less else "at_least": least, "goal": goal, "verdict": met}
            told += f", at {'most' if less else 'least'} {least:.3g}, goal {goal}: {met}"
        print(f"summary: {row.name} {ratio['median']:.2f} x {each} {shown(ratio)}{told}", flush=True)
    if smaller:
        ratio = out["of_smaller"] = {"row": row.smaller, **times(results["weybridge"], smaller["weybridge"])}
        print(f"summary: {row.name} takes {ratio['median']:.2f} x the p99 of {row.smaller} {shown(ratio)}", flush=True)
    return out


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0].strip() if done.stdout + done.stderr else "?"


def machine(options):
    model = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": model[0] if model else platform.processor(), "cores": os.cpu_count(), "kernel": platform.release(),
        "weybridge": version(options.binary, "--version"), "orthanc": version("/usr/sbin/Orthanc", "--version"),
        "dcmtk": version("storescu", "--version"), "date": time.strftime("%Y-%m-%d"),
        "commit": version("git", "rev-parse", "--short=12", "HEAD"), "rounds": options.rounds, "scale": options.scale,
    }  # fmt: skip


def made(name, options):
    return Large(WORK / "data", name, options) if name in SETS else data_set(WORK / "data", name, options.scale)


def chosen(rows, patterns):
    return [row for row in rows if any(fnmatch.fnmatch(row.name, each) for each in patterns.split(","))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--earlier", help="another build of this program: what is taken in is measured beside it alone")
    parser.add_argument("--store", help="the bench of the store, built; without it cargo builds it where a row wants the floor")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", default="*", help="patterns with commas between, for example 'ingest-*,wado-ct'")
    parser.add_argument("--million", action="store_true", help="also the rows of searches among a million studies; filling takes minutes")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data sets; below 1 only to try the bench")
    parser.add_argument("--frames", type=int, default=125, help="of each instance of memory-mf-64; 1000 are 524 MB each and need 134 GB")
    parser.add_argument("--json", type=Path, default=WORK / "results.json")
    options = parser.parse_args()
    options.binary = str(Path(options.binary).resolve())
    WORK.mkdir(parents=True, exist_ok=True)
    there = [row for row in ROWS if options.million or not row.smaller]
    bench, rows = Bench(options), chosen(there, options.rows)
    if options.earlier:
        options.earlier = str(Path(options.earlier).resolve())
        rows = [replace(row, beside={"earlier": EARLIER}) for row in rows if row.work is ingest]
    if not rows:
        parser.error("no row has such a name (those of a million only with --million): " + ", ".join(row.name for row in there))
    if any(row.work is cpu for row in rows):
        options.store = str(Path(options.store or built()).resolve())
    sets = {name: made(name, options) for name in sorted({row.set for row in rows})}
    done, ran = [], {}
    try:
        for row in rows:
            ran[row.name] = run_row(bench, row, sets[row.set], options.rounds)
            done.append(report(row, sets[row.set], ran[row.name], ran.get(row.smaller)))
            options.json.write_text(json.dumps({"machine": machine(options), "rows": done}, indent=1))
    finally:
        bench.end()
    print(f"results in {options.json}")
    if any(each.get("verdict") == "NOT MET" for row in done for each in (*row["ratios"].values(), *row["bounds"].values())):
        print("some rows are below what is wanted")


if __name__ == "__main__":
    main()
