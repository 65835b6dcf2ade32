#!/usr/bin/env python3
"""Sends C-STOREs by pynetdicom, cut into PDUs as no toolkit cuts them, and prints what was answered.

usage: odd_scu.py PORT CALLED_AE LIST

LIST holds one JSON object a line, and each gets an association of its own: manner, class, syntax, and the instances, each with its
sop_instance and the path of its data set. The manner is one of
  bytes    each byte in a fragment and a PDU of its own
  one_pdu  each message in one PDU of many fragments
  shared   all messages in one PDU
  at_once  one message after the other, without waiting for an answer
  aborts   the first message up to the middle of its data set, and A-ABORT

Prints one JSON object a line: manner, statuses (of the answers, in order; null for each that did not come)
"""

import json
import sys
from io import BytesIO
from pathlib import Path

from pynetdicom import AE
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from send import pause


def fragments(row, instance, number, context, longest):
    """The fragments of a C-STORE, each with its context and its message control header."""
    request = C_STORE()
    request.MessageID, request.Priority = number, 0
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = row["class"], instance["sop_instance"]
    request.DataSet = BytesIO(Path(instance["path"]).read_bytes())
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    # It counts the six bytes before each fragment as well.
    return [one for pdu in message.encode_msg(context, longest + 6) for one in pdu.presentation_data_value_list]


def put(association, some):
    """One PDU with these fragments."""
    pdu = P_DATA()
    pdu.presentation_data_value_list.extend(some)
    association.dul.send_pdu(pdu)


def answered(association):
    """The status of the next answer."""
    _, answer = association.dimse.get_msg(block=True)
    return None if answer is None else answer.Status


def send(association, row):
    """Sends all instances of a row in its manner; the statuses of the answers."""
    manner, context = row["manner"], association.accepted_contexts[0].context_id
    longest = 1 if manner == "bytes" else 100
    messages = [fragments(row, one, at, context, longest) for at, one in enumerate(row["instances"], 1)]
    pause(association)
    if manner == "aborts":
        for fragment in messages[0][: len(messages[0]) // 2]:
            put(association, [fragment])
        association.abort()
        return [None for _ in messages]
    if manner == "shared":
        put(association, sum(messages, []))
        return [answered(association) for _ in messages]
    statuses = []
    for message in messages:
        for some in [message] if manner == "one_pdu" else [[fragment] for fragment in message]:
            put(association, some)
        if manner != "at_once":
            statuses.append(answered(association))
    return statuses or [answered(association) for _ in messages]


def main():
    port, called, listing = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    for line in listing.read_text().splitlines():
        row = json.loads(line)
        ae = AE(ae_title="SENDER")
        ae.dimse_timeout = ae.acse_timeout = 60
        ae.add_requested_context(row["class"], row["syntax"])
        association = ae.associate("127.0.0.1", port, ae_title=called)
        if not association.is_established:
            sys.exit("the association was not accepted")
        statuses = send(association, row)
        association._reactor_checkpoint.set()
        if association.is_established:
            association.release()
        print(json.dumps({"manner": row["manner"], "statuses": statuses}), flush=True)


if __name__ == "__main__":
    main()
