"""Compares the pixels of two files, each decoded by pydicom or DCMTK, and lists what describes them.

usage: same_pixels.py LIST      LIST holds one JSON object a line: sent, received (paths)

Prints one JSON object a line: sent, syntax of both, off (the largest difference), and what the received file says.
"""

import json
import sys
from pathlib import Path

import numpy
import pydicom

from frames import native


def cells(path):
    dataset = pydicom.dcmread(path)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax != pydicom.uid.DeflatedExplicitVRLittleEndian:
        pixels, _ = native(path, dataset, syntax)
    else:
        pixels = dataset.PixelData
        # The words of OW are turned round, whatever the size of a cell (PS3.5 section 7.3).
        words = dataset.BitsAllocated == 16 or dataset["PixelData"].VR == "OW"
        if syntax == pydicom.uid.ExplicitVRBigEndian and words:
            pixels = numpy.frombuffer(pixels, ">u2").astype("<u2").tobytes()
    kind = f"<{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}"
    count = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * int(dataset.get("NumberOfFrames", 1) or 1)
    return dataset, syntax, numpy.frombuffer(pixels[: count * dataset.BitsAllocated // 8], kind).astype("int64")


for line in Path(sys.argv[1]).read_text().splitlines():
    pair = json.loads(line)
    (one, syntax_one, a), (two, syntax_two, b) = cells(pair["sent"]), cells(pair["received"])
    print(json.dumps({
        "sent": pair["sent"],
        "stored_as": syntax_one,
        "received_as": syntax_two,
        "off": int(abs(a - b).max()) if a.shape == b.shape else None,
        "photometric": [one.PhotometricInterpretation, two.PhotometricInterpretation],
        "planar": two.get("PlanarConfiguration"),
        "samples": two.SamplesPerPixel,
        "lossy": [one.get("LossyImageCompression"), two.get("LossyImageCompression")],
        "method": [str(one.get("LossyImageCompressionMethod")), str(two.get("LossyImageCompressionMethod"))],
    }), flush=True)
