"""Those who use the servers: the real `ssh`, bulk through it, and a crowd of light clients."""
import resource, socket, subprocess, sys, time

from .servers import FILES, HERE, free_port, wait_for

# The same key exchange for both: sshd would otherwise take one that costs it more.
SSH = [
    "ssh", "-F", "none", "-o", "LogLevel=ERROR", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
    "-o", "KexAlgorithms=curve25519-sha256", "-o", "HostKeyAlgorithms=ssh-ed25519", "-o", "IdentitiesOnly=yes",
]


class Target:
    """The process that is forwarded to."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "target.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Session:
    """One `ssh -N -L` to a server; `port` leads to the target, or to another port of loopback."""

    def __init__(self, house, server, cipher, far=None):
        self.port = free_port()
        forward = f"{self.port}:127.0.0.1:{far or house.target_port}"
        self.process = subprocess.Popen(ssh(house, server, "-N", "-c", cipher, "-L", forward))
        wait_for(self.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def link(self):
        """An echoing connection to the target."""
        link = socket.create_connection(("127.0.0.1", self.port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(b"e")
        return link

    def load(self, word, total, piece, tunnels=1):
        """A process that moves bytes: `u` to the target, `d` from it."""
        command = [sys.executable, HERE / "load.py", self.port, word, total, piece, tunnels]
        return subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def moved(load):
        """The time, and the bytes that a load has moved by then."""
        load.stdin.write("\n")
        load.stdin.flush()
        when, moved = load.stdout.readline().split()
        return float(when), int(moved)

    def bulk(self, word, total, piece, tunnels):
        """The seconds that it took."""
        load = self.load(word, total, piece, tunnels)
        took = load.stdout.read()
        load.stdin.close()
        if load.wait() != 0:
            raise RuntimeError("a transfer broke off")
        return float(took)


def ssh(house, server, *more):
    return [*SSH, "-p", str(server.port), "-i", house.key, *more, f"{house.user}@127.0.0.1"]


def connect(house, server):
    """Connect, forward, have the first byte back: the seconds of it all, the client's own included."""
    began = time.monotonic()
    done = subprocess.run(
        ssh(house, server, "-c", "aes256-gcm@openssh.com", "-W", f"127.0.0.1:{house.target_port}"),
        input=b"ex", capture_output=True,
    )
    if done.stdout != b"x":
        raise RuntimeError(f"a connection failed: {done}")
    return time.monotonic() - began


class Crowd:
    """Light clients in one process (crowd.rs)."""

    def __init__(self, house, server, binary):
        def raise_files():
            resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

        self.process = subprocess.Popen(
            [binary, str(server.port), house.user, house.key, "127.0.0.1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=raise_files,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the crowd broke off at {words}")
        return [float(word) if "." in word else int(word) for word in answer.split()]
