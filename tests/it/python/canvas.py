"""Compares what a viewer drew of slices with the pixels that pydicom reads from the files.

usage: canvas.py DRAWN FILE...      DRAWN holds JSON lines; those with `drawn` are slices as browser/ohif.mjs writes them

Prints one JSON object a slice: study, instance, cells, missing (cells that the canvas did not show in gray), off (the largest
difference in levels of 256), and levels (how many different grays were drawn).
"""

import json
import sys

import numpy
import pydicom

files = {}
for path in sys.argv[2:]:
    dataset = pydicom.dcmread(path)
    files[dataset.SOPInstanceUID] = dataset

for line in open(sys.argv[1], encoding="utf-8"):
    slice_ = json.loads(line)
    if "drawn" not in slice_:
        continue
    dataset = files[slice_["instance"]]
    if not dataset.StudyInstanceUID == slice_["study"]:
        raise SystemExit("a slice of another study was drawn")
    cells = dataset.pixel_array.astype(float) * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    low, high = slice_["range"]
    if "WindowWidth" in dataset:
        # The viewer must have taken the window of the object: PS3.3 C.11.2.1.2 runs from c - w/2 to c - 1 + w/2.
        centre, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
        if (low, high) != (centre - width / 2, centre - 1 + width / 2):
            raise SystemExit(f"the window is {low} to {high}, and not the object's")
    wanted = numpy.clip((cells - low) / (high - low), 0, 1) * 255
    columns, rows = slice_["size"]
    if (rows, columns) != cells.shape:
        raise SystemExit(f"{rows} x {columns} cells were drawn, and not {cells.shape}")
    drawn = numpy.array([numpy.nan if gray is None else gray for gray in slice_["drawn"]]).reshape(rows, columns)
    missing = int(numpy.isnan(drawn).sum())
    print(json.dumps({
        "study": slice_["study"], "instance": slice_["instance"], "cells": int(cells.size), "missing": missing,
        "off": float(numpy.nanmax(numpy.abs(drawn - wanted))), "levels": len(numpy.unique(drawn[~numpy.isnan(drawn)])),
    }))
