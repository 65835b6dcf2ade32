"""Breaks the gateway on purpose, one safety at a time, and shows that the named test notices: sabotage.py [NAME...].

Each row of sabotages.tsv names a unit test, or one of tests/it by `it::`. They are built into one copy of the tree (target/sabotaged), each behind a
switch: `$ON` in a replacement is true when the environment names the row. So one build serves all rows; each row then runs
only its test, which must fail, as many at a time as there are cores, and with no switch on all these tests must pass. With --check nothing
is built.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "target/sabotaged"
TREE = HOME / "tree"
FOLDERS = ["src", "tests", "fuzz/targets", "benches", "config", "test-data", "docs"]
FILES = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"]
# A build folder of its own: in that of the tree itself, cargo would take what is built here for the tree's own build afterwards.
BUILD = {"CARGO_TARGET_DIR": str(HOME / "build"), "CARGO_TERM_COLOR": "never"}
VARIABLE = "WEYBRIDGE_SABOTAGE"
SWITCH = f"""
/// Whether the sabotage of this name is on; only in the copy that tests/sabotage.py makes.
#[doc(hidden)]
pub fn sabotaged(name: &str) -> bool {{
    std::env::var("{VARIABLE}").is_ok_and(|on| on == name)
}}
"""
LIMIT = 600  # seconds that one test may take


def rows() -> list[dict[str, str]]:
    head, *lines = (ROOT / "tests/sabotages.tsv").read_text().splitlines()
    return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]


def faults_of(table: list[dict[str, str]]) -> list[str]:
    counts = {row["name"]: (ROOT / row["file"]).read_text().count(row["text"]) for row in table}
    faults = [f"{name}: its text stands {count} times in its file" for name, count in counts.items() if count != 1]
    changed: dict[str, str] = {}
    for row in table:
        source = changed.get(row["file"]) or (ROOT / row["file"]).read_text()
        if counts[row["name"]] == 1 and row["text"] not in source:
            faults.append(f"{row['name']}: a row above changes its text, so that its own change would not be made")
        changed[row["file"]] = source.replace(row["text"], row["replacement"])
    return faults + [f"{row['name']}: it has no switch" for row in table if "$ON" not in row["replacement"]]


def put(copy: Path, data: bytes) -> None:
    """What does not change keeps its time, so that little is built again."""
    if not copy.exists() or copy.read_bytes() != data:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)


def write_tree(table: list[dict[str, str]]) -> None:
    changed: dict[Path, str] = {}
    for row in table:
        source = changed.get(Path(row["file"])) or (ROOT / row["file"]).read_text()
        switched = row["replacement"].replace("$ON", f"crate::sabotaged(\"{row['name']}\")")
        changed[Path(row["file"])] = source.replace(row["text"], switched)
    # Other lints would only speak of the switches.
    changed[Path("src/lib.rs")] = (ROOT / "src/lib.rs").read_text() + SWITCH
    wanted = [path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {path.relative_to(ROOT) for path in [*wanted, *(ROOT / name for name in FILES)]}
    for path in wanted:
        put(TREE / path, changed[path].encode() if path in changed else (ROOT / path).read_bytes())
    for path in [path.relative_to(TREE) for name in FOLDERS for path in (TREE / name).rglob("*") if path.is_file()]:
        if path not in wanted:
            (TREE / path).unlink()
    for name in ("venv", "corpus"):
        link = TREE / "target" / name
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(ROOT / "target" / name)


def build() -> dict[str, str]:
    """The binaries of the unit tests and of tests/it, by `lib` and `it`; the gateway that the latter start is built with them."""
    command = ["cargo", "test", "--no-run", "--lib", "--test", "it", "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=TREE, env={**os.environ, **BUILD}, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("summary: the sabotaged tree does not build")
    built = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    tests = [one for one in built if one.get("executable") and one["profile"]["test"]]
    return {"it" if one["target"]["name"] == "it" else "lib": one["executable"] for one in tests}


def run(binaries: dict[str, str], tests: list[str], name: str) -> tuple[str, str]:
    """passed, FAILED, or `no test` if not all of these tests were run; and what was printed."""
    environment = {**os.environ, "CARGO_MANIFEST_DIR": str(TREE), VARIABLE: name}
    result, told = "passed", ""
    for kind, binary in binaries.items():
        mine = [test.removeprefix("it::") for test in tests if test.startswith("it::") == (kind == "it")]
        if not mine:
            continue
        command = [binary, "--exact", *mine, *(["--test-threads=2"] if kind == "it" else [])]
        try:
            done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return "FAILED", f"it did not end within {LIMIT} s"
        told += done.stdout + done.stderr
        if f"running {len(mine)} test" not in done.stdout + done.stderr:
            return "no test", told
        result = result if done.returncode == 0 else "FAILED"
    return result, told


def try_one(binaries: dict[str, str], row: dict[str, str]) -> tuple[str, float]:
    start = time.monotonic()
    result, _ = run(binaries, [row["test"]], row["name"])
    return result, time.monotonic() - start


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    table = rows()
    faults = faults_of(table)
    if faults or "--check" in sys.argv:
        print("\n".join(faults) or f"{len(table)} sabotages fit the tree")
        return 1 if faults else 0
    chosen = [row for row in table if not words or row["name"] in words]
    write_tree(table)
    survived, unclear, binaries = [], [], build()
    result, told = run(binaries, sorted({row["test"] for row in chosen}), "")
    if result != "passed":
        print("\n".join(told.splitlines()[-40:]))
        print("summary: the tests are not green with every sabotage off")
        return 1
    with ThreadPoolExecutor(os.cpu_count()) as some_at_a_time:
        tried = some_at_a_time.map(lambda row: (row, *try_one(binaries, row)), chosen)
        for row, result, seconds in tried:
            word = {"FAILED": "caught", "passed": "SURVIVED"}.get(result, result)
            print(f"{word:<9} {row['name']:<30} {row['for']:<8} {row['test']} ({seconds:.1f} s)", flush=True)
            if result == "passed":
                survived.append(row["name"])
            elif result != "FAILED":
                unclear.append(row["name"])
    caught = len(chosen) - len(survived) - len(unclear)
    print(f"summary: {len(chosen)} sabotages; {caught} caught; {len(survived)} survived; {len(unclear)} without a test; "
          "all their tests green with every sabotage off")
    return 1 if survived or unclear else 0


sys.exit(main())
