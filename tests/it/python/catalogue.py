"""Writes a small catalogue: three studies of two patients, whose names need character sets.

usage: catalogue.py FOLDER [INSTANCES]

INSTANCES is how many the second study has; 1 by default.

Prints one JSON object a line: path, sop_class, sop_instance, syntax, study, series.
"""

import json
import sys
from pathlib import Path

import pydicom

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
ROOT = "2.25.70000000098"
CT, MR, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
LATIN, KANJI = ("ISO_IR 100", "Müller^Jörg"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう")
MANY = int(sys.argv[2]) if len(sys.argv) > 2 else 1

# study, text, Patient ID, Accession Number, date, time, series: modality, class, instances
STUDIES = [
    (1, LATIN, "P1", "A1", "20250310", "2230", [("CT", CT, 2), ("OT", SC, 1)]),
    (2, LATIN, "P1", "A2", "20250311", "050000.5", [("MR", MR, MANY)]),
    (3, KANJI, "P2", "", "20250401", "1200", [("MR", MR, 1)]),
]


def main():
    for study, (charset, name), patient, accession, date, time, series in STUDIES:
        for at, (modality, sop_class, count) in enumerate(series, 1):
            for number in range(1, count + 1):
                dataset = pydicom.dcmread(TEST_FILES / "MR_small.dcm")
                dataset.SpecificCharacterSet = charset
                dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = name, patient, accession
                dataset.StudyDate, dataset.StudyTime = date, time
                dataset.StudyID, dataset.ReferringPhysicianName = f"S{study}", f"Referrer^{patient}"
                dataset.PatientBirthDate = "19500102" if patient == "P1" else ""
                dataset.PerformedProcedureStepStartDate, dataset.PerformedProcedureStepStartTime = date, f"{7 + at:02}15"
                dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, at, number
                dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
                dataset.StudyInstanceUID = f"{ROOT}.{study}"
                dataset.SeriesInstanceUID = f"{ROOT}.{study}.{at}"
                dataset.SOPInstanceUID = f"{ROOT}.{study}.{at}.{number}"
                dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                path = Path(sys.argv[1]) / f"{study}-{at}-{number}.dcm"
                dataset.save_as(path)
                print(json.dumps({
                    "path": str(path),
                    "sop_class": sop_class,
                    "sop_instance": dataset.SOPInstanceUID,
                    "syntax": dataset.file_meta.TransferSyntaxUID,
                    "study": dataset.StudyInstanceUID,
                    "series": dataset.SeriesInstanceUID,
                }))


main()
