"""An archive by pynetdicom: answers C-FIND, and C-MOVE to one destination, of the files that it is given; misbehaves as it is told.

usage: archive.py PORT LIST BEHAVIOUR LOG DESTINATION_PORT TITLE

LIST holds one JSON object a line: path, sop_class, sop_instance, syntax, study, series.
BEHAVIOUR is an object in a file that is read anew at each request:
  find_delay   seconds before a query is answered
  find_status  the final status of each query; 0 by default
  gap          seconds before each instance that is moved
  at_most      so many instances of a move go, and the rest once this is not said any more
  hold_back    instances that are not moved
  besides      lines of a LIST: files that are moved although nobody asked for them
  nameless     instances whose names are not told in answers to queries
  unsaid       attributes that are empty in answers to queries
  silent       a move is not answered until this is false again
  relational   relational queries are agreed to
  repeats      each match is answered once for each instance of it
  uncounted    it does not tell how much a study or a series holds
Whatever it moved, the final answer to a move is success, without counts.
LOG gets one JSON object a line: kind find or move with the keys, kind store with the instance and the status that it got.
"""

import json
import sys
import threading
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from send import send

ROOT = "1.2.840.10008.5.1.4.1.2.2."
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
LEVELS = {"STUDY": "study", "SERIES": "series", "IMAGE": "sop_instance"}
COUNTS = {"NumberOfStudyRelatedInstances": "study", "NumberOfSeriesRelatedInstances": "series"}
UIDS = {"StudyInstanceUID": "study", "SeriesInstanceUID": "series", "SOPInstanceUID": "sop_instance"}

port, listed, behaviour_file, log_file, destination, title = sys.argv[1:]
ROWS = [json.loads(line) for line in Path(listed).read_text().splitlines()]
HEADS = {row["sop_instance"]: pydicom.dcmread(row["path"], stop_before_pixels=True) for row in ROWS}
log, lock = Path(log_file).open("a"), threading.Lock()


def behaviour():
    return json.loads(Path(behaviour_file).read_text())


def note(**what):
    with lock:
        log.write(json.dumps(what) + "\n")
        log.flush()


def plain(dataset):
    values = {e.keyword: [] if e.VM == 0 else e.value if e.VM > 1 and not isinstance(e.value, str) else [e.value] for e in dataset}
    return {name: "\\".join(map(str, some)) for name, some in values.items()}


def named(keys):
    """The rows that the unique keys name."""
    wanted = {name: keys[tag].split("\\") for tag, name in UIDS.items() if keys.get(tag)}
    return [row for row in ROWS if all(row[name] in uids for name, uids in wanted.items())]


def matching(row, keys):
    head = HEADS[row["sop_instance"]]
    for tag, wanted in keys.items():
        if not wanted or tag in UIDS or tag in COUNTS or tag in ("QueryRetrieveLevel", "SpecificCharacterSet"):
            continue
        held = str(head.get(tag, ""))
        if "-" in wanted and tag.endswith("Date"):
            first, last = wanted.split("-")
            if not (first or "0") <= held <= (last or "9"):
                return False
        elif tag == "ModalitiesInStudy":
            if wanted not in [str(HEADS[r["sop_instance"]].Modality) for r in ROWS if r["study"] == row["study"]]:
                return False
        elif not fnmatchcase(held, wanted):
            return False
    return True


def find(event):
    how, keys = behaviour(), plain(event.identifier)
    note(kind="find", keys=keys)
    time.sleep(how.get("find_delay", 0))
    unique, seen = LEVELS[keys["QueryRetrieveLevel"]], set()
    for row in named(keys):
        if (row[unique] in seen and not how.get("repeats")) or not matching(row, keys):
            continue
        seen.add(row[unique])
        head, answer = HEADS[row["sop_instance"]], Dataset()
        answer.QueryRetrieveLevel = keys["QueryRetrieveLevel"]
        if "SpecificCharacterSet" in head:
            answer.SpecificCharacterSet = head.SpecificCharacterSet
        for tag in keys:
            if how.get("uncounted") and tag.startswith("NumberOf"):
                continue
            if tag in how.get("unsaid", []):
                setattr(answer, tag, "")
            elif tag in COUNTS:
                setattr(answer, tag, str(sum(r[COUNTS[tag]] == row[COUNTS[tag]] for r in ROWS)))
            elif tag == "NumberOfStudyRelatedSeries":
                answer.NumberOfStudyRelatedSeries = str(len({r["series"] for r in ROWS if r["study"] == row["study"]}))
            elif tag == "ModalitiesInStudy":
                answer.ModalitiesInStudy = sorted({str(HEADS[r["sop_instance"]].Modality) for r in ROWS if r["study"] == row["study"]})
            elif tag not in ("QueryRetrieveLevel", "SpecificCharacterSet"):
                setattr(answer, tag, head.get(tag, ""))
        if unique == "sop_instance" and row["sop_instance"] in how.get("nameless", []):
            answer.SOPInstanceUID = ""
        yield 0xFF00, answer
    if how.get("find_status"):
        yield how["find_status"], None


def store(association, row, message):
    contexts = {c.abstract_syntax: c.context_id for c in association.accepted_contexts}
    status = send(association, contexts[row["sop_class"]], row, message)
    note(kind="store", instance=row["sop_instance"], status=status)


def move(event):
    how, keys = behaviour(), plain(event.identifier)
    note(kind="move", keys=keys, to=event.move_destination)
    while behaviour().get("silent"):
        time.sleep(0.1)
    rows = [row for row in named(keys) if row["sop_instance"] not in how.get("hold_back", [])]
    besides = [json.loads(line) for line in how.get("besides", [])]
    ae = AE(ae_title=title)
    for row in rows + besides:
        if row["sop_class"] not in [c.abstract_syntax for c in ae.requested_contexts]:
            ae.add_requested_context(row["sop_class"], row["syntax"])
    if ae.requested_contexts:
        association = ae.associate("127.0.0.1", int(destination), ae_title=event.move_destination)
        for message, row in enumerate(besides + rows, 1):
            time.sleep(how.get("gap", 0))
            while message > behaviour().get("at_most", message):
                time.sleep(0.05)
            if association.is_established:
                store(association, row, message)
        association.release()
    yield "127.0.0.1", int(destination)
    yield 0


def negotiated(event):
    return {uid: b"\x01" for uid in event.app_info if behaviour().get("relational")}


ae = AE(ae_title=title)
ae.maximum_associations = 50
for number in "12":
    ae.add_supported_context(ROOT + number, [EXPLICIT, IMPLICIT])
ae.add_supported_context("1.2.840.10008.1.1")
ae.start_server(("127.0.0.1", int(port)), block=True, evt_handlers=[(evt.EVT_C_FIND, find), (evt.EVT_C_MOVE, move), (evt.EVT_SOP_EXTENDED, negotiated)])
