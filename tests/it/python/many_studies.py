#!/usr/bin/env python3
"""Gives records many studies more, each a copy of the first one that they hold, of one series and one instance; and as many instances more
to the first series of that one.

usage: many_studies.py RECORDS_DB COUNT ROOT      (closed in good order; the UIDs of study n begin with ROOT.n, of instances more with ROOT.0)
"""

import sqlite3
import sys

if len(sys.argv) != 4 or not sys.argv[2].isdigit():
    sys.exit(__doc__)
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
count, root = int(sys.argv[2]), sys.argv[3]
connection.execute("PRAGMA foreign_keys = 0")
connection.execute("BEGIN")


def copies(table, model, changed):
    """As many copies of one row, with what differs."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    chosen = ", ".join(changed.get(column, f"m.{column}") for column in columns)
    connection.execute(
        "WITH RECURSIVE counted(nth) AS (VALUES (1) UNION ALL SELECT nth + 1 FROM counted WHERE nth < ?1) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM counted, (SELECT * FROM {table} WHERE {model}) AS m "
        "WHERE ?2 <> ''",
        (count, root),
    )


def one(sql):
    return connection.execute(sql).fetchone()[0]


last = {table: one(f"SELECT max(id) FROM {table}") for table in ("studies", "series", "instances")}
ids = {table: f"{top} + nth" for table, top in last.items()}
instance = one("SELECT min(id) FROM instances WHERE state = 'stored'")
study, series = connection.execute("SELECT study, series FROM instances WHERE id = ?", (instance,)).fetchone()
study_uid, series_uid, instance_uid = (f"?2 || '.' || nth{more}" for more in ("", " || '.1'", " || '.1.1'"))


def told(tag, uid):
    return f"""json_replace(m.attributes, '$."{tag}"', {uid})"""


copies("studies", f"id = {study}", {"id": ids["studies"], "uid": study_uid, "attributes": told("0020000D", study_uid)})
copies("series", f"id = {series}", {
    "id": ids["series"], "study": ids["studies"], "uid": series_uid, "attributes": told("0020000E", series_uid)})
copies("instances", f"id = {instance}", {
    "id": ids["instances"], "study": ids["studies"], "series": ids["series"], "sop_uid": instance_uid,
    "attributes": told("00080018", instance_uid)})
copies("arrivals", f"instance = {instance}", {"instance": ids["instances"]})
more, more_uid = f"{last['instances'] + count} + nth", "?2 || '.0.' || nth"
copies("instances", f"id = {instance}", {"id": more, "sop_uid": more_uid, "attributes": told("00080018", more_uid)})
copies("arrivals", f"instance = {instance}", {"instance": more})
connection.execute("COMMIT")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
