#!/usr/bin/env python3
"""Compares pairs of DICOM files: their data sets' bytes, their elements, their pixels.

usage: compare.py LIST      LIST holds one JSON object a line: sent, received (paths)

Prints one JSON object a line: sent, bytes (equal), elements (equal), pixels (equal), differences (a few, tags only).
"""

import json
import sys
from pathlib import Path

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.datadict import dictionary_VR

from dicom_bytes import split

PIXELS = {0x7FE00010, 0x7FE00008, 0x7FE00009}


def is_group_length(tag):
    return tag & 0xFFFF == 0


def words(element, dataset):
    """An element's value in a form that does not depend on how it was encoded."""
    value = element.value
    if element.VR == "SQ":
        return [elements(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).rstrip(b"\0 ")
    if hasattr(value, "original_string"):
        return str(value.original_string).strip(" \0")
    if isinstance(value, str):
        return value.rstrip(" \0")
    if isinstance(value, (list, tuple, pydicom.multival.MultiValue)):
        return [str(getattr(v, "original_string", v)).strip(" \0") for v in value]
    return str(value) if value is not None else ""


def elements(dataset):
    """{tag: comparable value} of a data set; group lengths and trailing padding do not count."""
    found = {}
    for tag in dataset.keys():
        if is_group_length(int(tag)) or int(tag) in PIXELS or int(tag) == 0xFFFCFFFC:
            continue
        try:
            found[int(tag)] = words(dataset[tag], dataset)
        except Exception as error:  # noqa: BLE001 - a value that cannot be read must be equally unreadable
            raw = dataset.get_item(tag)
            value = raw.value if isinstance(raw, RawDataElement) else repr(raw)
            found[int(tag)] = (type(error).__name__, value)
    return found


def flatten(value):
    """One value or a list of one are the same when a VR became UN."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def alike(a, b):
    if flatten(a) == flatten(b) or (not a and not b):
        return True
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return all(alike_items(x, y) for x, y in zip(a, b))
    # A private or unknown element is UN with the same bytes after transcoding to explicit VR.
    as_bytes = [v.encode("latin-1", "replace") if isinstance(v, str) else v for v in (a, b)]
    return as_bytes[0] == as_bytes[1]


def alike_items(x, y):
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(alike(x[tag], y[tag]) for tag in x)
    return x == y


def little(dataset, data, syntax):
    """Pixel data in little-endian order whatever the transfer syntax."""
    if syntax == pydicom.uid.ExplicitVRBigEndian and dataset.get("BitsAllocated", 8) > 8:
        step = dataset.BitsAllocated // 8
        return b"".join(data[i : i + step][::-1] for i in range(0, len(data), step))
    return data


def pixels(path, syntax):
    dataset = pydicom.dcmread(path, force=True)
    for tag in PIXELS:
        if tag in dataset:
            return little(dataset, dataset[tag].value or b"", syntax)
    return None


def compare(sent, received):
    one, two = Path(sent).read_bytes(), Path(received).read_bytes()
    (meta_one, start_one), (meta_two, start_two) = split(one), split(two)
    syntax_one, syntax_two = meta_one.get(0x00020010, ""), meta_two.get(0x00020010, "")
    if one[start_one:] == two[start_two:]:
        return {"bytes": True, "elements": True, "pixels": True, "differences": []}
    a, b = elements(pydicom.dcmread(sent, force=True)), elements(pydicom.dcmread(received, force=True))
    different = sorted(tag for tag in a.keys() | b.keys() if tag not in a or tag not in b or not alike(a[tag], b[tag]))
    x, y = pixels(sent, syntax_one), pixels(received, syntax_two)
    same_pixels = x == y or (x is not None and y is not None and x.rstrip(b"\0") == y.rstrip(b"\0"))
    return {
        "bytes": False,
        "elements": not different,
        "pixels": same_pixels,
        "differences": [f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in different[:8]],
    }


def main():
    for line in Path(sys.argv[1]).read_text().splitlines():
        pair = json.loads(line)
        print(json.dumps({"sent": pair["sent"], **compare(pair["sent"], pair["received"])}), flush=True)


if __name__ == "__main__":
    main()
