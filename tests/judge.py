#!/usr/bin/env python3
"""The independent judge: does an exported ledger prove itself, and does it agree with what a PACS really received?

usage: judge.py EXPORT [--head SIZE:ROOT]... [--received FOLDER --destination NAME]

EXPORT is what `weybridge ledger export` wrote; it is judged by its definition (docs/data.md, RFC 6962, RFC 8785) with no
code of the gateway. --head is a head noted down earlier: entries and root. FOLDER holds what node or peer NAME received.
Exit code 0 if all agrees, 5 if not, with a line for each thing that is wrong.
"""

import argparse, hashlib, json, sys  # noqa: E401
from pathlib import Path

DONE, FIELDS = {"accepted", "verified"}, {"position", "id", "kind", "at", "leaf", "chain", "bytes"}


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


class Tree:
    """The right edge of the Merkle tree of RFC 6962: (height, hash) of each perfect subtree, the largest first."""

    def __init__(self):
        self.size, self.edge = 0, []

    def push(self, node: bytes) -> None:
        self.size, height = self.size + 1, 0
        while self.edge and self.edge[-1][0] == height:
            node = sha(b"\x01", self.edge.pop()[1], node)
            height += 1
        self.edge.append((height, node))

    def root(self) -> str:
        node = self.edge[-1][1] if self.edge else sha()
        for _, left in reversed(self.edge[:-1]):
            node = sha(b"\x01", left, node)
        return node.hex()


class Ledger:
    """What the entries say: versions of instances, and transfers with every state they had."""

    def __init__(self, heads: list[tuple[int, str]]):
        self.heads, self.wrong, self.tree, self.chain = heads, [], Tree(), bytes(32)
        self.ids, self.versions, self.transfers = set(), {}, {}

    def read(self, lines) -> None:
        for number, line in enumerate(lines, 1):
            try:
                exported = json.loads(line)
                raw = exported["bytes"].encode()
                entry = json.loads(raw)
                self.prove(number, exported, raw, entry)
                self.follow(number, entry)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self.wrong.append(f"entry {number} cannot be read: {error!r}")
        size, longer = self.tree.size, sorted({head for head, _ in self.heads if head > self.tree.size})
        self.wrong += [f"the ledger ends after {size} entries, but a head is of {head}" for head in longer]

    def prove(self, number: int, exported: dict, raw: bytes, entry: dict) -> None:
        leaf = sha(b"\x00", raw)
        self.chain = sha(self.chain, leaf)
        self.tree.push(leaf)
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        claims = [("position", exported.get("position"), number), ("leaf", exported.get("leaf"), leaf.hex()),
                  ("chain", exported.get("chain"), self.chain.hex()), ("canonical form", raw, canonical),
                  ("head", {root for size, root in self.heads if size == number} - {self.tree.root()}, set()),
                  ("list of fields", set(exported), FIELDS)]
        claims += [(name, exported.get(name), entry.get(name)) for name in ("id", "kind", "at")]
        self.wrong += [f"entry {number}: the {what} is not what it should be" for what, is_, should in claims if is_ != should]
        self.wrong += [f"entry {number}: its id was used before"] * (entry["id"] in self.ids)
        self.wrong += [f"entry {number}: its cause {cause} is no earlier entry" for cause in entry["causes"] if cause not in self.ids]
        self.ids.add(entry["id"])

    def follow(self, number: int, entry: dict) -> None:
        facts = entry["facts"]
        self.versions |= {version["id"]: version for version in facts.get("versions", []) if "uid" in version}
        for made in facts.get("made", []):
            self.transfers[made["id"]] = {**made, "states": [made["state"]]}
        for step in facts.get("steps", []):
            for transfer in step["transfers"]:
                if transfer in self.transfers:
                    self.transfers[transfer]["states"] += ["changed"] * ("changed" in step) + [step["to"]]
                else:
                    self.wrong.append(f"entry {number}: a step of what is not there, transfer {transfer}")


def received(folder: Path):
    """SOP Instance UID, transfer syntax and digest of the data set of each file, from its bytes (PS3.10 section 7)."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if data[128:132] != b"DICM" or data[132:136] != b"\x02\x00\x00\x00":
            continue
        at, end, meta = 144, 144 + int.from_bytes(data[140:144], "little"), {}
        while at < end:
            long = data[at + 4 : at + 6] in (b"OB", b"UN")
            start = at + (12 if long else 8)
            length = int.from_bytes(data[at + 8 : at + 12] if long else data[at + 6 : at + 8], "little")
            meta[data[at : at + 4]] = data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
            at = start + length
        yield path, meta.get(b"\x02\x00\x03\x00", ""), meta.get(b"\x02\x00\x10\x00", ""), sha(data[end:]).hex()


def compare(ledger: Ledger, folder: Path, destination: str) -> str:
    ours = [{**ledger.versions[t["instance"]], **t} for t in ledger.transfers.values() if t["destination"] == destination]
    # Also what was found there when it was asked for: a restored ledger may not know who sent it.
    went = [one for one in ours if {"leased", *DONE} & set(one["states"])]
    uids, kept = {one["uid"] for one in went}, [one for one in went if "changed" not in one["states"]]
    sent = {(one["uid"], one["syntax"], one["sha256"]) for one in kept}
    forms, there, same, other = {one[:2] for one in sent}, {}, 0, 0
    for path, uid, syntax, digest in received(folder):
        there.setdefault(uid, set()).add((uid, syntax, digest))
        if uid not in uids:
            ledger.wrong.append(f"{uid} was received, but by the ledger it was never sent: {path.name}")
    for one in (one for one in ours if one["states"][-1] in DONE):
        uid, syntax, copies = one["uid"], one["syntax"], there.get(one["uid"], set())
        if not copies:
            ledger.wrong.append(f"{uid} is {one['states'][-1]} by the ledger, but was not received")
        elif (uid, syntax, one["sha256"]) in copies:
            same += 1
        elif (uid, syntax) in {copy[:2] for copy in copies} and one in kept:
            ledger.wrong.append(f"{uid} was received with other bytes than the ledger says")
        else:
            other += 1
    for copies in (copies for copies in there.values() if copies & sent):
        beside = [one[:2] in forms for one in copies - sent]
        ledger.wrong += [f"{min(copies)[0]} was received with other bytes too, beside the right ones"] * any(beside)
        other += beside.count(False)
    return f"; {same} received byte for byte, {other} not compared (another syntax, or changed), of {len(ours)} owed to {destination}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export", type=Path)
    parser.add_argument("--head", action="append", default=[], type=lambda told: (int(told.partition(":")[0]), told.partition(":")[2]))
    parser.add_argument("--received", type=Path)
    parser.add_argument("--destination", default="")
    given = parser.parse_args()
    if bool(given.received) != bool(given.destination) or (given.received and not given.received.is_dir()):
        parser.error("--received, a folder that is there, and --destination, whose it is, go together")
    ledger = Ledger(given.head)
    ledger.read(given.export.open("rb"))
    reality = compare(ledger, given.received, given.destination) if given.received else ""
    print("\n".join(ledger.wrong[:50]) or f"{ledger.tree.size} entries prove themselves{reality}")
    print(f"chain {ledger.chain.hex()}\ntree  {ledger.tree.root()}")
    return 5 if ledger.wrong else 0


sys.exit(main())
