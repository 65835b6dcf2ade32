#!/usr/bin/env python3
"""Gives records back the layout that they had before: the rows stay, as far as that layout has a place for them.

usage: older_records.py RECORDS_DB LAYOUT      (closed in good order; LAYOUT is a number from 1)
"""

import os
import sqlite3
import sys
from pathlib import Path

if len(sys.argv) != 3 or not sys.argv[2].isdigit():
    sys.exit(__doc__)
new, layout = Path(sys.argv[1]), int(sys.argv[2])
old = new.with_name("newer.db")
new.rename(old)
migrations = Path(__file__).resolve().parents[3] / "src/records/sqlite"
connection = sqlite3.connect(new, isolation_level=None)
connection.execute("PRAGMA journal_mode = wal")
connection.execute("PRAGMA foreign_keys = 0")
for number in range(1, layout + 1):
    connection.executescript((migrations / f"{number:04}.sql").read_text())
connection.execute("ATTACH ? AS old", [str(old)])
connection.execute("BEGIN")
find = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
for (table,) in connection.execute(find).fetchall():
    columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
    connection.execute(f"DELETE FROM main.{table}")
    connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM old.{table}")
connection.execute("COMMIT")
(application,) = connection.execute("PRAGMA old.application_id").fetchone()
connection.execute(f"PRAGMA main.application_id = {application}")
connection.execute(f"PRAGMA main.user_version = {layout}")
connection.execute("DETACH old")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
os.remove(old)
