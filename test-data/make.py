#!/usr/bin/env python3
"""Makes the demo studies under test-data/studies, the same bytes each time.

    make.py            writes the files
    make.py --check    writes nothing; fails if a file here differs from what would be written

Every patient, number and value is invented. No clock, no random number and no floating-point
pixel takes part, so the result depends only on the versions pinned in requirements.txt.
"""

import io
import math
import sys
import uuid
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

HERE = Path(__file__).resolve().parent
NAMESPACE = uuid.UUID("6f1d0a52-5d0c-4f39-9a41-7b7a0c2d9e11")

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
STUDY_COMPONENT_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
NHS_NUMBER_AUTHORITY = "2.16.840.1.113883.2.1.4.1"


def uid(name):
    """A fixed UID below 2.25 (PS3.5 section B.2) for a name."""
    return "2.25." + str(uuid.uuid5(NAMESPACE, name).int)


def nhs_number(nine_digits):
    """An NHS number with its check digit; those that start with 999 are reserved for tests."""
    total = sum(int(d) * (10 - i) for i, d in enumerate(nine_digits))
    check = (11 - total % 11) % 11
    assert nine_digits.startswith("999") and check != 10
    return nine_digits + str(check)


PATIENTS = {
    "ct": ("Specimen^Ada", "H0000001", nhs_number("999000001"), "19510304", "F"),
    "mr": ("Specimen^Bertram", "H0000002", nhs_number("999000002"), "19680117", "M"),
    "us": ("Specimen^Zoë", "H0000003", nhs_number("999000003"), "19890923", "F"),
    "rt": ("Specimen^Conrad", "H0000004", nhs_number("999000004"), "19470611", "M"),
    "sr": ("Specimen^Ada", "H0000001", nhs_number("999000001"), "19510304", "F"),
    "pdf": ("Specimen^Doreen", "H0000005", nhs_number("999000005"), "19751230", "F"),
}


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def reference(sop_class, sop_instance):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def other_patient_id(number):
    """The NHS number beside the local one, as Other Patient IDs Sequence carries it."""
    authority = Dataset()
    authority.UniversalEntityID, authority.UniversalEntityIDType = NHS_NUMBER_AUTHORITY, "ISO"
    item = Dataset()
    item.PatientID, item.IssuerOfPatientID, item.TypeOfPatientID = number, "NHS", "TEXT"
    item.IssuerOfPatientIDQualifiersSequence = Sequence([authority])
    return item


def begin(study, series, sop_class, instance, syntax, modality, number=1):
    """The modules that every object here has: patient, study, series, equipment, SOP common."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.ImplementationClassUID = uid("implementation")
    ds.file_meta.ImplementationVersionName = "WB_TEST_DATA"
    name, local_id, nhs, birth, sex = PATIENTS[study]
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid(f"{study}/{series}/{instance}")
    ds.InstanceCreationDate, ds.InstanceCreationTime = "20250310", "101700"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20250310"
    ds.StudyTime, ds.SeriesTime, ds.ContentTime = "101500", "101600", "101700"
    ds.AccessionNumber = "ZZ" + local_id[1:]
    ds.Modality, ds.Manufacturer = modality, "Weybridge test data"
    ds.InstitutionName, ds.ReferringPhysicianName = "Invented General Hospital", "Referrer^Rita"
    ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = "make.py", "1", "1"
    ds.PatientName, ds.PatientID, ds.IssuerOfPatientID = name, local_id, "ZZ001"
    ds.PatientBirthDate, ds.PatientSex = birth, sex
    ds.OtherPatientIDsSequence = Sequence([other_patient_id(nhs)])
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(study), uid(f"{study}/{series}")
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", number, instance
    return ds


def plane(ds, frame_of_reference, z, spacing, thickness):
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = frame_of_reference, ""
    ds.ImagePositionPatient = [-spacing * ds.Columns / 2, -spacing * ds.Rows / 2, z]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [spacing, spacing], thickness


def grey(ds, pixels, stored_bits, signed=False):
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = stored_bits, stored_bits - 1, int(signed)
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds["PixelData"].VR = "OW"


def grid(size):
    """Row and column numbers about the middle."""
    y, x = np.mgrid[0:size, 0:size].astype(np.int64)
    return y - size // 2, x - size // 2


def noise(size, seed, span):
    """A fixed pattern that looks like noise: integers in [0, span)."""
    y, x = np.mgrid[0:size, 0:size].astype(np.uint64)
    mixed = (x * np.uint64(2654435761) + y * np.uint64(40503) + np.uint64(seed * 97)) & np.uint64(0xFFFFFFFF)
    mixed ^= mixed >> np.uint64(13)
    mixed = (mixed * np.uint64(1274126177)) & np.uint64(0xFFFFFFFF)
    return ((mixed >> np.uint64(16)) % np.uint64(span)).astype(np.int64)


def body(size, seed):
    """A slice through an invented body in CT numbers + 1024: skin, two lungs, a spine."""
    y, x = grid(size)
    unit = size // 16
    image = np.full((size, size), 24, dtype=np.int64)
    image[(x * 3) ** 2 + (y * 4) ** 2 < (unit * 20) ** 2] = 1064
    lung = unit * 2 + seed % 3
    for side in (-1, 1):
        image[(x - side * unit * 3) ** 2 + y**2 < lung**2] = 224
    image[x**2 + (y - unit * 3) ** 2 < unit**2] = 1724
    return (image + noise(size, seed, 40)).astype(np.uint16)


def ct_slice(study, number, size, spacing, z, syntax):
    ds = begin(study, "ct", CT, number, syntax, "CT")
    ds.StudyDescription, ds.SeriesDescription, ds.BodyPartExamined = "CT thorax", "Axial 2 mm", "CHEST"
    ds.ImageType, ds.AcquisitionNumber, ds.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], 1, "HFS"
    ds.KVP, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 120, -1024, 1, "HU"
    ds.WindowCenter, ds.WindowWidth = 40, 400
    grey(ds, body(size, number), 12)
    plane(ds, uid(f"{study}/frame"), z, spacing, 2)
    return ds


def ct():
    for number in range(1, 13):
        yield f"ct/{number:02d}.dcm", ct_slice("ct", number, 128, 3.0, number * 2.0, ExplicitVRLittleEndian)


def conflict():
    """The seventh slice's SOP Instance UID with other pixels: what a faulty sender makes of one identity."""
    ds = ct_slice("ct", 7, 128, 3.0, 14.0, ExplicitVRLittleEndian)
    grey(ds, body(128, 107), 12)
    yield "conflict/ct-07-other-pixels.dcm", ds


def mr():
    y, x = grid(128)
    for number in range(1, 5):
        ds = begin("mr", "t2", MR, number, ImplicitVRLittleEndian, "MR")
        ds.StudyDescription, ds.SeriesDescription, ds.BodyPartExamined = "MR head", "T2 axial", "HEAD"
        ds.ImageType, ds.AcquisitionNumber, ds.PatientPosition = ["ORIGINAL", "PRIMARY", "M"], 1, "HFS"
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "SK", "", "2D"
        ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength, ds.MagneticFieldStrength = 4000, 98, 1, 1.5
        image = np.where(x**2 + y**2 < 56**2, 400 + 3 * (x + y), 12)
        image[(np.abs(x) - 10) ** 2 + y**2 < (6 + number) ** 2] = 1500
        grey(ds, (image + noise(128, number, 30)).astype(np.uint16), 12)
        plane(ds, uid("mr/frame"), number * 5.0, 1.8, 5)
        yield f"mr/{number:02d}.dcm", ds


def beating_heart(frame):
    """One colour frame: a fan, a ring that opens and shuts, a red jet."""
    y, x = np.mgrid[0:120, 0:160].astype(np.int64)
    fan = (np.abs(x - 80) * 5 < (y + 8) * 4) & (((x - 80) ** 2 + y**2) < 112**2)
    speckle = noise(160, frame + 50, 60)[:120, :]
    image = np.where(fan, 30 + speckle, 0)
    distance = (x - 80) ** 2 + (y - 66) ** 2
    radius = 20 + 3 * abs(2 - frame)
    image = np.where((distance > radius**2) & (distance < (radius + 6) ** 2), 190, image)
    rgb = np.stack([image] * 3, axis=-1)
    rgb[(np.abs(x - 80) < 4) & (np.abs(y - 66) < 10 + frame), :] = (220, 40, 30)
    return rgb.astype(np.uint8)


def jpeg(rgb):
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=85, subsampling="4:2:2", optimize=False)
    return out.getvalue()


def us():
    frames = [jpeg(beating_heart(frame)) for frame in range(5)]
    ds = begin("us", "cine", US_MULTIFRAME, 1, JPEGBaseline8Bit, "US")
    ds.StudyDescription, ds.SeriesDescription, ds.BodyPartExamined = "Echocardiogram", "Four chamber", "HEART"
    ds.ImageType, ds.PatientOrientation = ["DERIVED", "PRIMARY", "TTE", "0011"], ""
    ds.NumberOfFrames, ds.FrameIncrementPointer, ds.FrameTime = 5, 0x00181063, 40
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    ds.Rows, ds.Columns, ds.PixelRepresentation = 120, 160, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    ds.LossyImageCompressionRatio = round(5 * 120 * 160 * 3 / sum(map(len, frames)), 1)
    ds.DerivationDescription = "Compressed by JPEG baseline, quality 85"
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    yield "us/01.dcm", ds


def circle(radius, z, points=24):
    """A closed contour's coordinates, millimetres, two decimals."""
    turns = (2 * math.pi * i / points for i in range(points))
    return [f"{value:.2f}" for t in turns for value in (radius * math.cos(t), radius * math.sin(t), z)]


def structure_set(slices):
    ds = begin("rt", "structures", RT_STRUCTURE_SET, 1, ImplicitVRLittleEndian, "RTSTRUCT", number=2)
    ds.SeriesDescription, ds.StructureSetLabel = "Contours", "PROSTATE"
    ds.StructureSetDate, ds.StructureSetTime, ds.OperatorsName = "20250310", "103000", "Planner^Pat"
    images = [reference(CT, s.SOPInstanceUID) for s in slices]
    series = Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = slices[0].SeriesInstanceUID, Sequence(images)
    study = reference(STUDY_COMPONENT_MANAGEMENT, slices[0].StudyInstanceUID)
    study.RTReferencedSeriesSequence = Sequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = uid("rt/frame"), Sequence([study])
    ds.ReferencedFrameOfReferenceSequence = Sequence([frame])
    regions = [("BODY", 60, "EXTERNAL", [0, 255, 0]), ("PTV", 18, "PTV", [255, 0, 0]), ("RECTUM", 9, "ORGAN", [160, 80, 0])]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (name, radius, kind, colour) in enumerate(regions, 1):
        roi = Dataset()
        roi.ROINumber, roi.ReferencedFrameOfReferenceUID = number, uid("rt/frame")
        roi.ROIName, roi.ROIGenerationAlgorithm = name, "MANUAL"
        ds.StructureSetROISequence.append(roi)
        contours = Dataset()
        contours.ROIDisplayColor, contours.ReferencedROINumber, contours.ContourSequence = colour, number, []
        for s in slices:
            contour = Dataset()
            contour.ContourImageSequence = Sequence([reference(CT, s.SOPInstanceUID)])
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 24
            contour.ContourData = circle(radius, float(s.ImagePositionPatient[2]))
            contours.ContourSequence.append(contour)
        ds.ROIContourSequence.append(contours)
        seen = Dataset()
        seen.ObservationNumber, seen.ReferencedROINumber = number, number
        seen.RTROIInterpretedType, seen.ROIInterpreter = kind, ""
        ds.RTROIObservationsSequence.append(seen)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid("rt/frame"), ""
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


def beam(number, gantry):
    jaws = []
    for kind in ("ASYMX", "ASYMY"):
        jaw = Dataset()
        jaw.RTBeamLimitingDeviceType, jaw.NumberOfLeafJawPairs = kind, 1
        jaws.append(jaw)
    first, last = Dataset(), Dataset()
    positions = []
    for kind in ("ASYMX", "ASYMY"):
        position = Dataset()
        position.RTBeamLimitingDeviceType, position.LeafJawPositions = kind, [-40, 40]
        positions.append(position)
    first.ControlPointIndex, first.CumulativeMetersetWeight, first.NominalBeamEnergy = 0, 0, 6
    first.BeamLimitingDevicePositionSequence = Sequence(positions)
    first.GantryAngle, first.GantryRotationDirection = gantry, "NONE"
    first.BeamLimitingDeviceAngle, first.BeamLimitingDeviceRotationDirection = 0, "NONE"
    first.PatientSupportAngle, first.PatientSupportRotationDirection = 0, "NONE"
    first.TableTopEccentricAngle, first.TableTopEccentricRotationDirection = 0, "NONE"
    first.TableTopVerticalPosition = first.TableTopLongitudinalPosition = first.TableTopLateralPosition = None
    first.IsocenterPosition = [0, 0, 4]
    last.ControlPointIndex, last.CumulativeMetersetWeight = 1, 1
    item = Dataset()
    item.BeamNumber, item.BeamName, item.BeamType, item.RadiationType = number, f"Field {number}", "STATIC", "PHOTON"
    item.TreatmentMachineName, item.PrimaryDosimeterUnit, item.SourceAxisDistance = "LINAC1", "MU", 1000
    item.BeamLimitingDeviceSequence = Sequence(jaws)
    item.TreatmentDeliveryType, item.NumberOfWedges, item.NumberOfCompensators = "TREATMENT", 0, 0
    item.NumberOfBoli, item.NumberOfBlocks, item.FinalCumulativeMetersetWeight = 0, 0, 1
    item.NumberOfControlPoints, item.ControlPointSequence = 2, Sequence([first, last])
    item.ReferencedPatientSetupNumber = 1
    return item


def plan(structures):
    ds = begin("rt", "plan", RT_PLAN, 1, ImplicitVRLittleEndian, "RTPLAN", number=3)
    ds.SeriesDescription, ds.RTPlanLabel, ds.RTPlanGeometry = "Plan", "FOUR FIELD", "PATIENT"
    ds.RTPlanDate, ds.RTPlanTime, ds.OperatorsName = "20250310", "104500", "Planner^Pat"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid("rt/frame"), ""
    ds.BeamSequence = Sequence([beam(i + 1, i * 90) for i in range(4)])
    doses = []
    for number in range(1, 5):
        dose = Dataset()
        dose.ReferencedBeamNumber, dose.BeamMeterset = number, 75
        doses.append(dose)
    group = Dataset()
    group.FractionGroupNumber, group.NumberOfFractionsPlanned = 1, 20
    group.NumberOfBeams, group.NumberOfBrachyApplicationSetups = 4, 0
    group.ReferencedBeamSequence = Sequence(doses)
    ds.FractionGroupSequence = Sequence([group])
    setup = Dataset()
    setup.PatientSetupNumber, setup.PatientPosition = 1, "HFS"
    ds.PatientSetupSequence = Sequence([setup])
    ds.ReferencedStructureSetSequence = Sequence([reference(RT_STRUCTURE_SET, structures.SOPInstanceUID)])
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


def dose(the_plan, structures):
    ds = begin("rt", "dose", RT_DOSE, 1, ImplicitVRLittleEndian, "RTDOSE", number=4)
    ds.SeriesDescription, ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "Dose", "GY", "PHYSICAL", "PLAN"
    y, x = grid(32)
    fall = np.clip(60_000 - 180 * (x**2 + y**2), 0, None)
    volume = np.stack([fall * weight // 4 for weight in (3, 4, 4, 3)]).astype(np.uint32)
    ds.NumberOfFrames, ds.FrameIncrementPointer, ds.GridFrameOffsetVector = 4, 0x3004000C, [0, 2, 4, 6]
    ds.DoseGridScaling, ds.ImageType = 0.001, ["DERIVED", "PRIMARY", "AXIAL"]
    grey(ds, volume, 32)
    plane(ds, uid("rt/frame"), 2.0, 4.0, 2)
    ds.ReferencedRTPlanSequence = Sequence([reference(RT_PLAN, the_plan.SOPInstanceUID)])
    ds.ReferencedStructureSetSequence = Sequence([reference(RT_STRUCTURE_SET, structures.SOPInstanceUID)])
    return ds


def rt():
    slices = [ct_slice("rt", n, 64, 4.0, n * 2.0, ImplicitVRLittleEndian) for n in range(1, 5)]
    for ds in slices:
        ds.StudyDescription, ds.SeriesDescription, ds.BodyPartExamined = "Planning", "Planning CT", "PELVIS"
    structures = structure_set(slices)
    the_plan = plan(structures)
    the_dose = dose(the_plan, structures)
    for ds in (structures, the_plan, the_dose):
        ds.StudyDescription = "Planning"
    for ds in (structures, the_plan):
        del ds.ContentDate, ds.ContentTime
    for number, ds in enumerate(slices, 1):
        yield f"rt/ct-{number:02d}.dcm", ds
    yield "rt/structures.dcm", structures
    yield "rt/plan.dcm", the_plan
    yield "rt/dose.dcm", the_dose


def evidence(sop_class, study, series, instance):
    one = Dataset()
    one.SeriesInstanceUID = uid(f"{study}/{series}")
    one.ReferencedSOPSequence = Sequence([reference(sop_class, uid(f"{study}/{series}/{instance}"))])
    whole = Dataset()
    whole.StudyInstanceUID, whole.ReferencedSeriesSequence = uid(study), Sequence([one])
    return whole


def text_item(concept, value):
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", "TEXT", Sequence([concept])
    item.TextValue = value
    return item


def sr():
    ds = begin("sr", "report", COMPREHENSIVE_SR, 1, ExplicitVRLittleEndian, "SR")
    ds.StudyDescription, ds.SeriesDescription = "Report on CT thorax", "Report"
    ds.ReferencedPerformedProcedureStepSequence = Sequence([])
    ds.PerformedProcedureCodeSequence = Sequence([])
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = Sequence([code("18748-4", "LN", "Diagnostic imaging report")])
    language = Dataset()
    language.RelationshipType, language.ValueType = "HAS CONCEPT MOD", "CODE"
    language.ConceptNameCodeSequence = Sequence([code("121049", "DCM", "Language of Content Item and Descendants")])
    language.ConceptCodeSequence = Sequence([code("en-GB", "RFC5646", "English (United Kingdom)")])
    image = Dataset()
    image.RelationshipType, image.ValueType = "CONTAINS", "IMAGE"
    image.ReferencedSOPSequence = Sequence([reference(CT, uid("ct/ct/7"))])
    image.ConceptNameCodeSequence = Sequence([code("121080", "DCM", "Best illustration of finding")])
    ds.ContentSequence = Sequence([
        language,
        text_item(code("121071", "DCM", "Finding"), "The lungs are round. The spine is where it should be."),
        image,
        text_item(code("121077", "DCM", "Conclusion"), "An invented patient in invented health."),
    ])
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence([evidence(CT, "ct", "ct", 7)])
    yield "sr/01.dcm", ds


def letter(lines):
    """A one-page PDF, written by hand so that it holds no date and no producer."""
    text = "\n".join(f"({line}) Tj T*" for line in lines)
    stream = f"BT /F1 14 Tf 72 740 Td 20 TL\n{text}\nET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = "%PDF-1.4\n", []
    for number, body_text in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body_text}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return out.encode("ascii")


def pdf():
    page = letter(["Discharge letter", "", "Dear colleague,", "this patient does not exist.", "Yours, R. Referrer"])
    ds = begin("pdf", "letter", ENCAPSULATED_PDF, 1, ExplicitVRLittleEndian, "DOC")
    ds.StudyDescription, ds.SeriesDescription, ds.ConversionType = "Correspondence", "Letter", "WSD"
    ds.AcquisitionDateTime, ds.BurnedInAnnotation = "20250310101700", "YES"
    ds.DocumentTitle, ds.MIMETypeOfEncapsulatedDocument = "Discharge letter", "application/pdf"
    ds.ConceptNameCodeSequence = Sequence([code("18842-5", "LN", "Discharge Summary")])
    ds.EncapsulatedDocumentLength = len(page)
    ds.EncapsulatedDocument = page + b"\0" * (len(page) % 2)
    yield "pdf/01.dcm", ds


def encode(ds):
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def main(arguments):
    check = arguments == ["--check"]
    if arguments and not check:
        sys.exit(__doc__)
    root, wanted, wrong = HERE / "studies", set(), []
    for make in (ct, mr, us, rt, sr, pdf, conflict):
        for name, ds in make():
            path, data = root / name, encode(ds)
            wanted.add(path)
            if check and (not path.is_file() or path.read_bytes() != data):
                wrong.append(name)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    strays = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p not in wanted)
    wrong += [f"{name} (not made by this program)" for name in strays]
    if wrong:
        sys.exit("test-data/studies is not what make.py makes: " + ", ".join(wrong))
    print(f"{len(wanted)} files, {sum(p.stat().st_size for p in wanted)} bytes in {root}")


if __name__ == "__main__":
    main(sys.argv[1:])
