"""Breaks the gateway on purpose, one safety at a time, and shows that the named test notices: sabotage.py [NAME...].

Each row of sabotages.tsv is applied to a copy of the tree (target/sabotaged/tree, with a build folder of its own), built
as a unit test or an integration test, and only its test is run; it must fail. A row that does not build counts as not
shown. With --check nothing is built: each text must stand exactly once in its file.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "target/sabotaged"
TREE = HOME / "tree"
FOLDERS = ["src", "tests", "fuzz/targets", "fuzz/corpus", "benches", "config", "test-data"]
FILES = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"]
# Quick to build: nothing here is measured.
BUILD = {"CARGO_TARGET_DIR": str(HOME / "build"), "CARGO_PROFILE_DEV_OPT_LEVEL": "0", "CARGO_PROFILE_DEV_DEBUG": "0",
         "CARGO_INCREMENTAL": "1", "CARGO_PROFILE_DEV_INCREMENTAL": "true", "CARGO_TERM_COLOR": "never"}


def rows() -> list[dict[str, str]]:
    head, *lines = (ROOT / "tests/sabotages.tsv").read_text().splitlines()
    return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]


def copy_tree() -> None:
    """Brings the copy up to date; what did not change keeps its time, so that little is built."""
    TREE.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        source, copy = ROOT / name, TREE / name
        wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        for path in [path for path in copy.rglob("*") if path.is_file()]:
            if path.relative_to(copy) not in wanted:
                path.unlink()
        for path in wanted:
            put(source / path, copy / path)
    for name in FILES:
        put(ROOT / name, TREE / name)
    for name in ("venv", "corpus"):
        link = TREE / "target" / name
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            link.symlink_to(ROOT / "target" / name)


def put(source: Path, copy: Path) -> None:
    if not copy.exists() or copy.read_bytes() != source.read_bytes():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def cargo_test(kind: list[str], tests: list[str]) -> tuple[int, str]:
    command, environment = ["cargo", "test", "--quiet", *kind, "--", "--exact", *tests], {**os.environ, **BUILD}
    try:
        built = subprocess.run([*command[:3], *kind, "--no-run"], cwd=TREE, env=environment, capture_output=True, text=True)
        if built.returncode != 0:
            return 1, built.stdout + built.stderr
        done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return 1, "running 1 test\ntest result: it did not end within 5 minutes"
    return done.returncode, done.stdout + done.stderr


def run(test: str) -> tuple[str, str]:
    """Builds and runs one test: passed, FAILED, `no build` or `no test`, and what was printed."""
    code, told = cargo_test(*kind_of(test))
    if "running 1 test\n" not in told:
        return ("no test" if "test result:" in told else "no build"), told
    return ("passed" if code == 0 else "FAILED"), told


def kind_of(test: str) -> tuple[list[str], list[str]]:
    return (["--test", "it"], [test.removeprefix("it::")]) if test.startswith("it::") else (["--lib"], [test])


def not_green(tests: set[str]) -> list[str]:
    """Those that do not pass on the sound tree, so that a red test is not one that is always red."""
    faults = []
    for kind, names in [(["--lib"], [t for t in tests if not t.startswith("it::")]),
                        (["--test", "it"], [t.removeprefix("it::") for t in tests if t.startswith("it::")])]:
        if names:
            code, told = cargo_test(kind, names)
            if code != 0 or f"{len(names)} passed" not in told:
                faults.append("\n".join(told.splitlines()[-40:]))
    return faults


def check(chosen: list[dict[str, str]]) -> list[str]:
    faults = []
    for row in chosen:
        path = ROOT / row["file"]
        count = path.read_text().count(row["text"]) if path.exists() else 0
        if count != 1:
            faults.append(f"{row['name']}: its text stands {count} times in {row['file']}")
    return faults


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    chosen = [row for row in rows() if not words or row["name"] in words]
    faults = check(chosen)
    if faults or "--check" in sys.argv:
        print("\n".join(faults) or f"{len(chosen)} sabotages fit the tree")
        return 1 if faults else 0
    copy_tree()
    survived, unclear = [], []
    for row in chosen:
        path, start = TREE / row["file"], time.monotonic()
        sound = path.read_text()
        path.write_text(sound.replace(row["text"], row["replacement"]))
        try:
            result, told = run(row["test"])
        finally:
            path.write_text(sound)
        word = {"FAILED": "caught", "passed": "SURVIVED"}.get(result, result)
        print(f"{word:<9} {row['name']:<32} {row['for']:<8} {row['test']} ({time.monotonic() - start:.0f} s)", flush=True)
        if result == "passed":
            survived.append(row["name"])
        elif result != "FAILED":
            unclear.append(row["name"])
            print("\n".join(told.splitlines()[-30:]))
    unsound = not_green({row["test"] for row in chosen})
    for told in unsound:
        print(f"not green on the sound tree:\n{told}")
    caught = len(chosen) - len(survived) - len(unclear)
    print(f"summary: {len(chosen)} sabotages; {caught} caught; {len(survived)} survived; {len(unclear)} not shown; "
          f"the tests are {'not ' if unsound else ''}green on the sound tree")
    return 1 if survived or unclear or unsound else 0


sys.exit(main())
