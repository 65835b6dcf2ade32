"""Ten million instances by rows: what stands in the records of a site at rest is copied, with other UIDs, patients and digests.

They have no entries in the ledger, and their blobs are holes in files that take no room: the ledger does not verify afterwards, and none of
them can be sent. By C-STORE so many would take more than an hour, and some 80 GB.
"""

import shutil
import sqlite3
import time

from growth_data import digest

PER_SEGMENT, EXTENT, AT_ONCE = 60_000, 4096, 20_000
BYTES = 2600  # of records.db for each


class Copier:
    """Copies of one row, with what differs."""

    def __init__(self, connection, table, changed, where="true"):
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        model = connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {where} LIMIT 1").fetchone()
        self.connection, self.rows, self.row = connection, [], list(model)
        self.model = dict(zip(columns, model))
        self.at = [columns.index(name) for name in changed]
        self.sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"

    def add(self, *values):
        row = self.row.copy()
        for at, value in zip(self.at, values):
            row[at] = value
        self.rows.append(row)

    def write(self):
        self.connection.executemany(self.sql, self.rows)
        self.rows.clear()


class Copies:
    """Whole instances, each of a study of its own."""

    def __init__(self, connection, kind, first):
        self.kind, self.first = kind, first

        def one(sql):
            return connection.execute(sql).fetchone()[0]

        self.last = {table: one(f"SELECT max(id) FROM {table}") for table in ("studies", "series", "instances", "blobs", "transfers")}
        self.file = one("SELECT min(file) FROM blobs WHERE shared = 1") - 1
        # What waits lies neither first nor last in the queue: those places belong to what can be sent.
        self.since = one("SELECT created FROM transfers WHERE state = 'pending' ORDER BY created LIMIT 1 OFFSET "
                         "(SELECT count(*) / 2 FROM transfers WHERE state = 'pending')")  # fmt: skip
        number = one("SELECT study FROM instances WHERE state = 'stored' ORDER BY id LIMIT 1")
        self.studies = Copier(
            connection, "studies", ["id", "uid", "patient_id", "accession_number", "study_date", "attributes"], f"id = {number}"
        )
        self.series = Copier(connection, "series", ["id", "study", "uid", "attributes"], f"study = {number}")
        self.blobs = Copier(connection, "blobs", ["id", "digest", "file", "offset"], "shared = 1")
        self.instances = Copier(
            connection, "instances", ["id", "sop_uid", "study", "series", "sha256", "blob", "unrouted", "attributes"], f"study = {number}"
        )
        self.arrivals = Copier(connection, "arrivals", ["instance"], f"instance = {self.instances.model['id']}")
        self.transfers = Copier(connection, "transfers", ["id", "instance", "study", "created", "entry"], "state = 'pending'")
        self.tables = [self.studies, self.series, self.blobs, self.instances, self.arrivals, self.transfers]

    def add(self, number):
        facts, sop, made = self.kind.facts(number), self.kind.instance(number), digest("blob", number)
        nth = number - self.first + 1
        ids = {table: last + nth for table, last in self.last.items()}
        model = self.studies.model
        told = model["attributes"]
        pairs = [
            (model["uid"], facts["study"]), (model["patient_id"], facts["id"]), (model["accession_number"], facts["order"]),
            (self.name(told), facts["name"]), (f'"00080020":"{model["study_date"]}"', f'"00080020":"{facts["date"]}"'),
        ]  # fmt: skip
        for was, now in pairs:
            told = told.replace(was, now)
        self.studies.add(ids["studies"], facts["study"], facts["id"], facts["order"], facts["date"], told)
        series = self.series.model
        self.series.add(ids["series"], ids["studies"], facts["series"], series["attributes"].replace(series["uid"], facts["series"]))
        self.blobs.add(ids["blobs"], made[:32], self.file - nth // PER_SEGMENT, nth % PER_SEGMENT * EXTENT)
        instance, waits = self.instances.model, number % 10 == 0
        attributes = instance["attributes"].replace(instance["sop_uid"], sop)
        self.instances.add(ids["instances"], sop, ids["studies"], ids["series"], made[:32], ids["blobs"], int(not waits), attributes)
        self.arrivals.add(ids["instances"])
        if waits:
            self.transfers.add(ids["transfers"], ids["instances"], ids["studies"], self.since, made[32:48])

    @staticmethod
    def name(attributes):
        return attributes.split('"00100010":"')[1].split('"')[0]

    def write(self):
        for table in self.tables:
            table.write()


def fill_by_rows(data, kind, first, end):
    """The records and the sparse segments of a site at rest, from instance `first` up to `end`."""
    if (end - first) * BYTES > shutil.disk_usage(data).free:
        raise SystemExit(f"not enough room in {data} for the rows of {end} instances")
    begun = time.monotonic()
    connection = sqlite3.connect(data / "records.db", isolation_level=None)
    # Nothing is to survive a crash here.
    settings = "PRAGMA foreign_keys = 0; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; "
    connection.executescript(settings + "BEGIN")
    copies = Copies(connection, kind, first)
    for number in range(first, end):
        copies.add(number)
        if number % AT_ONCE == 0:
            copies.write()
        if number % 1_000_000 == 0:
            print(f"{number} rows, {time.monotonic() - begun:.0f} s", flush=True)
    copies.write()
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    # No longer than what lies in them: the janitor moves blobs out of segments that are mostly dead.
    places = end - first + 1
    for nth in range(-(-places // PER_SEGMENT)):
        with open(data / "blobs" / f"{copies.file - nth:016x}.seg", "wb") as segment:
            segment.truncate(min(PER_SEGMENT, places - nth * PER_SEGMENT) * EXTENT)
    print(f"filled with {end - first} by rows in {time.monotonic() - begun:.0f} s", flush=True)
