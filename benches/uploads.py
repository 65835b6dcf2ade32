"""From one site's store to the next one's, beside what curl uploads of the same files to a sink that syncs each."""

import shutil
import subprocess
import sys
from pathlib import Path

from contenders import fresh
from processes import Server, free_port, measure
from sink import PAGE
from work import client, forward

HERE = Path(__file__).resolve().parent


class Sink:
    """sink.py, with room for a whole set."""

    def __init__(self, folder, certs, data):
        self.folder, self.port, self.file, self.certs = fresh(folder), free_port(), folder / "bodies", certs
        room = data.bytes + data.instances * PAGE
        command = [sys.executable, str(HERE / "sink.py"), str(self.port), str(self.file), str(room), str(certs)]
        self.servers = [Server(command, [self.port], f"{folder}.log")]

    def stop(self):
        self.servers[0].stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def by_curl(sink, data):
    """One curl, one connection that is kept, a PUT of each file; AES-128 is what costs curl least."""
    listed, answers = sink.folder / "listed", sink.folder / "answers"
    urls = (f'upload-file = "{path}"\nurl = "https://localhost:{sink.port}/{number}"\n' for number, path in enumerate(data.files))
    # An answer has no body, so all that is written is a line for each: its status, and how many connections it needed.
    listed.write_text("".join(urls) + 'write-out = "%{http_code} %{num_connects}\\n"\n')
    with open(answers, "wb") as output:
        done = client(["curl", "-sSf", "--http1.1", "--tlsv1.3", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256", "-H", "Expect:",
                       "--cacert", sink.certs / "ca.pem", "--cert", sink.certs / "a.crt", "--key", sink.certs / "a.key",
                       "-K", listed], output=output)  # fmt: skip
    if answers.read_text().split() != ["201", "1"] + ["201", "0"] * (data.instances - 1):
        raise RuntimeError(f"curl was answered otherwise, or needed another connection: {answers.read_text()[:200]}")
    return done


def upload(bench, name, data, how):
    """What `forward` does, or for curl the same bytes by HTTP alone."""
    if name != "curl":
        return forward(bench, name, data, how)
    sink = Sink(bench.folder / "sink", bench.certs, data)
    try:
        for path in data.files:  # read once, so that curl's disk is not what is measured
            path.read_bytes()
        subprocess.run(["sync"], check=True)
        return measure(sink.servers, lambda: by_curl(sink, data))
    finally:
        sink.stop()
