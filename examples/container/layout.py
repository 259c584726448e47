"""Packs a folder as an image in the layout of the OCI image specification. Used by build.sh.

    layout.py FILES LAYOUT

Owners, modes and times do not come from the folder, so that the same files always give the same image.
"""
import datetime
import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

USER = 65532
# Folders that the program writes to; all else belongs to root.
WRITABLE = {"run/portreeve": 0o700, "var/lib/portreeve": 0o700}
# e_machine of the ELF header.
MACHINES = {62: "amd64", 183: "arm64"}
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
OCI = "application/vnd.oci.image"


def entry(files, path):
    """One file of the layer, as a member of a tar archive without its contents."""
    name = path.relative_to(files).as_posix()
    member = tarfile.TarInfo(name)
    member.mtime = EPOCH
    if path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, WRITABLE.get(name, 0o1777 if name == "tmp" else 0o755)
    else:
        member.size, member.mode = path.stat().st_size, 0o755 if os.access(path, os.X_OK) else 0o644
    if name in WRITABLE:
        member.uid = member.gid = USER
    return member


def layer(files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(files.rglob("*")):
            member = entry(files, path)
            tar.addfile(member, None if member.isdir() else io.BytesIO(path.read_bytes()))
    return archive.getvalue()


def architecture(program):
    with program.open("rb") as file:
        return MACHINES[struct.unpack_from("<H", file.read(20), 18)[0]]


def blob(layout, kind, content):
    """Stores it under its digest, and returns its descriptor."""
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}


def text(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main(files, layout):
    program = files / "usr" / "bin" / "portreeve"
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    (layout / "blobs" / "sha256").mkdir(parents=True)
    packed = layer(files)
    # The level is part of what the digest depends on, as is the version of zlib; the digest of the unpacked layer is not.
    compressed = blob(layout, "layer.v1.tar+gzip", gzip.compress(packed, 6, mtime=0))
    created = datetime.datetime.fromtimestamp(EPOCH, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    platform = {"architecture": architecture(program), "os": "linux"}
    labels = {"org.opencontainers.image.title": "portreeve", "org.opencontainers.image.version": version}
    settings = {
        "User": f"{USER}:{USER}",
        "Entrypoint": ["/usr/bin/portreeve"],
        "Cmd": ["serve", "--config", "/etc/portreeve/portreeve.toml"],
        "ExposedPorts": {"2222/tcp": {}, "9464/tcp": {}},
        "Labels": labels,
        "StopSignal": "SIGTERM",
        "WorkingDir": "/",
    }
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(packed).hexdigest()}"]}
    history = [{"created": created, "created_by": "examples/container/build.sh"}]
    config = {**platform, "created": created, "config": settings, "rootfs": rootfs, "history": history}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": blob(layout, "config.v1+json", text(config)),
        "layers": [compressed],
        "annotations": labels,
    }
    described = blob(layout, "manifest.v1+json", text(manifest))
    described |= {"platform": platform, "annotations": {"org.opencontainers.image.ref.name": version}}
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [described]}
    (layout / "index.json").write_bytes(text(index))
    (layout / "oci-layout").write_bytes(text({"imageLayoutVersion": "1.0.0"}))
    print(f"{layout}: portreeve {version} for {platform['architecture']}, {described['digest']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
