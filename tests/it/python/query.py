"""Asks by C-FIND, C-MOVE and C-GET, as pynetdicom does.

usage: query.py PORT CALLED_AE REQUESTS

REQUESTS holds one JSON object a line: keys (by keyword), and if wanted
  op          find (default), move, get
  model       study (default) or patient
  calling     the calling AE title, RADIOLOGY by default
  to          the move destination
  syntax      the transfer syntax of the identifier
  extended    bytes of extended negotiation for the class
  cancel      cancel after so many pending answers
  drop        close the connection after so many pending answers
  classes     storage classes to get
  refuse      SOP instances that are answered A700 when got
  slow        seconds before each instance that is got is answered
  astray      answers what is got on another context of the class, as PixelMed does

Prints one JSON object a line for each: answers (of each response the status, its counts and its identifier by keyword), times (after how many seconds each came),
extended (what was answered), got (SOP instances with a digest of their data sets).
"""

import json
import sys
import time
from hashlib import sha256
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

ROOT = "1.2.840.10008.5.1.4.1.2."
OPERATIONS = {"find": "1", "move": "2", "get": "3"}
COUNTS = ["Remaining", "Completed", "Failed", "Warning"]


def plain(element):
    """The value as text; several joined by backslashes."""
    value = element.value
    if element.VM == 0:
        return ""
    return "\\".join(map(str, value)) if element.VM > 1 and not isinstance(value, str) else str(value)


def told(status, identifier):
    """One response."""
    answer = {"status": status.Status if "Status" in status else None}
    for count in COUNTS:
        name = f"NumberOf{count}Suboperations"
        if name in status:
            answer[count.lower()] = status[name].value
    if "ErrorComment" in status:
        answer["comment"] = status.ErrorComment
    if "OffendingElement" in status:
        answer["offending"] = str(status.OffendingElement)
    if identifier is not None:
        answer["identifier"] = {e.keyword: plain(e) for e in identifier}
    return answer


def astray(event):
    """Has the answer leave on the last context of the class."""
    send = event.assoc.dimse.send_msg
    contexts = event.assoc.accepted_contexts
    other = max(c.context_id for c in contexts if c.abstract_syntax == event.context.abstract_syntax)
    assert other != event.context.context_id

    def elsewhere(message, _):
        event.assoc.dimse.send_msg = send
        send(message, other)

    event.assoc.dimse.send_msg = elsewhere


def ask(port, called, request):
    """One association for one request."""
    operation = request.get("op", "find")
    model = ROOT + {"patient": "1.", "study": "2."}[request.get("model", "study")] + OPERATIONS[operation]
    keys = Dataset()
    for keyword, value in request["keys"].items():
        setattr(keys, keyword, value)
    ae = AE(ae_title=request.get("calling", "RADIOLOGY"))
    ae.dimse_timeout = ae.acse_timeout = 60
    items, got, said, times = [], [], [], []
    contexts = [build_context(model, request.get("syntax", ExplicitVRLittleEndian))]
    for sop_class in request.get("classes", []):
        for _ in range(2 if "astray" in request else 1):
            contexts.append(build_context(sop_class, ExplicitVRLittleEndian))
        items.append(build_role(sop_class, scp_role=True))
    if "extended" in request:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = model, bytes(request["extended"])
        items.append(item)

    def store(event):
        uid = str(event.request.AffectedSOPInstanceUID)
        time.sleep(request.get("slow", 0))
        if uid in request.get("refuse", []):
            return 0xA700
        if "astray" in request:
            astray(event)
        got.append([uid, sha256(event.request.DataSet.getvalue()).hexdigest()])
        return 0x0000

    handlers = [(evt.EVT_C_STORE, store)]
    association = ae.associate("127.0.0.1", port, contexts, called, ext_neg=items, evt_handlers=handlers)
    if not association.is_established:
        return {"refused": True}
    extended = [list(value) for value in association.acceptor.sop_class_extended.values()]
    began = time.monotonic()
    if operation == "find":
        responses = association.send_c_find(keys, model, msg_id=7)
    elif operation == "move":
        responses = association.send_c_move(keys, request["to"], model, msg_id=7)
    else:
        responses = association.send_c_get(keys, model, msg_id=7)
    context = next(c.context_id for c in association.accepted_contexts if c.abstract_syntax == model)
    for number, (status, identifier) in enumerate(responses, 1):
        said.append(told(status, identifier))
        times.append(time.monotonic() - began)
        if number == request.get("cancel"):
            association.send_c_cancel(7, context)
        if number == request.get("drop"):
            association.abort()
            break
    if association.is_established:
        association.release()
    return {"answers": said, "extended": extended, "got": got, "times": times}


def main():
    for line in Path(sys.argv[3]).read_text().splitlines():
        print(json.dumps(ask(int(sys.argv[1]), sys.argv[2], json.loads(line))), flush=True)


main()
