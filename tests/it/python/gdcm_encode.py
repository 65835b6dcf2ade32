"""Encodes the image of a DICOM file without loss by GDCM: SOURCE, then pairs of a process (j2k or jpeg) and a target."""

import sys

import gdcm

PROCESSES = {"j2k": gdcm.TransferSyntax.JPEG2000Lossless, "jpeg": gdcm.TransferSyntax.JPEGLosslessProcess14_1}


def encode(source, process, target):
    reader = gdcm.ImageReader()
    reader.SetFileName(source)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(PROCESSES[process]))
    writer = gdcm.ImageWriter()
    writer.SetFileName(target)
    if not reader.Read():
        raise SystemExit(f"cannot read {source}")
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise SystemExit(f"cannot encode {source} as {process}")
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise SystemExit(f"cannot write {target}")


source, *pairs = sys.argv[1:]
for process, target in zip(pairs[::2], pairs[1::2]):
    encode(source, process, target)
