"""What is measured: each row's set, work, unit, and how many times as fast as the others we are to be."""

from dataclasses import dataclass, field, replace
from typing import Callable

from searches import by_find, by_qido, query
from work import by_get, by_move, by_sender, by_storescu, by_wado
from work import forward, ingest, onward, prior, retrieve


@dataclass
class Row:
    name: str
    set: str
    work: Callable  # work(bench, contender, data, how) -> Measured
    how: object = None
    beside: dict = field(default_factory=dict)  # {contender: (at least, goal), or None where nothing is wanted}
    unit: str = "MB/s"  # or "instances/s", or "ms", where less is better
    smaller: str = ""  # the row that does the same among fewer


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
    Row("stow-tls-ct", "ct", forward, None, {"orthanc": (4, 6)}),
    Row("stow-tls-mf", "mf", forward, None, {"orthanc": (18, 28)}),
    Row("onward-ct", "ct", onward, None, {"orthanc": (4, 6)}),
    Row("onward-small", "small", onward, None, {"orthanc": (2.5, 4)}, "instances/s"),
    Row("move-ct", "ct", retrieve, by_move, {"orthanc": (0.9, 1.1)}),
    Row("move-mf", "mf", retrieve, by_move, {"orthanc": (1.3, 1.7)}),
    Row("get-ct", "ct", retrieve, by_get, {"orthanc": (0.9, 1.1)}),
    Row("get-mf", "mf", retrieve, by_get, {"orthanc": (1.3, 1.7)}),
    Row("wado-ct", "ct", retrieve, by_wado, {"orthanc": (1.0, 1.3)}),
    Row("wado-mf", "mf", retrieve, by_wado, {"orthanc": (3, 5)}),
    Row("prior-ct", "ct", prior, None, {"hops": (1 / 1.2, 1.0)}),
    *SEARCHES,
    *map(among_a_million, SEARCHES),
]  # fmt: skip
