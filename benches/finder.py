"""A light client of C-FIND and QIDO-RS: one association or connection, requests encoded by hand, each answer timed to its end."""

import http.client
import json
import socket
import struct
import time

from sender import accepted, associate_request, element, pdu

STUDY_ROOT_FIND = b"1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT_LE = b"1.2.840.10008.1.2"
KEYS = {
    "StudyDate": 0x00080020, "AccessionNumber": 0x00080050, "QueryRetrieveLevel": 0x00080052,
    "PatientName": 0x00100010, "PatientID": 0x00100020, "StudyInstanceUID": 0x0020000D,
}  # fmt: skip


class Dimse:
    """One association."""

    def __init__(self, port, called):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 16)
        self.socket.sendall(associate_request(called, {1: (STUDY_ROOT_FIND, IMPLICIT_LE)}))
        kind, body = self.pdu()
        if kind != 2 or accepted(body)[0] != {1}:
            raise ConnectionError("C-FIND was not accepted")
        self.message = 0

    def pdu(self):
        kind, length = struct.unpack(">BxI", self.file.read(6))
        return kind, self.file.read(length)

    def find(self, keys):
        """Seconds and the number of matches."""
        asked = {**dict.fromkeys(KEYS, ""), **keys, "QueryRetrieveLevel": "STUDY"}
        identifier = b""
        for name, tag in sorted(KEYS.items(), key=lambda pair: pair[1]):
            value = asked[name].encode()
            value += (b"\0" if name.endswith("UID") else b" ") * (len(value) % 2)
            identifier += struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
        self.message = self.message % 60000 + 1
        command = element(2, STUDY_ROOT_FIND) + element(0x100, b"\x20\0")
        command += element(0x110, struct.pack("<H", self.message)) + element(0x700, b"\0\0") + element(0x800, b"\1\0")
        command = element(0, struct.pack("<I", len(command))) + command
        start, matches = time.perf_counter(), 0
        self.socket.sendall(pdu(1, 3, command) + pdu(1, 2, identifier))
        while True:
            status = self.status()
            if status not in (0xFF00, 0xFF01):
                break
            matches += 1
        if status != 0:
            raise ConnectionError(f"C-FIND ended with status {status:04x}")
        return time.perf_counter() - start, matches

    def status(self):
        """The next response's status; its identifier is read and dropped."""
        command, told = b"", None
        while True:
            kind, body = self.pdu()
            if kind != 4:
                raise ConnectionError(f"a PDU of type {kind} in place of an answer")
            at = 0
            while at < len(body):
                length, _, flags = struct.unpack_from(">IBB", body, at)
                if flags & 1:
                    command += body[at + 6 : at + 4 + length]
                    if flags & 2:
                        told = fields(command)
                        command = b""
                elif flags & 2:
                    return told[0x900]
                at += 4 + length
            if told and told[0x800] == 0x0101:
                return told[0x900]

    def close(self):
        self.socket.close()


def fields(command):
    found, at = {}, 0
    while at + 8 <= len(command):
        number, length = struct.unpack_from("<2xHI", command, at)
        if length == 2:
            found[number] = struct.unpack_from("<H", command, at + 8)[0]
        at += 8 + length
    return found


class Qido:
    """One connection, kept."""

    def __init__(self, port, root, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self.headers = {"Accept": "application/dicom+json", **(headers or {})}
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.root = root

    def find(self, keys):
        query = "&".join(f"{name}={value.replace('^', '%5E')}" for name, value in keys.items())
        start = time.perf_counter()
        self.connection.request("GET", f"{self.root}/studies?{query}", headers=self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - start
        if answer.status not in (200, 204):
            raise ConnectionError(f"QIDO-RS answered {answer.status}: {body[:200]!r}")
        return seconds, len(json.loads(body)) if body else 0

    def close(self):
        self.connection.close()
