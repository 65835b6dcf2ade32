"""Writes small studies of two people whom two sites know by one number, in several transfer syntaxes.

usage: two_people.py FOLDER

Prints one JSON object a line: person, path, sop_class, sop_instance, syntax, study.
"""

import json
import sys
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
SOURCES = ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm"]
NUMBER = "4711"

for number, person in enumerate(["Alpha^Ann", "Beta^Bob"], 1):
    for at, name in enumerate(SOURCES):
        dataset = pydicom.dcmread(TEST_FILES / name)
        # Everything else that carries the number, or one that means nothing elsewhere.
        other, request = Dataset(), Dataset()
        other.PatientID, other.IssuerOfPatientID = NUMBER, "MRN"
        request.AccessionNumber, request.RequestedProcedureID = f"ACC{number}", "RP1"
        dataset.OtherPatientIDsSequence, dataset.RequestAttributesSequence = [other], [request]
        dataset.add_new(0x00101000, "LO", [NUMBER, "0815"])
        dataset.AdmissionID = "V1"
        root = f"2.25.70000000097.{number}"
        dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = person, NUMBER, f"ACC{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = root, f"{root}.1"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{root}.1.{at}"
        path = Path(sys.argv[1]) / f"{number}-{at}.dcm"
        dataset.save_as(path)
        print(json.dumps({
            "person": number,
            "path": str(path),
            "sop_class": dataset.SOPClassUID,
            "sop_instance": dataset.SOPInstanceUID,
            "syntax": dataset.file_meta.TransferSyntaxUID,
            "study": root,
        }))
