"""A gateway with a control socket, and clients that work through it, for benchmarks. Everything is on loopback."""
import asyncio, json, os, socket, subprocess, sys, time

RULES = """[[rules]]
name = "all"
outcome = "allow"
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Gateway:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.port = os.path.abspath(binary), folder, free_port()
        self.monitored = free_port()
        for name in ("host", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
        with open(f"{folder}/id.pub") as file:
            line = file.read().strip()
        with open(f"{folder}/rules.toml", "w") as file:
            file.write(RULES)
        self.config = f"{folder}/portreeve.toml"
        with open(self.config, "w") as file:
            file.write(
                f'[server]\nlisten = ["127.0.0.1:{self.port}"]\nhost-keys = ["{folder}/host"]\n'
                f'[[user]]\nname = "alice"\nauthorized-keys = ["{line}"]\n'
                f'[[user]]\nname = "bob"\nauthorized-keys = ["{line}"]\n'
                f'[policy]\ndirectory = "{folder}/policies"\non-swap = "keep"\n'
                '[policy.gates]\nburn-in = { for = "60s", min-decisions = 20, max-failed = "1%" }\n'
                '[[policy.plugin]]\nname = "rules"\ncomponent = "builtin:rules"\nsettings-file = "rules.toml"\n'
                'grants = ["names"]\n'
                f'[admin]\nsocket = "{folder}/admin.sock"\nhttp = "127.0.0.1:{self.monitored}"\n[audit]\nfile = "{folder}/audit.jsonl"\n'
                "[limits]\ndecisions-per-user-per-second = 100000\nsessions = 20000\nsessions-per-user = 20000\n"
                "unauthenticated-per-source = 200\nunauthenticated = 1000\n"
            )
        self.log = open(f"{folder}/log", "w")
        self.process = subprocess.Popen(
            [binary, "serve", "--config", self.config], stdout=subprocess.DEVNULL, stderr=self.log
        )

    def ctl(self, *arguments, code=0):
        began = time.monotonic()
        command = [self.binary, "ctl", "--socket", f"{self.folder}/admin.sock", "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        took = time.monotonic() - began
        if done.returncode != code:
            sys.exit(f"{' '.join(arguments)}: {done.returncode} {done.stdout} {done.stderr}")
        return took, json.loads(done.stdout)

    def ssh(self, user="alice"):
        port = free_port()
        options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={self.folder}/known", "IdentitiesOnly=yes", "BatchMode=yes"]
        command = ["ssh", "-F", "none", "-N", "-p", str(self.port), "-i", f"{self.folder}/id", "-D", f"127.0.0.1:{port}"]
        command += [f"-o{option}" for option in options] + [f"{user}@127.0.0.1"]
        return port, subprocess.Popen(command, stderr=subprocess.DEVNULL)

    async def clients(self, count):
        """So many ssh clients, each a SOCKS proxy."""
        while not os.path.exists(f"{self.folder}/admin.sock"):
            await asyncio.sleep(0.05)
        clients = [self.ssh() for _ in range(count)]
        for port, _ in clients:
            for _ in range(600):
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        return clients

    def seconds(self):
        """Of processor time so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def event(self, fits, since, patience=90):
        """The first line of the audit log that fits, and how long it took."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            with open(f"{self.folder}/audit.jsonl") as file:
                for line in file:
                    line = json.loads(line)
                    if fits(line):
                        return time.monotonic() - since, line
            time.sleep(0.02)
        sys.exit("what was waited for did not come")


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.CancelledError):
        pass
    writer.close()


async def socks(proxy, target):
    """A connection through the proxy, or None where it was refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
    writer.write(b"\5\1\0\5\1\0\1\x7f\0\0\1" + target.to_bytes(2, "big"))
    await reader.readexactly(2)
    answer = await reader.readexactly(10)
    if answer[1] != 0:
        writer.close()
        return None
    return reader, writer


class Work:
    """Tunnels that stay, and new forwards."""

    def __init__(self, proxies, target):
        self.proxies, self.target = proxies, target
        self.done = self.refused = self.lost = self.wrong = 0
        self.tunnels, self.number = [], 0

    async def open(self, count):
        for number in range(count):
            stream = await socks(self.proxies[number % len(self.proxies)], self.target)
            if stream is None:
                sys.exit("a tunnel was refused")
            self.tunnels.append(stream)

    async def check(self):
        """Every tunnel echoes what it is sent."""
        alive = 0
        for number, (reader, writer) in enumerate(self.tunnels):
            word = f"{number:08}".encode()
            try:
                writer.write(word)
                alive += await asyncio.wait_for(reader.readexactly(len(word)), 20) == word
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                pass
        return alive

    async def once(self):
        self.number += 1
        word = f"{self.number:016}".encode()
        try:
            stream = await socks(self.proxies[self.number % len(self.proxies)], self.target)
            if stream is None:
                self.refused += 1
                return
            reader, writer = stream
            writer.write(word)
            self.wrong += await asyncio.wait_for(reader.readexactly(len(word)), 20) != word
            self.done += 1
            writer.close()
        except asyncio.IncompleteReadError as error:
            # What is refused: ssh has answered the proxy's client before it hears of it, and then closes.
            self.refused += not error.partial
            self.lost += bool(error.partial)
        except (OSError, asyncio.TimeoutError):
            self.lost += 1

    async def load(self, rate, stop):
        began, asked, tasks = time.monotonic(), 0, set()
        while not stop.is_set():
            due = int((time.monotonic() - began) * rate)
            while asked < due:
                task = asyncio.create_task(self.once())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                asked += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
        return asked / (time.monotonic() - began)
