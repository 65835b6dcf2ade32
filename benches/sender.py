"""A light C-STORE sender: everything is encoded before the clock starts, then it only connects, writes and reads.

Associations are asked for when the clock runs, for a server that takes fewer at a time than are wanted lets the others wait.

usage: sender.py PORT CALLED_AE ASSOCIATIONS FOLDER

One outstanding C-STORE an association. Prints one JSON object: seconds, stored, trouble.
"""

import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path

CALLING = "BENCH"
GREATEST_PDU = 131072


def read_meta(data):
    """SOP class, SOP instance, transfer syntax and where the data set starts."""
    length = struct.unpack_from("<I", data, 140)[0]
    at, end, found = 144, 144 + length, {}
    while at < end:
        element, vr, size = struct.unpack_from("<2xH2sH", data, at)
        head = 8
        if vr in (b"OB", b"UN"):
            size, head = struct.unpack_from("<I", data, at + 8)[0], 12
        found[element] = data[at + head : at + head + size].rstrip(b"\0")
        at += head + size
    return found[2], found[3], found[0x10], end


def item(kind, value):
    return struct.pack(">BxH", kind, len(value)) + value


def associate_request(called, contexts):
    body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), CALLING.ljust(16).encode())
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (sop_class, syntax) in contexts.items():
        body += item(0x20, bytes([number, 0, 0, 0]) + item(0x30, sop_class) + item(0x40, syntax))
    body += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"2.25.7000000000001"))
    return struct.pack(">BxI", 1, len(body)) + body


def accepted(body):
    """Accepted context ids and the peer's greatest PDU."""
    ids, maximum, at = set(), 16384, 68
    while at + 4 <= len(body):
        kind, length = struct.unpack_from(">BxH", body, at)
        value = body[at + 4 : at + 4 + length]
        if kind == 0x21 and value[2] == 0:
            ids.add(value[0])
        if kind == 0x50 and value[0] == 0x51:
            maximum = struct.unpack_from(">I", value, 4)[0] or GREATEST_PDU
        at += 4 + length
    return ids, min(maximum, GREATEST_PDU)


def element(number, value):
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value


def pdu(context, flags, value):
    return struct.pack(">BxIIBB", 4, len(value) + 6, len(value) + 2, context, flags) + value


def encode(data, meta, context, maximum, message):
    """One C-STORE request as the bytes that go over the wire."""
    sop_class, instance, _, start = meta
    command = element(2, sop_class) + element(0x100, b"\1\0") + element(0x110, struct.pack("<H", message))
    command += element(0x700, b"\0\0") + element(0x800, b"\0\0") + element(0x1000, instance)
    command = element(0, struct.pack("<I", len(command))) + command
    pieces, room = [pdu(context, 3, command)], maximum - 6
    for at in range(start, len(data), room):
        pieces.append(pdu(context, 2 if at + room >= len(data) else 0, data[at : at + room]))
    return b"".join(pieces)


class Association(threading.Thread):
    def __init__(self, port, called, files, go):
        super().__init__()
        self.port, self.called, self.files, self.go = port, called, files, go
        self.stored, self.trouble = 0, None

    def read(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return bytes(data)

    def read_pdu(self):
        kind, length = struct.unpack(">BxI", self.read(6))
        return kind, self.read(length)

    def read_status(self):
        kind, body = self.read_pdu()
        if kind != 4:
            raise ConnectionError(f"a PDU of type {kind} in place of an answer")
        command, at = body[6:], 0
        while at + 8 <= len(command):
            number, length = struct.unpack_from("<2xHI", command, at)
            if number == 0x900:
                return struct.unpack_from("<H", command, at + 8)[0]
            at += 8 + length
        raise ConnectionError("an answer without a status")

    def connect(self):
        """The greatest PDU that the server takes."""
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(associate_request(self.called, self.contexts))
        kind, body = self.read_pdu()
        if kind != 2:
            raise ConnectionError(f"the association was answered by a PDU of type {kind}")
        ids, maximum = accepted(body)
        if ids != set(self.contexts):
            raise ConnectionError("a presentation context was refused")
        return maximum

    def release(self):
        self.socket.sendall(struct.pack(">BxII", 5, 4, 0))
        self.read_pdu()
        self.socket.close()

    def prepare(self):
        files = [path.read_bytes() for path in self.files]
        metas = [read_meta(data) for data in files]
        kinds = sorted({(meta[0], meta[2]) for meta in metas})
        self.contexts = {2 * at + 1: kind for at, kind in enumerate(kinds)}
        maximum = self.connect()
        self.release()
        by_kind = {kind: number for number, kind in self.contexts.items()}
        return [
            encode(data, meta, by_kind[meta[0], meta[2]], maximum, at % 60000 + 1)
            for at, (data, meta) in enumerate(zip(files, metas))
        ]

    def run(self):
        messages = []
        try:
            messages = self.prepare()
        except Exception as error:  # noqa: BLE001 - told to the caller below
            self.trouble = repr(error)
        self.go.wait()
        try:
            if messages:
                self.connect()
            for message in messages:
                self.socket.sendall(message)
                status = self.read_status()
                if status != 0:
                    raise ConnectionError(f"status {status:04x}")
                self.stored += 1
            if messages:
                self.release()
        except Exception as error:  # noqa: BLE001
            self.trouble = repr(error)


class Shared:
    """What several threads take from, each what is next."""

    def __init__(self, items):
        self.items, self.lock = iter(items), threading.Lock()

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            return next(self.items)


class Streaming(Association):
    """Encodes while it sends what it takes from where others take too, all of one kind: for filling, where no clock runs."""

    def __init__(self, port, called, objects, go, kind):
        super().__init__(port, called, objects, go)
        self.contexts = {1: kind}

    def prepare(self):
        maximum = self.connect()
        self.release()
        return (encode(data, read_meta(data), 1, maximum, at % 60000 + 1) for at, data in enumerate(self.files))


def main():
    port, called, count, folder = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    files = sorted(folder.rglob("*.dcm"))
    count = min(count, len(files))
    go = threading.Barrier(count + 1)
    threads = [Association(port, called, files[at::count], go) for at in range(count)]
    for thread in threads:
        thread.start()
    go.wait()
    start = time.monotonic()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    trouble = [thread.trouble for thread in threads if thread.trouble]
    stored = sum(thread.stored for thread in threads)
    print(json.dumps({"seconds": seconds, "stored": stored, "trouble": trouble}))


if __name__ == "__main__":
    main()
