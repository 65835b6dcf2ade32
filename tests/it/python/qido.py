#!/usr/bin/env python3
"""Searches by dicomweb-client over mutual TLS and compares with files by pydicom.

usage: qido.py URL CERTIFICATE KEY TRUST FILE...

For each kind of search prints one JSON object a line: what was asked, how many were found, UIDs that are missing or too many,
and the attributes whose values are not those of the files.
"""

import json
import sys

import pydicom
from dicomweb_client.api import DICOMwebClient
from requests import Session

url, certificate, key, trust, *files = sys.argv[1:]
session = Session()
session.cert, session.verify, session.trust_env = (certificate, key), trust, False
client = DICOMwebClient(url, session=session)
sent = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
first = sent[0]
study, series = str(first.StudyInstanceUID), str(first.SeriesInstanceUID)

KEYWORDS = ["PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
            "ReferringPhysicianName", "Modality", "SeriesNumber", "SeriesDescription", "InstanceNumber", "SOPClassUID", "PerformedProcedureStepStartDate",
            "PerformedProcedureStepStartTime", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "TimezoneOffsetFromUTC"]
# What must be told of each level where a file has it (PS3.18 tables 10.6.3-3 to 10.6.3-5); of studies and series the first file says.
REQUIRED = {
    "StudyInstanceUID": ["StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID",
                         "PatientBirthDate", "PatientSex", "StudyID", "TimezoneOffsetFromUTC"],
    "SeriesInstanceUID": ["Modality", "SeriesDescription", "SeriesNumber", "PerformedProcedureStepStartDate",
                          "PerformedProcedureStepStartTime", "TimezoneOffsetFromUTC", "RequestAttributesSequence"],
    "SOPInstanceUID": ["SOPClassUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
                       "TimezoneOffsetFromUTC"],
}
ALWAYS = ["InstanceAvailability", "RetrieveURL"]


def requests(dataset):
    """The numbers of each request, as they are told."""
    items = dataset.get("RequestAttributesSequence", [])
    numbers = [(str(i.get("ScheduledProcedureStepID", "") or ""), str(i.get("RequestedProcedureID", "") or "")) for i in items]
    return [pair for pair in numbers if any(pair)]


def told(what, level, results, expected):
    found = [pydicom.Dataset.from_json(result) for result in results]
    uids = [str(ds[level].value) for ds in found]
    by_uid = {str(ds[level].value): ds for ds in reversed(sent)}
    wrong = [
        keyword
        for ds in found
        for keyword in KEYWORDS
        if keyword in ds and keyword in by_uid[str(ds[level].value)]
        and str(ds[keyword].value or "") != str(by_uid[str(ds[level].value)][keyword].value or "")
    ]
    for ds in found:
        file = by_uid[str(ds[level].value)]
        asked = [keyword for keyword in REQUIRED[level] if keyword != "RequestAttributesSequence" and file.get(keyword) not in (None, "")]
        wrong += [f"{keyword} is missing" for keyword in asked + ALWAYS if ds.get(keyword) in (None, "")]
        if level == "SeriesInstanceUID" and requests(ds) != requests(file):
            wrong.append("RequestAttributesSequence")
    expected = {str(ds[level].value) for ds in expected}
    print(json.dumps({"what": what, "found": len(found), "missing": sorted(expected - set(uids)),
                      "more": sorted(set(uids) - expected) + [uid for uid in set(uids) if uids.count(uid) > 1],
                      "wrong": sorted(set(wrong))}))


of_study = [ds for ds in sent if ds.StudyInstanceUID == study]
of_patient = [ds for ds in sent if ds.PatientID == first.PatientID]
told("studies", "StudyInstanceUID",
     client.search_for_studies(search_filters={"StudyDate": "19000101-"}, get_remaining=True, limit=1), sent)
told("studies of a patient", "StudyInstanceUID",
     client.search_for_studies(search_filters={"PatientID": first.PatientID}), of_patient)
told("studies of a date", "StudyInstanceUID",
     client.search_for_studies(search_filters={"StudyDate": f"{first.StudyDate}-{first.StudyDate}"}),
     [ds for ds in sent if ds.StudyDate == first.StudyDate])
told("series", "SeriesInstanceUID", client.search_for_series(search_filters={"StudyDate": "19000101-"}), sent)
told("series of a study", "SeriesInstanceUID", client.search_for_series(study, fields=["PatientID"]), of_study)
told("instances of a study", "SOPInstanceUID", client.search_for_instances(study, fields=["all"]), of_study)
told("instances of a series", "SOPInstanceUID", client.search_for_instances(study, series),
     [ds for ds in of_study if ds.SeriesInstanceUID == series])
told("instances page by page", "SOPInstanceUID", client.search_for_instances(study, limit=2, get_remaining=True), of_study)
