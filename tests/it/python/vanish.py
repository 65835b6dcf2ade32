#!/usr/bin/env python3
"""Passes connections on. Once one has carried so many bytes up, one end of it hears nothing more, as if its power had failed.

usage: vanish.py PORT UPSTREAM BYTES near|far

The kernel drops all that comes for that end: nothing is acknowledged, refused or closed. `near` is the end towards who calls, `far`
that towards UPSTREAM. It happens once, and is printed; later connections are passed on whole.
"""

import ctypes
import socket
import struct
import sys
import threading

if len(sys.argv) != 5:
    sys.exit(__doc__)
port, upstream, limit, end = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
SO_ATTACH_FILTER = 26
# BPF_RET | BPF_K, 0: of each packet nothing is kept.
NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
left, lock = [1], threading.Lock()


def vanish(end: socket.socket) -> None:
    with lock:
        if left[0]:
            left[0] = 0
            end.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(NOTHING)))
            print("vanished", flush=True)


def pump(source: socket.socket, target: socket.socket, gone: socket.socket | None) -> None:
    carried = 0
    while data := source.recv(16 << 10):
        target.sendall(data)
        carried += len(data)
        if gone and carried >= limit:
            vanish(gone)
    target.shutdown(socket.SHUT_WR)


listener = socket.create_server(("127.0.0.1", port))
while True:
    near, _ = listener.accept()
    far = socket.create_connection(("127.0.0.1", upstream))
    threading.Thread(target=pump, args=(near, far, near if end == "near" else far), daemon=True).start()
    threading.Thread(target=pump, args=(far, near, None), daemon=True).start()
