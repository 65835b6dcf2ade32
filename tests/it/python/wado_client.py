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
from requests import HTTPError, Session

url, certificate, key, trust, *files = sys.argv[1:]
session = Session()
session.cert, session.verify, session.trust_env = (certificate, key), trust, False


class Noting:
    """The client, and which of its methods were called."""

    def __init__(self, client):
        self.client, self.called = client, set()

    def __getattr__(self, name):
        self.called.add(name)
        return getattr(self.client, name)


client = Noting(DICOMwebClient(url, session=session))
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


def parts(body):
    """What is in each part of a body; the client gives it as it came, and not the Content-Type with the boundary."""
    line = body.lstrip(b"\r\n").split(b"\r\n", 1)[0]
    return [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in body.split(line)[1:-1]]


def refused(delete, *of):
    """405, and nothing is gone."""
    try:
        delete(*of)
    except HTTPError as error:
        found = {one["00080018"]["Value"][0] for one in client.client.search_for_instances(uid[0])}
        return error.response.status_code == 405 and found == set(sent)
    return False


def are(came, ought):
    """The same data sets, whichever comes first."""
    came = {str(ds.SOPInstanceUID): ds for ds in came}
    return came.keys() == {str(ds.SOPInstanceUID) for ds in ought} and all(came[str(ds.SOPInstanceUID)] == ds for ds in ought)


of_series = [ds for ds in sent.values() if ds.SeriesInstanceUID == uid[1]]
told("study", are(client.retrieve_study(uid[0]), sent.values()))
told("iterated study", are(client.iter_study(uid[0]), sent.values()))
told("series", are(client.retrieve_series(*uid[:2]), of_series))
told("iterated series", are(client.iter_series(*uid[:2]), of_series))
told("instance", are([client.retrieve_instance(*uid)], [first]))
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
told("iterated bulk data", list(client.iter_bulkdata(link)) == [first.PixelData])
pictures = parts(client.retrieve_series_rendered(*uid[:2], media_types=("image/png",)))
told("rendered series", len(pictures) == len(of_series) > 1 and all(picture(one, "PNG") for one in pictures))
names = [tag for tag in client.retrieve_instance_metadata(*uid) if int(tag[:4], 16) % 2 == 0]
told("names", names and all(client.lookup_tag(client.lookup_keyword(tag)) == tag for tag in names))
for delete, of in ((client.delete_study, uid[:1]), (client.delete_series, uid[:2]), (client.delete_instance, uid)):
    told(f"{delete.__name__} is refused", refused(delete, *of))
known = {name for name in dir(DICOMwebClient) if name.split("_")[0] in ("retrieve", "iter", "delete", "lookup")}
told(f"nothing is left out, {known - client.called}", known <= client.called)
