#!/usr/bin/env python3
"""Three gateways that share a real Redis, follow a real registry (Debian's docker-registry), and stand behind a real HAProxy.

    tests/fleet.py [PROGRAM] [--only SCENARIO]… [--rounds N]     run the scenarios, and print what came of each
    tests/fleet.py [PROGRAM] --keep                              start it all, print how to use it, and keep it until Ctrl-C

Everything listens on loopback, on free ports. The program is target/debug/portreeve (`cargo build` first), or the one that PORTREEVE
names. The policies are made by plugins/build.sh. A server that is missing means that nothing is checked; with CI set in the
environment that is a failure (tests/install.sh installs them). docs/fleet.md says what the scenarios show.
"""
import argparse
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
    os.environ["PORTREEVE"] = str(Path(sys.argv[1]).resolve())

import balanced
from balanced import BALANCER, CLIENTS, GATEWAYS, Balancer, Door, Echo, Fleet, Forward, Lost, NoSession, Refused, Session
from balanced import check_audit, free_port, prepare, stop, upgrade
from running import PATIENCE, PORTREEVE, ROOT, TARGET, Server, Works, alone, eventually, process

COMPONENTS = TARGET / "guests" / "components"
POLICY, LIMITING, DENYING = (COMPONENTS / f"{name}.wasm" for name in ("office-hours", "rate-limit", "only-port-22"))
USERS = ["alice", "bob", "carol", "dave", "erin", "frank"]
LOCKED, COUNTED, NEW = "lola", "sam", "nina"
DIRECT = "127.0.0.41"
LEASE = 2
# What the chain must answer, whatever comes from the registry.
INVARIANTS = """[[case]]
name = "alice reaches the target"
request = { user = "alice", groups = ["dba"], action = "connect", target = "127.0.0.1:443" }
expect = { verdict = "allow" }
"""
# Around the clock: small, so that it is soon compiled.
HOURS = """name = "hours"
component = "oci://{}/policies/hours:stable"

[policy.plugin.settings]
zone = "UTC"

[[policy.plugin.settings.hours]]
name = "always"
groups = ["dba"]
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
from = "00:00"
to = "24:00"
"""
LIMIT = f"""
[[policy.plugin]]
name = "rate-limit"
component = "{LIMITING}"
grants = ["state"]
settings = {{ connections = 100, seconds = 60 }}
"""


class Redis:
    """A Redis that keeps nothing, and comes back where it was."""

    def __init__(self, folder, stack, *options, port=None):
        self.folder, self.stack, self.options = folder, stack, options
        self.port = port or free_port("127.0.0.1")
        folder.mkdir()
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "", *self.options]
        log = self.stack.enter_context(open(self.folder / "log", "a"))
        self.child = self.stack.enter_context(process(command, stdout=log, stderr=log))
        eventually("Redis", self.answers)

    def answers(self):
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 1)) as near:
            near.sendall(b"PING\r\n")
            return near.recv(7) == b"+PONG\r\n"
        return False

    def cli(self, *arguments):
        command = ["redis-cli", "-p", str(self.port), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def signal(self, number):
        os.kill(self.child.pid, number)
        if number == signal.SIGKILL:
            self.child.wait(PATIENCE)


def permissions():
    """The user of the documented ACL, as an option of Redis."""
    words = (ROOT / "docs" / "fleet.md").read_text().partition("ACL SETUSER ")[2].partition("```")[0].split()
    assert words[0] == "gateway" and ">PASSWORD" in words, words
    return ["--user", *(word for word in words if word != "\\")]


class Registry:
    """A registry without TLS."""

    def __init__(self, folder, stack):
        self.folder, self.stack, self.address = folder, stack, "127.0.0.1:0"
        folder.mkdir()
        self.start()

    def start(self):
        (self.folder / "config.yml").write_text(
            "version: 0.1\nlog:\n  formatter: text\nstorage:\n  filesystem:\n"
            f"    rootdirectory: {self.folder / 'data'}\nhttp:\n  addr: {self.address}\n"
        )
        log = self.stack.enter_context(open(self.folder / "log", "w"))
        command = ["docker-registry", "serve", self.folder / "config.yml"]
        self.child = self.stack.enter_context(process(command, stdout=log, stderr=log))
        self.address = eventually("the registry", self.listens)

    def listens(self):
        _, _, rest = (self.folder / "log").read_text().partition("listening on ")
        return "\n" in rest and rest.split('"')[0].split(",")[0].split()[0]

    def kill(self):
        self.child.kill()
        self.child.wait(PATIENCE)

    def push(self, file, name):
        command = [PORTREEVE, "plugin", "push", file, f"oci://{self.address}/policies/{name}"]
        subprocess.run(command, check=True, capture_output=True)


class Wire(Server):
    """One gateway's connections to Redis. While it is cut, what is sent waits, as in a network that has lost its way."""

    def __init__(self, port):
        self.far, self.whole = port, threading.Event()
        self.whole.set()
        super().__init__()

    def answer(self, near):
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            far = socket.create_connection(("127.0.0.1", self.far))
        except OSError:
            near.close()
            return
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.carry, args=(far, near), daemon=True).start()
        self.carry(near, far)

    def carry(self, source, sink):
        with contextlib.suppress(OSError):
            while got := source.recv(1 << 16):
                self.whole.wait()
                sink.sendall(got)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Gateway(balanced.Gateway):
    """One of the three, with a Redis and a registry."""

    def __init__(self, name, folder, shared, stack, redis, registry):
        self.wire, self.registry, self.options = Wire(redis.port), registry, {}
        super().__init__(name, folder, shared, stack)

    def configure(self, **options):
        """`sessions` of each user, what to do when `cut_off`, the `cases` that must hold, and `more` tables; what is not given stays as it
        was."""
        self.options.update(options)
        changes = {
            'name = "rules"\ncomponent = "builtin:rules"\nsettings-file = "/etc/portreeve/rules.toml"\n': HOURS.format(self.registry.address),
            "[policy]\n": '[policy]\ndeadline = "1s"\n',
            "[limits]\n": f"[limits]\nsessions-per-user = {self.options.get('sessions', 100)}\n",
        }
        users = "".join(f'\n[[user]]\nname = "{user}"\ngroups = ["dba"]\n' for user in [*USERS[1:], LOCKED, COUNTED, NEW])
        tables = f"""{users}
[fleet]
name = "{self.name}"
redis = "redis://gateway@127.0.0.1:{self.wire.port}"
redis-password-file = "{self.shared / 'redis-password'}"
timeout = "500ms"
lease = "{LEASE}s"
when-cut-off = "{self.options.get('cut_off', 'serve')}"

[oci]
poll = "1s"

[policy.gates]
cases = {json.dumps(self.options.get('cases', [str(self.shared / 'invariants.toml')]))}
{self.options.get('more', '')}"""
        super().configure(changes, tables)

    def ask(self, method, path, body=None):
        """One request over the control socket."""
        near = http.client.HTTPConnection("localhost")
        near.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(near):
            near.sock.connect(str(self.folder / "admin.sock"))
            near.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            answer = near.getresponse()
            text = answer.read()
            assert answer.status < 300, f"{self.name} {method} {path}: {answer.status} {text}"
            return json.loads(text)

    def readiness(self):
        with contextlib.closing(http.client.HTTPConnection(self.address, self.http_port)) as near:
            near.request("GET", "/readyz")
            answer = near.getresponse()
            return answer.status, answer.read().decode()

    def is_connected(self):
        return self.readiness() == (200, "ready\n")

    def serves(self):
        """The digest of the policy in force."""
        policies = self.ask("GET", "/v1/status")["policies"]
        return next(policy["sha256"] for policy in policies if policy["plugin"] == "hours")

    def door(self, lab):
        return Door(lab.folder, lab.shared, self.address, self.ssh_port, lab.target)


class Lab:
    """All of it."""

    def __init__(self, folder, stack):
        self.folder, self.stack, self.began = folder, stack, time.monotonic()
        self.shared = prepare(folder, [*USERS, LOCKED, COUNTED, NEW])
        (self.shared / "invariants.toml").write_text(INVARIANTS)
        (self.shared / "redis-password").write_text("PASSWORD\n")
        (self.shared / "redis-password").chmod(0o600)
        self.redis = Redis(folder / "redis", stack, *permissions())
        self.registry = Registry(folder / "registry", stack)
        self.registry.push(self.version(1), "hours:stable")
        self.target = Echo()
        start = lambda name: Gateway(name, folder / name, self.shared, stack, self.redis, self.registry)
        with ThreadPoolExecutor(len(GATEWAYS)) as all_at_once:
            self.gateways = list(all_at_once.map(start, GATEWAYS))
        self.balancer = Balancer(folder, self.gateways, stack)
        for gateway in self.gateways:
            self.balancer.expect(gateway, "UP")
        self.all_connected()
        self.door = Door(folder, self.shared, BALANCER, self.balancer.port, self.target)

    def version(self, number):
        """The policy, as a component of its own: with a custom section, which changes nothing but the digest."""
        file = self.folder / f"hours-{number}.wasm"
        section = b"\x04test" + str(number).encode()
        file.write_bytes(POLICY.read_bytes() + bytes([0, len(section)]) + section)
        return file

    def all_connected(self):
        for gateway in self.gateways:
            eventually(f"{gateway.name}, connected to Redis", gateway.is_connected)

    def reconfigure(self, **options):
        def reload(gateway):
            gateway.configure(**options)
            gateway.ctl("reload")

        with ThreadPoolExecutor(len(self.gateways)) as all_at_once:
            list(all_at_once.map(reload, self.gateways))

    def marks(self):
        """Where the audit logs end now."""
        return [len(gateway.audit()) for gateway in self.gateways]

    def since(self, marks):
        """The lines of each gateway's audit log after these marks."""
        return [gateway.audit()[mark:] for gateway, mark in zip(self.gateways, marks)]

    def say(self, text):
        print(f"{time.monotonic() - self.began:6.1f} s    {text}", flush=True)


def milliseconds(times):
    """The middle, the 99th of 100, and the longest."""
    times = sorted(times)
    if not times:
        return "none"
    return ", ".join(f"{name} {times[int(share * (len(times) - 1))] * 1000:.0f} ms" for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1)))


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


networks = itertools.count()


def logs_in(door, user):
    """Whether a login is admitted: then the command is refused, with code 1."""
    # From a network of its own: refused logins are held against the ones they come from.
    command = [*door.ssh(f"127.1.{next(networks) % 256}.1", user=user), "true"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE).returncode == 1


def rate(lab, _):
    """a limit of 100 a minute is exact under 300 concurrent requests"""
    with ThreadPoolExecutor(len(CLIENTS)) as few:
        sessions = list(few.map(lambda address: Session(lab.door, address), 2 * CLIENTS))
    lab.reconfigure(more=LIMIT)
    marks, ready = lab.marks(), threading.Barrier(300)

    def one(number):
        ready.wait()
        began = time.monotonic()
        try:
            with contextlib.closing(Forward(sessions[number % len(sessions)].path)) as forward:
                forward.exchange()
            return True, time.monotonic() - began
        except Refused:
            return False, time.monotonic() - began

    with ThreadPoolExecutor(300) as crowd:
        came = list(crowd.map(one, range(300)))
    allowed = sum(is_allowed for is_allowed, _ in came)

    def decided():
        lines = [[line for line in lines if line["event"] == "forward-decided" and "again" not in line] for lines in lab.since(marks)]
        count = sum(line.get("repeated", 1) for some in lines for line in some)
        return lines if count >= 300 else None

    decided = eventually("300 decisions in the audit logs", decided)
    each = [sum(line["verdict"] == "allow" for line in lines) for lines in decided]
    codes = {line["code"] for lines in decided for line in lines if line["verdict"] != "allow"}
    for session in sessions:
        session.finish(0)
    lab.reconfigure(more="")
    lab.say(f"{allowed} of 300 were allowed: {each} by each gateway; {milliseconds([took for _, took in came])}")
    assert (allowed, sum(each), codes) == (100, 100, {"too-many"}), (allowed, each, codes)
    assert all(decided), "a gateway was not asked"


def lock(lab, asked):
    """`ctl --fleet lock` ends what a user has open on all three"""
    last, wish = [], {"reason": "a test", "fleet": True}
    for turn in range(asked.rounds):
        with ThreadPoolExecutor(3) as few:
            sessions = list(few.map(lambda gateway: Session(gateway.door(lab), DIRECT, LOCKED), lab.gateways))
        ends = []

        def watch(session):
            try:
                is_over = not session.kept.near.recv(1)
            except OSError as error:
                is_over = not isinstance(error, TimeoutError)
            if is_over:
                ends.append(time.monotonic())

        watching = [threading.Thread(target=watch, args=(session,)) for session in sessions]
        for thread in watching:
            thread.start()
        teller = lab.gateways[turn % 3]
        began = time.monotonic()
        teller.ask("PUT", f"/v1/locks/{LOCKED}", wish)
        for thread in watching:
            thread.join()
        assert len(ends) == 3, "a tunnel did not end"
        last.append(max(ends) - began)
        if turn == 0:
            assert not any(logs_in(gateway.door(lab), LOCKED) for gateway in lab.gateways), "a locked user could log in"
        for session in sessions:
            session.kept.close()
            session.stack.close()
        teller.ask("DELETE", f"/v1/locks/{LOCKED}?fleet=true")
        for gateway in lab.gateways:
            eventually("no lock", lambda: not gateway.ask("GET", "/v1/locks"))
            assert turn or logs_in(gateway.door(lab), LOCKED), "the user could not log in again"
    middle, worst = statistics.median(last) * 1000, max(last) * 1000
    lab.say(f"the last tunnel ended after {middle:.0f} ms (median of {asked.rounds}), {worst:.0f} ms at worst; the bound is 250 ms")


def tag(lab, _):
    """a moved tag reaches all three, and a bad one stops at the gates of each"""
    sessions = [Session(gateway.door(lab), DIRECT) for gateway in lab.gateways]

    def use():
        for session in sessions:
            session.beat()
            with contextlib.closing(Forward(session.path)) as forward:
                forward.exchange()

    good = lab.version(2)
    lab.registry.push(good, "hours:stable")
    began, took = time.monotonic(), []
    for gateway in lab.gateways:
        eventually(f"{gateway.name} with the new policy", lambda: gateway.serves() == digest(good))
        took.append(time.monotonic() - began)
    use()
    lab.say(f"it was in force on all three {max(took):.1f} s after the push, through the gates (poll = 1 s)")

    marks = lab.marks()
    lab.registry.push(DENYING, "hours:stable")
    began = time.monotonic()

    def stopped():
        lines = [[line for line in lines if line["event"] == "policy-rejected"] for lines in lab.since(marks)]
        return all(lines) and [line for some in lines for line in some]

    for line in eventually("all three to refuse it", stopped):
        assert "alice reaches the target" in json.dumps(line), line
    lab.say(f"one that denies what it must allow was stopped on all three {time.monotonic() - began:.1f} s after the push")
    assert all(gateway.serves() == digest(good) for gateway in lab.gateways)
    use()
    lab.registry.push(good, "hours:stable")
    for session in sessions:
        session.finish(1)


def canary(lab, _):
    """a new policy decides on one gateway first; the others follow if it does well there, and stop if it is taken back"""
    first, *others = lab.gateways
    before = first.serves()
    lab.reconfigure(cases=[], more=f'[policy.rollout]\ncanary = ["{first.name}"]\nwait = "3s"\n')
    good = lab.version(3)
    lab.registry.push(good, "hours:stable")
    began = time.monotonic()
    eventually(f"{first.name} with the new policy", lambda: first.serves() == digest(good))
    at_first = time.monotonic() - began
    assert all(gateway.serves() == before for gateway in others), "one did not wait"
    for gateway in others:
        eventually(f"{gateway.name} with the new policy", lambda: gateway.serves() == digest(good))
    lab.say(f"it decided on {first.name} {at_first:.1f} s after the push, and on all three after {time.monotonic() - began:.1f} s (wait = 3 s)")

    marks = lab.marks()
    lab.registry.push(DENYING, "hours:stable")
    eventually(f"{first.name} with the bad policy", lambda: first.serves() == digest(DENYING))
    began = time.monotonic()
    first.ctl("policy", "rollback", "hours", "--reason", "it denies everybody")

    def stopped():
        lines = [line["reason"] for lines in lab.since(marks)[1:] for line in lines if line["event"] == "policy-rejected"]
        return [line for line in lines if f"stopped at the gate `canary`: not on {first.name}: it denies everybody" in line]

    eventually("the others to stop", lambda: len(stopped()) == len(others))
    assert all(gateway.serves() == digest(good) for gateway in lab.gateways)
    lab.say(f"one that denies everybody was taken back on {first.name}, and {time.monotonic() - began:.1f} s later the others had stopped; it never decided there")
    lab.registry.push(good, "hours:stable")
    lab.reconfigure(cases=[str(lab.shared / "invariants.toml")], more="")


class Users(Works):
    """Users behind the balancer, with a forward that stays open, new forwards, and new logins; whatever happens, they go on."""

    def __init__(self, lab):
        self.lab, self.seen = lab, []
        works = [lambda name=name, address=address: self.use(name, address) for name, address in zip(USERS, CLIENTS)]
        super().__init__(*works, self.come)

    def note(self, kind, began=None):
        now = time.monotonic()
        self.seen.append((kind, now, now - (began or now)))

    def use(self, name, address):
        session = Session(self.lab.door, address, name)
        while not self.over.wait(0.05):
            try:
                session.beat()
            except (Lost, Refused):
                self.note("ended")
                session = self.come_back(session, address, name)
            began = time.monotonic()
            try:
                with contextlib.closing(Forward(session.path)) as forward:
                    forward.exchange()
                self.note("allowed", began)
            except Refused:
                self.note("refused", began)
        with contextlib.suppress(Lost, Refused):
            session.finish(0)

    def come_back(self, session, address, name):
        session.stack.close()
        began = time.monotonic()
        while not self.over.is_set():
            with contextlib.suppress(NoSession, Lost, Refused):
                session = Session(self.lab.door, address, name)
                break
        self.note("back", began)
        return session

    def come(self):
        while not self.over.is_set():
            began = time.monotonic()
            self.note("login" if logs_in(self.lab.door, NEW) else "no login", began)

    def during(self, what, enough=lambda: True, since=None):
        """Waits for some forwards and logins, and until it is enough; prints what came of them."""
        since = since or time.monotonic()

        def kinds(*kinds):
            return [took for kind, at, took in list(self.seen) if kind in kinds and at - took >= since]

        def has_seen():
            return self.faults or (
                len(kinds("login", "no login")) >= 4
                and len(kinds("allowed", "refused")) >= 100
                and len(kinds("ended")) == len(kinds("back"))
                and enough()
            )

        eventually(what, has_seen)
        assert not self.faults, self.faults
        counts = {kind: len(kinds(kind)) for kind in ("allowed", "refused", "login", "no login", "ended", "back")}
        self.lab.say(
            f"{what:34} {counts['allowed']:4} forwards ({milliseconds(kinds('allowed'))}), {counts['refused']} refused; "
            f"{counts['login']} logins ({milliseconds(kinds('login'))}), {counts['no login']} refused; {counts['ended']} open forwards ended"
            + (f", their users were back after {milliseconds(kinds('back'))}" if counts["back"] else "")
        )
        return counts


def expect_no_harm(counts):
    assert not counts["refused"] and not counts["no login"] and not counts["ended"], counts


def counted(lab):
    """What the gateways that are there have open of a user, as they have told Redis: sessions, and tunnels and listeners."""
    words = lab.redis.cli("HGETALL", f"portreeve:open:{{{COUNTED}}}").split("\n")
    there = lab.redis.cli("ZRANGEBYSCORE", "portreeve:{gateways}", str(int(time.time() * 1000)), "inf").split("\n")
    notes = [[int(number) for number in note.split()[1:]] for gateway, note in zip(words[::2], words[1::2]) if gateway in there]
    return sum(note[1] for note in notes), sum(note[0] for note in notes)


def faults(lab, _):
    """Redis, the registry or a gateway fails: open forwards go on, and the counts are right again within the lease"""
    lab.reconfigure(sessions=3)
    one, two, three = [gateway.door(lab) for gateway in lab.gateways]
    held = [Session(door, DIRECT, COUNTED) for door in (one, three, three)]
    eventually("3 sessions with 3 forwards in Redis", lambda: counted(lab) == (3, 3))
    assert not logs_in(two, COUNTED), "a fourth session was admitted"
    with Users(lab) as users:
        expect_no_harm(users.during("before"))
        lab.redis.signal(signal.SIGSTOP)
        away = lambda: all("not reachable" in gateway.readiness()[1] for gateway in lab.gateways)
        expect_no_harm(users.during("Redis paused", away))
        lab.redis.signal(signal.SIGCONT)
        lab.all_connected()
        expect_no_harm(users.during("Redis goes on"))
        lab.redis.signal(signal.SIGKILL)
        eventually("Redis is away", away)
        expect_no_harm(users.during("Redis killed"))
        assert logs_in(two, COUNTED), "each gateway counts alone"
        lab.redis.start()
        began = time.monotonic()
        lab.all_connected()
        eventually("3 sessions with 3 forwards in Redis", lambda: counted(lab) == (3, 3))
        eventually("the fourth session is refused", lambda: not logs_in(two, COUNTED))
        lab.say(f"the counts were right {time.monotonic() - began:.1f} s after Redis was back with nothing in it")
        expect_no_harm(users.during("Redis is back, empty"))
        lab.registry.kill()
        expect_no_harm(users.during("the registry killed"))
        lab.registry.start()
        killed = lab.gateways[2]
        pid = killed.ctl("status")["process"]
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        eventually("a place for another session", lambda: logs_in(two, COUNTED))
        freed = time.monotonic() - began
        lab.balancer.expect(killed, "DOWN")
        counts = users.during("a gateway killed with -9", lambda: len([1 for kind, *_ in users.seen if kind == "back"]), began)
        assert 0 < counts["ended"] <= len(USERS) // 2, f"only the users of one gateway should notice: {counts}"
        lab.say(f"its sessions counted for {freed:.1f} s more (lease = {LEASE} s)")
        # Exactly as many as were free.
        held.extend(Session(two, DIRECT, COUNTED) for _ in range(2))
        eventually("3 sessions with 3 forwards in Redis", lambda: counted(lab) == (3, 3))
        assert not logs_in(one, COUNTED), "a fourth session was admitted"
        killed.child.wait(PATIENCE)
        killed.start()
        lab.balancer.expect(killed, "UP")
        expect_no_harm(users.during("all three again"))
    for session in held:
        session.kept.close()
        session.stack.close()
    lab.reconfigure(sessions=100)


def partition(lab, _):
    """a gateway that is cut off from Redis misses a lock, and obeys as soon as it is back"""
    cut, teller = lab.gateways[1], lab.gateways[0]
    cut.configure(cut_off="refuse-new")
    stop(cut)
    cut.start()
    lab.all_connected()
    sessions = [Session(gateway.door(lab), DIRECT, LOCKED) for gateway in lab.gateways]
    other = Session(cut.door(lab), DIRECT)
    cut.wire.whole.clear()
    eventually("it is cut off", lambda: cut.readiness()[0] == 503)
    teller.ask("PUT", f"/v1/locks/{LOCKED}", {"reason": "a test", "fleet": True})
    for session in (sessions[0], sessions[2]):
        assert not session.kept.near.recv(1), "a tunnel did not end"
    sessions[1].beat()
    with contextlib.suppress(Refused), contextlib.closing(Forward(other.path)) as forward:
        forward.exchange()
        raise AssertionError("a new forward was allowed")
    assert not logs_in(cut.door(lab), "bob"), "a new login was admitted"
    other.beat()
    lab.say("cut off it refused new forwards and logins; what was open went on, also of the locked user")
    cut.wire.whole.set()
    began = time.monotonic()
    assert not sessions[1].kept.near.recv(1), "the tunnel did not end"
    lab.say(f"the locked user's tunnel ended {(time.monotonic() - began) * 1000:.0f} ms after the gateway could reach Redis")
    assert not logs_in(cut.door(lab), LOCKED), "a locked user could log in"
    lab.all_connected()
    other.finish(1)
    for session in sessions:
        session.kept.close()
        session.stack.close()
    teller.ask("DELETE", f"/v1/locks/{LOCKED}?fleet=true")
    cut.configure(cut_off="serve")
    stop(cut)
    cut.start()
    lab.balancer.expect(cut, "UP")


def rolling(lab, _):
    """all three are upgraded one after the other, under 100 new forwards a second: none is refused, none lost"""
    marks, began = lab.marks(), time.monotonic()
    with Fleet(lab.door) as fleet:
        for gateway in lab.gateways:
            upgrade(gateway, fleet, lab.balancer)
            fleet.go_on()
    seconds = time.monotonic() - began
    fleet.expect_none("refused in a session", "refused again in a new session", "lost", "new connections refused")
    eventually("no sessions", lambda: not any(gateway.clients() for gateway in lab.gateways))
    opened, _ = check_audit([line for lines in lab.since(marks) for line in lines], fleet)
    lab.say(
        f"{fleet.counts['forwards']} forwards ({milliseconds(fleet.times)}; {len(fleet.times) / seconds:.0f} a second) and "
        f"{fleet.counts['new connections']} new connections: none refused, none lost, {opened} tunnels in the audit logs"
    )


@contextlib.contextmanager
def followed(gateway):
    """What `ctl --fleet events` prints. It ends before its time if what is waited for does not come."""
    command = [PORTREEVE, "ctl", "--fleet", "events", "--json", "--socket", gateway.folder / "admin.sock"]
    with process(command, stdout=subprocess.PIPE, text=True) as reader:
        end = threading.Timer(PATIENCE, reader.kill)
        end.start()
        try:
            yield (json.loads(line) for line in reader.stdout)
        finally:
            end.cancel()


def events(lab, _):
    """`ctl --fleet events` follows all three"""
    with followed(lab.gateways[0]) as told:
        next(line for line in told if len(line.get("following", ())) == 3 and not line["missing"])
        for gateway in lab.gateways:
            assert logs_in(gateway.door(lab), "bob")
            line = next(line for line in told if line.get("event") == "auth-succeeded")
            assert (line["gateway"], line["user"]) == (gateway.name, "bob"), line
    lab.say("a login on each was told, with the name of its gateway")


class Alone(Gateway):
    """A gateway of its own, on other Redis servers."""

    def __init__(self, lab, name, url):
        self.url = url
        GATEWAYS[name] = "127.0.0.14"
        super().__init__(name, lab.folder / name, lab.shared, lab.stack, lab.redis, lab.registry)

    def configure(self, **options):
        super().configure(more=LIMIT, **options)
        file = self.folder / "portreeve.toml"
        text = file.read_text().replace(f"redis://gateway@127.0.0.1:{self.wire.port}", self.url)
        file.write_text("".join(line for line in text.splitlines(True) if not line.startswith("redis-password-file")))


def sentinels(lab, _):
    """the primary dies, three sentinels choose the replica, and the gateway follows"""
    folder = lab.folder / "sentinels"
    folder.mkdir()
    first = Redis(folder / "first", lab.stack)
    second = Redis(folder / "second", lab.stack, "--replicaof", f"127.0.0.1 {first.port}", "--repl-diskless-sync-delay", "0")
    eventually("the replica", lambda: "master_link_status:up" in second.cli("INFO", "replication"))
    ports = []
    for number in range(3):
        port = free_port("127.0.0.1")
        file = folder / f"sentinel-{number}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor fleet 127.0.0.1 {first.port} 2\n"
            "sentinel down-after-milliseconds fleet 1000\nsentinel failover-timeout fleet 5000\n"
        )
        log = lab.stack.enter_context(open(folder / f"sentinel-{number}.log", "w"))
        lab.stack.enter_context(process(["redis-server", file, "--sentinel"], stdout=log, stderr=log))
        ports.append(port)

    def asks(port, *words):
        ran = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True)
        return ran.stdout

    for port in ports:
        eventually("the sentinels know each other", lambda: "name=fleet,status=ok" in (info := asks(port, "INFO", "sentinel")) and "slaves=1,sentinels=3" in info)
    nodes = ",".join(f"127.0.0.1:{port}" for port in ports)
    gateway = Alone(lab, "sentinel", f"redis+sentinel://{nodes}/fleet")
    eventually("the gateway is connected", gateway.is_connected)
    session = Session(gateway.door(lab), DIRECT)
    use = lambda: allowed(session)
    assert all(use() for _ in range(10))
    stored = lambda redis: redis.cli("HGET", "portreeve:state:{rate-limit}:entries", "cuser/alice")
    eventually("the replica has all", lambda: stored(second) == "11")
    first.signal(signal.SIGKILL)
    began = time.monotonic()
    eventually("the gateway misses Redis", lambda: not gateway.is_connected())
    eventually("the gateway is connected again", gateway.is_connected)
    took = time.monotonic() - began
    assert use(), "a forward was refused after the failover"
    assert (second.cli("ROLE").split()[0], stored(second)) == ("master", "12"), stored(second)
    session.finish(1)
    stop(gateway)
    lab.say(f"connected to the new primary {took:.1f} s after the old one was killed; it went on to count where it was")


def cluster(lab, _):
    """a cluster of three nodes: state, counts, locks and events"""
    folder = lab.folder / "nodes"
    folder.mkdir()
    options = lambda: ["--cluster-enabled", "yes", "--cluster-port", str(free_port("127.0.0.1")), "--cluster-node-timeout", "2000"]
    nodes = [Redis(folder / str(number), lab.stack, *options()) for number in range(3)]
    addresses = [f"127.0.0.1:{node.port}" for node in nodes]
    subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], check=True, capture_output=True)
    for node in nodes:
        eventually("the cluster", lambda: "cluster_state:ok" in node.cli("CLUSTER", "INFO"))
    gateway = Alone(lab, "cluster", f"redis+cluster://{','.join(addresses[:2])}")
    eventually("the gateway is connected", gateway.is_connected)
    door = gateway.door(lab)
    session = Session(door, DIRECT)
    came = [allowed(session) for _ in range(110)]
    assert came == [True] * 99 + [False] * 11, came
    with followed(gateway) as told:
        next(line for line in told if line.get("following") == ["cluster"] and not line["missing"])
        gateway.ctl("lock", "alice", "--fleet", "--reason", "a test")
        next(line for line in told if line.get("action") == "lock")
        next(line for line in told if line.get("event") == "session-closed")
    assert not session.kept.near.recv(1) and not logs_in(door, "alice")
    gateway.ctl("unlock", "alice", "--fleet")
    eventually("alice is in again", lambda: logs_in(door, "alice"))
    keys = [int(node.cli("DBSIZE")) for node in nodes]
    session.kept.close()
    session.stack.close()
    stop(gateway)
    lab.say(f"100 of 111 forwards were allowed at a limit of 100, a lock held and was told; the nodes have {keys} keys")


def allowed(session):
    """Whether a new forward is allowed."""
    try:
        with contextlib.closing(Forward(session.path)) as forward:
            forward.exchange()
        return True
    except Refused:
        return False


# A bad one that stops at the canary belongs after `tag`.
SCENARIOS = [rate, lock, events, tag, canary, faults, partition, rolling, sentinels, cluster]


def run(lab, asked):
    for scenario in SCENARIOS:
        if scenario.__name__ in (asked.only or [one.__name__ for one in SCENARIOS]):
            print(f"{scenario.__name__}: {scenario.__doc__}", flush=True)
            scenario(lab, asked)


def keep(lab):
    ssh = " ".join(str(word) for word in lab.door.ssh(CLIENTS[0]))
    print(f"\nusers: {', '.join([*USERS, LOCKED, COUNTED, NEW])}; targets: 127.0.0.1, any port; an echo server is on port {lab.target.port}")
    print(f"HAProxy:   {ssh} -N -L 8080:127.0.0.1:{lab.target.port}")
    for gateway in lab.gateways:
        print(f"{gateway.name}:       {PORTREEVE} ctl --socket {gateway.folder / 'admin.sock'} --fleet status    (http://{gateway.address}:{gateway.http_port}/readyz)")
    print(f"Redis:     redis-cli -p {lab.redis.port}")
    print(f"registry:  {PORTREEVE} plugin push FILE oci://{lab.registry.address}/policies/hours:stable")
    print("Ctrl-C ends it all.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def missing():
    """What this needs and does not find."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    found = [name for name in ("haproxy", "redis-server", "redis-cli", "docker-registry", "ssh") if not shutil.which(name, path=path)]
    return found + [f"{file} (plugins/build.sh)" for file in (POLICY, LIMITING, DENYING) if not file.exists()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", help="the program to run")
    parser.add_argument("--only", action="append", choices=[one.__name__ for one in SCENARIOS], help="run this scenario; may be repeated")
    parser.add_argument("--rounds", type=int, default=10, help="how often a user is locked out")
    parser.add_argument("--keep", action="store_true", help="run no scenario: keep it all until Ctrl-C")
    asked = parser.parse_args()
    if lacks := missing():
        print(f"not checked: {', '.join(lacks)} missing (tests/install.sh installs the servers)")
        return 1 if os.environ.get("CI") else 0
    if asked.keep:
        signal.alarm(0)
    with contextlib.ExitStack() as stack:
        lab = Lab(Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))), stack)
        lab.say("three gateways, Redis, a registry and HAProxy run")
        if asked.keep:
            keep(lab)
            return 0
        run(lab, asked)
        lab.say("everything held")
    return 0


if __name__ == "__main__":
    alone(main, 600)
