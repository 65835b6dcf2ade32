"""Finds where the data set of a DICOM file starts, without reading anything of it."""

import struct

LONG = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}


def split(data):
    """File meta as {tag: text} and the offset of the data set; ({}, 0) for a bare data set.

    Walks the elements of group 0002 rather than believing the group length, which some files get wrong.
    """
    if data[128:132] != b"DICM":
        return {}, 0
    at, meta = 132, {}
    while data[at : at + 2] == b"\x02\x00":
        group, element, vr = struct.unpack_from("<HH2s", data, at)
        if vr in LONG:
            size, head = struct.unpack_from("<I", data, at + 8)[0], 12
        else:
            size, head = struct.unpack_from("<H", data, at + 6)[0], 8
        value = data[at + head : at + head + size]
        meta[group << 16 | element] = value.rstrip(b"\0 ").decode("latin-1")
        at += head + size
    return meta, at
