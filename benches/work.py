"""What the rows do that move objects: storing, forwarding, sending onward, retrieving; each by a client that is the same for all."""

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from contenders import StoreScp, Weybridge
from processes import ENVIRONMENT, WITH_NAGLE, Measured, Server, cpu_seconds, free_port, measure

HERE = Path(__file__).resolve().parent


def children_cpu():
    """CPU seconds of the commands that have ended: the clients, not the servers."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def client(command, environment=ENVIRONMENT, output=subprocess.PIPE):
    """Runs a client to its end; seconds, its CPU seconds."""
    was, start = children_cpu(), time.monotonic()
    subprocess.run(list(map(str, command)), check=True, env=environment, stdout=output, stderr=subprocess.PIPE)
    return time.monotonic() - start, children_cpu() - was


def by_storescu(port, called, data, environment=ENVIRONMENT):
    """DCMTK's storescu, one association."""
    return client(["storescu", "-R", "-aec", called, "127.0.0.1", port, *data.files], environment)


def with_nagle(port, called, data):
    return by_storescu(port, called, data, WITH_NAGLE)


def by_sender(associations):
    """Our own pre-encoding sender."""

    def send(port, called, data):
        command = [sys.executable, str(HERE / "sender.py"), str(port), called, str(associations), str(data.folder)]
        was = children_cpu()
        done = subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, text=True)
        said = json.loads(done.stdout)
        if said["trouble"] or said["stored"] != len(data.files):
            raise RuntimeError(f"the sender had trouble: {said}")
        # Its encoding too, which is over when its seconds begin: that is no other program's.
        return said["seconds"], children_cpu() - was

    return send


def must_hold(name, server, data):
    if server.held() != data.instances:
        raise RuntimeError(f"{name} holds {server.held()} of {data.instances}")


def ingest(bench, name, data, send):
    """From the first byte to the last answer."""
    server = bench.contender(name)
    try:
        result = measure(server.servers, lambda: send(server.port, server.called, data))
        must_hold(name, server, data)
        return result
    finally:
        server.stop()


def nagle(bench, name, data, _):
    """Ours from a storescu that leaves Nagle's algorithm on, beside ours from one that does not."""
    return ingest(bench, "weybridge", data, by_storescu if name == "nodelay" else with_nagle)


def forward(bench, name, data, _):
    """From one site's store to the next one's, over TLS; ours until verified, theirs until the job says so."""
    a, b = bench.two_sites(name, started=name != "weybridge")
    try:
        by_sender(4)(a.port, a.called, data)
        if name == "weybridge":
            b.start()
        asked = children_cpu()
        result = measure([*a.servers, *b.servers], lambda: (a.forward(data), children_cpu() - asked))
        must_hold(name, b, data)
        return result
    finally:
        a.stop()
        b.stop()


def onward(bench, name, data, _):
    """From a modality's storescu to the neighbour's disk; ours until verified, theirs until the neighbour counts all."""
    a, b = bench.two_sites(name, started=True)
    try:
        asked = children_cpu()

        def both():
            seconds, _ = by_storescu(a.port, a.called, data)
            return seconds + a.arrived(b, data), children_cpu() - asked

        result = measure([*a.servers, *b.servers], both)
        must_hold(name, b, data)
        return result
    finally:
        a.stop()
        b.stop()


def movescu(server, data, out):
    """The command that has the study moved to the destination."""
    return list(map(str, ["movescu", "-S", "-aet", "BENCH", "-aec", server.called, "-aem", out.called, "-k", "0008,0052=STUDY",
                          "-k", f"0020,000D={data.studies[0]}", "127.0.0.1", server.port]))  # fmt: skip


def by_move(server, data, out, _):
    done = client(movescu(server, data, out))
    must_hold("the destination", out, data)
    return done


def by_get(server, data, _, folder):
    done = client(["getscu", "-S", "+B", "-aet", "BENCH", "-aec", server.called, "-od", folder, "-k", "0008,0052=STUDY",
                   "-k", f"0020,000D={data.studies[0]}", "127.0.0.1", server.port])  # fmt: skip
    if len(list(folder.iterdir())) != len(data.files):
        raise RuntimeError(f"getscu got {len(list(folder.iterdir()))} of {len(data.files)}")
    return done


def by_wado(server, data, _, folder):
    """curl over TLS, to a file in memory."""
    certs, got = server.certs, Path("/dev/shm") / f"weybridge-bench-{server.port}"
    try:
        done = client(["curl", "-sSf", "-o", got, "--cacert", certs / "ca.pem", "--cert", certs / "b.crt", "--key", certs / "b.key",
                       "-H", 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*',
                       f"{server.url.rstrip('/')}/studies/{data.studies[0]}"])  # fmt: skip
        if got.stat().st_size < data.bytes:
            raise RuntimeError(f"curl got {got.stat().st_size} of {data.bytes} bytes")
        return done
    finally:
        got.unlink(missing_ok=True)


def retrieve(bench, name, data, how):
    """A study from its store, by a client of DCMTK or curl. The store is filled once for all rounds."""

    def make():
        out = StoreScp(bench.folder / "out")
        server = bench.contender(name, out=out, tls=True)
        by_sender(4)(server.port, server.called, data)
        return server, out

    server, out = bench.kept((name, data.name), make)
    folder = bench.folder / "got"
    for each in (folder, out.folder):
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir(parents=True)
    subprocess.run(["sync"], check=True)
    return measure([*server.servers, *(out.servers if how is by_move else [])], lambda: how(server, data, out, folder))


def pulled(a, out, data):
    """The workstation's C-MOVE at site a of what only b has: seconds, and what a had when the first was at the workstation."""
    start = time.monotonic()
    mover = subprocess.Popen(movescu(a, data, out), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not out.held() and mover.poll() is None:
        time.sleep(0.01)
    first, here = time.monotonic() - start, a.held()
    if mover.wait():
        raise RuntimeError(f"movescu ended with {mover.returncode}")
    seconds = time.monotonic() - start
    must_hold("the destination", out, data)
    return seconds, {"first_s": first, "here_at_first": here}


def narrow_line(bench, site, rate):
    """The server that is a line of so many MB/s to a site, if any, and the URL of the site behind it."""
    if not rate:
        return [], site.url
    port = free_port()
    command = [sys.executable, HERE / "line.py", port, site.web, rate]
    server = Server(list(map(str, command)), [port], bench.folder / "line.log")
    return [server], site.url.replace(str(site.web), str(port))


def server_cpu(server):
    return cpu_seconds(server.pid)


def prior(bench, name, data, narrow):
    """A study that only the neighbour has, to a workstation here; beside the slower of its two hops by itself, by our own commands.

    With `narrow`, the neighbour is at the end of a line of so many MB/s.
    """

    def make():
        b = Weybridge(bench.folder / "b", bench.options.binary, bench.certs, "b")
        by_sender(4)(b.port, b.called, data)
        return (b,)

    b = bench.kept(("b", data.name), make)[0]
    out = StoreScp(bench.folder / "out")
    line, url = narrow_line(bench, b, narrow)
    a = Weybridge(bench.folder / "a", bench.options.binary, bench.certs, "a", peer=url, out=out, routed=False)
    note, ends = {}, [*line, *out.servers]
    asked = children_cpu() + sum(map(server_cpu, ends))

    def by_others():
        return children_cpu() + sum(map(server_cpu, ends)) - asked

    def through():
        seconds, told = pulled(a, out, data)
        note.update(told)
        return seconds, by_others()

    def apart():
        start = time.monotonic()
        a.cli("priors", "pull", data.studies[0], "--from", "b")
        hops = [time.monotonic() - start, pulled(a, out, data)[0]]
        return max(hops), by_others()

    try:
        result = measure([*a.servers, *b.servers], through if name == "weybridge" else apart)
        return Measured(result.seconds, result.cpu, result.memory_mb, result.foreign, note)
    finally:
        a.stop()
        out.stop()
        for each in line:
            each.stop()
