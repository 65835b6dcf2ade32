#!/usr/bin/env python3
"""A node by pynetdicom that answers C-ECHO to users that it knows.

usage: users.py PORT USERS [CERTIFICATE KEY TRUST]

USERS is NAME, NAME:PASSCODE, or - for a node that passes user identity over in silence. With the three files it speaks TLS.
"""

import ssl
import sys

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification


def main():
    port, users = int(sys.argv[1]), sys.argv[2]
    name, _, passcode = users.partition(":")

    def known(event):
        """Whether the caller is the one user, and what to answer."""
        kind = 2 if passcode else 1
        fields = event.primary_field.decode(), (event.secondary_field or b"").decode()
        return event.user_id_type == kind and fields == (name, passcode), None

    context = None
    if len(sys.argv) > 3:
        certificate, key, trust = sys.argv[3:6]
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trust)
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_REQUIRED
    ae = AE(ae_title="NODE")
    ae.add_supported_context(Verification)
    handlers = [] if users == "-" else [(evt.EVT_USER_ID, known)]
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=handlers, ssl_context=context)


if __name__ == "__main__":
    main()
