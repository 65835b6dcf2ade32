#!/usr/bin/env python3
"""Retrieves frames and pictures of files that were stored and compares them with what pydicom and Pillow make of the files.

usage: wado_frames.py URL CERTIFICATE KEY TRUST LIST FOLDER

LIST holds one JSON object a line: path, sop_instance, syntax. Prints one JSON object a line: path, syntax, samples, frames, and

  native      the largest difference of a cell of the first and the last frame, each by itself and both as a list; null: refused
  codestream  whether both came as they are stored with transfer-syntax=*; null where nothing is compressed
  picture     the largest difference of a shade of the first frame as PNG; null: refused; and why it was not compared
  smaller     the largest difference of a shade from Pillow's, of the picture in a viewport of half its size
"""

import io
import json
import sys
import warnings
from pathlib import Path

import numpy
import pydicom
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut
from requests import Session

from frames import native

warnings.simplefilter("ignore")
MOST_CELLS = 1 << 20  # larger ones take long to decode where nothing is optimised
BIG = pydicom.uid.ExplicitVRBigEndian
DEFLATED = pydicom.uid.DeflatedExplicitVRLittleEndian


def parts(answer):
    """The contents of a multipart answer."""
    boundary = answer.headers["content-type"].split("boundary=")[1].strip('"').encode()
    pieces = answer.content.split(b"--" + boundary)
    assert pieces[-1].startswith(b"--"), "the closing boundary is there"
    return [piece.split(b"\r\n\r\n", 1)[1][:-2] for piece in pieces[1:-1]]


def cells(path, dataset, syntax):
    """All cells, little endian; none if nobody can decode them."""
    if syntax.is_compressed and syntax != DEFLATED:
        pixels, judge = native(path, dataset, syntax)
        return None if judge == "nobody" else pixels
    words = dataset.BitsAllocated == 16 or dataset["PixelData"].VR == "OW"
    if syntax == BIG and words:
        return numpy.frombuffer(dataset.PixelData, ">u2").astype("<u2").tobytes()
    return dataset.PixelData


def off(dataset, one, other):
    if len(one) != len(other):
        return None
    kind = f"<{'i' if dataset.PixelRepresentation else 'u'}{max(dataset.BitsAllocated // 8, 1)}"
    a, b = (numpy.frombuffer(data, kind).astype("int64") for data in (one, other))
    return int(abs(a - b).max()) if a.size else 0


def shades(dataset, frame, compressed):
    """The first frame as shades by the object's own window, or what cannot be compared as a text."""
    photometric, samples = dataset.PhotometricInterpretation, dataset.SamplesPerPixel
    shape = (dataset.Rows, dataset.Columns)
    if dataset.BitsAllocated not in (8, 16):
        return f"{dataset.BitsAllocated} bits"
    kind = f"<{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}"
    array = numpy.frombuffer(frame, kind)
    if samples == 3:
        if photometric != "RGB" and not compressed:
            return photometric
        if dataset.BitsAllocated != 8:
            return "colours of 16 bits"
        planar = dataset.get("PlanarConfiguration") == 1 and not compressed
        return array.reshape((3, *shape)).transpose(1, 2, 0) if planar else array.reshape((*shape, 3))
    array = array.reshape(shape)
    spare = dataset.BitsAllocated - dataset.BitsStored
    array = (array << spare).astype(kind) >> spare
    if photometric == "PALETTE COLOR" and dataset.file_meta.get("TransferSyntaxUID") == BIG:
        return "a big-endian palette, of which pydicom makes other colours than of the same in little endian"
    if photometric == "PALETTE COLOR":
        coloured = apply_color_lut(array, dataset)
        top = 255 if coloured.dtype == numpy.uint8 else 65535
        return numpy.rint(coloured / top * 255)
    if any(key in dataset for key in ("ModalityLUTSequence", "PerFrameFunctionalGroupsSequence")):
        return "its transformation is elsewhere"
    values = array * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    first = lambda value: float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)  # noqa: E731
    if dataset.get("WindowCenter") not in (None, "") and first(dataset.WindowWidth) >= 1:
        if dataset.get("VOILUTFunction", "LINEAR") != "LINEAR":
            return "another function"
        center, width = first(dataset.WindowCenter), first(dataset.WindowWidth)
        share = (values - (center - 0.5)) / (width - 1) + 0.5 if width > 1 else (values > center - 0.5).astype(float)
    elif "VOILUTSequence" in dataset:
        return "a table"
    else:
        low, high = values.min(), values.max()
        share = (values - low) / (high - low) if high > low else values * 0
    shade = numpy.floor(share.clip(0, 1) * 255 + 0.5)
    return 255 - shade if photometric == "MONOCHROME1" else shade


def pictures(session, location, dataset, frame, compressed):
    answer = session.get(f"{location}/rendered", headers={"Accept": "image/png"})
    if answer.status_code != 200:
        return {"picture": None, "why": f"status {answer.status_code}"}
    image = Image.open(io.BytesIO(answer.content))
    wanted = None if frame is None else shades(dataset, frame, compressed)
    if wanted is None or isinstance(wanted, str):
        return {"picture": None, "why": wanted or "nobody decodes it"}
    told = {"picture": int(abs(numpy.asarray(image).astype(float) - wanted).max()), "why": None}
    size = (max(image.width // 2, 1), max(image.height // 2, 1))
    answer = session.get(f"{location}/rendered?viewport={size[0]},{size[1]}", headers={"Accept": "image/png"})
    smaller = Image.open(io.BytesIO(answer.content))
    by_pillow = numpy.asarray(image.resize(smaller.size, Image.Resampling.BILINEAR)).astype(float)
    told["smaller"] = int(abs(numpy.asarray(smaller).astype(float) - by_pillow).max())
    assert max(abs(smaller.width - size[0]), abs(smaller.height - size[1])) <= max(size) / min(size), smaller.size
    return told


def main():
    url, certificate, key, trust, listed, _ = sys.argv[1:]
    session = Session()
    session.cert, session.verify, session.trust_env = (certificate, key), trust, False
    for line in Path(listed).read_text().splitlines():
        row = json.loads(line)
        dataset = pydicom.dcmread(row["path"], force=True)
        if "PixelData" not in dataset or "Rows" not in dataset:
            continue
        count = int(dataset.get("NumberOfFrames") or 1)
        if dataset.Rows * dataset.Columns * count > MOST_CELLS:
            continue
        syntax = pydicom.uid.UID(row["syntax"])
        location = (f"{url}/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
                    f"/instances/{row['sop_instance']}")
        compressed = syntax.is_compressed and syntax != DEFLATED
        told = {"path": row["path"], "syntax": syntax, "samples": dataset.SamplesPerPixel, "frames": count,
                "codestream": None, "native": None}
        pixels = cells(row["path"], dataset, syntax)
        bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated
        if dataset.PhotometricInterpretation == "YBR_FULL_422" and not compressed:
            bits = bits * 2 // 3
        length = bits // 8
        first, last = (pixels[:length], pixels[(count - 1) * length:count * length]) if pixels and bits % 8 == 0 else (None, None)
        single = session.get(f"{location}/frames/{count}", headers={"Accept": "application/octet-stream"})
        several = session.get(f"{location}/frames/1,{count}")
        told["status"] = [single.status_code, several.status_code]
        if [single.status_code, several.status_code] == [200, 200] and first is not None:
            got = [off(dataset, one, other)
                   for one, other in zip(parts(several) + [single.content], [first, last, last])]
            told["native"] = None if None in got else max(got)
        if compressed:
            as_is = session.get(f"{location}/frames/1,{count}", headers={
                "Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"})
            kept = list(generate_frames(dataset.PixelData, number_of_frames=count))
            told["codestream"] = as_is.status_code == 200 and parts(as_is) == [kept[0], kept[-1]]
        told |= pictures(session, location, dataset, first, compressed)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
