"""Growth: how much dearer everything becomes for a site that holds a hundred times as much, all of it with random UIDs.

usage: growth.py --binary FILE [--held 10000,100000,1000000] [--ten-million] [--rounds 3] [--more 2000] [--folder DIR] [--json FILE]
"""

import argparse
import json
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import WORK, machine
from contenders import make_certificates
from growth_data import SMALL, Scattered
from growth_rows import fill_by_rows
from growth_sites import Site, Workstation, fill
from growth_work import forward, ingest, lease, order_each, prove, searches, start

EACH, ORDERS = 40, 30  # instances of a further study; studies that are ordered one by one in a round
TEN_MILLION = 10_000_000
WITHIN, WITHIN_BY_ROWS = 1.3, 2.0  # times as dear as with the fewest
STARTED = 100_000  # instances from which on a proof takes longer than the start of the command


@dataclass
class Row:
    name: str
    unit: str
    what: str
    more: bool = False  # more is better
    judged: bool = True  # whether it may be no dearer than WITHIN says
    least: float = 0.0  # what is wanted of it whatever is held


ROWS = [
    Row("ingest", "/s", "instances stored on 4 associations", more=True),
    Row("ingest-cpu", "ms", "CPU for each", judged=False),
    Row("forward", "/s", "instances sent on until verified", more=True),
    Row("forward-cpu", "ms", "CPU for each, of both sites", judged=False),
    Row("order-p50", "ms", "one instance ordered until there"),
    Row("order-p99", "ms", "the same, late"),
    Row("lease", "/s", "instances leased one by one, a tenth waiting", more=True),
    Row("lease-cpu", "ms", "CPU for each"),
    Row("find-patient-p50", "ms", "C-FIND by Patient ID"),
    Row("find-patient-p99", "ms", "the same, late"),
    Row("qido-order-p50", "ms", "QIDO-RS by Accession Number"),
    Row("qido-order-p99", "ms", "the same, late"),
    Row("qido-page-p50", "ms", "QIDO-RS, a page of 100 at nine tenths"),
    Row("qido-page-p99", "ms", "the same, late"),
    Row("start", "ms", "start after a kill", judged=False),
    Row("verify", "/s", "entries of `ledger verify`", more=True, judged=False, least=200_000),
    Row("verify-peak", "MB", "its peak memory", judged=False),
    Row("verify-anonymous", "MB", "of that no page of a file"),
    Row("records", "bytes", "records.db for each instance", judged=False),
]  # fmt: skip


class Growth:
    """Site a with its neighbour b, which holds as much, and a workstation for which a tenth waits."""

    def __init__(self, options):
        self.options, folder = options, options.folder
        certs = make_certificates(folder / "certs")
        self.workstation, idle = Workstation(folder / "out"), Workstation(folder / "idle")
        self.b = Site(folder / "b", options.binary, certs, "b", idle)
        self.a = Site(folder / "a", options.binary, certs, "a", self.workstation, peer=self.b.url)
        # By number: what fills the sites, and what is stored for a measurement.
        self.held, self.at_b, self.further = Scattered("a"), Scattered("b"), Scattered("further", EACH, SMALL)
        self.filled, self.filled_b, self.more, self.ordered, self.leases = 0, 0, 0, 1, options.more // 4

    def fill(self, count):
        """Until half of what is measured lies below `count` and half above."""
        wanted = max(self.filled, count - self.more - self.options.rounds * self.options.more // 2)
        if self.options.disk_needed(wanted - self.filled) > shutil.disk_usage(self.options.folder).free:
            raise SystemExit(f"not enough room in {self.options.folder} for {count} instances at two sites")
        fill(self.a, self.held, range(self.filled, wanted), waiting=True)
        fill(self.b, self.at_b, range(self.filled_b, wanted), waiting=False)
        self.filled, self.filled_b = wanted, wanted
        self.rest_and_start()

    def rest_and_start(self):
        for site in (self.a, self.b):
            site.rest()
            site.start()

    def round(self, number, numbers):
        """`numbers` are those of the held studies that searches ask for."""
        values, more = {}, range(self.more, self.more + self.options.more)
        values |= ingest(self.a, self.further, more, self.options.folder / "further")
        studies = [self.further.facts(at)["study"] for at in range(more.start // EACH, more.stop // EACH)]
        values |= forward(self.a, self.b, studies, len(more))
        self.more = more.stop
        # Those whose number ends in 1 wait for nobody.
        chosen = [self.held.facts(at)["study"] for at in range(self.ordered, self.ordered + 10 * ORDERS, 10)]
        self.ordered += 10 * ORDERS
        values |= order_each(self.a, self.b, chosen)
        values |= lease(self.a, self.workstation, self.leases)
        held = json.loads(self.a.cli("status", "--json"))["instances"]
        studies = held - self.more + self.more // EACH
        values |= searches(self.a, self.held, numbers, studies, number)
        values |= start(self.a)
        return values

    def step(self, count, by_rows=False):
        """Everything at one size: medians of the rounds."""
        numbers, rounds = range(self.filled), []
        for number in range(self.options.rounds):
            rounds.append(self.round(number, numbers))
            print(f"  {count} round {number + 1}: " + ", ".join(f"{key} {value:.4g}" for key, value in rounds[-1].items()), flush=True)
        out = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        status = json.loads(self.a.cli("status", "--json"))
        if status["exceptions"]:
            raise RuntimeError(f"{status['exceptions']} exceptions wait: see {self.a.server.log.name}")
        held = status["instances"]
        self.a.rest()
        out["records"] = self.a.records_bytes() / held
        if not by_rows:
            out |= prove(self.a)
        self.a.start()
        spread = {name: [min(each[name] for each in rounds), max(each[name] for each in rounds)] for name in rounds[0]}
        return {"held": count, "exactly": held, "by_rows": by_rows, "values": out, "spread": spread}

    def by_rows(self, count):
        """Site a alone holds so many; its neighbour stays as it is."""
        # What waits by its row alone cannot be sent: leases stay among the newest of the others.
        self.leases = min(self.leases, self.a.open_transfers(self.workstation.called) // (8 * self.options.rounds))
        self.a.rest()
        fill_by_rows(self.a.data, self.held, self.filled, count)
        self.filled = count
        self.rest_and_start()
        return self.step(count, by_rows=True)

    def stop(self):
        for each in (self.a, self.b, self.workstation):
            each.stop()


def dearer(row, few, many):
    """How many times as dear as with the fewest."""
    return few / many if row.more else many / few


def judge(steps):
    """The ratios of each larger step, and whether they are what is wanted."""
    first = steps[0]["values"]
    for step in steps:
        within = WITHIN_BY_ROWS if step["by_rows"] else WITHIN
        step["ratios"] = {row.name: dearer(row, first[row.name], step["values"][row.name]) for row in ROWS if row.name in step["values"]}
        step["missed"] = [
            row.name for row in ROWS if row.name in step["values"]
            and (row.judged and step["ratios"][row.name] > within or step["held"] >= STARTED and step["values"][row.name] < row.least)
        ]  # fmt: skip
        step["within"] = within
    return steps


def table(steps):
    print("\nTimes in brackets: how many times as dear as with the fewest; at most 1.3 is wanted (2 with ten million), * is more.")
    print(f"{'':18} {'unit':5}" + "".join(f"{step['held']:>20,}" for step in steps))
    for row in ROWS:
        line = f"{row.name:18} {row.unit:5}"
        for step in steps:
            if row.name not in step["values"]:
                line += f"{'-':>20}"
                continue
            mark = "*" if row.name in step["missed"] else " "
            ratio = f"[{step['ratios'][row.name]:.2f}]" if step is not steps[0] else ""
            line += f"{step['values'][row.name]:>11,.4g} {ratio:>7}{mark}"
        print(f"{line}  {row.what}")
    for step in steps:
        print(f"summary: {step['held']} instances: " + (f"missed {', '.join(step['missed'])}" if step["missed"] else "all met"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--held", default="10000,100000,1000000", help="instances held, from few to many")
    parser.add_argument("--ten-million", nargs="?", type=int, const=TEN_MILLION, metavar="COUNT",
                        help="at last ten million, by rows; COUNT only to try it")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--more", type=int, default=2000, help="further instances of a round")
    parser.add_argument("--folder", type=Path, default=WORK / "growth")
    parser.add_argument("--json", type=Path, default=WORK / "growth.json")
    options = parser.parse_args()
    options.held = [int(word) for word in options.held.split(",")]
    options.more -= options.more % EACH
    if options.held != sorted(options.held) or options.more < EACH or options.held[0] < options.rounds * max(options.more, 10 * ORDERS):
        parser.error(f"--held wants numbers from few to many, the first at least --rounds times --more, which is {EACH} at least")
    if options.ten_million and (options.held[-1] < 4000 or options.ten_million <= options.held[-1]):
        # Fewer that can be sent would be leased to the last, and then those of which there is only a row.
        parser.error("--ten-million wants 4000 or more held before it, and more than those")
    options.binary, options.folder, options.scale = str(Path(options.binary).resolve()), options.folder.resolve(), 1.0
    options.disk_needed = lambda count: 2 * count * 9000
    return options


def main():
    options = arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    growth, steps = Growth(options), []
    try:
        for count in options.held:
            growth.fill(count)
            steps.append(growth.step(count))
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps({"machine": machine(options), "steps": judge(steps)}, indent=1))
        if options.ten_million:
            steps.append(growth.by_rows(options.ten_million))
            options.json.write_text(json.dumps({"machine": machine(options), "steps": judge(steps)}, indent=1))
    finally:
        growth.stop()
    table(steps)
    print(f"results in {options.json}")


if __name__ == "__main__":
    sys.exit(main())
