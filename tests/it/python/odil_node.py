#!/usr/bin/env python3
"""A node that odil is: answers C-ECHO and C-STORE, one association after the other, and writes what it gets. Needs the system's Python.

usage: odil_node.py PORT FOLDER
"""

import sys
from pathlib import Path

import odil

C_ECHO_RQ = 0x30


def serve(port, folder):
    association = odil.Association()
    association.receive_association("v4", port)

    def store(request):
        data_set = request.get_data_set()
        name = data_set.as_string("SOPInstanceUID")[0].decode()
        with odil.open(str(folder / name), "wb") as file:
            odil.Writer.write_file(data_set, file)
        return 0

    echo, storage = odil.EchoSCP(association), odil.StoreSCP(association)
    echo.set_callback(lambda request: 0)
    storage.set_callback(store)
    while True:
        try:
            message = association.receive_message()
        except (odil.AssociationReleased, odil.AssociationAborted):
            return
        (echo if int(message.get_command_field()) == C_ECHO_RQ else storage)(message)


def main(port, folder):
    while True:
        try:
            serve(int(port), Path(folder))
        except odil.Exception as error:
            print(error, flush=True)


main(*sys.argv[1:])
