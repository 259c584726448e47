#!/usr/bin/env bash
# Makes a container image from a release's program, without network and without a container engine.
#
#   build.sh PROGRAM LAYOUT     an image in the folder LAYOUT, as the OCI image specification lays it out
#   build.sh --files PROGRAM DIR    only the files of the image, for the Containerfile
#
# The image has the program, the libraries that it is linked to, and the certificates of public authorities; no shell and no package.
# The same program and libraries give the same image, byte for byte. SOURCE_DATE_EPOCH is its date (default: 0, 1970).
# CA_FILE has the certificates (default: /etc/ssl/certs/ca-certificates.crt, if it exists). Only connections with TLS to servers whose
# certificates are public need them.
set -euo pipefail
umask 022

usage() { sed -n '4,5s/^# *//p' "$0" >&2; exit 2; }
only_files=
[ "${1:-}" = --files ] && { only_files=1; shift; }
[ $# = 2 ] || usage
program=$1 output=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
[ -x "$program" ] || { echo "build.sh: $program is not a program" >&2; exit 1; }
[ ! -e "$output" ] || { echo "build.sh: $output exists already" >&2; exit 1; }

# The paths that the dynamic loader finds the libraries at; none for a static program.
libraries() {
    local found
    found=$(LC_ALL=C ldd "$1" 2>&1) || { [[ $found == *'not a dynamic executable'* ]] && return; echo "$found" >&2; return 1; }
    [[ $found != *'not found'* ]] || { echo "build.sh: a library is missing: $found" >&2; return 1; }
    grep -oE '/[^ ]+ \(0x' <<<"$found" | sed 's/ (0x$//' || true
}

files=$output/root
if [ -n "$only_files" ]; then
    # What belongs to the user of the program. The other folders belong to root.
    mkdir -p "$output/own"
else
    files=$(mktemp -d)
    trap 'rm -rf "$files"' EXIT
    mkdir -p "$files"/{run,var/lib}/portreeve
fi
mkdir -p "$files"/{dev,proc,sys,tmp,run,etc/portreeve,usr/bin,var/lib}
install -m 755 "$program" "$files/usr/bin/portreeve"
needed=$(libraries "$program")
for library in $needed; do
    install -D -m 755 "$library" "$files$library"
done
# Without these files the C library has no names for users, and asks for host names in another order.
echo 'root:x:0:0:root:/nonexistent:/nonexistent
portreeve:x:65532:65532:portreeve:/nonexistent:/nonexistent' >"$files/etc/passwd"
echo 'root:x:0:
portreeve:x:65532:' >"$files/etc/group"
echo 'passwd: files
group: files
hosts: files dns' >"$files/etc/nsswitch.conf"
chmod 1777 "$files/tmp"
certificates=${CA_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ -e "$certificates" ]; then
    install -D -m 644 "$certificates" "$files/etc/ssl/certs/ca-certificates.crt"
elif [ -n "${CA_FILE:-}" ]; then
    echo "build.sh: $CA_FILE does not exist" >&2
    exit 1
fi
[ -n "$only_files" ] || python3 "$here/layout.py" "$files" "$output"
