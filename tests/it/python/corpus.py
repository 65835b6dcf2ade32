#!/usr/bin/env python3
"""Lists the DICOM files of pydicom, pydicom-data and a folder, one JSON object a line, with what identifies each.

usage: corpus.py RADIOTHERAPY_FOLDER
"""

import hashlib
import json
import sys
from pathlib import Path

import pydicom
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_bytes import split

NOT_DICOM = {".py", ".pyc", ".json", ".txt", ".md", ".csv", ".icc", ".dump", ".gz", ".xml", ".sqlite"}


def guess(data):
    """The transfer syntax of a bare data set."""
    if data[:1] == b"\0" and data[1:2] != b"\0":
        return ExplicitVRBigEndian
    return ExplicitVRLittleEndian if data[4:6].isalpha() else ImplicitVRLittleEndian


def facts(name, path):
    data = path.read_bytes()
    meta, start = split(data)
    try:
        head = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    except Exception:  # noqa: BLE001 - a file that pydicom cannot read is a fact about it
        head = pydicom.Dataset()
    text = lambda keyword: str(head.get(keyword) or "")  # noqa: E731
    return {
        "name": name,
        "path": str(path),
        "sop_class": text("SOPClassUID") or meta.get(0x00020002, ""),
        "sop_instance": text("SOPInstanceUID") or meta.get(0x00020003, ""),
        "study": text("StudyInstanceUID"),
        "series": text("SeriesInstanceUID"),
        "syntax": meta.get(0x00020010) or str(guess(data[start:])),
        "meta": bool(meta),
        # A data set of odd length is padded on the wire (PS3.5 section 7.1.1; PS3.8 annex E).
        "sha256": hashlib.sha256(data[start:] + b"\0" * (len(data[start:]) % 2)).hexdigest(),
    }


def main():
    package = Path(pydicom.__file__).parent
    roots = [
        ("pydicom", package / "data"),
        ("pydicom-data", package.parent / "data_store"),
        ("dicompyler-core", Path(sys.argv[1])),
    ]
    for label, root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix not in NOT_DICOM and path.name != "README":
                print(json.dumps(facts(f"{label}/{path.relative_to(root)}", path)))


if __name__ == "__main__":
    main()
