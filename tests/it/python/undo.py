"""Takes back the changes that Original Attributes Sequence records, the last first, and compares with what there was before.

usage: undo.py ORIGINAL CHANGED

Prints one JSON object: systems (who changed it, in order), patient_ids (as it was after each step back), differ (keywords or tags of
attributes that are not as in the original; empty and absent are one), and equipment (the manufacturers of contributing equipment).
"""

import json
import sys

import pydicom

original, changed = (pydicom.dcmread(path) for path in sys.argv[1:3])
equipment = [item.Manufacturer for item in changed.get("ContributingEquipmentSequence", [])]
records = list(changed.OriginalAttributesSequence)
systems, patient_ids = [str(record.ModifyingSystem) for record in records], []
del changed.OriginalAttributesSequence
for record in reversed(records):
    for element in record.ModifiedAttributesSequence[0]:
        if element.is_empty:
            changed.pop(element.tag, None)
        else:
            changed[element.tag] = element
    patient_ids.append(str(changed.get("PatientID", "")))


def filled(dataset):
    return {element.tag: element for element in dataset if not element.is_empty}


before, after = filled(original), filled(changed)
differ = [str(tag) for tag in sorted(set(before) | set(after)) if before.get(tag) != after.get(tag)]
print(json.dumps({"systems": systems, "patient_ids": patient_ids, "differ": differ, "equipment": equipment}))
