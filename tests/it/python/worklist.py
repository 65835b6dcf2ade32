"""A worklist by pynetdicom that lists what it is given, whatever it is asked for, and misbehaves as it is told.

usage: worklist.py PORT BEHAVIOUR LOG [CERTIFICATE KEY TRUST]

BEHAVIOUR is an object in a file that is read anew at each request:
  entries     a list of data sets by keyword, a sequence as a list of such; given in this order
  endless     the entries are given again and again until the caller cancels, or is gone
  deaf        no cancel is heeded
  silent      nothing is said after so many answers until this is gone, or the caller
  status      the final status; 0 by default
With three more arguments it speaks TLS, with whom TRUST vouches for.
LOG gets one JSON object a line: kind association with what was proposed and when, find with the keys, end with how many answers were given,
and whether the caller cancelled.
"""

import json
import ssl
import sys
import threading
import time
import warnings
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, evt

WORKLIST = "1.2.840.10008.5.1.4.31"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"

port, behaviour_file, log_file, *keys = sys.argv[1:]
log, lock = Path(log_file).open("a"), threading.Lock()
warnings.simplefilter("ignore")


def behaviour():
    return json.loads(Path(behaviour_file).read_text())


def note(**what):
    with lock:
        log.write(json.dumps(what) + "\n")
        log.flush()


def data_set(values):
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, [data_set(one) for one in value] if keyword.endswith("Sequence") else value)
    return made


def given(entries, endless):
    while True:
        yield from entries
        if not endless:
            return


def found(event):
    asked = event.identifier
    [step] = asked.ScheduledProcedureStepSequence
    note(kind="find", keywords=[one.keyword for one in asked], modality=step.Modality or "", station=step.ScheduledStationAETitle or "",
         days=step.ScheduledProcedureStepStartDate)
    now, count = behaviour(), 0
    entries = [data_set(one) for one in now["entries"]]

    def rest():
        return "silent" in now and count >= now["silent"]

    endless, deaf = now.get("endless", False), now.get("deaf", False)
    for entry in given(entries, endless):
        if not event.assoc.is_established:
            break
        # pynetdicom reads nothing while it has something to send.
        if endless and not deaf:
            time.sleep(0.002)
        if event.is_cancelled and not deaf:
            note(kind="end", answers=count, cancelled=True)
            yield 0xFE00, None
            return
        if rest():
            break
        count += 1
        yield 0xFF00, entry
    while rest() and "silent" in behaviour() and event.assoc.is_established:
        time.sleep(0.05)
    note(kind="end", answers=count, cancelled=False)
    yield now.get("status", 0), None


def requested(event):
    proposed = event.assoc.requestor.primitive.presentation_context_definition_list
    note(kind="association", contexts=[str(c.abstract_syntax) for c in proposed], at=time.time())


def main():
    ae = AE("RIS")
    ae.maximum_associations = 10
    ae.add_supported_context(WORKLIST, [IMPLICIT, EXPLICIT])
    ae.add_supported_context("1.2.840.10008.1.1")
    context = None
    if keys:
        certificate, key, trust = keys
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(trust)
        context.verify_mode = ssl.CERT_REQUIRED
    handlers = [(evt.EVT_C_FIND, found), (evt.EVT_REQUESTED, requested)]
    ae.start_server(("127.0.0.1", int(port)), block=True, evt_handlers=handlers, ssl_context=context)


main()
