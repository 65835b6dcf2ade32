#!/usr/bin/env python3
"""Retrieves files that were stored in every form of WADO-RS and compares them with the files, read by pydicom.

usage: wado_forms.py URL CERTIFICATE KEY TRUST LIST FOLDER

LIST holds one JSON object a line: path, sop_instance, syntax. Prints one JSON object a line: path, syntax, and

  stored    whether it came back byte for byte with transfer-syntax=*; null for syntaxes that do not travel by web
  native    the status without it, null where that would take long; received is then the file that came, in FOLDER
  metadata  the tags whose value differs, and how many were compared
  bulk      the links in the metadata that gave other bytes than the file has, alone or with all bulk data of the instance, and how many were followed
"""

import base64
import json
import sys
import warnings
from pathlib import Path

import numpy
import pydicom
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from requests import Session

from dicom_bytes import split
from fresh import MOST_CELLS

warnings.simplefilter("ignore")
NEVER = (ImplicitVRLittleEndian, ExplicitVRBigEndian, "1.2.840.113619.5.2", "1.2.840.10008.1.20")
BYTES = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")


def numbers(entry, values):
    """Equal as numbers; a text where it is no number."""
    said = entry.get("Value", [])
    if len(said) != len(values):
        return False
    for one, other in zip(said, values):
        if isinstance(one, (int, float)):
            # FL is written with the digits that lead back to it, not those of the number that a double makes of it.
            same = numpy.float32(one) == numpy.float32(other) if entry["vr"] == "FL" else float(one) == float(other)
            if not same:
                return False
        elif one is None:
            if str(other) != "":
                return False
        elif one in ("NaN", "inf", "-inf"):
            if str(float(other)) != one.lower():
                return False
        elif one.strip() != str(getattr(other, "original_string", other)).strip():
            return False
    return True


def texts(vr, value):
    if value is None or value == "":
        return []
    if vr in ("LT", "ST", "UT", "UR"):
        return [str(value).rstrip(" \0")]
    values = list(value) if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    return [str(one).strip(" \0") for one in values]


def name(entry):
    groups = [entry.get(key, "") for key in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(groups).rstrip("=")


def differ(dataset, metadata, at=""):
    """The tags whose values differ, and how many were compared."""
    wrong, compared = [], 0
    for tag in dataset.keys():
        if tag.group <= 2 or tag.element == 0 or tag == 0x00080005:
            continue
        key = f"{tag.group:04X}{tag.element:04X}"
        entry = metadata.get(key)
        if entry is None:
            wrong.append(at + key + " is missing")
            continue
        try:
            element = dataset[tag]
            value = element.value
        except Exception:  # noqa: BLE001 - pydicom cannot say what it is
            continue
        if "BulkDataURI" in entry:
            continue
        compared += 1
        vr, same = entry["vr"], True
        if vr == "SQ" or element.VR == "SQ":
            items = entry.get("Value", [])
            same = vr == element.VR and len(items) == len(value)
            for number, (item, inner) in enumerate(zip(items, value), 1):
                more, count = differ(inner, item, f"{at}{key}/{number}/")
                wrong += more
                compared += count
        elif vr in BYTES:
            same = base64.b64decode(entry.get("InlineBinary", "")) == (value or b"") or element.VR not in BYTES
        elif vr == "PN":
            values = [] if not value else list(value) if isinstance(value, pydicom.multival.MultiValue) else [value]
            said = [name(one or {}) for one in entry.get("Value", [])]
            same = said == ["=".join(p.rstrip(" ") for p in str(one).split("=")).rstrip("=") for one in values]
        elif vr == "AT":
            values = [] if value is None else [value] if isinstance(value, int) else list(value)
            same = entry.get("Value", []) == [f"{int(one):08X}" for one in values]
        elif vr in ("DS", "IS", "FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"):
            values = [] if value is None or value == "" else list(value) if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
            same = numbers(entry, values)
        else:
            same = [one or "" for one in entry.get("Value", [])] == texts(vr, value)
        if not same:
            wrong.append(f"{at}{key} {vr}/{element.VR}")
    more = [key for key in metadata if int(key, 16) not in dataset and key != "00080005"]
    return wrong + [f"{at}{key} is too much" for key in more], compared


def links(metadata, at=()):
    for key, entry in metadata.items():
        if "BulkDataURI" in entry:
            yield at + (int(key, 16),), entry["BulkDataURI"]
        for number, item in enumerate(entry.get("Value", []) if entry["vr"] == "SQ" else []):
            yield from links(item, at + (int(key, 16), number))


def fragments(value):
    """The fragments without the Basic Offset Table and what divides them."""
    out, at = [], 0
    while at + 8 <= len(value) and value[at:at + 4] == b"\xfe\xff\x00\xe0":
        length = int.from_bytes(value[at + 4:at + 8], "little")
        out.append(value[at + 8:at + 8 + length])
        at += 8 + length
    return b"".join(out[1:])


def parts(answer):
    """The bytes of a multipart body by location; those of several parts under one location together."""
    found = {}
    boundary = answer.headers["Content-Type"].split("boundary=")[1].strip('"').encode()
    for part in answer.content.split(b"--" + boundary)[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        location = [line.split(b": ", 1)[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-location")][0]
        found[location.decode()] = found.get(location.decode(), b"") + data[:-2]
    return found


def follow(session, dataset, metadata, base, location, syntax):
    """The links whose bytes differ, and how many were followed."""
    wrong, followed, seen = [], 0, set()
    compressed = syntax not in NEVER + (ExplicitVRLittleEndian, "1.2.840.10008.1.2.1.99")
    as_stored = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
    answer = session.get(f"{location}/bulkdata", headers=as_stored)
    together = parts(answer) if answer.status_code == 200 else {}
    for path, link in links(metadata):
        element = dataset
        for step in path:
            element = element[step] if isinstance(element, pydicom.Dataset) else element.value[step]
        seen.add(link)
        if not isinstance(element.value, bytes):
            continue
        want, accept = element.value, {"Accept": "application/octet-stream"}
        if path == (0x7FE00010,) and compressed:
            want, accept = fragments(want), as_stored
        elif path == (0x7FE00010,) and element.VR == "OW" and syntax in ("1.2.840.10008.1.2.2", "1.2.840.113619.5.2"):
            want = numpy.frombuffer(want, ">u2").astype("<u2").tobytes()
        followed += 1
        answer = session.get(base + link[link.index("/dicom-web") + len("/dicom-web"):], headers=accept)
        came = b"".join(parts(answer).values()) if accept is as_stored and answer.status_code == 200 else answer.content
        if answer.status_code != 200 or came != want:
            wrong.append(f"{link}: {answer.status_code}, {len(came)} bytes for {len(want)}")
        if together.get(link) != want:
            wrong.append(f"{link}: {len(together.get(link, b''))} bytes with all bulk data for {len(want)}")
    if seen != set(together):
        wrong.append(f"all bulk data has {len(together)} locations for {len(seen)} links")
    return wrong, followed


def slow(dataset, syntax):
    """Larger compressed images are decoded by frames.py alone."""
    # Some say "1A".
    frames = str(dataset.get("NumberOfFrames") or 1)
    cells = dataset.get("Rows", 0) * dataset.get("Columns", 0) * (int(frames) if frames.isdigit() else 1)
    return pydicom.uid.UID(syntax).is_compressed and cells > MOST_CELLS


def place(session, url, dataset, instance):
    """Where an instance is to be had; by a search, where pydicom does not read so far."""
    named = [dataset.get(word) for word in ("StudyInstanceUID", "SeriesInstanceUID")]
    if not all(named):
        found = session.get(f"{url}/instances", params={"SOPInstanceUID": instance}).json()[0]
        named = [found[tag]["Value"][0] for tag in ("0020000D", "0020000E")]
    return f"{url}/studies/{named[0]}/series/{named[1]}/instances/{instance}"


def main():
    url, certificate, key, trust, listed, folder, *bytes_only = sys.argv[1:]
    session = Session()
    session.cert, session.verify, session.trust_env = (certificate, key), trust, False
    for at, line in enumerate(Path(listed).read_text().splitlines()):
        row = json.loads(line)
        data = Path(row["path"]).read_bytes()
        dataset = pydicom.dcmread(row["path"], force=True)
        location = place(session, url, dataset, row["sop_instance"])
        syntax = row["syntax"]
        told = {"path": row["path"], "syntax": syntax, "stored": None}
        if syntax not in NEVER:
            as_stored = session.get(location, headers={"Accept": "application/dicom; transfer-syntax=*"})
            body = data[split(data)[1]:]
            body += b"\0" * (len(body) % 2)
            told["stored"] = as_stored.status_code == 200 and as_stored.content[split(as_stored.content)[1]:] == body
        if bytes_only:
            print(json.dumps(told), flush=True)
            continue
        told["native"], told["received"] = None, None
        native = None if slow(dataset, syntax) else session.get(location, headers={"Accept": "application/dicom"})
        if native is not None:
            told["native"] = native.status_code
        if told["native"] == 200:
            received = Path(folder) / f"native-{at}.dcm"
            received.write_bytes(native.content)
            told["received"] = str(received)
            told["received_as"] = pydicom.dcmread(received, stop_before_pixels=True).file_meta.TransferSyntaxUID
            told["pixels"] = "PixelData" in dataset
        answer = session.get(f"{location}/metadata")
        if answer.status_code == 200:
            metadata = answer.json()[0]
            told["metadata"], told["compared"] = differ(dataset, metadata)
            told["bulk"], told["followed"] = follow(session, dataset, metadata, url, location, syntax)
        else:
            told["metadata"] = [f"status {answer.status_code}"]
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
