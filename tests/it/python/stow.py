#!/usr/bin/env python3
"""Stores DICOM files by dicomweb-client over mutual TLS.

usage: stow.py URL CERTIFICATE KEY TRUST FILE...

Prints the store response as DICOM JSON, one line.
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
print(json.dumps(client.store_instances([pydicom.dcmread(file) for file in files]).to_json_dict()))
