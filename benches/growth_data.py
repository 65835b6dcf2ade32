"""Small objects whose UIDs, patients and orders are random but the same each time, so that each hits another page of every index."""

import hashlib
import io
import re
from functools import cache

import pydicom

from data import SECONDARY_CAPTURE, begin

# What differs, in the place of values of the same length.
MARKS = {
    "study": "2.25." + "1" * 39, "series": "2.25." + "2" * 39, "instance": "2.25." + "3" * 39,
    "name": "Novak^NNNNNNNNNNNN", "id": "PPPPPPPPPPPP", "order": "AAAAAAAAAAAA", "date": "19000101",
}  # fmt: skip
LITTLE, SMALL = 8, 64  # sides of the image: objects of 1 kB and of 5 kB


def uid(digest):
    """A UID below 2.25 of 39 digits always, so that every object has one length."""
    return f"2.25.{10**38 + int.from_bytes(digest) % 10**38}"


def digest(*parts):
    return hashlib.blake2b("/".join(map(str, parts)).encode()).digest()


class Scattered:
    """Instances by number, so many a study; another seed makes others."""

    def __init__(self, seed, each=1, side=LITTLE):
        self.seed, self.each, self.side = seed, each, side

    def facts(self, number):
        """The study of that number."""
        made = digest(self.seed, number)
        return {
            "study": uid(made[:16]), "series": uid(made[16:32]), "name": f"Novak^{made[32:38].hex()}",
            "id": made[38:44].hex(), "order": made[44:50].hex(),
            "date": f"{2010 + made[50] % 15}{1 + made[51] % 12:02d}{1 + made[52] % 28:02d}",
        }  # fmt: skip

    def instance(self, number):
        return uid(digest(self.seed, number, "instance")[:16])

    def object(self, number):
        values = {**self.facts(number // self.each), "instance": self.instance(number)}
        pieces, count = template(self.side), self.side * self.side
        # Every other piece is a mark's name.
        head = b"".join(values[piece].encode() if at % 2 else piece for at, piece in enumerate(pieces))
        return head + (f"{self.seed}.{number}|".encode() * count)[:count]

    def objects(self, numbers):
        return (self.object(number) for number in numbers)


@cache
def template(side):
    """An object without its pixels, cut at the marks."""
    ds = begin(SECONDARY_CAPTURE, MARKS["study"], MARKS["series"], MARKS["instance"], 1)
    ds.PatientName, ds.PatientID, ds.AccessionNumber, ds.StudyDate = MARKS["name"], MARKS["id"], MARKS["order"], MARKS["date"]
    ds.Modality, ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = "OT", side, side, 8, 8, 7
    ds.PixelData = bytes(side * side)
    ds["PixelData"].VR = "OB"
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    cut = re.split("|".join(f"({re.escape(mark)})" for mark in MARKS.values()).encode(), out.getvalue()[: -side * side])
    names = {mark.encode(): name for name, mark in MARKS.items()}
    return [names.get(piece, piece) for piece in cut if piece is not None]
