#!/usr/bin/env python3
"""Uses all that dicomweb-client knows of WADO-RS and compares with the files by pydicom.

usage: wado_client.py URL CERTIFICATE KEY TRUST FILE...

Prints one JSON object a line: what was asked, and what came of it.
"""

import io
import json
import sys

import pydicom
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from requests import Session

url, certificate, key, trust, *files = sys.argv[1:]
session = Session()
session.cert, session.verify, session.trust_env = (certificate, key), trust, False
client = DICOMwebClient(url, session=session)
sent = {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, files)}
first = next(iter(sent.values()))
uid = (str(first.StudyInstanceUID), str(first.SeriesInstanceUID), str(first.SOPInstanceUID))


def told(what, good):
    print(json.dumps({"what": what, "good": bool(good)}), flush=True)


def here(link):
    """The client leaves the port out of its Host header, of which links are made."""
    return url + link.split("/dicom-web", 1)[1]


def same(metadata):
    """Every attribute but the pixels."""
    for one in metadata:
        own = sent[one["00080018"]["Value"][0]]
        pixels = client.retrieve_bulkdata(here(one.pop("7FE00010")["BulkDataURI"]))[0]
        ds = pydicom.Dataset.from_json(one)
        for element in own:
            if element.tag.group > 2 and element.keyword not in ("PixelData", "SpecificCharacterSet") and ds[element.tag] != element:
                return False
        if pixels != own.PixelData:
            return False
    return len({one["00080018"]["Value"][0] for one in metadata}) == len(metadata)


def picture(data, kind):
    image = Image.open(io.BytesIO(data))
    return image.format == kind and image.size == (first.Columns, first.Rows)


told("study metadata", same(client.retrieve_study_metadata(uid[0])) and len(client.retrieve_study_metadata(uid[0])) == len(sent))
told("series metadata", same(client.retrieve_series_metadata(*uid[:2])))
told("instance metadata", same([client.retrieve_instance_metadata(*uid)]))
frame = client.retrieve_instance_frames(*uid, frame_numbers=[1])
told("frame", frame == [first.PixelData[: first.Rows * first.Columns * first.BitsAllocated // 8 * first.SamplesPerPixel]])
told("iterated frames", list(client.iter_instance_frames(*uid, frame_numbers=[1])) == frame)
told("rendered instance", picture(client.retrieve_instance_rendered(*uid, media_types=("image/png",)), "PNG"))
told("rendered instance, JPEG", picture(client.retrieve_instance_rendered(*uid, media_types=("image/jpeg",), params={"quality": 70}), "JPEG"))
told("rendered frame", picture(client.retrieve_instance_frames_rendered(*uid, frame_numbers=[1], media_types=("image/png",)), "PNG"))
link = client.retrieve_instance_metadata(*uid)["7FE00010"]["BulkDataURI"]
link = here(link)
told("bulk data", client.retrieve_bulkdata(link) == [first.PixelData])
# It asks for parts even then, and of those a range is not served: all of it comes.
told("bulk data, a range of parts", client.retrieve_bulkdata(link, media_types=("application/octet-stream",), byte_range=(10, 99)) == [first.PixelData])
