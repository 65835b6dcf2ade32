"""Copies every compressed, deflated and big-endian image of pydicom and pydicom-data, each as an instance of its own.

usage: fresh.py FOLDER

Many of them are one image in several syntaxes under one UID; here each has its own. Prints one JSON object a line: path,
sop_class, sop_instance, syntax, name, broken (nobody can decode it).
"""

import json
import sys
import warnings
from pathlib import Path

import pydicom

from frames import FOLDERS, native

warnings.simplefilter("ignore")
MOST_CELLS = 4 << 20  # larger ones are decoded by frames.py alone
NATIVE = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")


def images():
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*.dcm")):
            try:
                dataset = pydicom.dcmread(path)
                syntax = dataset.file_meta.TransferSyntaxUID
                cells = dataset.Rows * dataset.Columns * int(dataset.get("NumberOfFrames") or 1)
                # Of big-endian cells that are no whole words the order is disputed (see the transcoder's own tests).
                plain = syntax in NATIVE and dataset.BitsAllocated in (8, 16)
                compressed = syntax.is_compressed and syntax not in NATIVE
                if (plain or compressed) and dataset.PixelData and cells <= MOST_CELLS:
                    yield path, dataset, syntax
            except Exception:  # noqa: BLE001 - no image
                continue


def main():
    for at, (path, dataset, syntax) in enumerate(images()):
        broken = syntax not in NATIVE and native(path, dataset, syntax)[1] == "nobody"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.70000000098.1.1.{at}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.70000000098.1", "2.25.70000000098.1.1"
        dataset.PatientID = dataset.get("PatientID") or "T98"
        target = Path(sys.argv[1]) / f"fresh-{at}.dcm"
        try:
            dataset.save_as(target)
        except Exception:  # noqa: BLE001 - pydicom cannot write what it could read
            continue
        print(json.dumps({
            "path": str(target),
            "sop_class": dataset.SOPClassUID,
            "sop_instance": dataset.SOPInstanceUID,
            "syntax": syntax,
            "name": path.name,
            "broken": broken,
        }))


if __name__ == "__main__":
    main()
