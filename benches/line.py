"""A narrow line between two sites: passes connections on, and what comes back at no more than so many megabytes a second in all.

usage: line.py PORT TARGET MEGABYTES
"""

import socket
import sys
import threading
import time

PIECE = 1 << 16


class Pace:
    """Who has bytes to pass on waits until the line has had the time for all before them."""

    def __init__(self, rate):
        self.rate, self.free, self.lock = rate, time.monotonic(), threading.Lock()

    def wait(self, count):
        with self.lock:
            # An idle line saves nothing up.
            self.free = max(self.free, time.monotonic()) + count / self.rate
            until = self.free
        time.sleep(max(0.0, until - time.monotonic()))


def pass_on(source, target, pace):
    try:
        while piece := source.recv(PIECE):
            if pace:
                pace.wait(len(piece))
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # Either end has gone: so does the other.
        source.close()
        target.close()


def main():
    port, target, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) * 1e6
    pace = Pace(rate)
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", target))
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((near, far, None), (far, near, pace)):
            threading.Thread(target=pass_on, args=ends, daemon=True).start()


if __name__ == "__main__":
    main()
