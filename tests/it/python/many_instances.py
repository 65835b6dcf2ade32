#!/usr/bin/env python3
"""Fills records with copies of their one instance, as years of work would: rows, and sparse segments that hold their blobs.

usage: many_instances.py DATA_DIR COUNT PENDING [PER_STUDY]
"""

import sqlite3
import sys
from pathlib import Path

if len(sys.argv) not in (4, 5):
    sys.exit(__doc__)
data, count, pending = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
PER_STUDY, PER_SEGMENT, EXTENT = int(sys.argv[4]) if len(sys.argv) > 4 else 100, 60_000, 4096
connection = sqlite3.connect(data / "records.db", isolation_level=None)
connection.executescript("PRAGMA foreign_keys = 0; PRAGMA synchronous = off; PRAGMA cache_size = -200000; BEGIN")
(file,) = connection.execute("SELECT file FROM blobs").fetchone()


def copies(table: str, rows: int, changes: dict[str, str]) -> None:
    """Copies of the first row, `n` counting from 1."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changes.get(column, f"template.{column}") for column in columns)
    connection.execute(
        f"WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows}) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM numbers, "
        f"(SELECT * FROM {table} ORDER BY 1 LIMIT 1) AS template"
    )


study, series = f"1 + (n + {PER_STUDY - 1}) / {PER_STUDY}", f"1 + (n + {PER_STUDY - 1}) / {PER_STUDY}"
studies = (count + PER_STUDY - 1) // PER_STUDY
copies("studies", studies, {"id": "n + 1", "uid": "uid || '.' || n", "patient_id": "'T' || n"})
copies("series", studies, {"id": "n + 1", "study": "n + 1", "uid": "uid || '.' || n"})
copies("blobs", count, {"id": "n + 1", "digest": "randomblob(32)", "file": f"{file} - 1 - n / {PER_SEGMENT}", "shared": "1",
                        "offset": f"(n % {PER_SEGMENT}) * {EXTENT}", "length": "3000", "state": "'live'"})
copies("instances", count, {"id": "n + 1", "sop_uid": "sop_uid || '.' || n", "study": study, "series": series,
                            "sha256": "randomblob(32)", "blob": "n + 1", "length": "3000"})
copies("arrivals", count, {"instance": "numbers.n + 1"})
copies("transfers", pending, {"id": "n + 1", "instance": "n + 1", "study": study})
copies("transfers", count - pending, {"id": f"{pending} + n + 1", "instance": f"{pending} + n + 1",
                                      "study": f"1 + (n + {pending} + {PER_STUDY - 1}) / {PER_STUDY}", "state": "'verified'",
                                      "lane": "NULL", "due": "0", "done": "created"})
connection.execute("COMMIT")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
for number in range(count // PER_SEGMENT + 1):
    with open(data / "blobs" / f"{file - 1 - number:016x}.seg", "wb") as segment:
        segment.truncate(PER_SEGMENT * EXTENT)
