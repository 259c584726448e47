"""A gateway whose configuration is as large as one wants, for `tests/bench/scale`. Everything is on loopback."""
import base64, os, pathlib, struct, subprocess, sys, time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from beside_sshd.servers import House, Server, free_port

USER = "alice"


class Gateway:
    """A gateway with so many of each, by default as few as possible."""

    def __init__(self, folder, binary, target_port, rules=1, users=1, keys=1, fingerprints=0, serials=0, plugins=1):
        self.folder, self.binary = folder, os.path.abspath(binary)
        self.key, self.user = f"{folder}/key", USER
        if not os.path.exists(self.key):
            for name in ("key", "host", "ca"):
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
        line = self.read("key.pub")
        # The key that logs in is the last of its user, and its user the last of all.
        keys = [f'"{stranger()}"' for _ in range(keys - 1)] + [f'"{line}"']
        everybody = [f'[[user]]\nname = "user-{number}"\nauthorized-keys = ["{stranger()}"]\n' for number in range(users - 1)]
        everybody.append(f'[[user]]\nname = "{USER}"\nauthorized-keys = [{",".join(keys)}]\n')
        chain = "".join(
            f'[[policy.plugin]]\nname = "rules-{number}"\ncomponent = "builtin:rules"\nsettings-file = "rules.toml"\n'
            for number in range(plugins)
        )
        self.write("rules.toml", "".join(other_rule(number) for number in range(rules - 1)) + the_rule(target_port))
        revoked = self.revoked(fingerprints, serials)
        port = free_port()
        self.write(
            "gateway.toml",
            f'[server]\nlisten = ["127.0.0.1:{port}"]\nhost-keys = ["{folder}/host"]\n[auth]\n{revoked}'
            f'[limits]\n{House.LIMITS}listeners-per-session = 5000\nlisteners-per-user = 5000\n'
            f'[policy]\nmemory = "512 MiB"\n{chain}[admin]\nsocket = "{folder}/admin.sock"\n'
            f'[audit]\nfile = "{folder}/audit.jsonl"\n' + "".join(everybody),
        )
        own = [f"{variable}={folder}/own" for variable in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR")]
        os.makedirs(f"{folder}/own", mode=0o700, exist_ok=True)
        self.command = ["env", *own, self.binary, "serve", "--config", f"{folder}/gateway.toml"]
        began = time.monotonic()
        self.server = Server("portreeve", self.command, port)
        # Server.start waits a moment after the port is open.
        self.ready = time.monotonic() - began - 0.2
        self.port = port

    def read(self, name):
        return pathlib.Path(f"{self.folder}/{name}").read_text().strip()

    def write(self, name, text):
        pathlib.Path(f"{self.folder}/{name}").write_text(text)

    def revoked(self, fingerprints, serials):
        """A list of fingerprints, or a KRL with serial numbers of certificates."""
        if fingerprints:
            some = (base64.b64encode(os.urandom(32)).decode().rstrip("=") for _ in range(fingerprints))
            self.write("revoked", "".join(f"SHA256:{one}\n" for one in some))
        elif serials:
            # Odd ones, so that they are no ranges.
            self.write("serials", "".join(f"serial: {2 * number + 1}\n" for number in range(serials)))
            ca = f"{self.folder}/ca.pub"
            subprocess.run(["ssh-keygen", "-q", "-k", "-f", f"{self.folder}/revoked", "-s", ca, f"{self.folder}/serials"], check=True)
        else:
            return ""
        return f'revoked-keys = "{self.folder}/revoked"\n'

    def reload(self):
        """Seconds that a reload takes."""
        began = time.monotonic()
        subprocess.run([self.binary, "ctl", "--socket", f"{self.folder}/admin.sock", "reload"], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    def stop(self):
        self.server.stop()


def stranger():
    """The line of a random key."""
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", os.urandom(32)))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def other_rule(number):
    return (
        f'[[rules]]\nname = "rule-{number}"\nactions = ["connect"]\ngroups = ["group-{number % 7}"]\n'
        f'hosts = ["host-{number}.example", "*.zone-{number}.example"]\nports = [5432, "8000-8999"]\noutcome = "allow"\n'
    )


def the_rule(port):
    return (
        f'[[rules]]\nname = "target"\nactions = "connect"\nports = {port}\noutcome = "allow"\n'
        '[[rules]]\nname = "listeners"\nactions = "listen"\noutcome = "allow"\n'
    )
