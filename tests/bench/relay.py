#!/usr/bin/env python3
"""Relaying beside OpenSSH's sshd: the same keys, ciphers and work, in turn, printed as ratios.

    cargo build --release && tests/bench/relay.py target/release/portreeve

Both servers run on loopback and end with this program. A ratio is portreeve's figure divided by
sshd's in the same round; below 1 is better, but for throughput above 1. sshd decides nothing.
Processor time is that of the server and its children, from /proc. Needs ssh, sshd and ssh-keygen.
"""
import argparse, os, shutil, socket, statistics, subprocess, sys, tempfile, threading, time

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


class Server:
    """One of the two, listening on a free port of loopback."""

    def __init__(self, name, command, port):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(port)

    def family(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as children:
                        todo += [int(child) for child in children.read().split()]
                found.append(pid)
            except FileNotFoundError:
                pass
        return found

    def seconds(self):
        total = 0
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                total += sum(int(field) for field in fields[11:15])
            except FileNotFoundError:
                pass
        return total / TICKS

    def kibibytes(self):
        """Proportional set size: what sshd's processes share is counted once."""
        total = 0
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
            except FileNotFoundError:
                pass
        return total

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Target:
    """What is forwarded to: the first byte says what it does."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        buffer = bytearray(MIB)
        try:
            word = connection.recv(1)
            if word == b"e":
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while length := connection.recv_into(buffer):
                    connection.sendall(memoryview(buffer)[:length])
            elif word == b"u":
                left = int(connection.recv(16))
                while left > 0 and (length := connection.recv_into(buffer)):
                    left -= length
                connection.sendall(b"k")
            elif word == b"d":
                left = int(connection.recv(16))
                while left > 0:
                    connection.sendall(memoryview(buffer)[: min(left, MIB)])
                    left -= MIB
        except OSError:
            pass
        connection.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
    sys.exit(f"nothing listens on port {port}")


class Bench:
    def __init__(self, folder, binary, size):
        self.folder, self.size = folder, size
        self.key, self.target = f"{folder}/key", Target()
        for name in ("key", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
        with open(f"{folder}/key.pub") as public:
            line = public.read().strip()
        self.user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        self.servers = [self.portreeve(binary, line), self.sshd(line)]

    def portreeve(self, binary, line):
        port, config = free_port(), f"{self.folder}/gateway.toml"
        with open(config, "w") as file:
            file.write(
                f'[server]\nlisten = ["127.0.0.1:{port}"]\nhost-keys = ["{self.folder}/host"]\n'
                f'[[user]]\nname = "{self.user}"\nauthorized-keys = ["{line}"]\n'
                '[limits]\nsessions-per-user = 20000\n'
                '[[policy.plugin]]\nname = "rules"\ncomponent = "builtin:rules"\n'
                'settings = { rules = [{ name = "all", outcome = "allow" }] }\n'
                f'[audit]\nfile = "{self.folder}/audit.jsonl"\n'
            )
        return Server("portreeve", [binary, "serve", "--config", config], port)

    def sshd(self, line):
        port, keys = free_port(), f"{self.folder}/authorized_keys"
        with open(keys, "w") as file:
            file.write(line + "\n")
        options = {
            "ListenAddress": "127.0.0.1", "Port": port, "HostKey": f"{self.folder}/host", "AuthorizedKeysFile": keys,
            "StrictModes": "no", "PidFile": "none", "PermitRootLogin": "yes", "UsePAM": "no", "MaxStartups": "5000",
        }
        os.makedirs("/run/sshd", exist_ok=True)
        command = [shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd", "-D", "-f", "/dev/null"]
        return Server("sshd", command + [f"-o{name}={value}" for name, value in options.items()], port)

    def ssh(self, server, *more):
        return [
            "ssh", "-F", "none", "-p", str(server.port), "-i", self.key, "-o", "LogLevel=ERROR",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", *more, f"{self.user}@127.0.0.1",
        ]

    def session(self, server, cipher):
        local = free_port()
        forward = f"{local}:127.0.0.1:{self.target.port}"
        client = subprocess.Popen(self.ssh(server, "-N", "-c", cipher, "-L", forward))
        wait_for(local)
        return client, local

    def bulk(self, local, word):
        """Seconds for the bench's size, to the target (u) or from it (d)."""
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", local)) as link:
            link.sendall(word + str(self.size).encode().ljust(16))
            if word == b"u":
                data = bytes(MIB)
                for _ in range(self.size // MIB):
                    link.sendall(data)
                assert link.recv(1) == b"k"
            else:
                buffer, left = bytearray(MIB), self.size
                while left > 0:
                    length = link.recv_into(buffer)
                    assert length, "the download broke off"
                    left -= length
        return time.monotonic() - began

    def trips(self, local, count):
        times = []
        with socket.create_connection(("127.0.0.1", local)) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.sendall(b"e")
            for _ in range(count):
                began = time.monotonic()
                link.sendall(b"x" * 100)
                left = 100
                while left:
                    left -= len(link.recv(left))
                times.append(time.monotonic() - began)
        times.sort()
        return times[len(times) // 2], times[len(times) * 99 // 100]

    def transfer(self, server, cipher):
        client, local = self.session(server, cipher)
        figures = {}
        for word, name in ((b"u", "up"), (b"d", "down")):
            before = server.seconds()
            took = self.bulk(local, word)
            time.sleep(0.05)
            figures[f"throughput {name}"] = self.size / took
            figures[f"processor time per GiB {name}"] = server.seconds() - before
        client.terminate()
        client.wait()
        return figures

    def latency(self, server, cipher):
        client, local = self.session(server, cipher)
        alone, alone99 = self.trips(local, 1000)
        load = threading.Thread(target=self.bulk, args=(local, b"d"))
        load.start()
        beside, beside99 = self.trips(local, 300)
        load.join()
        client.terminate()
        client.wait()
        return {"trip alone p50": alone, "trip alone p99": alone99, "trip beside bulk p50": beside, "trip beside bulk p99": beside99}

    def connects(self, server, count=100):
        before = server.seconds()
        for _ in range(count):
            done = subprocess.run(
                self.ssh(server, "-W", f"127.0.0.1:{self.target.port}"), input=b"exx", capture_output=True
            )
            assert done.stdout == b"xx", done
        time.sleep(0.2)
        return {"processor time of connect + forward": (server.seconds() - before) / count}

    def memory(self, server, count):
        self.connects(server, 10)
        before = server.kibibytes()
        clients = [self.session(server, "aes256-gcm@openssh.com") for _ in range(count)]
        links = []
        for _, local in clients:
            link = socket.create_connection(("127.0.0.1", local))
            link.sendall(b"ex")
            assert link.recv(1) == b"x"
            links.append(link)
        used = (server.kibibytes() - before) / count
        for link in links:
            link.close()
        for client, _ in clients:
            client.terminate()
            client.wait()
        return {"memory per session with a tunnel": used}

    def compare(self, title, rounds, work):
        ratios, figures = {}, {}
        for round_ in range(rounds):
            order = self.servers if round_ % 2 == 0 else self.servers[::-1]
            seen = {server.name: work(server) for server in order}
            for name, ours in seen["portreeve"].items():
                theirs = seen["sshd"][name]
                if theirs:
                    ratios.setdefault(name, []).append(ours / theirs)
                    figures.setdefault(name, []).append((ours, theirs))
        for name, values in ratios.items():
            spread = f"{min(values):.2f} to {max(values):.2f}"
            print(f"| {title} | {name} | **{statistics.median(values):.3g}** | {spread} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--mebibytes", type=int, default=1024, help="of each transfer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=100, help="for the memory row")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, os.path.abspath(arguments.binary), arguments.mebibytes * MIB)
        try:
            print("| work | figure | portreeve / sshd | spread |\n|---|---|---|---|")
            for cipher in ("aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"):
                short = cipher.split("@")[0]
                bench.compare(short, arguments.rounds, lambda server: bench.transfer(server, cipher))
            bench.compare("100 bytes", arguments.rounds, lambda server: bench.latency(server, "aes256-gcm@openssh.com"))
            bench.compare("ssh -W", arguments.rounds, bench.connects)
            bench.compare("idle", 1, lambda server: bench.memory(server, arguments.sessions))
        finally:
            for server in bench.servers:
                server.stop()


if __name__ == "__main__":
    main()
