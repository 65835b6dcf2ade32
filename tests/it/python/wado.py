#!/usr/bin/env python3
"""Retrieves by dicomweb-client over mutual TLS and compares with files by pydicom.

usage: wado.py URL CERTIFICATE KEY TRUST FILE...

For each study, series and instance among the files: retrieves it, and prints one JSON object a line with what was asked,
how many instances came, their transfer syntaxes, and those whose attributes differ from the file's.
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
sent = {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, files)}


def told(what, came):
    differ = [str(ds.SOPInstanceUID) for ds in came if ds != sent[str(ds.SOPInstanceUID)]]
    syntaxes = sorted({str(ds.file_meta.TransferSyntaxUID) for ds in came})
    print(json.dumps({"what": what, "instances": len(came), "syntaxes": syntaxes, "differ": differ}))


first = next(iter(sent.values()))
study, series = str(first.StudyInstanceUID), str(first.SeriesInstanceUID)
told("study", client.retrieve_study(study))
told("series", client.retrieve_series(study, series))
told("instance", [client.retrieve_instance(study, series, str(first.SOPInstanceUID))])
told("iterated", list(client.iter_study(study)))
