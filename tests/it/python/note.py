"""Writes a Key Object Selection, a rejection note say.

usage: note.py FILE JSON

JSON is an object: uid, study, patient, code, meaning, named (a list of study, series, sop_class, sop_instance), and if wanted bytes, by
which it is made longer with private data.
"""

import json
import sys

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
said = json.loads(sys.argv[2])


def item(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def evidence():
    """The named instances by study and series."""
    studies = {}
    for one in said["named"]:
        reference = item(ReferencedSOPClassUID=one["sop_class"], ReferencedSOPInstanceUID=one["sop_instance"])
        studies.setdefault(one["study"], {}).setdefault(one["series"], []).append(reference)
    for study, series in studies.items():
        listed = [item(SeriesInstanceUID=uid, ReferencedSOPSequence=all) for uid, all in series.items()]
        yield item(StudyInstanceUID=study, ReferencedSeriesSequence=listed)


title = item(CodeValue=said["code"], CodingSchemeDesignator="DCM", CodeMeaning=said.get("meaning", "title"))
note = item(
    SOPClassUID=KEY_OBJECT_SELECTION, SOPInstanceUID=said["uid"], StudyInstanceUID=said["study"],
    SeriesInstanceUID=said["uid"] + ".9", Modality="KO", PatientID=said.get("patient", "P1"), PatientName="Note^Of",
    StudyDate="20250310", StudyTime="2230", SeriesNumber=99, InstanceNumber=1, ValueType="CONTAINER",
    ConceptNameCodeSequence=[title], ContinuityOfContent="SEPARATE",
    CurrentRequestedProcedureEvidenceSequence=list(evidence()),
)
if "bytes" in said:
    note.add_new(0x00110010, "LO", "WEYBRIDGE TESTS")
    note.add_new(0x00111001, "OB", b"\0" * said["bytes"])
note.file_meta = FileMetaDataset()
note.file_meta.MediaStorageSOPClassUID = KEY_OBJECT_SELECTION
note.file_meta.MediaStorageSOPInstanceUID = said["uid"]
note.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
note.save_as(sys.argv[1], enforce_file_format=True)
