#!/usr/bin/env python3
"""Flips each so-manieth byte of an exported ledger; the judge must find each flip. Prints how many were found and which were not.

usage: flip_export.py EXPORT SIZE:ROOT EVERY
"""

import contextlib
import io
import json
import runpy
import sys
import tempfile
from pathlib import Path

JUDGE = Path(__file__).resolve().parents[2] / "judge.py"

if len(sys.argv) != 4:
    sys.exit(__doc__)
export, head, every = Path(sys.argv[1]).read_bytes(), sys.argv[2], int(sys.argv[3])
missed, found = [], 0
with tempfile.NamedTemporaryFile(dir=Path(sys.argv[1]).parent) as file:

    def judged(content: bytes) -> bool:
        """Whether the judge finds it sound."""
        file.seek(0)
        file.truncate()
        file.write(content)
        file.flush()
        sys.argv = ["judge.py", file.name, "--head", head]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                runpy.run_path(str(JUDGE), run_name="__main__")
        except SystemExit as ended:
            return ended.code == 0
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            # A judge that falls over has not believed it.
            return False
        return True

    assert judged(export), "the export is sound before anything is flipped"
    for at in range(0, len(export), every):
        flipped = bytearray(export)
        flipped[at] ^= 1 << (at % 8)
        if judged(bytes(flipped)):
            missed.append({"at": at, "around": export[max(0, at - 20) : at + 20].decode(errors="replace")})
        else:
            found += 1
print(json.dumps({"bytes": len(export), "found": found, "missed": missed[:50]}))
