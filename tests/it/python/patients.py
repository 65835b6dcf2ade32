"""Writes one small instance for each patient that is described.

usage: patients.py FOLDER PATIENTS

PATIENTS is a JSON list of objects with `uid`, a number, the number of the `series` if it is not the first, and attributes by keyword; an
attribute that is null is left out.
Prints one JSON object a line: path, sop_class, sop_instance, syntax, study.
"""

import json
import sys
from pathlib import Path

import pydicom

SOURCE = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small.dcm"

for described in json.loads(sys.argv[2]):
    dataset = pydicom.dcmread(SOURCE)
    root = f"2.25.70000000098.{described.pop('uid')}"
    at = described.pop("series", 1)
    series = f"{root}.{at}"
    for keyword, value in described.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = root, series
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.1"
    path = Path(sys.argv[1]) / (f"{root}.dcm" if at == 1 else f"{series}.dcm")
    dataset.save_as(path)
    print(json.dumps({
        "path": str(path),
        "sop_class": dataset.SOPClassUID,
        "sop_instance": dataset.SOPInstanceUID,
        "syntax": dataset.file_meta.TransferSyntaxUID,
        "study": root,
    }))
