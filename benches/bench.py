"""The bench: each row runs its contenders in alternation and prints how many times as fast we are.

usage: bench.py --binary FILE [--rounds 9] [--rows PATTERN] [--scale 1.0] [--json FILE]
"""

import argparse
import fnmatch
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from contenders import Orthanc, StoreScp, Weybridge, make_certificates
from data import DataSet
from processes import ENVIRONMENT, measure

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / "target" / "bench"
QUIET = 0.3  # foreign cores above which a run says little


def children_cpu():
    """CPU seconds of the commands that have ended: the clients, not the servers."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_storescu(port, called, data):
    """DCMTK's storescu, one association; seconds, its CPU seconds."""
    command = ["storescu", "-R", "-aec", called, "127.0.0.1", str(port), *map(str, data.files)]
    was, start = children_cpu(), time.monotonic()
    subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True)
    return time.monotonic() - start, children_cpu() - was


def by_sender(associations):
    """Our own pre-encoding sender."""

    def send(port, called, data):
        command = [sys.executable, str(HERE / "sender.py"), str(port), called, str(associations), str(data.folder)]
        done = subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, text=True)
        said = json.loads(done.stdout)
        if said["trouble"] or said["stored"] != len(data.files):
            raise RuntimeError(f"the sender had trouble: {said}")
        return said["seconds"], said["cpu"]

    return send


class Bench:
    def __init__(self, options):
        self.options = options
        self.certs = make_certificates(WORK / "certs")

    def contender(self, name):
        folder = WORK / "run" / name
        if name == "weybridge":
            return Weybridge(folder, self.options.binary, self.certs)
        return Orthanc(folder) if name == "orthanc" else StoreScp(folder)

    def ingest(self, name, data, send):
        server = self.contender(name)
        try:
            result = measure(server.servers, lambda: send(server.port, server.called, data))
            held = server.held(data.study) if name == "weybridge" else server.held()
            if held != len(data.files):
                raise RuntimeError(f"{name} holds {held} of {len(data.files)}")
            return result
        finally:
            server.stop()

    def forward(self, name, data, _send):
        """From one site's store to the next one's, over TLS; ours until verified, theirs until the job says so."""
        run, load = WORK / "run", by_sender(4)
        if name == "weybridge":
            b = Weybridge(run / "b", self.options.binary, self.certs, "b", start=False)
            a = Weybridge(run / "a", self.options.binary, self.certs, "a", peer=b.url)
        else:
            b = Orthanc(run / "ob", self.certs, tls=True)
            a = Orthanc(run / "oa", self.certs, peer=b.url)
        try:
            load(a.port, a.called, data)
            if name == "weybridge":
                b.start()
            asked = children_cpu()
            result = measure([*a.servers, *b.servers], lambda: (a.forward(data), children_cpu() - asked))
            held = b.held(data.study) if name == "weybridge" else b.held()
            if held != len(data.files):
                raise RuntimeError(f"{name}: {held} of {len(data.files)} arrived")
            return result
        finally:
            a.stop()
            b.stop()


# name, set, what is done, by which sender, {beside: (at least, goal)}
ROWS = [
    ("ingest-ct-storescu-1", "ct", "ingest", by_storescu, {"orthanc": (2.5, 3.5), "storescp": (0.6, 0.85)}),
    ("ingest-ct-replay-4", "ct", "ingest", by_sender(4), {"orthanc": (2.8, 4), "storescp": (0.85, 1.2)}),
    ("ingest-mf-storescu-1", "mf", "ingest", by_storescu, {"orthanc": (4.5, 6.5), "storescp": (0.45, 0.65)}),
    ("stow-tls-ct", "ct", "forward", None, {"orthanc": (4, 6)}),
]


def run_row(bench, row, data, rounds):
    """Every contender once a round, in an order that turns, so that a slow minute hurts all alike."""
    name, _, kind, send, beside = row
    names, results = ["weybridge", *beside], {each: [] for each in ["weybridge", *beside]}
    for number in range(rounds):
        turn = number % len(names)
        for each in names[turn:] + names[:turn]:
            result = getattr(bench, kind)(each, data, send)
            results[each].append(result)
            noisy = " (noisy)" if result.foreign > QUIET else ""
            rate = data.bytes / result.seconds / 1e6
            print(f"  {name} round {number + 1} {each}: {rate:.0f} MB/s{noisy}", flush=True)
    return results


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def report(row, data, results):
    """The row as JSON and as printed lines: our rate over theirs, round by round."""
    name, _, _, _, beside = row
    out = {"row": name, "bytes": data.bytes, "instances": len(data.files), "contenders": {}, "ratios": {}}
    for each, runs in results.items():
        out["contenders"][each] = {
            "mb_per_s": summary([data.bytes / r.seconds / 1e6 for r in runs]),
            "cpu_s_per_gb": summary([r.cpu / data.bytes * 1e9 for r in runs]),
            "peak_mb": max(r.memory_mb for r in runs),
            "noisy_runs": sum(r.foreign > QUIET for r in runs),
        }
        line = out["contenders"][each]
        print(f"{name:22} {each:10} {line['mb_per_s']['median']:7.0f} MB/s "
              f"[{line['mb_per_s']['least']:.0f} - {line['mb_per_s']['most']:.0f}] "
              f"{line['cpu_s_per_gb']['median']:6.2f} CPU s/GB {line['peak_mb']:6.0f} MB peak")  # fmt: skip
    for each, (least, goal) in beside.items():
        ratio = summary([t.seconds / o.seconds for o, t in zip(results["weybridge"], results[each])])
        met = "goal met" if ratio["median"] >= goal else "met" if ratio["median"] >= least else "NOT MET"
        out["ratios"][each] = {**ratio, "at_least": least, "goal": goal, "verdict": met}
        print(f"summary: {name} {ratio['median']:.2f} x {each} [{ratio['least']:.2f} - {ratio['most']:.2f}], "
              f"at least {least}, goal {goal}: {met}", flush=True)  # fmt: skip
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", default="*", help="a pattern, for example 'ingest-*'")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data sets; below 1 only to try the bench")
    parser.add_argument("--json", type=Path, default=WORK / "results.json")
    options = parser.parse_args()
    options.binary = str(Path(options.binary).resolve())
    WORK.mkdir(parents=True, exist_ok=True)
    bench, rows = Bench(options), [row for row in ROWS if fnmatch.fnmatch(row[0], options.rows)]
    if not rows:
        parser.error("no row has such a name: " + ", ".join(row[0] for row in ROWS))
    sets = {name: DataSet(WORK / "data", name, options.scale) for name in sorted({row[1] for row in rows})}
    done = []
    for row in rows:
        results = run_row(bench, row, sets[row[1]], options.rounds)
        done.append(report(row, sets[row[1]], results))
        options.json.write_text(json.dumps({"machine": machine(options), "rows": done}, indent=1))
    print(f"results in {options.json}")
    if any(ratio["verdict"] == "NOT MET" for row in done for ratio in row["ratios"].values()):
        print("some rows are below what is wanted")


if __name__ == "__main__":
    main()
