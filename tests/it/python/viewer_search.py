"""Searches by dicomweb-client as a viewer of this machine, and opens what it finds.

usage: viewer_search.py URL TOKEN PATIENT

For each study of the patient prints one JSON object a line: `study`, and how many `series`, `instances` and `described` instances
(metadata) it has.
"""

import json
import sys

from dicomweb_client.api import DICOMwebClient

url, token, patient = sys.argv[1:]
client = DICOMwebClient(url, headers={"Authorization": f"Bearer {token}"})


def first(result, tag):
    return result[tag]["Value"][0]


for found in client.search_for_studies(search_filters={"PatientID": patient}):
    study = first(found, "0020000D")
    series = client.search_for_series(study)
    instances = [one for of in series for one in client.search_for_instances(study, first(of, "0020000E"))]
    described = [one for of in series for one in client.retrieve_series_metadata(study, first(of, "0020000E"))]
    print(json.dumps({"study": study, "series": len(series), "instances": len(instances), "described": len(described)}))
