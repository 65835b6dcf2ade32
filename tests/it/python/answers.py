#!/usr/bin/env python3
"""Sends C-STOREs by pynetdicom whose command and data set need not agree, and prints each answer.

usage: answers.py PORT CALLED_AE LIST

LIST holds one JSON object a line: calling, class (of the context), syntax, command_class, instance, path (of the data set)

Prints one JSON object a line: status (null when no answer came), comment, offending ([group, element] or null)
"""

import json
import sys
from io import BytesIO
from pathlib import Path

from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE

from send import pause


def ask(port, called, row):
    """One association and one C-STORE."""
    ae = AE(ae_title=row["calling"])
    ae.dimse_timeout = ae.acse_timeout = 120
    ae.add_requested_context(row["class"], row["syntax"])
    association = ae.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return {"status": None, "comment": "not accepted", "offending": None}
    data = Path(row["path"]).read_bytes()
    request = C_STORE()
    request.MessageID, request.Priority = 1, 0
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = row["command_class"], row["instance"]
    request.DataSet = BytesIO(data)
    pause(association)
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    if answer is None:
        return {"status": None, "comment": "no answer", "offending": None}
    offending = answer.OffendingElement
    if offending is not None:
        tags = offending if isinstance(offending, (list, tuple)) else [offending]
        offending = [int(tags[0]) >> 16, int(tags[0]) & 0xFFFF]
    return {"status": answer.Status, "comment": answer.ErrorComment, "offending": offending}


def main():
    port, called, listing = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    for line in listing.read_text().splitlines():
        print(json.dumps(ask(port, called, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
