"""Runs every test that docs/requirements.md names for a fault (FLT rows) and writes docs/faults.md from what they did.

Each test prints how often its fault fired, as lines `fired: N` that add up; a test that prints none has not passed.

usage: faults.py [--write]     (without it the page is printed)
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/faults.md"
RUN = ["cargo", "test", "--profile", os.environ.get("WEYBRIDGE_PROFILE", "thorough")]


def rows() -> list[tuple[str, str, list[str], str]]:
    """Id, rule, tests, and what the last cell says beside them."""
    found = []
    for line in (ROOT / "docs/requirements.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| FLT-") and len(cells) == 4:
            tests = re.findall(r"`([a-z0-9_]+(?:::[a-z0-9_]+)+)`", cells[3])
            rest = re.sub(r"`[^`]*`,? ?", "", cells[3]).strip(" |")
            found.append((cells[0], cells[2], tests, rest))
    return found


def fired(told: str) -> dict[str, int]:
    """How often the fault of each test fired, by what was printed below `---- TEST stdout ----`."""
    # After the title of a test: its name, and what follows up to the next title.
    pieces = re.split(r"^---- (\S+) stdout ----$", told, flags=re.MULTILINE)[1:]
    return {test: sum(map(int, re.findall(r"^fired: (\d+)$", text, re.MULTILINE)))
            for test, text in zip(pieces[::2], pieces[1::2])}


def run(kind: list[str], tests: list[str]) -> dict[str, tuple[str, int]]:
    """Each test's result, and how often its fault fired. Those of the integration binary run one after another: they share two cores."""
    if not tests:
        return {}
    threads = ["--test-threads=1"] if kind != ["--lib"] else []
    command = [*RUN, *kind, "--", "--exact", "--show-output", *threads, *tests]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    words = dict(re.findall(r"^test (\S+) \.\.\. (\w+)", told, re.MULTILINE))
    counts = fired(told)

    # A test that prints past the harness keeps its result for a later line.
    def result(test: str) -> str:
        word = {"ok": "passed", "FAILED": "FAILED"}.get(words.get(test, ""), "not run")
        return "its fault did not fire" if word == "passed" and not counts.get(test) else word

    return {test: (result(test), counts.get(test, 0)) for test in tests}


def main() -> int:
    start, table = time.monotonic(), rows()
    named = sorted({test for row in table for test in row[2]})
    unit = [test for test in named if not test.startswith("it::")]
    front = [test.removeprefix("it::") for test in named if test.startswith("it::")]
    ran = run(["--lib"], unit)
    ran |= {f"it::{test}": came for test, came in run(["--test", "it"], front).items()}
    results = {test: result for test, (result, _) in ran.items()}
    times = sum(count for _, count in ran.values())
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    later = [row for row in table if not row[2]]
    out = ["# The fault matrix", "",
           "Each fault that a gateway must survive, what it must come to, and the tests that provoke it. This page is written by",
           "`.ci/long faults` from [requirements.md](requirements.md) and from running the tests; do not edit it. Behind each test stands",
           "how often its fault fired: the calls that failed, the kills, the bits that were flipped, the cases of a table that were gone through, the settings that were read back.",
           "A test whose fault did not fire has not passed.", "",
           f"Run on {time.strftime('%Y-%m-%d', time.gmtime())} at {commit}: {len(named)} tests, "
           f"{sum(result == 'passed' for result in results.values())} passed; their faults fired {times:,} times.", "",
           "| id | what must happen | tests | result |", "|---|---|---|---|"]
    for id_, rule, tests, rest in table:
        if tests:
            bad = [test for test in tests if results[test] != "passed"]
            result = "passed" if not bad else "; ".join(f"{test}: {results[test]}" for test in bad)
            note = f" {rest}" if rest else ""
            told = ", ".join(f"`{test}` ({ran[test][1]:,})" for test in tests)
            out.append(f"| {id_} | {rule} | {told} | {result}{note} |")
    out += ["", "Not shown yet, or of features that are not built:", "", "| id | what must happen | |", "|---|---|---|"]
    out += [f"| {id_} | {rule} | {rest} |" for id_, rule, _, rest in later]
    text = "\n".join(out) + "\n"
    if "--write" in sys.argv:
        PAGE.write_text(text)
    else:
        print(text)
    failed = [test for test, result in results.items() if result != "passed"]
    print(f"summary: {len(table)} faults; {len(table) - len(later)} with tests; {len(named)} tests; "
          f"{times} times fired; {len(failed)} not passed; {time.monotonic() - start:.0f} s" + "".join(f"; {test}" for test in failed))
    return 1 if failed else 0


sys.exit(main())
