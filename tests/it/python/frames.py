"""Writes, for every compressed file of pydicom and pydicom-data, its fragments and the pixels that pydicom makes of them.

One line of JSON each: name, transfer syntax, attributes, and the files with the fragments and the native pixels.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import data_store
import numpy
import pydicom
from pydicom.pixels import get_decoder

warnings.simplefilter("ignore")
FOLDERS = [Path(pydicom.__file__).parent / "data" / "test_files", Path(data_store.__file__).parent]
DEFLATED = "1.2.840.10008.1.2.1.99"
DCT = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")


def files():
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            try:
                dataset = pydicom.dcmread(path)
                syntax = dataset.file_meta.TransferSyntaxUID
            except Exception:
                continue
            if syntax.is_compressed and syntax != DEFLATED and "PixelData" in dataset:
                yield path, dataset, syntax


def by_pydicom(dataset, syntax):
    """All frames, by the first of pydicom's decoders that manages; none if none does."""
    for plugin in ("gdcm", "pydicom"):
        decoder = get_decoder(syntax)
        if plugin in decoder.available_plugins:
            try:
                return numpy.stack([frame for frame, _ in decoder.iter_array(dataset, decoding_plugin=plugin, as_rgb=True)])
            except Exception:
                continue
    return None


def by_dcmtk(path):
    """All cells as DCMTK's dcmdjpeg decodes them: it knows 12-bit JPEG."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "native.dcm"
        subprocess.run(["dcmdjpeg", path, out], check=True)
        return pydicom.dcmread(out).PixelData


def native(path, dataset, syntax):
    """All frames in little-endian cells, and who made them; nobody if the file is broken."""
    stack = by_pydicom(dataset, syntax)
    if stack is None and dataset.PixelRepresentation == 1:
        # The attributes say signed and the codestream does not: then its highest bit is the sign.
        dataset.PixelRepresentation = 0
        stack = by_pydicom(dataset, syntax)
        dataset.PixelRepresentation = 1
        if stack is not None:
            spare = dataset.BitsAllocated - dataset.BitsStored
            stack = (stack << spare).astype(f"int{dataset.BitsAllocated}") >> spare
    if stack is not None:
        return stack.astype(stack.dtype.newbyteorder("<")).tobytes(), "pydicom"
    if syntax in DCT:
        return by_dcmtk(path), "dcmtk"
    return b"", "nobody"


def main():
    out = Path(sys.argv[1])
    for at, (path, dataset, syntax) in enumerate(files()):
        pixels, judge = native(path, dataset, syntax)
        (out / f"{at}.fragments").write_bytes(dataset.PixelData)
        (out / f"{at}.native").write_bytes(pixels)
        print(json.dumps({
            "name": path.name,
            "syntax": syntax,
            "rows": dataset.Rows,
            "columns": dataset.Columns,
            "samples": dataset.SamplesPerPixel,
            "bits_allocated": dataset.BitsAllocated,
            "bits_stored": dataset.BitsStored,
            "signed": dataset.PixelRepresentation == 1,
            "photometric": dataset.PhotometricInterpretation,
            "frames": int(dataset.get("NumberOfFrames", 1) or 1),
            "judge": judge,
            "at": at,
        }))


if __name__ == "__main__":
    main()
