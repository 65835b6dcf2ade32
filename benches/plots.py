"""Draws what the benches found, as docs/plots/ratios.svg and growth.svg.

usage: plots.py [--results target/bench/results.json] [--growth target/bench/growth.json] [--out docs/plots]
"""

import argparse
import json
import math
from pathlib import Path

from svg import COLOURS, WIDTH, Drawing

HERE = Path(__file__).resolve().parent.parent
OURS, MISSED = "#2f7ed8", "#d9730d"
LEFT, RIGHT, STEP = 225, 700, 20
# What the plot of growth shows, of all that is measured.
GROWING = {
    "ingest": "ingest", "forward": "forwarding", "order-p50": "one order, p50", "lease": "leases", "find-patient-p50": "C-FIND, p50",
    "qido-order-p50": "QIDO-RS, p50", "qido-page-p50": "page at 9/10, p50", "start": "start",
}  # fmt: skip


def along(value, low, high):
    """Where a value lies from left to right, by its logarithm."""
    return LEFT + (RIGHT - LEFT) * (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))


def marks(low, high):
    """1, 2 and 5 of each decade, fewer where there are many decades."""
    steps = (1, 2, 5) if high / low < 100 else (1, 3) if high / low < 1000 else (1,)
    found = [step * 10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for step in steps]
    return [value for value in found if low <= value <= high]


def told(made):
    return f"{made['date']}, commit {made['commit'][:12]}, {made['cores']} cores of {made['cpu']}"


def ratios(results):
    """One bar for each row and peer."""
    rows = [(row["row"], peer, ratio) for row in results["rows"] for peer, ratio in row["ratios"].items()]
    values = [ratio[key] for _, _, ratio in rows for key in ("median", "least", "most", "at_least", "goal") if ratio.get(key)]
    low, high = min(0.5, *values) * 0.9, max(2.0, *values) * 1.25
    top, bottom = 66, 66 + STEP * len(rows)
    drawing = Drawing("How many times as fast as each peer", bottom + 44)
    drawing.text(16, 24, "How many times as fast as each peer", "title")
    drawing.line(18, 37, 18, 49, "least")
    drawing.text(26, 47, "at least")
    drawing.diamond(88, 43, 5, "goal")
    drawing.text(99, 47, "goal")
    drawing.bar(148, 38, 22, 10, MISSED)
    drawing.text(176, 47, "less than wanted")
    for value in marks(low, high):
        x = along(value, low, high)
        drawing.line(x, top - 6, x, bottom, "axis" if value == 1 else "grid")
        drawing.text(x, bottom + 16, f"{value:g}", "middle faint")
    for at, (row, peer, ratio) in enumerate(rows):
        one_ratio(drawing, top + STEP * at, f"{row} / {peer}", ratio, lambda value: along(value, low, high))
    made = results["machine"]
    drawing.text(16, bottom + 36, f"{told(made)}, {made['rounds']} rounds", "faint")
    return drawing


def one_ratio(drawing, y, name, ratio, x):
    drawing.text(LEFT - 10, y + 12, name, "end")
    missed = ratio.get("verdict") == "NOT MET"
    start, end = sorted((x(1), x(ratio["median"])))
    drawing.bar(start, y + 3, end - start, 11, MISSED if missed else OURS)
    drawing.line(x(ratio["least"]), y + 8.5, x(ratio["most"]), y + 8.5, "axis")
    if ratio.get("at_least"):
        drawing.line(x(ratio["at_least"]), y, x(ratio["at_least"]), y + 17, "least")
        drawing.diamond(x(ratio["goal"]), y + 8.5, 4.5, "goal")
    drawing.text(WIDTH - 8, y + 12, f"{ratio['median']:.3g}", "end")


def apart(labels, least=15):
    """Heights of labels, moved down so that none covers another."""
    placed = []
    for height, label in sorted(labels):
        placed.append((max(height, placed[-1][0] + least) if placed else height, label))
    return placed


def growing(growth):
    """One line for each kind of work: how many times as dear as with the fewest."""
    steps = growth["steps"]
    # What holds by rows only has its own bound.
    shown = {key: name for key, name in GROWING.items() if key in steps[0]["values"]}
    values = [step["ratios"][key] for step in steps for key in shown]
    low, high = min(0.6, *values) * 0.95, max(2.2, *values) * 1.1
    top, bottom, left, right = 62, 352, 52, 560
    drawing = Drawing("What it costs to hold more", bottom + 62)
    drawing.text(16, 24, "What it costs to hold more", "title")
    drawing.text(16, 44, f"time, times that at {steps[0]['held']:,} instances; random UIDs", "faint")

    def height(value):
        return bottom - (bottom - top) * math.log(value / low) / math.log(high / low)

    first, last = math.log(steps[0]["held"]), math.log(steps[-1]["held"])
    places = [left + 14 + (right - left - 28) * (math.log(step["held"]) - first) / max(last - first, 1e-9) for step in steps]
    for value in marks(low, high):
        drawing.line(left, height(value), right, height(value), "grid")
        drawing.text(left - 8, height(value) + 4, f"{value:g}", "end faint")
    for step, x in zip(steps, places):
        drawing.text(x, bottom + 20, f"{step['held']:,}" + (" by rows" if step["by_rows"] else ""), "middle")
    drawing.line(left, bottom, right, bottom, "axis")
    for bound in sorted({step["within"] for step in steps}):
        drawing.line(left, height(bound), right, height(bound), "wanted")
        drawing.text(left + 4, height(bound) - 5, f"{bound:g} is wanted", "faint")
    labels = []
    for (key, name), colour in zip(shown.items(), COLOURS):
        points = [(x, height(step["ratios"][key])) for step, x in zip(steps, places)]
        drawing.path(points, colour)
        labels.append((points[-1][1], (f"{name} {steps[-1]['ratios'][key]:.2f}", colour, points[-1])))
    for y, (words, colour, (x, at)) in apart(labels):
        drawing.line(x + 6, at, right + 22, y, "grid")
        drawing.bar(right + 26, y - 5, 10, 10, colour)
        drawing.text(right + 42, y + 4, words)
    drawing.height = max(drawing.height, max(y for y, _ in apart(labels)) + 40)
    made = growth["machine"]
    drawing.text(16, drawing.height - 10, f"{told(made)}, median of {made['rounds']} rounds", "faint")
    return drawing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "target/bench/results.json")
    parser.add_argument("--growth", type=Path, default=HERE / "target/bench/growth.json")
    parser.add_argument("--out", type=Path, default=HERE / "docs/plots")
    options = parser.parse_args()
    for path, draw, name in ((options.results, ratios, "ratios.svg"), (options.growth, growing, "growth.svg")):
        if path.exists():
            draw(json.loads(path.read_text())).save(options.out / name)
        else:
            print(f"{path} is not there: no {name}")


if __name__ == "__main__":
    main()
