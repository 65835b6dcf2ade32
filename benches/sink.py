"""A sink for uploads: takes PUTs over mutual TLS, appends each body to one file and syncs it before it answers 201.

usage: sink.py PORT FILE BYTES CERTS

BYTES is what the file is to have room for; its blocks are taken before anybody connects. The body goes past the page
cache, as it does in the gateway's store; nothing is hashed, indexed or verified.
"""

import mmap
import os
import socket
import ssl
import sys

PAGE = 4096
LARGEST = 1 << 20  # bytes of one body, at most
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


def context(certs):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.load_cert_chain(f"{certs}/b.crt", f"{certs}/b.key")
    tls.load_verify_locations(f"{certs}/ca.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    return tls


def body_length(head):
    """By the header, of a request that is a PUT."""
    if not head.startswith(b"PUT "):
        raise ValueError(f"not a PUT: {head[:40]!r}")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("no Content-Length")


def serve(connection, file, place):
    """All requests of one connection, one after the other; where the next body goes."""
    buffer = mmap.mmap(-1, LARGEST + PAGE)  # aligned to pages, as O_DIRECT wants it
    view = memoryview(buffer)
    while head := connection.recv(16384):
        while b"\r\n\r\n" not in head:
            head += connection.recv(16384)
        head, _, got = head.partition(b"\r\n\r\n")
        length = body_length(head)
        if length > LARGEST:
            raise ValueError(f"a body of {length} bytes is too large for this sink")
        at = len(got)
        view[:at] = got
        while at < length:
            at += connection.recv_into(view[at:length])
        whole = -(-length // PAGE) * PAGE
        os.pwrite(file, view[:whole], place)
        os.fdatasync(file)
        place += whole
        connection.sendall(ANSWER)
    return place


def main():
    port, path, room, certs = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    file, place, tls = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DIRECT), 0, context(certs)
    os.posix_fallocate(file, 0, room)
    os.fsync(file)
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            plain, _ = listener.accept()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                with tls.wrap_socket(plain, server_side=True) as connection:
                    place = serve(connection, file, place)
            except OSError as error:
                print(f"a connection ended: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
