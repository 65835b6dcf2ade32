"""A node that stores nothing and misbehaves as it is told, by pynetdicom. It writes down what it sees.

usage: node.py PORT LOG [--refuse CLASS]... [--syntaxes UID[,UID]] [--pdu BYTES] [--slow SECONDS] [--slow-first SECONDS]
       [--abort-after N] [--statuses FILE] [--tell KEYWORD]... [--busy N] [--idle SECONDS] [--slow-release SECONDS]
       [--find lists|first|one|everything] [--half-up N]

It answers C-FIND of instances if told how: as the standard says, heeding the first of a list of UIDs, taking a list for one UID, or
heeding no key. What it was given is there at once, and not what it broke off at.

On the first N associations while it is half up it accepts no context.

The first N associations that are asked for while it is busy are rejected: transient, local limit exceeded. An association on which
nothing happens for so many idle seconds is aborted.

FILE holds an object: for an instance, the statuses that it gets in turn, of which the last stays.
LOG gets one JSON object a line: a rejection, an association with what was proposed, a store with the number of its association, its class,
syntax and bytes, and of its data set the attributes that are to be told, an end.
"""

import argparse
import json
import time
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, evt, register_uid
from pynetdicom.presentation import build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import ServiceClass, uid_to_service_class

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
KEYS = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("log", type=Path)
    parser.add_argument("--refuse", action="append", default=[])
    parser.add_argument("--syntaxes", default="")
    parser.add_argument("--pdu", type=int, default=16382)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--abort-after", type=int, default=0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--half-up", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0)
    parser.add_argument("--slow-first", type=float, default=0.0)
    parser.add_argument("--slow-release", type=float, default=0.0)
    parser.add_argument("--statuses", type=Path)
    parser.add_argument("--tell", action="append", default=[])
    parser.add_argument("--find", choices=["lists", "first", "one", "everything"])
    return parser.parse_args()


def main():
    options = arguments()
    log = options.log.open("a")
    stored = opened = 0
    held = []
    statuses = json.loads(options.statuses.read_text()) if options.statuses else {}

    def note(**what):
        log.write(json.dumps(what) + "\n")
        log.flush()

    def requested(event):
        """Everything proposed is supported, but for what the options leave out."""
        nonlocal opened
        opened += 1
        if opened <= options.busy:
            note(kind="rejected")
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            # Not before it has been sent.
            event.assoc.kill()
            return
        event.assoc.number = opened
        if options.slow_release:
            release = event.assoc.acse.send_release

            def later(is_response=False):
                time.sleep(options.slow_release)
                release(is_response)

            event.assoc.acse.send_release = later
        proposed = event.assoc.requestor.primitive.presentation_context_definition_list
        offered = [[c.abstract_syntax, [str(ts) for ts in c.transfer_syntax]] for c in proposed]
        note(kind="association", contexts=offered)
        wanted = options.syntaxes.split(",") if options.syntaxes else None
        supported = {}
        for context in proposed:
            name = context.abstract_syntax
            if uid_to_service_class(name) is ServiceClass:
                register_uid(name, f"Private{name.rsplit('.', 1)[1]}Storage", StorageServiceClass)
            if opened > options.half_up and name not in options.refuse and (options.find or name != FIND):
                syntaxes = wanted or [str(ts) for ts in context.transfer_syntax]
                supported.setdefault(name, []).extend(syntaxes)
        event.assoc.acceptor.supported_contexts = [
            build_context(name, sorted(set(syntaxes))) for name, syntaxes in supported.items()
        ]

    def store(event):
        nonlocal stored
        stored += 1
        if options.abort_after and stored == options.abort_after:
            event.assoc.abort()
            return 0x0000
        held.append(tuple(event.dataset[key].value for key in KEYS))
        time.sleep(options.slow_first if stored == 1 and options.slow_first else options.slow)
        told = {keyword: str(event.dataset.get(keyword, "")) for keyword in options.tell}
        note(
            kind="store",
            association=event.assoc.number,
            told=told,
            sop_class=event.request.AffectedSOPClassUID,
            sop_instance=event.request.AffectedSOPInstanceUID,
            syntax=event.context.transfer_syntax,
            bytes=len(event.request.DataSet.getvalue()),
            originator=[event.request.MoveOriginatorApplicationEntityTitle, event.request.MoveOriginatorMessageID],
        )
        turn = statuses.get(event.request.AffectedSOPInstanceUID, [0x0000])
        return turn.pop(0) if len(turn) > 1 else turn[0]

    def find(event):
        asked = [event.identifier.get(key) for key in KEYS]
        note(kind="find", instances=len([asked[2]] if isinstance(asked[2], str) else asked[2]))
        if options.find == "first" and not isinstance(asked[2], str):
            asked[2] = asked[2][0]
        for names in list(held):
            lists = options.find == "lists" and not isinstance(asked[2], str)
            same = names[:2] == tuple(asked[:2]) and (names[2] in asked[2] if lists else names[2] == asked[2])
            if same or options.find == "everything":
                answer = Dataset()
                answer.QueryRetrieveLevel = "IMAGE"
                for key, name in zip(KEYS, names):
                    setattr(answer, key, name)
                yield 0xFF00, answer

    ae = AE(ae_title="OUT")
    ae.maximum_pdu_size = options.pdu
    ae.maximum_associations = 50
    ae.network_timeout = options.idle
    handlers = [
        (evt.EVT_REQUESTED, requested),
        (evt.EVT_C_STORE, store),
        (evt.EVT_C_FIND, find),
        (evt.EVT_RELEASED, lambda event: note(kind="end", how="released")),
        (evt.EVT_ABORTED, lambda event: note(kind="end", how="aborted")),
    ]
    ae.add_supported_context("1.2.840.10008.1.1")
    ae.start_server(("127.0.0.1", options.port), block=True, evt_handlers=handlers)


if __name__ == "__main__":
    main()
