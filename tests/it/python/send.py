#!/usr/bin/env python3
"""Sends DICOM files by pynetdicom, the data set's bytes exactly as they lie in each file.

usage: send.py PORT CALLED_AE LIST [CALLING_AE]

LIST holds one JSON object a line: path, sop_class, sop_instance, syntax

Prints one JSON object a line: sop_instance, path, status (null when no answer came).
"""

import json
import sys
import time
from io import BytesIO
from pathlib import Path

from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE

from dicom_bytes import split

CONTEXTS = 100  # presentation contexts in one association; the limit is 128


def send(association, context, row, message):
    """One C-STORE with the bytes as they are."""
    data = Path(row["path"]).read_bytes()
    _, start = split(data)
    request = C_STORE()
    request.MessageID, request.Priority = message, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = row["sop_class"], row["sop_instance"]
    body = data[start:]
    request.DataSet = BytesIO(body + b"\0" * (len(body) % 2))
    pause(association)
    if not association.is_established:
        return None
    association.dimse.send_msg(request, context)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return None if answer is None else answer.Status


def pause(association):
    """Pauses the association's own thread, which else may take the answer, as send_c_store() does it. It looks paused for a moment
    in each of its rounds, so that it must look so for a while."""
    association._reactor_checkpoint.clear()
    calm = 0
    while calm < 5 and association.is_established:
        time.sleep(0.001)
        calm = calm + 1 if association._is_paused else 0


def group(rows):
    """Rows in groups whose presentation contexts fit one association."""
    found, keys = [], set()
    for row in rows:
        key = (row["sop_class"], row["syntax"])
        if key not in keys and len(keys) == CONTEXTS:
            yield found, keys
            found, keys = [], set()
        found.append(row)
        keys.add(key)
    if found:
        yield found, keys


def main():
    port, called, listing = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    rows = [json.loads(line) for line in listing.read_text().splitlines()]
    for some, keys in group(rows):
        ae = AE(ae_title=sys.argv[4] if len(sys.argv) > 4 else "SENDER")
        ae.maximum_pdu_size = 65536
        ae.dimse_timeout = ae.acse_timeout = 120
        for sop_class, syntax in sorted(keys):
            ae.add_requested_context(sop_class, syntax)
        association = ae.associate("127.0.0.1", port, ae_title=called)
        if not association.is_established:
            sys.exit("the association was not accepted")
        accepted = {(c.abstract_syntax, c.transfer_syntax[0]): c.context_id for c in association.accepted_contexts}
        for number, row in enumerate(some, 1):
            context = accepted.get((row["sop_class"], row["syntax"]))
            status = None if context is None else send(association, context, row, number)
            print(json.dumps({"path": row["path"], "sop_instance": row["sop_instance"], "status": status}), flush=True)
        association.release()


if __name__ == "__main__":
    main()
