#!/usr/bin/env python3
"""Runs a program and fails, shortens or forestalls one system call of it: the k-th of some kind on files below a folder.

usage: calls.py LOG FOLDER EFFECT K CALLS PART -- PROGRAM ARGUMENT...

EFFECT is the name of an error (EIO, ENOSPC, EMFILE, ...), SHORT (half of a write), KILL (SIGKILL before the call), NONE,
or SKIP: from the k-th on, each such call is left out and answered by 0, which for syncs and the like is success.
Or FULL: from the k-th on, each such call fails with ENOSPC, until there is a file with the name of LOG and `.room` behind it.
CALLS are names with commas; PART must stand in the path, below FOLDER, or in `socket` for calls on sockets; where those have ports,
in `socket:at-OURS:to-THEIRS:`. A recvfrom that would hear nothing is none. Both may be chains,
`a>b`: then calls count that match the last link, once one of each before was seen, in this order. LOG
gets a line for each such call: its name, the path, and `fired` if it was the one. Counted over all threads of the program,
which is what strace cannot do. The kernel asks this program about each call (seccomp_unotify(2)). Linux on x86-64 only.
"""

import ctypes, errno, fcntl, os, select, signal, socket, struct, sys  # noqa: E401

NUMBERS = {
    "read": 0, "write": 1, "pread64": 17, "pwrite64": 18, "writev": 20, "connect": 42, "sendto": 44, "recvfrom": 45,
    "fsync": 74, "fdatasync": 75, "ftruncate": 77, "rename": 82, "mkdir": 83, "unlink": 87, "openat": 257,
    "unlinkat": 263, "renameat": 264, "fallocate": 285, "accept4": 288, "preadv": 295, "pwritev": 296, "renameat2": 316,
}
NAMES = {number: name for name, number in NUMBERS.items()}
# Where the path stands among the arguments; all others act on the descriptor that comes first.
PATHS = {"openat": 1, "unlinkat": 1, "renameat": 3, "renameat2": 3, "rename": 1, "mkdir": 0, "unlink": 0}
SECCOMP, SET_FILTER, NEW_LISTENER, WAIT_KILLABLE = 317, 1, 1 << 3, 1 << 5
PIDFD_GETFD = 438
RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def listen() -> int:
    """Installs the filter for this process and what it becomes; the descriptor on which the kernel asks."""
    code = [struct.pack("HBBI", 0x20, 0, 0, 0)]
    left = len(NUMBERS)
    for number in NUMBERS.values():
        code.append(struct.pack("HBBI", 0x15, left, 0, number))
        left -= 1
    code.append(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
    code.append(struct.pack("HBBI", 0x06, 0, 0, 0x7FC00000))
    bytes_ = ctypes.create_string_buffer(b"".join(code))
    program = Program(len(code), ctypes.addressof(bytes_))
    LIBC.prctl(38, 1, 0, 0, 0)
    found = LIBC.syscall(SECCOMP, SET_FILTER, NEW_LISTENER | WAIT_KILLABLE, ctypes.byref(program))
    if found < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return found


class Watcher:
    def __init__(self, asked: int, process: int, log: str, folder: str, effect: str, nth: int, calls: str, part: str):
        self.process = os.pidfd_open(process)
        self.asked, self.folder, self.effect, self.left = asked, folder.rstrip("/") + "/", effect, nth
        links = zip(calls.split(">"), part.split(">"), strict=True)
        self.chain = [(set(names.split(",")), part) for names, part in links]
        self.calls = set().union(*(names for names, _ in self.chain))
        self.room = log + ".room"
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.asked, select.POLLIN)
        while True:
            if any(event & select.POLLHUP for _, event in poll.poll()):
                return
            question = bytearray(80)
            try:
                fcntl.ioctl(self.asked, RECEIVE, question)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue
                raise
            id_, pid, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", question)
            value, error, flags = self.decide(pid, NAMES[number], arguments)
            try:
                fcntl.ioctl(self.asked, SEND, struct.pack("QqiI", id_, value, error, flags))
            except OSError as failed:
                if failed.errno != errno.ENOENT:
                    raise

    def decide(self, pid: int, call: str, arguments: list[int]) -> tuple[int, int, int]:
        go_on = (0, 0, CONTINUE)
        if call not in self.calls:
            return go_on
        try:
            path = self.place(pid, call, arguments)
        except OSError:
            return go_on
        if path is None or call not in self.chain[0][0] or self.chain[0][1] not in path:
            return go_on
        if len(self.chain) > 1:
            self.tell(call, path)
            del self.chain[0]
            return go_on
        self.left -= 1
        if self.effect == "SKIP" and self.left <= 0:
            self.tell(call, path, " fired")
            return (0, 0, 0)
        if self.effect == "FULL" and self.left <= 0 and not os.path.exists(self.room):
            self.tell(call, path, " fired")
            return (0, -errno.ENOSPC, 0)
        if self.left != 0 or self.effect in ("NONE", "FULL"):
            self.tell(call, path)
            return go_on
        if self.effect == "KILL":
            self.tell(call, path, " fired")
            os.kill(pid, signal.SIGKILL)
            # Not done, should it come to that before the signal does.
            return (0, -errno.EPERM, 0)
        if self.effect == "SHORT":
            written = self.half(pid, call, arguments)
            if written == 0:
                # Not one that can be halved: the next one is.
                self.left = 1
                self.tell(call, path)
                return go_on
            self.tell(call, path, " fired")
            return (written, 0, 0)
        self.tell(call, path, " fired")
        return (0, -getattr(errno, self.effect), 0)

    def tell(self, call: str, path: str, fired: str = "") -> None:
        os.write(self.log, f"{call} {path}{fired}\n".encode())

    def place(self, pid: int, call: str, arguments: list[int]):
        if call not in PATHS:
            found = os.readlink(f"/proc/{pid}/fd/{arguments[0] & 0xFFFFFFFF}")
            if found.startswith("socket:"):
                return self.socket(pid, call, arguments)
        else:
            raw = self.memory(pid, arguments[PATHS[call]], 4096).split(b"\0", 1)[0].decode(errors="replace")
            found = os.path.join(os.readlink(f"/proc/{pid}/cwd"), raw)
        if found + "/" == self.folder:
            return "."
        return found[len(self.folder):] if found.startswith(self.folder) else None

    def socket(self, pid: int, call: str, arguments: list[int]):
        """`socket`, with the ports at both ends where it has such; None for a recvfrom that would hear nothing."""
        with socket.socket(fileno=self.same(arguments[0])) as same:
            if call == "recvfrom":
                try:
                    same.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return None
                except OSError:
                    pass  # A connection that was reset is heard of, too.
            if same.family not in (socket.AF_INET, socket.AF_INET6):
                return "socket"
            place = f"socket:at-{same.getsockname()[1]}:"
            try:
                to = same.getpeername()[1]
            except OSError:
                # Where it is about to connect to; a listener goes nowhere.
                to = struct.unpack(">2xH", self.exactly(pid, arguments[1], 4))[0] if call == "connect" else None
            return place if to is None else f"{place}to-{to}:"

    def same(self, descriptor: int) -> int:
        """A descriptor of ours for the same open file or socket, its offset included."""
        found = LIBC.syscall(PIDFD_GETFD, self.process, descriptor & 0xFFFFFFFF, 0)
        if found < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return found

    @staticmethod
    def memory(pid: int, address: int, length: int) -> bytes:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            got = memory.read(min(length, 4096 - address % 4096))
            while len(got) < length and b"\0" not in got[-4096:]:
                try:
                    more = memory.read(min(length - len(got), 4096))
                except OSError:
                    break
                if not more:
                    break
                got += more
            return got

    def half(self, pid: int, call: str, arguments: list[int]) -> int:
        """Writes the first half of what was to be written; how many bytes that is, 0 if it cannot be done."""
        if call in ("write", "pwrite64"):
            pieces = [(arguments[1], arguments[2])]
        elif call in ("writev", "pwritev"):
            pieces = list(struct.iter_unpack("QQ", self.exactly(pid, arguments[1], 16 * arguments[2])))
        else:
            return 0
        total = sum(length for _, length in pieces)
        wanted = total // 2 // 4096 * 4096 if total >= 8192 else total // 2
        content = b"".join(self.exactly(pid, *piece) for piece in pieces)[:wanted]
        if call in ("write", "writev"):
            # Where the next write of the program is to go on.
            file = self.same(arguments[0])
            try:
                return os.write(file, content) if content else 0
            except OSError:
                return 0
            finally:
                os.close(file)
        # The same file by another way, past no cache: what O_DIRECT would ask of the memory does not matter here.
        file = os.open(f"/proc/{pid}/fd/{arguments[0]}", os.O_WRONLY)
        try:
            return os.pwrite(file, content, arguments[3]) if content else 0
        finally:
            os.close(file)

    @staticmethod
    def exactly(pid: int, address: int, length: int) -> bytes:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            got = b""
            while len(got) < length:
                got += memory.read(length - len(got))
            return got


def main() -> None:
    if "--" not in sys.argv or sys.argv.index("--") != 7 or os.uname().machine != "x86_64":
        sys.exit(__doc__)
    log, folder, effect, nth, calls, part = sys.argv[1:7]
    program = sys.argv[8:]
    watched = os.getpid()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        # The watcher is nobody's child, and ends with the program that it watches.
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
        ours.close()
        _, (asked,), _, _ = socket.recv_fds(theirs, 1, 1)
        theirs.close()
        Watcher(asked, watched, log, folder, effect, int(nth), calls, part).run()
        os._exit(0)
    os.waitpid(child, 0)
    theirs.close()
    asked = listen()
    socket.send_fds(ours, [b"x"], [asked])
    os.close(asked)
    ours.close()
    os.execv(program[0], program)


main()
