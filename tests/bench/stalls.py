#!/usr/bin/env python3
"""What a stalled target costs its neighbours: portreeve and OpenSSH's sshd, the same work, side by side.

    cargo build --release && tests/bench/stalls.py target/release/portreeve

One ssh connection carries everything. First it is quiet: round trips, a download and an upload are measured alone. Then
a client pushes into tunnels whose targets take nothing (1, then 50 of them), and the same is measured again, and what
the server costs meanwhile; then the targets take again, and what they take in the first second is compared with what
they take in the next. Everything is on loopback and ends with this program. Needs ssh, sshd and ssh-keygen.
"""
import argparse, os, shutil, socket, struct, subprocess, sys, tempfile, threading, time

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


def target(listener):
    """In a process of its own. The first byte of a connection says what to do with it."""
    stalled, resume = [], threading.Event()

    def serve(link):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray(MIB)
        try:
            word = link.recv(1)
            if word == b"e":
                while length := link.recv_into(buffer):
                    link.sendall(memoryview(buffer)[:length])
            elif word == b"u":
                while link.recv_into(buffer):
                    pass
            elif word == b"d":
                while True:
                    link.sendall(buffer)
            elif word == b"s":
                resume.wait()
                while length := link.recv_into(buffer):
                    taken[0] += length
            elif word == b"r":
                taken[0] = 0
                resume.set()
                for _ in range(3):
                    time.sleep(1)
                    link.sendall(struct.pack("!Q", taken[0]))
                resume.clear()
        except OSError:
            pass
        link.close()

    taken = [0]
    while True:
        link, _ = listener.accept()
        threading.Thread(target=serve, args=(link,), daemon=True).start()


class Server:
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
                    total += sum(int(field) for field in stat.read().rsplit(")", 1)[1].split()[11:15])
            except FileNotFoundError:
                pass
        return total / TICKS

    def mebibytes(self):
        total = 0
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
            except FileNotFoundError:
                pass
        return total / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait()


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


def portreeve(binary, folder, user, line):
    port, config = free_port(), f"{folder}/gateway.toml"
    with open(config, "w") as file:
        file.write(
            f'[server]\nlisten = ["127.0.0.1:{port}"]\nhost-keys = ["{folder}/host"]\n'
            f'[[user]]\nname = "{user}"\nauthorized-keys = ["{line}"]\n'
            '[[policy.plugin]]\nname = "rules"\ncomponent = "builtin:rules"\n'
            'settings = { rules = [{ name = "all", outcome = "allow" }] }\n'
            f'[audit]\nfile = "{folder}/audit.jsonl"\n'
        )
    return Server("portreeve", [binary, "serve", "--config", config], port)


def sshd(folder, line):
    port, keys = free_port(), f"{folder}/authorized_keys"
    with open(keys, "w") as file:
        file.write(line + "\n")
    options = {
        "ListenAddress": "127.0.0.1", "Port": port, "HostKey": f"{folder}/host", "AuthorizedKeysFile": keys,
        "StrictModes": "no", "PidFile": "none", "PermitRootLogin": "yes", "UsePAM": "no",
    }
    os.makedirs("/run/sshd", exist_ok=True)
    command = [shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd", "-D", "-f", "/dev/null"]
    return Server("sshd", command + [f"-o{name}={value}" for name, value in options.items()], port)


class Connection:
    """One ssh client with one local forward, through which any number of tunnels is opened."""

    def __init__(self, server, folder, user, port, cipher):
        self.local = free_port()
        self.client = subprocess.Popen([
            "ssh", "-F", "none", "-p", str(server.port), "-i", f"{folder}/key", "-o", "LogLevel=ERROR", "-c", cipher,
            "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
            "-N", "-L", f"{self.local}:127.0.0.1:{port}", f"{user}@127.0.0.1",
        ])
        wait_for(self.local)

    def tunnel(self, word):
        link = socket.create_connection(("127.0.0.1", self.local))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(word)
        return link

    def trips(self, seconds):
        times, end = [], time.monotonic() + seconds
        with self.tunnel(b"e") as link:
            while time.monotonic() < end:
                began = time.monotonic()
                link.sendall(b"x" * 100)
                left = 100
                while left:
                    left -= len(link.recv(left))
                times.append(time.monotonic() - began)
                time.sleep(0.001)
        times.sort()
        return times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000

    def rates(self, word, seconds):
        """Bytes in each second."""
        buffer, rates = bytearray(MIB // 4), []
        with self.tunnel(word) as link:
            link.settimeout(0.1)
            for _ in range(seconds):
                end, passed = time.monotonic() + 1, 0
                while time.monotonic() < end:
                    try:
                        passed += link.send(buffer) if word == b"u" else link.recv_into(buffer)
                    except TimeoutError:
                        pass
                rates.append(passed)
        return rates

    def push(self):
        """A tunnel into which everything is sent that it takes."""
        link = self.tunnel(b"s")

        def pushing():
            try:
                while True:
                    link.sendall(bytes(MIB // 4))
            except OSError:
                pass

        threading.Thread(target=pushing, daemon=True).start()
        return link

    def close(self):
        self.client.terminate()
        self.client.wait()


def measure(connection, server, seconds):
    figures = {}
    figures["round trip p50, ms"], figures["round trip p99, ms"] = connection.trips(seconds)
    down, up = connection.rates(b"d", seconds), connection.rates(b"u", seconds)
    figures["download, MB/s"] = sum(down) / len(down) / 1e6
    figures["upload, MB/s"] = sum(up) / len(up) / 1e6
    # The first and the last are cut by the buffers of the sockets.
    figures["upload, worst second, MB/s"] = min(up) / 1e6
    return figures


def run(server, folder, user, port, cipher, stalled, seconds):
    connection = Connection(server, folder, user, port, cipher)
    quiet = measure(connection, server, seconds)
    quiet["memory, MiB"] = server.mebibytes()
    pushed = [connection.push() for _ in range(stalled)]
    time.sleep(3)
    before = server.seconds()
    time.sleep(seconds)
    cost = (server.seconds() - before) / seconds
    under = measure(connection, server, seconds)
    under["memory, MiB"] = server.mebibytes()
    under["processor seconds a second, nothing else going on"] = cost
    with connection.tunnel(b"r") as link:
        taken = [struct.unpack("!Q", link.recv(8))[0] for _ in range(3)]
    under["taken in the first second after, MB"] = taken[0] / 1e6
    under["taken in the second second after, MB"] = (taken[1] - taken[0]) / 1e6
    for link in pushed:
        link.shutdown(socket.SHUT_RDWR)
    connection.close()
    time.sleep(0.5)
    return quiet, under


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement; four of them and some must fit into a minute")
    parser.add_argument("--stalled", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--cipher", default="aes256-gcm@openssh.com")
    parser.add_argument("--only", choices=["portreeve", "sshd"])
    arguments = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    child = os.fork()
    if child == 0:
        target(listener)
    port = listener.getsockname()[1]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("key", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
        with open(f"{folder}/key.pub") as public:
            line = public.read().strip()
        servers = [portreeve(os.path.abspath(arguments.binary), folder, user, line), sshd(folder, line)]
        try:
            print("| server | stalled | figure | quiet | stalled | ratio |\n|---|---|---|---|---|---|")
            for stalled in arguments.stalled:
                for server in servers:
                    if arguments.only not in (None, server.name):
                        continue
                    quiet, under = run(server, folder, user, port, arguments.cipher, stalled, arguments.seconds)
                    for name, value in under.items():
                        alone = quiet.get(name)
                        ratio = f"{value / alone:.2f}" if alone else ""
                        alone = "" if alone is None else f"{alone:.3g}"
                        print(f"| {server.name} | {stalled} | {name} | {alone} | {value:.3g} | {ratio} |", flush=True)
        finally:
            for server in servers:
                server.stop()
            os.kill(child, 9)


if __name__ == "__main__":
    main()
