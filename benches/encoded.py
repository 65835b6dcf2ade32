"""C-STORE requests that are encoded before a clock starts and go out under other UIDs, so that one object makes many."""

from sender import Association, encode, read_meta


def requested(server, path):
    """The object's presentation context, its SOP Instance UID, and its request as the server takes it."""
    content = path.read_bytes()
    meta = read_meta(content)
    kind = (meta[0], meta[2])
    return kind, meta[1].decode(), encode(content, meta, 1, greatest(server, kind), 1)


def greatest(server, kind):
    """The greatest PDU that the server takes. Asked once: the answer stays with the server."""
    if not hasattr(server, "greatest_pdu"):
        probe = Association(server.port, server.called, [], None)
        probe.contexts = {1: kind}
        server.greatest_pdu = probe.connect()
        probe.release()
    return server.greatest_pdu


def numbered(request, uids, number):
    """The request's beginning with the last digits of these UIDs replaced; what comes after it is as it was, and so are all lengths."""
    head = bytes(request[:65536])
    for known in map(str.encode, uids):
        if known not in head:
            raise ValueError(f"{known} is not in the request")
        head = head.replace(known, known[:-7] + f"{number:07d}".encode())
    return head
