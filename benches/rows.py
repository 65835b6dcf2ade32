"""What is measured: each row's set, work, unit, and how many times as fast as the others we are to be."""

from dataclasses import dataclass, field, replace
from typing import Callable

import latency
import memory
from beside import SETTINGS, beside
from floor import cpu
from searches import by_find, by_qido, query
from uploads import upload
from work import by_get, by_move, by_sender, by_storescu, by_wado
from work import forward, ingest, nagle, onward, prior, retrieve


@dataclass
class Row:
    name: str
    set: str
    work: Callable  # work(bench, contender, data, how) -> Measured
    how: object = None
    beside: dict = field(default_factory=dict)  # {contender: (at least, goal), or None where nothing is wanted}
    unit: str = "MB/s"  # or "instances/s", or "ms", where less is better
    smaller: str = ""  # the row that does the same among fewer
    within: dict = field(default_factory=dict)  # {what a run notes: (at most, goal)}, of ours by itself
    told: Callable = None  # what a run notes, in words


def exact(key):
    """Studies one after another, by one key with one match."""
    return lambda number, facts: {key: facts[{"PatientID": "id", "AccessionNumber": "order", "StudyInstanceUID": "study"}[key]]}


def by_name(number, facts):
    """A hundred of them. No caret: Orthanc finds nothing then, by QIDO-RS."""
    return {"PatientName": facts["name"].replace("^", "*")[:-2] + "*"}


def by_date(number, facts):
    return {"StudyDate": f"{facts['date']}-{facts['date']}"}


def limited(keys):
    return lambda number, facts: {**keys(number, facts), "limit": "100"}


def deep(number, facts):
    """A page near the end of everything: at 90,000 of 100,000. Orthanc takes the same words."""
    return {"limit": "100", "offset": str(facts["studies"] * 9 // 10 + number)}


SMALL = {"resident_mb": (100, 64), "anonymous_mb": (64, 64)}
TENTH, FIFTIETH = {"orthanc": (10, 33)}, {"orthanc": (50, 200)}
BY_FIND = {"patient": exact("PatientID"), "order": exact("AccessionNumber"), "name": by_name, "date": by_date}
BY_QIDO = {**BY_FIND, "name": limited(by_name), "date": limited(by_date)}
SEARCHES = [
    *(Row(f"find-{name}", "idx", query, (by_find, keys), {**TENTH, "dcmqrscp": None}, "ms") for name, keys in BY_FIND.items()),
    *(Row(f"qido-{name}", "idx", query, (by_qido, keys), TENTH, "ms") for name, keys in BY_QIDO.items()),
    Row("qido-page-90000", "idx", query, (by_qido, deep), FIFTIETH, "ms"),
]


def among_a_million(row):
    """The same among ten times as many, for ours alone."""
    name = row.name.replace("90000", "900000") + "-million"
    return replace(row, name=name, set="million", beside={}, smaller=row.name)


ROWS = [
    Row("ingest-ct-storescu-1", "ct", ingest, by_storescu, {"orthanc": (2.5, 3.5), "storescp": (0.6, 0.85)}),
    Row("ingest-ct-replay-4", "ct", ingest, by_sender(4), {"orthanc": (2.8, 4), "storescp": (0.85, 1.2)}),
    Row("ingest-mf-storescu-1", "mf", ingest, by_storescu, {"orthanc": (4.5, 6.5), "storescp": (0.45, 0.65)}),
    Row("ingest-small-replay-4", "small", ingest, by_sender(4), {"orthanc": (2.2, 3.5), "storescp": (1.6, 2.5)}, "instances/s"),
    Row("ingest-small-replay-16", "small", ingest, by_sender(16), {"orthanc": (4, 7)}, "instances/s"),
    Row("ingest-ct-nagle", "ct", nagle, None, {"nodelay": (0.7, 0.95)}),
    # Here the figures are the most that it may cost: less is better.
    Row("cpu-ct", "ct", cpu, 4, {"floor": (1.6, 1.25)}),
    Row("cpu-mf", "mf", cpu, 1, {"floor": (1.6, 1.25)}),
    Row("stow-tls-ct", "ct", upload, None, {"orthanc": (4, 6), "curl": (0.6, 0.9)}),
    Row("stow-tls-mf", "mf", forward, None, {"orthanc": (18, 28), "orthanc-peer": (3, 4.5)}),
    Row("onward-ct", "ct", onward, None, {"orthanc": (4, 6)}),
    Row("onward-small", "small", onward, None, {"orthanc": (2.5, 4)}, "instances/s"),
    Row("move-ct", "ct", retrieve, by_move, {"orthanc": (0.9, 1.1)}),
    Row("move-mf", "mf", retrieve, by_move, {"orthanc": (1.3, 1.7)}),
    Row("get-ct", "ct", retrieve, by_get, {"orthanc": (0.9, 1.1)}),
    Row("get-mf", "mf", retrieve, by_get, {"orthanc": (1.3, 1.7)}),
    Row("wado-ct", "ct", retrieve, by_wado, {"orthanc": (1.0, 1.3)}),
    Row("wado-mf", "mf", retrieve, by_wado, {"orthanc": (3, 5)}),
    Row("prior-ct", "ct", prior, None, {"hops": (1 / 1.2, 1.0)}),
    # At 50 MB/s the neighbour's line is the slower hop, and leaves both cores time.
    Row("prior-ct-narrow", "ct", prior, 50, {"hops": (1 / 1.2, 1.0)}),
    Row("latency-ct", "ct", latency.latency, unit="ms", within={"p99_ms": (150, 60)}, told=latency.told),
    # The ratio is the rate beside the chore by the rate without.
    *(Row(f"beside-{chore}", "ct", beside, chore, {"alone": (0.8, 0.9)}) for chore in SETTINGS),
    *(Row(f"memory-{each}", each, memory.in_and_out, within=SMALL, told=memory.told) for each in memory.SETS),
    *SEARCHES,
    *map(among_a_million, SEARCHES),
]  # fmt: skip
