"""Makes the data sets of the bench, the same each time, and keeps them below target/bench/data."""

import hashlib
import io
import uuid
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

NAMESPACE = uuid.UUID("e7a84ad6-1d67-4cc5-8f0e-3a9d3d6a1c22")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SIDE = 512


def uid(*parts):
    return "2.25." + str(uuid.uuid5(NAMESPACE, "/".join(map(str, parts))).int)


def slice_pixels(series, number):
    """An ellipse of soft tissue with a bright core and Gaussian noise: about half of it compresses away."""
    rng = np.random.default_rng([4711, series, number])
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - SIDE / 2
    inside = (x / 210) ** 2 + (y / 155) ** 2 < 1
    image = np.where(inside, 1040, 20).astype(np.float32)
    image[(x - number % 9) ** 2 + (y - 90) ** 2 < 900] = 1700
    image += rng.standard_normal((SIDE, SIDE), dtype=np.float32) * np.where(inside, 28, 8)
    return np.clip(image, 0, 4095).astype("<u2")


def begin(sop_class, study, series, instance, number):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, instance
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.Modality = "20250310", "101500", "BENCH1", "CT"
    ds.Manufacturer, ds.ReferringPhysicianName, ds.StudyDescription = "Bench", "", "Bench"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Bench^Specimen", "B0000001", "19700101", "O"
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", 1, number
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", SIDE, SIDE
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def write(ds, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def make_ct(folder, scale):
    """One study: 3 series of 400 slices, 0.53 MB each."""
    study = uid("ct")
    for series in range(3):
        for number in range(max(1, round(400 * scale))):
            ds = begin(CT, study, uid("ct", series), uid("ct", series, number), number + 1)
            ds.ImageType, ds.FrameOfReferenceUID = ["ORIGINAL", "PRIMARY", "AXIAL"], uid("ct", "frame")
            ds.ImagePositionPatient, ds.ImageOrientationPatient = [-250, -250, number], [1, 0, 0, 0, 1, 0]
            ds.PixelSpacing, ds.SliceThickness, ds.KVP = [0.97, 0.97], 1, 120
            ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
            ds.PixelData = slice_pixels(series, number).tobytes()
            ds["PixelData"].VR = "OW"
            write(ds, folder / f"{series}" / f"{number:04d}.dcm")


def make_mf(folder, scale):
    """One instance of 1,000 frames, 524 MB."""
    frames = max(1, round(1000 * scale))
    ds = begin(ENHANCED_CT, uid("mf"), uid("mf", "series"), uid("mf", "instance"), 1)
    groups = []
    for number in range(frames):
        position, group = Dataset(), Dataset()
        position.ImagePositionPatient = [-250, -250, number]
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames = Sequence(groups), frames
    ds.PixelData = b"".join(slice_pixels(9, number).tobytes() for number in range(frames))
    ds["PixelData"].VR = "OW"
    write(ds, folder / "0000.dcm")


def little(studies, each, side):
    """A small object of study, instance and frame size, with marks of fixed length in the place of what differs."""
    ds = begin(SECONDARY_CAPTURE, MARK["study"], MARK["series"], MARK["instance"], 1)
    ds.PatientName, ds.PatientID, ds.AccessionNumber, ds.StudyDate = MARK["name"], MARK["id"], MARK["order"], MARK["date"]
    ds.Modality, ds.Rows, ds.Columns = "OT", side, side
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = bytes(side * side)
    ds["PixelData"].VR = "OB"
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    template = out.getvalue()
    for study in range(studies):
        facts = facts_of(study)
        for number in range(each):
            data = template
            for key, value in {**facts, "instance": f"{MARK['instance'][:-13]}{study:07d}{number:06d}"}.items():
                data = data.replace(MARK[key].encode(), value.encode())
            # Every object has pixels of its own.
            yield study, number, data[: -side * side] + (f"{study}.{number}|".encode() * side * side)[: side * side]


MARK = {
    "study": "1.2.826.0.1.3680043.10.1409.71.10000000", "series": "1.2.826.0.1.3680043.10.1409.72.10000000",
    "instance": "1.2.826.0.1.3680043.10.1409.73.10000000000000", "name": "Novak^N0000000", "id": "X0000000",
    "order": "A0000000", "date": "19000101",
}  # fmt: skip


def facts_of(study):
    """What a study of the sets of small objects is searched by."""
    number = f"{study:07d}"
    return {
        "study": MARK["study"][:-7] + number, "series": MARK["series"][:-7] + number, "name": f"Novak^N{number}",
        "id": f"X{number}", "order": f"A{number}",
        "date": f"{2010 + study % 15}{1 + study % 12:02d}{1 + study % 28:02d}",
    }  # fmt: skip


def make_little(folder, studies, each, side):
    for study, number, data in little(studies, each, side):
        path = folder / f"{study // 1000:04d}" / f"{study:07d}-{number:06d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def make_small(folder, scale):
    """50 studies of 100 secondary captures of 64 x 64, about 5 kB each."""
    make_little(folder, max(1, round(50 * scale)), 100, 64)


MAKERS = {"ct": make_ct, "mf": make_mf, "small": make_small}


class DataSet:
    """The files of one set, in order."""

    def __init__(self, root, name, scale):
        self.name, self.folder = name, root / f"{name}-{scale:g}"
        done = self.folder / ".done"
        # Another generator makes another set.
        version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        if not done.exists() or done.read_text() != version:
            print(f"making the data set {name} (scale {scale:g})", flush=True)
            MAKERS[name](self.folder, scale)
            done.write_text(version)
        self.files = sorted(self.folder.rglob("*.dcm"))
        self.instances, self.bytes = len(self.files), sum(path.stat().st_size for path in self.files)
        self.scale = scale
        self.studies = [uid(name)] if name in ("ct", "mf") else sorted({facts_of(self.number(p))["study"] for p in self.files})

    @staticmethod
    def number(path):
        """The number of the study of a small object."""
        return int(path.name[:7])


class Studies:
    """Studies of one little object each, made as they are sent: as files a million of them would take 4 GB."""

    COUNTS = {"idx": 100_000, "million": 1_000_000}
    SIDE = 8

    def __init__(self, name, scale=1.0, instances=None):
        self.name, self.instances = name, instances or max(100, round(self.COUNTS[name] * scale))
        self.bytes = self.instances * len(next(self.objects()))

    def first(self, most):
        """No more of them than somebody can hold; None is everything."""
        return self if most is None or most >= self.instances else Studies(self.name, instances=most)

    def objects(self):
        return (data for _, _, data in little(self.instances, 1, self.SIDE))


def data_set(root, name, scale):
    return Studies(name, scale) if name in Studies.COUNTS else DataSet(root, name, scale)
