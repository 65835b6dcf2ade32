#!/usr/bin/env python3
"""Retrieves frames and pictures of files that were stored and compares them with what pydicom and Pillow make of the files.

usage: wado_frames.py URL CERTIFICATE KEY TRUST LIST FOLDER

LIST holds one JSON object a line: path, sop_instance, syntax. Prints one JSON object a line: path, syntax, samples, frames, and

  native      the largest difference of a cell of the first and the last frame, each by itself and both as a list; null: refused
  codestream  whether both came as they are stored with transfer-syntax=*; null where nothing is compressed
  picture     the largest difference of a shade of the first frame as PNG; null: refused; and why it was not compared
  windowed    the same in a window that is asked for, of a shade of gray
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
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from requests import Session

from frames import native

warnings.simplefilter("ignore")
MOST_CELLS = 1 << 20  # larger ones take long to decode where nothing is optimised
BIG = pydicom.uid.ExplicitVRBigEndian
PROJECTIONS = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2")  # X-ray angiography, radiofluoroscopy
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


def settled(dataset):
    """What counts for the look of the first frame: by its functional groups, by the shared ones, or by the data set."""
    flat = pydicom.Dataset()
    for keyword in ("BitsStored", "PixelRepresentation", "PhotometricInterpretation", "ModalityLUTSequence", "VOILUTSequence"):
        if dataset.get(keyword) not in (None, ""):
            flat[keyword] = dataset[keyword]
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or [pydicom.Dataset()]
    shared = dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    for groups in (dataset, shared[0], frames[0]):
        macros = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
        for source in [dataset] if groups is dataset else [groups[macro].value[0] for macro in macros if groups.get(macro)]:
            for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction"):
                if source.get(keyword) not in (None, "") and (keyword, source.get(keyword)) != ("RescaleSlope", 0):
                    flat[keyword] = source[keyword]
    # What leads back to the intensities of X-rays is not for display (PS3.3 section C.8.7.1.1.2).
    intensities = dataset.get("PixelIntensityRelationship") in ("LOG", "DISP")
    if intensities and dataset.get("SOPClassUID") in PROJECTIONS and "ModalityLUTSequence" in flat:
        del flat.ModalityLUTSequence
    if "RescaleSlope" in flat or "RescaleIntercept" in flat:
        flat.RescaleSlope, flat.RescaleIntercept = flat.get("RescaleSlope", 1), flat.get("RescaleIntercept", 0)
    return flat


def unpadded(dataset, array, values):
    """The values that are no padding; all of them if there are no others (PS3.3 section C.7.5.1.1.2)."""
    if dataset.get("PixelPaddingValue") is None:
        return values
    given = [int(dataset.get(f"PixelPadding{name}", dataset.PixelPaddingValue)) for name in ("Value", "RangeLimit")]
    ends, spare = numpy.array([end & 0xFFFF for end in given], "<u2"), max(16 - dataset.BitsStored, 0)
    ends = ((ends << spare).astype("<i2" if dataset.PixelRepresentation else "<u2") >> spare).astype("int64")
    left = values[(array < ends.min()) | (array > ends.max())]
    return left if left.size else values


def windowed(flat, values):
    """The values in the window of the data set, as shares of it, by pydicom."""
    if "ModalityLUTSequence" in flat:
        low, high = 0, 2 ** flat.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    else:
        least = -(2 ** (flat.BitsStored - 1)) if flat.PixelRepresentation else 0
        low, high = (float(end * flat.get("RescaleSlope", 1) + flat.get("RescaleIntercept", 0))
                     for end in (least, least + 2**flat.BitsStored - 1))
    return (apply_windowing(values, flat) - low) / (high - low)


def rgb(y, cb, cr):
    """Full-range colours of ITU-R BT.601 (PS3.3 section C.7.6.3.1.2)."""
    y, cb, cr = y.astype(float), cb - 128.0, cr - 128.0
    colours = numpy.stack([y + 1.402 * cr, y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587, y + 1.772 * cb], axis=-1)
    return numpy.floor(colours.clip(0, 255) + 0.5)


def colours(dataset, array, compressed):
    """Three samples a pixel as colours."""
    photometric, shape = dataset.PhotometricInterpretation, (dataset.Rows, dataset.Columns)
    if photometric == "YBR_FULL_422" and not compressed:
        four = array.reshape((-1, 4))
        y, cb, cr = four[:, :2].reshape(-1), four[:, 2].repeat(2), four[:, 3].repeat(2)
        return rgb(y, cb, cr).reshape((*shape, 3))
    planar = dataset.get("PlanarConfiguration") == 1 and not compressed
    array = array.reshape((3, *shape)).transpose(1, 2, 0) if planar else array.reshape((*shape, 3))
    array = array >> (dataset.BitsStored - 8)
    if compressed or photometric == "RGB":
        return array
    return rgb(*(array[..., sample] for sample in range(3))) if photometric == "YBR_FULL" else photometric


def cells_of(dataset, frame):
    """The stored values of the first frame."""
    if dataset.BitsAllocated == 1:
        return numpy.unpackbits(numpy.frombuffer(frame, "u1"), bitorder="little")
    kind = f"<{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}"
    array = numpy.frombuffer(frame, kind)
    if dataset.SamplesPerPixel == 3:
        return array
    spare = dataset.BitsAllocated - dataset.BitsStored
    return (array << spare).astype(kind) >> spare


def shades(dataset, frame, compressed, window=None):
    """The first frame as shades by the object's own window, or by another; or why it cannot be compared as a text."""
    photometric = dataset.PhotometricInterpretation
    array = cells_of(dataset, frame)
    if dataset.SamplesPerPixel == 3:
        return colours(dataset, array, compressed)
    array = array.reshape((dataset.Rows, dataset.Columns))
    if photometric == "PALETTE COLOR" and dataset.file_meta.get("TransferSyntaxUID") == BIG:
        return "a big-endian palette, of which pydicom makes other colours than of the same in little endian"
    if photometric == "PALETTE COLOR":
        coloured = apply_color_lut(array, dataset)
        top = 255 if coloured.dtype == numpy.uint8 else 65535
        return numpy.rint(coloured / top * 255)
    if dataset.BitsAllocated == 1:
        shade = array * 255
        return 255 - shade if photometric == "MONOCHROME1" else shade
    flat = settled(dataset)
    values = apply_modality_lut(array, flat)
    first = lambda value: float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)  # noqa: E731
    if window:
        flat.WindowCenter, flat.WindowWidth, flat.VOILUTFunction = window
    function = flat.get("VOILUTFunction", "LINEAR")
    width = first(flat.WindowWidth) if "WindowCenter" in flat and "WindowWidth" in flat else 0
    seen = unpadded(dataset, array, values)
    low, high = float(seen.min()), float(seen.max())
    if width >= 1 or width > 0 and function != "LINEAR":
        share = windowed(flat, values)
    elif "VOILUTSequence" in flat:
        share = apply_voi(numpy.rint(values).astype("int64"), flat) / (2 ** flat.VOILUTSequence[0].LUTDescriptor[2] - 1)
    else:
        share = (values - low) / (high - low) if high > low else values * 0.0
    shade = numpy.floor(share.clip(0, 1) * 255 + 0.5)
    return 255 - shade if photometric == "MONOCHROME1" else shade


def a_window(dataset, frame, number):
    """A window in the middle of the frame, with each function in turn; none for what has no shades of gray."""
    if dataset.SamplesPerPixel != 1 or dataset.BitsAllocated == 1 or not dataset.PhotometricInterpretation.startswith("MONO"):
        return None
    values = apply_modality_lut(cells_of(dataset, frame), settled(dataset))
    low, high = float(values.min()), float(values.max())
    return round(low + (high - low) * 0.4), max(round((high - low) / 2), 2), ("LINEAR", "LINEAR_EXACT", "SIGMOID")[number % 3]


def pictures(session, location, dataset, frame, compressed, number):
    answer = session.get(f"{location}/rendered", headers={"Accept": "image/png"})
    if answer.status_code != 200:
        return {"picture": None, "why": f"status {answer.status_code}"}
    image = Image.open(io.BytesIO(answer.content))
    wanted = None if frame is None else shades(dataset, frame, compressed)
    if wanted is None or isinstance(wanted, str):
        return {"picture": None, "why": wanted or "nobody decodes it"}
    told = {"picture": int(abs(numpy.asarray(image).astype(float) - wanted).max()), "why": None}
    told["windowed"] = None
    if window := a_window(dataset, frame, number):
        center, width, function = window
        wish = f"window={center},{width},{function.lower().replace('_', '-')}"
        answer = session.get(f"{location}/rendered?{wish}", headers={"Accept": "image/png"})
        got = numpy.asarray(Image.open(io.BytesIO(answer.content))).astype(float)
        told["windowed"] = int(abs(got - shades(dataset, frame, compressed, window)).max())
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
    for number, line in enumerate(Path(listed).read_text().splitlines()):
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
        told |= pictures(session, location, dataset, first, compressed, number)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
