"""Runs a statement on a file of records while a gateway has it open, and prints each row as JSON: on_records.py FILE SQL."""

import json
import sqlite3
import sys

path, sql = sys.argv[1:]
with sqlite3.connect(path, timeout=30) as records:
    for row in records.execute(sql):
        print(json.dumps(row))
