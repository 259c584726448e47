#!/usr/bin/env python3
"""Three gateways behind a real HAProxy are replaced one after the other, while real `ssh` clients make 100 forwards a second.

The configurations are those of examples/load-balancer. Each gateway is replaced after the balancer sends it no new sessions, and the
first one by SIGTERM alone, as a service manager does it. No connection may be refused, no open forward may be lost, and each line of
the audit log must have the client's own address. tests/fleet.py replaces them by SIGUSR2 (an upgrade), and uses what is here.

The program is target/debug/portreeve (`cargo build` first), or the one that PORTREEVE names. Without haproxy nothing is checked, and
with CI set in the environment that is a failure (tests/install.sh installs it).
"""
import contextlib
import csv
import http.client
import io
import itertools
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from running import PATIENCE, PORTREEVE, ROOT, Works, alone, eventually, process

EXAMPLES = ROOT / "examples" / "load-balancer"
GIVEN = set()
# All of 127.0.0.0/8 is loopback. HAProxy connects from 127.0.0.1, and no outgoing connection has a port of the other addresses.
BALANCER, FROM = "127.0.0.10", "127.0.0.1"
GATEWAYS = {"gw1": "127.0.0.11", "gw2": "127.0.0.12", "gw3": "127.0.0.13"}
CLIENTS = [f"127.0.0.{last}" for last in range(21, 27)]
NEWCOMER = "127.0.0.31"
A_SECOND = 100
MESSAGE = 64
RULES = '[[rules]]\nname = "target"\nactions = "connect"\nhosts = "127.0.0.1"\noutcome = "allow"\n'


def program():
    """HAProxy, which Debian has in a folder of administrators."""
    return shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")


def free_port(address):
    """A free port, never the same one twice."""
    while True:
        with contextlib.closing(socket.create_server((address, 0))) as server:
            port = server.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def filled_in(file, changes):
    """An example with other addresses and paths; each must be in it, so that the check reads what administrators copy."""
    text = (EXAMPLES / file).read_text()
    for old, new in changes.items():
        assert old in text, f"{file} has no {old!r}"
        text = text.replace(old, str(new))
    return text


class Gateway:
    """One of the three."""

    def __init__(self, name, folder, shared, stack):
        self.name, self.folder, self.shared, self.stack = name, folder, shared, stack
        self.address = GATEWAYS[name]
        self.ssh_port, self.http_port = free_port(self.address), free_port(self.address)
        folder.mkdir()
        self.configure()
        self.child = None
        self.start()

    def configure(self, more_changes=(), more_tables=""):
        """Writes the example's configuration, with further changes and tables."""
        changes = {
            **dict(more_changes),
            "0.0.0.0:2222": f"{self.address}:{self.ssh_port}",
            "10.0.0.11:9464": f"{self.address}:{self.http_port}",
            '"10.0.0.5"': f'"{FROM}"',
            "/etc/portreeve": self.shared,
            "/var/lib/portreeve": self.folder,
            "/var/log/portreeve": self.folder,
            "/run/portreeve": self.folder,
        }
        (self.folder / "portreeve.toml").write_text(filled_in("portreeve.toml", changes) + more_tables)

    def start(self):
        """Starts the program, and waits until it is ready."""
        command = [PORTREEVE, "serve", "--config", self.folder / "portreeve.toml"]
        log = self.stack.enter_context(open(self.folder / "log", "a"))
        self.child = self.stack.enter_context(process(command, stdout=subprocess.DEVNULL, stderr=log))
        eventually(f"{self.name}, ready", lambda: self.child.poll() is not None or self.ready())
        if (ended := self.child.poll()) is not None:
            lines = (self.folder / "log").read_text().splitlines()
            sys.exit(f"{self.name} ended with {ended} before it was ready; the end of its log:\n" + "\n".join(lines[-5:]))

    def ready(self):
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection(self.address, self.http_port)) as asked:
            asked.request("GET", "/readyz")
            return asked.getresponse().status == 200
        return False

    def ctl(self, *arguments):
        command = [PORTREEVE, "ctl", *arguments, "--socket", self.folder / "admin.sock", "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    def clients(self):
        """The addresses from which users are logged in."""
        return {session["client"].rsplit(":", 1)[0] for session in self.ctl("sessions")}

    def audit(self):
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]


class Balancer:
    """HAProxy, with the example's configuration."""

    def __init__(self, folder, gateways, stack):
        self.port = free_port(BALANCER)
        self.socket = folder / "haproxy.sock"
        changes = {"/run/haproxy/admin.sock": self.socket, "bind :22": f"bind {BALANCER}:{self.port}", " port 9464": ""}
        changes["maxconn 20000"] = "maxconn 1000"
        for gateway, last in zip(gateways, (11, 12, 13)):
            own = f"{gateway.address}:{gateway.ssh_port} port {gateway.http_port}"
            changes[f"10.0.0.{last}:2222"] = own
        (folder / "haproxy.cfg").write_text(filled_in("haproxy.cfg", changes))
        log = stack.enter_context(open(folder / "haproxy.log", "w"))
        command = [program(), "-db", "-f", folder / "haproxy.cfg"]
        self.child = stack.enter_context(process(command, stdout=log, stderr=log))
        eventually("HAProxy's socket", lambda: self.child.poll() is not None or self.socket.exists())
        assert self.child.poll() is None, (folder / "haproxy.log").read_text()

    def say(self, command):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as near:
            near.connect(str(self.socket))
            near.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: near.recv(1 << 16), b"")).decode()

    def set(self, gateway, state):
        answer = self.say(f"set server gateways/{gateway.name} state {state}").strip()
        assert not answer, answer

    def row(self, name):
        rows = csv.DictReader(io.StringIO(self.say("show stat").lstrip("# ")))
        return next(row for row in rows if row["pxname"] == "gateways" and row["svname"] == name)

    def expect(self, gateway, *states):
        eventually(f"{gateway.name}, {states} in HAProxy", lambda: self.row(gateway.name)["status"].startswith(states))


class Echo(socketserver.ThreadingTCPServer):
    """The target."""

    daemon_threads = True
    request_queue_size = 256

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                while got := self.request.recv(1 << 12):
                    self.request.sendall(got)

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), self.Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Refused(Exception):
    """A forward that carried nothing."""


class Lost(Exception):
    """A forward that ended after it had carried something."""


class NoSession(Exception):
    """An `ssh` client that could not log in."""


class Forward:
    """One forwarded connection, through the socket of an `ssh` client."""

    def __init__(self, path):
        self.near, self.carried = socket.socket(socket.AF_UNIX), 0
        self.near.settimeout(PATIENCE)
        try:
            self.near.connect(str(path))
        except OSError as error:
            self.near.close()
            raise Refused(f"its client has ended: {error}") from error

    def exchange(self):
        sent, got = os.urandom(MESSAGE), b""
        try:
            self.near.sendall(sent)
            while len(got) < MESSAGE and (more := self.near.recv(MESSAGE - len(got))):
                got += more
        except OSError as error:
            raise (Lost if self.carried else Refused)(error) from error
        if got != sent:
            raise (Lost if self.carried or got else Refused)("it ended")
        self.carried += MESSAGE

    def close(self):
        self.near.close()


def opening(path):
    """A forward if the client listens already; its socket is there a little earlier."""
    with contextlib.suppress(Refused):
        return Forward(path)
    return None


class Door:
    """Where clients connect to: the balancer, or one gateway."""

    def __init__(self, folder, shared, address, port, target):
        self.folder, self.shared, self.address, self.port, self.target = folder, shared, address, port, target

    def ssh(self, address, *arguments, user="alice"):
        """The command of a client with this address."""
        options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "ExitOnForwardFailure=yes"]
        options.append(f"UserKnownHostsFile={self.shared / 'known_hosts'}")
        words = [word for option in options for word in ("-o", option)]
        command = ["ssh", "-F", "none", *words, "-b", address, "-i", self.shared / "id", "-p", str(self.port)]
        return [*command, *arguments, f"{user}@{self.address}"]


class Session:
    """A real `ssh` client that is logged in, with one forward that stays open as long as the session."""

    numbers = itertools.count()

    def __init__(self, door, address, user="alice"):
        self.path = door.folder / f"session-{next(self.numbers)}"
        self.errors = self.path.with_suffix(".errors")
        self.stack, self.busy = contextlib.ExitStack(), 0
        command = door.ssh(address, "-N", "-L", f"{self.path}:127.0.0.1:{door.target.port}", user=user)
        errors = self.stack.enter_context(open(self.errors, "w"))
        child = self.stack.enter_context(process(command, stdin=subprocess.DEVNULL, stderr=errors))
        opened = eventually("a session", lambda: opening(self.path) or child.poll() is not None)
        if child.poll() is not None:
            self.stack.close()
            raise NoSession(self.errors.read_text())
        self.kept, self.exchanges = opened, 0
        self.beat()

    def beat(self):
        self.kept.exchange()
        self.exchanges += 1

    def finish(self, exchanges=5):
        """Ends it when what it carries is over; the kept forward must work until then."""
        eventually("the end of its forwards", lambda: self.busy == 0)
        for _ in range(exchanges):
            self.beat()
        self.kept.close()
        self.stack.close()


class User:
    """Someone who makes all forwards through the session that they made last."""

    def __init__(self, fleet, address):
        self.fleet, self.address = fleet, address
        self.lock, self.renewing = threading.Lock(), threading.Lock()
        self.current = Session(fleet.door, address)
        self.left = []

    def renew(self, instead_of=None):
        """A new session through the balancer. The old one ends later, by `leave`."""
        with self.renewing:
            old = self.current
            if instead_of in (None, old):
                new = Session(self.fleet.door, self.address)
                with self.lock:
                    self.current = new
                self.left.append(old)

    def leave(self):
        while self.left:
            session = self.left.pop()
            session.finish()
            self.fleet.counts["exchanges of kept forwards"] += session.exchanges

    def forward(self):
        with self.lock:
            session = self.current
            session.busy += 1
        try:
            once = Forward(session.path)
            with contextlib.closing(once):
                once.exchange()
                once.exchange()
            return None
        except Refused:
            return session
        finally:
            with self.lock:
                session.busy -= 1


class Fleet(Works):
    """The users, their clients, and what they saw."""

    def __init__(self, door):
        super().__init__(self.load, self.newcomers, self.beats)
        self.door = door
        self.counts = dict.fromkeys(KINDS, 0)
        self.counting, self.times = threading.Lock(), []
        with ThreadPoolExecutor(len(CLIENTS)) as all_at_once:
            self.users = list(all_at_once.map(lambda address: User(self, address), CLIENTS))

    def __exit__(self, *_):
        super().__exit__()
        for user in self.users:
            user.left.append(user.current)
            with contextlib.suppress(Refused, Lost):
                user.leave()

    def count(self, kind, number=1):
        with self.counting:
            self.counts[kind] += number

    def load(self):
        """New forwards, evenly in time; what comes late is not made up for."""
        turn = itertools.cycle(self.users)
        with ThreadPoolExecutor(64) as pool:
            due = time.monotonic()
            while not self.over.is_set():
                due = max(due + 1 / A_SECOND, time.monotonic())
                self.over.wait(due - time.monotonic())
                pool.submit(self.guarded, lambda user=next(turn): self.one(user))

    def one(self, user):
        began = time.monotonic()
        try:
            refused_in = user.forward()
            if refused_in:
                self.count("refused in a session")
                user.renew(refused_in)
                if user.forward():
                    self.count("refused again in a new session")
        except Lost:
            self.count("lost")
        self.count("forwards")
        self.times.append(time.monotonic() - began)

    def newcomers(self):
        """One new client after the other, each with one forward."""
        while not self.over.is_set():
            sent = os.urandom(MESSAGE)
            ssh = self.door.ssh(NEWCOMER, "-W", f"127.0.0.1:{self.door.target.port}")
            ran = subprocess.run(ssh, input=sent, capture_output=True, timeout=PATIENCE)
            self.count("new connections")
            if ran.stdout != sent:
                self.count("new connections refused")
                self.faults.append(ran.stderr.decode(errors="replace"))

    def beats(self):
        while not self.over.wait(0.2):
            for user in self.users:
                with user.renewing:
                    try:
                        user.current.beat()
                    except (Refused, Lost):
                        self.count("lost")
                        raise

    def renew(self):
        """All users begin a new session, and end the old one when its forwards are over."""
        with ThreadPoolExecutor(2) as few:
            list(few.map(User.renew, self.users))
            list(few.map(User.leave, self.users))

    def go_on(self):
        """Waits for half a second of load."""
        enough = self.counts["forwards"] + A_SECOND // 2
        eventually("more forwards", lambda: self.faults or self.counts["forwards"] >= enough)

    def expect_none(self, *kinds):
        found = {kind: self.counts[kind] for kind in kinds if self.counts[kind]}
        assert not found and not self.faults, f"{found} {self.faults[:5]}"


KINDS = ["forwards", "refused in a session", "refused again in a new session", "lost"]
KINDS += ["new connections", "new connections refused", "exchanges of kept forwards"]


def upgrade(gateway, fleet, balancer):
    """By SIGUSR2: the old process serves its sessions until they end."""
    before = gateway.ctl("status")["process"]
    os.kill(before, signal.SIGUSR2)
    eventually("another process", lambda: gateway.ctl("status")["process"] != before)
    balancer.expect(gateway, "UP")
    fleet.go_on()
    fleet.renew()
    eventually("the end of the old process", lambda: gone(before, gateway))


def gone(pid, gateway):
    """Whether a process has ended; a child of this one must have ended well."""
    if pid == gateway.child.pid:
        code = gateway.child.poll()
        assert code in (None, 0), f"{gateway.name} ended with {code}"
        return code == 0
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def take_out(gateway, fleet, balancer):
    """The balancer sends it no new sessions; when the last session has ended it is stopped, and started again."""
    balancer.set(gateway, "drain")
    fleet.renew()
    eventually("no sessions", lambda: not gateway.clients())
    stop(gateway)
    gateway.start()
    balancer.set(gateway, "ready")
    balancer.expect(gateway, "UP")


def stop(gateway):
    pid = gateway.ctl("status")["process"]
    os.kill(pid, signal.SIGTERM)
    eventually("the end of the process", lambda: gone(pid, gateway))


def terminate(gateway, fleet, balancer):
    """By SIGTERM alone: what is open goes on, what is new is for another gateway."""
    pid = gateway.ctl("status")["process"]

    def here():
        addresses = gateway.clients()
        return [user for user in fleet.users if user.address in addresses]

    # The balancer may have given its users to the others.
    users = eventually(f"users of {gateway.name}", lambda: here() or fleet.renew())
    os.kill(pid, signal.SIGTERM)
    balancer.expect(gateway, "DOWN")
    eventually("new sessions of its users", lambda: all(user.left for user in users))
    for user in users:
        assert not gone(pid, gateway), "it ended before the forwards that it had"
        user.leave()
    eventually("the end of the process", lambda: gone(pid, gateway))
    gateway.start()
    balancer.expect(gateway, "UP")


def check_audit(lines, fleet):
    """Who, what and how it ended, as the lines of the audit logs have it."""
    addresses = {line["client"].rsplit(":", 1)[0] for line in lines if "client" in line and "user" in line}
    assert addresses == {*CLIENTS, NEWCOMER}, addresses
    opened = sum(line["event"] == "tunnel-opened" for line in lines)
    ends = {}
    for line in lines:
        if line["event"] == "tunnel-closed":
            ends[line["cause"]] = ends.get(line["cause"], 0) + 1
    assert ends == {"closed": opened}, f"{opened} opened, ended: {ends}"
    refused = [line for line in lines if line["event"] == "forward-decided" and line["verdict"] not in ("allow", "rewrite")]
    codes = {line.get("code") for line in refused}
    assert codes <= {"draining"}, codes
    made = fleet.counts["forwards"] + fleet.counts["new connections"]
    assert opened >= made, f"{opened} tunnels for {made} forwards"
    return opened, sum(line.get("repeated", 1) for line in refused)


def prepare(folder, users=("alice",)):
    """What all gateways have: keys, the key of the users, rules."""
    shared = folder / "etc"
    (shared / "keys").mkdir(parents=True)
    for name in ("id", "ssh_host_ed25519_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", shared / name], check=True)
    for user in users:
        shutil.copy(shared / "id.pub", shared / "keys" / user)
    (shared / "known_hosts").write_text("* " + (shared / "ssh_host_ed25519_key.pub").read_text())
    (shared / "rules.toml").write_text(RULES)
    (shared / "token").write_text("not used here, as the health paths need none\n")
    (shared / "token").chmod(0o600)
    return shared


def check_all(folder, stack):
    shared = prepare(folder)
    with ThreadPoolExecutor(len(GATEWAYS)) as all_at_once:
        gateways = list(all_at_once.map(lambda name: Gateway(name, folder / name, shared, stack), GATEWAYS))
    balancer = Balancer(folder, gateways, stack)
    for gateway in gateways:
        balancer.expect(gateway, "UP")

    began = time.monotonic()
    with Fleet(Door(folder, shared, BALANCER, balancer.port, Echo())) as fleet:
        for gateway in gateways:
            take_out(gateway, fleet, balancer)
            fleet.go_on()
            print(f"{time.monotonic() - began:5.1f} s  {gateway.name}: {take_out.__doc__}", flush=True)
        fleet.expect_none("refused in a session", "lost", "new connections refused")
        terminate(gateways[0], fleet, balancer)
        fleet.go_on()
        print(f"{time.monotonic() - began:5.1f} s  {gateways[0].name}: {terminate.__doc__}", flush=True)
    seconds = time.monotonic() - began
    fleet.expect_none("refused again in a new session", "lost", "new connections refused")
    for gateway in gateways:
        stop(gateway)
    opened, refused = check_audit([line for gateway in gateways for line in gateway.audit()], fleet)
    report(fleet, balancer, seconds)
    print(f"{opened:8}  tunnels in the audit logs, all of them ended by their clients")
    print(f"{refused:8}  refusals in the audit logs, all because the gateway was stopping")


def report(fleet, balancer, seconds):
    for kind in KINDS:
        print(f"{fleet.counts[kind]:8}  {kind}")
    times = sorted(fleet.times)
    for name, share in (("half", 0.5), ("99 of 100", 0.99), ("all", 1)):
        print(f"{times[int(share * (len(times) - 1))] * 1000:8.1f}  ms at most took {name} of the forwards")
    print(f"{len(times) / seconds:8.1f}  forwards a second")
    row = balancer.row("BACKEND")
    print(f"{row['stot']:>8}  sessions through HAProxy: {row['econ']} failed, {row['wredis']} sent to another gateway")
    assert row["econ"] == "0", "HAProxy gave up a connection"


def main():
    if program() is None:
        print("not checked: haproxy is missing (tests/install.sh installs it)")
        return 1 if os.environ.get("CI") else 0
    with contextlib.ExitStack() as stack:
        check_all(Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))), stack)
    print("gateways behind a load balancer are replaced without a refused connection or a lost forward")
    return 0


if __name__ == "__main__":
    alone(main, 600)
