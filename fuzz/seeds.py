"""Writes the seeds of the fuzz targets from the project's own test data: seeds.py FOLDER.

Each target gets a folder of small inputs in the form that fuzz/targets describes. They are where a fuzzer starts; what
it found worth keeping is in fuzz/corpus.
"""

import hashlib
import io
import json
import sys
import zlib
from pathlib import Path

import numpy
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from pynetdicom import dimse_messages
from pynetdicom import pdu_primitives as items
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_MOVE, C_STORE
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import build_context

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(sys.argv[1])


def put(target: str, data: bytes) -> None:
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def encoded(data_set: Dataset, implicit: bool, little: bool) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = implicit, little
    write_dataset(out, data_set)
    return out.getvalue()


def small(path: Path) -> Dataset:
    """The head of an instance, with few pixels."""
    data_set = dcmread(path)
    for keyword in ("PixelData", "EncapsulatedDocument"):
        if keyword in data_set and len(data_set[keyword].value) > 64 and not path.match("us/*"):
            data_set[keyword].value = data_set[keyword].value[:64]
    if "ROIContourSequence" in data_set:
        data_set.ROIContourSequence = Sequence(data_set.ROIContourSequence[:1])
        data_set.ROIContourSequence[0].ContourSequence = Sequence(data_set.ROIContourSequence[0].ContourSequence[:1])
    return data_set


def data_sets() -> list[Dataset]:
    studies = ROOT / "test-data/studies"
    names = ["ct/01.dcm", "mr/03.dcm", "sr/01.dcm", "us/01.dcm", "rt/plan.dcm", "rt/dose.dcm", "rt/structures.dcm"]
    return [small(studies / name) for name in names]


def nested() -> Dataset:
    """What the corpus lacks: private sequences, an Original Attributes Sequence, group lengths, empty items, UN."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.SOPClassUID, data_set.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    data_set.PatientID, data_set.PatientName, data_set.AccessionNumber = "4711", "Müller^Eva", "A1"
    data_set.IssuerOfPatientID = "ZZ002"
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-1", "x"
    deep = Dataset()
    deep.ContentSequence = Sequence([item, Dataset()])
    data_set.ContentSequence = Sequence([deep, deep])
    original = Dataset()
    original.ModifiedAttributesSequence = Sequence([item])
    original.ModifyingSystem = "FUZZ"
    data_set.OriginalAttributesSequence = Sequence([original])
    block = data_set.private_block(0x0029, "SEEDS", create=True)
    block.add_new(0x10, "SQ", Sequence([item]))
    block.add_new(0x11, "UN", b"\x01\x02\x03\x04")
    data_set.add_new((0x0008, 0x0000), "UL", 1)
    data_set.BitsAllocated, data_set.Rows, data_set.Columns = 16, 2, 2
    data_set.add_new((0x7FE0, 0x0010), "OW", bytes(range(8)))
    for sequence in (data_set["ContentSequence"], deep["ContentSequence"]):
        sequence.is_undefined_length = True
    return data_set


def of_data_sets() -> None:
    for data_set in [*data_sets(), nested()]:
        encapsulated = data_set.get("PixelData") is not None and data_set["PixelData"].is_undefined_length
        if encapsulated:
            explicit = encoded(data_set, False, True)
            put("scanner", b"\x04" + explicit)
            put("rewriter", b"\x02" + explicit)
            continue
        implicit, explicit = encoded(data_set, True, True), encoded(data_set, False, True)
        big = encoded(data_set, False, False)
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        deflated = deflate.compress(explicit) + deflate.flush()
        for choice, data in enumerate([implicit, explicit, big, deflated, explicit, implicit]):
            put("scanner", bytes([choice]) + data)
        for choice, data in enumerate([implicit, big, implicit]):
            put("transcoder", bytes([choice]) + data)
        for choice, data in enumerate([implicit, explicit]):
            put("rewriter", bytes([choice]) + data)
        if "PixelData" in data_set:
            data_set.PixelData = encapsulate([bytes(10), bytes(6)])
            data_set["PixelData"].VR, data_set["PixelData"].is_undefined_length = "OB", True
            put("scanner", b"\x04" + encoded(data_set, False, True))
            put("rewriter", b"\x02" + encoded(data_set, False, True))
    for name in ("ct/01.dcm", "us/01.dcm"):
        whole = (ROOT / "test-data/studies" / name).read_bytes()
        for cut in (whole[:600], whole[128:600], whole[132:600]):
            put("part10", cut)


def proposals() -> list[A_ASSOCIATE]:
    def of(contexts, more=()):
        primitive = A_ASSOCIATE()
        primitive.application_context_name = "1.2.840.10008.3.1.1.1"
        primitive.calling_ae_title, primitive.called_ae_title = "SENDER", "WEYBRIDGE"
        for number, context in enumerate(contexts):
            context.context_id = 2 * number + 1
        primitive.presentation_context_definition_list = contexts
        length, implementation = items.MaximumLengthNotification(), items.ImplementationClassUIDNotification()
        length.maximum_length_received, implementation.implementation_class_uid = 16384, "1.2.3.4"
        primitive.user_information = [length, implementation, *more]
        return primitive

    ct, implicit, explicit = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
    role = items.SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = ct, True, True
    extended = items.SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = ct, bytes([2, 0, 3, 0, 0, 0])
    common = items.SOPClassCommonExtendedNegotiation()
    common.sop_class_uid, common.service_class_uid = ct, "1.2.840.10008.4.2"
    common.related_general_sop_class_identification = ["1.2.3", "1.2.4"]
    window = items.AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 4
    user = items.UserIdentityNegotiation()
    user.user_identity_type, user.positive_response_requested = 2, True
    user.primary_field, user.secondary_field = b"name", b"passcode"
    return [
        of([build_context("1.2.840.10008.1.1", implicit)]),
        of([build_context(ct, [implicit, explicit]), build_context("1.2.840.10008.1.1", implicit)], [role, extended]),
        of([build_context(ct, [explicit])], [common, window, user]),
        of([build_context(f"1.2.3.{n}", [implicit, explicit]) for n in range(20)]),
    ]


def messages() -> list[bytes]:
    echo, store, find, move = C_ECHO(), C_STORE(), C_FIND(), C_MOVE()
    echo.MessageID, echo.AffectedSOPClassUID = 1, "1.2.840.10008.1.1"
    store.MessageID, store.AffectedSOPClassUID, store.Priority = 2, "1.2.840.10008.5.1.4.1.1.2", 1
    store.AffectedSOPInstanceUID, store.DataSet = "1.2.3.4", io.BytesIO(bytes(range(200)))
    find.MessageID, find.AffectedSOPClassUID, find.Priority = 3, "1.2.840.10008.5.1.4.1.2.2.1", 0
    find.Identifier = io.BytesIO(bytes(20))
    move.MessageID, move.AffectedSOPClassUID, move.Priority = 4, "1.2.840.10008.5.1.4.1.2.2.2", 2
    move.MoveDestination, move.Identifier = "PACS", io.BytesIO(bytes(20))
    streams = []
    for primitive in (echo, store, find, move):
        message = getattr(dimse_messages, f"{type(primitive).__name__}_RQ")()
        message.primitive_to_message(primitive)
        put("command", encoded(message.command_set, True, True))
        stream = b""
        for size in (16384, 60):
            for p_data in message.encode_msg(1, size):
                pdu = P_DATA_TF()
                pdu.from_primitive(p_data)
                stream += pdu.encode()
        streams.append(stream)
    return streams


def of_upper_layer() -> None:
    wire = []
    for primitive in proposals():
        request = A_ASSOCIATE_RQ()
        request.from_primitive(primitive)
        body = request.encode()[6:]
        put("association", b"\x00" + body)
        for choice in (1, 9, 25, 57):
            put("negotiation", bytes([choice]) + body)
        wire.append(request.encode())
        primitive.result = 0
        primitive.presentation_context_definition_results_list = primitive.presentation_context_definition_list
        for context in primitive.presentation_context_definition_results_list:
            context.result, context.transfer_syntax = 0, context.transfer_syntax[:1]
        accept = A_ASSOCIATE_AC()
        accept.from_primitive(primitive)
        put("association", b"\x01" + accept.encode()[6:])
        put("negotiation", b"\x80" + accept.encode()[6:])
    put("association", b"\x02\x00\x01\x01\x01")
    put("association", b"\x03\x00\x00\x02\x02")
    abort = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"
    release = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
    streams = messages()
    for choice in range(8):
        for stream in [*streams, b"".join(streams) + release, wire[0] + streams[0] + abort]:
            put("pdata", bytes([choice]) + stream)


def of_web() -> None:
    part = b"Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.1\r\nContent-Length: 4\r\n\r\nDICM"
    bodies = [
        b"--b\r\n" + part + b"\r\n--b\r\n" + part + b"\r\n--b--\r\n",
        b"preamble\r\n--b \t\r\nContent-Location: /1\r\n\r\nA\r\n--bc\r\nB\r\n\r\n--b--epilogue",
        b"--b\nContent-Type: text/plain\n\nA\n--b\n\n\n--b--\n",
        b"--b\r\n\r\n--b\r\nContent-Encoding: gzip\r\n\r\n--b--",
    ]
    for body in bodies:
        put("multipart", b"b\n" + body)
        put("multipart", b"boundary 1\n" + body.replace(b"--b", b"--boundary 1"))
    reference = {"00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}, "00081155": {"vr": "UI", "Value": ["1.2.3"]}}
    answer = {
        "00081190": {"vr": "UR", "Value": ["https://b.example/studies/1"]},
        "00081199": {"vr": "SQ", "Value": [{**reference, "00081196": {"vr": "US", "Value": [45056]}}]},
        "00081198": {"vr": "SQ", "Value": [{**reference, "00081197": {"vr": "US", "Value": [272]}}]},
        "0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": ["49152"]}}]},
    }
    put("json", json.dumps(answer).encode())
    put("json", b"[null]")
    for data_set in [*data_sets(), nested()]:
        for keyword in ("PixelData",):
            if keyword in data_set:
                del data_set[keyword]
        model = data_set.to_json_dict()
        put("json", json.dumps([model]).encode())
        put("json", json.dumps(model, ensure_ascii=False).encode())
        put("xml", native(data_set))


def native(data_set: Dataset) -> bytes:
    def of(one: Dataset) -> str:
        out = ""
        for element in one:
            out += f'<DicomAttribute tag="{element.tag:08X}" vr="{element.VR}" keyword="{element.keyword}">'
            values = element.value if element.VM > 1 or element.VR == "SQ" else [element.value]
            for number, value in enumerate(values, 1):
                if element.VR == "SQ":
                    out += f'<Item number="{number}">{of(value)}</Item>'
                elif element.VR == "PN":
                    name = f"<Alphabetic><FamilyName>{value.family_name}</FamilyName></Alphabetic>"
                    out += f'<PersonName number="{number}">{name}</PersonName>'
                elif isinstance(value, bytes):
                    out += "<InlineBinary>AAEC</InlineBinary>"
                else:
                    text = str(value).replace("&", "&amp;").replace("<", "&lt;")
                    out += f'<Value number="{number}">{text}</Value>'
            out += "</DicomAttribute>"
        return out

    return f'<?xml version="1.0"?><NativeDicomModel>{of(data_set)}</NativeDicomModel>'.encode()


def of_words() -> None:
    queries = [
        "PatientID=4711&includefield=all&limit=5&offset=2", "00100020=47*&00080020=20200101-20200131&fuzzymatching=true",
        "ModalitiesInStudy=CT%5CMR&includefield=00081030,StudyDescription", "00400275.00401001=x&StudyInstanceUID=1.2,1.3",
    ]
    media = [
        'multipart/related; type="application/dicom"; boundary=abc', 'multipart/related;boundary="a b\\"c";start=x',
        "application/dicom+json; charset=utf-8", "text/html",
    ]
    accepts = ["application/dicom+json", "application/dicom+xml;q=0.9, */*;q=0.1", "application/*", "text/html;q=0"]
    waits = ["120", "Fri, 31 Dec 2027 23:59:59 GMT", "-1", "Tue Nov 14 22:14:20 2023"]
    for choice, texts in enumerate([queries, media, accepts, waits]):
        for text in texts:
            put("headers", bytes([choice]) + text.encode())
    for path in [*ROOT.glob("config/**/*.toml"), *ROOT.glob("test-data/config/*.toml")]:
        text = path.read_text()
        put("config", text.encode())
        put("config", "\n".join(line for line in text.splitlines() if not line.startswith("#")).encode())


def rle(array: numpy.ndarray) -> bytes:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPInstanceUID = "1.2.3"
    data_set.Rows, data_set.Columns, data_set.SamplesPerPixel = 8, 8, 3 if array.ndim == 3 else 1
    data_set.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    data_set.BitsAllocated = data_set.BitsStored = 8 * array.itemsize
    data_set.HighBit, data_set.PixelRepresentation = data_set.BitsStored - 1, 0
    if array.ndim == 3:
        data_set.PlanarConfiguration = 0
    data_set.compress(RLELossless, array, generate_instance_uid=False)
    return next(generate_frames(data_set.PixelData, number_of_frames=1))


def of_pixels() -> None:
    """Small frames as their own encoders write them: RLE by pydicom, JPEG and JPEG 2000 by Pillow."""
    grey, colour = numpy.arange(64, dtype="u1").reshape(8, 8), numpy.arange(192, dtype="u1").reshape(8, 8, 3)
    wide = numpy.arange(64, dtype="<u2").reshape(8, 8) * 997
    put("pixels", bytes([8, 8, 8, 0, 0, 8, 0, 2]) + rle(grey))
    put("pixels", bytes([8, 8, 8, 1, 0, 8, 1, 2]) + rle(colour))
    put("pixels", bytes([8, 8, 8, 0, 1, 16, 0, 2]) + rle(wide))
    put("pixels", bytes([9, 8, 8, 0, 0, 8, 0, 2]) + grey.tobytes())
    for samples, array in enumerate([grey, colour]):
        image = Image.fromarray(array)
        for syntax, form, options in [(0, "JPEG", {"quality": 50}), (1, "JPEG", {"quality": 90, "progressive": False}),
                                      (6, "JPEG2000", {"no_jp2": True}), (7, "JPEG2000", {"no_jp2": True, "irreversible": True})]:
            out = io.BytesIO()
            image.save(out, form, **options)
            put("pixels", bytes([syntax, 8, 8, samples, 0, 8, samples, 2]) + out.getvalue())


of_data_sets()
of_pixels()
of_upper_layer()
of_web()
of_words()
print({folder.name: len(list(folder.iterdir())) for folder in sorted(OUT.iterdir())})
