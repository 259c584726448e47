"""The two servers, and what they cost: processor time and memory of all their processes."""
import os, pathlib, resource, shutil, socket, subprocess, sys, time

from .supervise import children

HERE = pathlib.Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


class Server:
    """One of the two, listening on a free port of loopback."""

    def __init__(self, name, command, port):
        self.name, self.command, self.port = name, command, port
        self.start()

    def start(self):
        self.supervisor = subprocess.Popen(
            [sys.executable, HERE / "supervise.py", *self.command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.port)
        time.sleep(0.2)
        self.alone = len(self.family())

    def restart(self):
        """What its processes kept of earlier work is gone then, and does not count as memory of new work."""
        self.stop()
        self.start()

    def family(self):
        """The processes of the server, without its supervisor."""
        found, todo = [], children(self.supervisor.pid)
        while todo:
            found.append(todo.pop())
            todo += children(found[-1])
        return sorted(found)

    def seconds(self):
        """User and system time so far, also of processes that ended."""
        while True:
            before = self.family()
            total = ended(self.supervisor.pid) + sum(spent(pid) + ended(pid) for pid in before)
            # A process that ended meanwhile has moved into its parent's counters: look again.
            if before == self.family():
                return total

    def settle(self):
        """Waits until the processes of all connections are gone."""
        end = time.monotonic() + 10
        while len(self.family()) > self.alone and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.05)

    def kibibytes(self):
        """Proportional set size: what its processes share is counted once."""
        total = 0
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
            except (FileNotFoundError, ProcessLookupError):
                pass
        return total

    def stop(self):
        self.supervisor.terminate()
        self.supervisor.wait()


def spent(pid):
    """User and system time of a process, its ended threads included, to the nanosecond: clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0


def ended(pid):
    """User and system time of its children that ended: cutime and cstime of proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return sum(int(field) for field in stat.read().rsplit(")", 1)[1].split()[13:15]) / TICKS
    except (FileNotFoundError, ProcessLookupError):
        return 0


class House:
    """A folder with the keys, and the servers that use them."""

    LIMITS = (
        "sessions = 20000\nsessions-per-user = 20000\nunauthenticated = 2000\nunauthenticated-per-source = 2000\n"
        "tunnels-per-user = 20000\ndecisions-per-user-per-second = 1000000\n"
        'drain-timeout = "0"\nunused-connection-timeout = "0"\n'
    )
    STARTUPS = "5000"

    def __init__(self, folder, target_port):
        self.folder, self.target_port = folder, target_port
        self.key = f"{folder}/key"
        for name in ("key", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
        self.line = pathlib.Path(f"{folder}/key.pub").read_text().strip()
        self.user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        self.servers = []

    def portreeve(self, binary, name="portreeve"):
        port, config = free_port(), f"{self.folder}/{name}.toml"
        rules = (
            f'{{ name = "target", actions = "connect", ports = {self.target_port}, outcome = "allow" }}, '
            '{ name = "rest", outcome = "deny" }'
        )
        pathlib.Path(config).write_text(
            f'[server]\nlisten = ["127.0.0.1:{port}"]\nhost-keys = ["{self.folder}/host"]\n'
            f'[[user]]\nname = "{self.user}"\nauthorized-keys = ["{self.line}"]\n'
            f"[limits]\n{self.LIMITS}"
            f'[[policy.plugin]]\nname = "rules"\ncomponent = "builtin:rules"\nsettings = {{ rules = [{rules}] }}\n'
            f'[audit]\nfile = "{self.folder}/{name}.jsonl"\n'
        )
        # What it keeps is its own.
        own = [f"{variable}={self.folder}/{name}" for variable in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR")]
        os.makedirs(f"{self.folder}/{name}", mode=0o700)
        return self.start(name, ["env", *own, binary, "serve", "--config", config], port)

    def sshd(self):
        port, keys = free_port(), f"{self.folder}/authorized_keys"
        pathlib.Path(keys).write_text(self.line + "\n")
        options = {
            "ListenAddress": "127.0.0.1", "Port": port, "HostKey": f"{self.folder}/host", "AuthorizedKeysFile": keys,
            "StrictModes": "no", "PidFile": "none", "PermitRootLogin": "yes", "UsePAM": "no", "MaxStartups": self.STARTUPS,
            "PermitOpen": f"127.0.0.1:{self.target_port}",
        }
        os.makedirs("/run/sshd", exist_ok=True)
        command = [shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd", "-D", "-f", "/dev/null"]
        return self.start("sshd", command + [f"-o{name}={value}" for name, value in options.items()], port)

    def start(self, name, command, port):
        self.servers.append(Server(name, command, port))
        return self.servers[-1]

    def stop(self):
        for server in self.servers:
            server.stop()


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
