"""A running gateway with real `ssh` clients, for the checks in Python, and what they all use."""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PORTREEVE = os.environ.get("PORTREEVE", str(TARGET / "debug" / "portreeve"))
# Only a failing check waits for so long.
PATIENCE = 60
SECRET_HOST = "payroll.secret.example"
UP, DOWN = 70_001, 400_009


def eventually(what, look):
    """Looks again and again until there is something."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"it never came: {what}")
        time.sleep(0.05)


@contextlib.contextmanager
def process(command, **options):
    """A process with a group of its own, which ends with it."""
    child = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield child
    finally:
        for name in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
        if child.stdout:
            child.stdout.close()


class Works:
    """Threads that work until the end of a `with` block sets `over`, and the errors that ended any of them."""

    def __init__(self, *works):
        self.over, self.faults = threading.Event(), []
        self.threads = [threading.Thread(target=self.guarded, args=(work,)) for work in works]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def guarded(self, work):
        try:
            work()
        except Exception as error:
            self.faults.append(f"{work.__name__}: {error!r}")


class Server:
    """A server on loopback with a thread for each connection, which `answer` serves."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            near, _ = self.server.accept()
            threading.Thread(target=self.answer, args=(near,), daemon=True).start()


class Target(Server):
    """Reads `UP` bytes, sends `DOWN` bytes, and keeps the connection."""

    @staticmethod
    def answer(near):
        with contextlib.suppress(OSError), near:
            wanted = UP
            while wanted > 0 and (got := near.recv(1 << 16)):
                wanted -= len(got)
            near.sendall(b"x" * DOWN)
            near.recv(1)


RULES = """
[[rules]]
name = "local-target"
actions = "connect"
hosts = "127.0.0.1"
outcome = "allow"

[[rules]]
name = "no-payroll"
actions = "connect"
hosts = "payroll.secret.example"
outcome = "deny"
"""

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
host-keys = ["host"]

[[user]]
name = "wilhelmine"
authorized-keys = ["{key}"]

[policy]
directory = "kept"

[[policy.plugin]]
name = "rules"
component = "builtin:rules"
settings-file = "rules.toml"

[audit]
file = "audit.jsonl"

[admin]
socket = "admin.sock"
http = "127.0.0.1:0"
"""


class Gateway:
    """The program, its folder, and `ssh` clients of it."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        for name in ("id", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        (folder / "rules.toml").write_text(RULES)
        key = (folder / "id.pub").read_text().strip()
        (folder / "portreeve.toml").write_text(CONFIG.format(key=key))
        command = [PORTREEVE, "serve", "--config", folder / "portreeve.toml"]
        log = stack.enter_context(open(folder / "log", "w"))
        child = self.child = stack.enter_context(process(command, stdout=subprocess.PIPE, stderr=log, text=True))
        line = child.stdout.readline()
        assert line, (folder / "log").read_text()
        self.ssh_port = int(line.rsplit(":", 1)[1])
        ports = eventually("the monitoring listener", lambda: listening(child.pid) - {self.ssh_port})
        self.http_port = ports.pop()

    def ssh(self, *arguments):
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "IdentitiesOnly=yes", "ExitOnForwardFailure=yes"]
        options.append(f"UserKnownHostsFile={self.folder / 'known_hosts'}")
        words = [word for option in options for word in ("-o", option)]
        command = ["ssh", "-F", "none", *words, "-i", self.folder / "id", "-p", str(self.ssh_port)]
        return [*command, *arguments, "wilhelmine@127.0.0.1"]

    def local(self, port):
        """Forwards a socket in the folder to that port, and answers a function that connects to it."""
        path = self.folder / "local"
        client = process(self.ssh("-N", "-L", f"{path}:127.0.0.1:{port}"), stderr=subprocess.DEVNULL)
        self.stack.enter_context(client)
        eventually("the forwarded socket", path.exists)

        def connect():
            near = self.stack.enter_context(socket.socket(socket.AF_UNIX))
            near.settimeout(PATIENCE)
            near.connect(str(path))
            return near

        return connect

    def kill(self):
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait(PATIENCE)

    def refused(self):
        ran = subprocess.run(self.ssh("-W", f"{SECRET_HOST}:443"), stdin=subprocess.DEVNULL, capture_output=True)
        assert b"prohibited" in ran.stderr, ran.stderr

    def swap(self, version):
        """Changes the settings, and waits for the swap."""
        before = self.swaps()
        fresh = self.folder / "rules.next"
        fresh.write_text(RULES + f'\n[default]\ntell-user = "version {version}"\n')
        fresh.rename(self.folder / "rules.toml")
        eventually("the swap", lambda: self.swaps() > before)

    def swaps(self):
        return (self.folder / "audit.jsonl").read_text().count('"event":"policy-swapped"')


def listening(pid):
    """The ports of IPv4 on which a process listens."""
    links = Path(f"/proc/{pid}/fd")
    sockets = {os.readlink(link) for link in links.iterdir() if link.is_symlink()}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def alone(main, seconds):
    """Runs a check; whatever happens, its processes end with it."""
    for name in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(name, lambda number, _: sys.exit(f"ended by signal {number}"))
    signal.alarm(seconds)
    sys.exit(main())
