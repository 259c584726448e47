#!/usr/bin/env bash
# From nothing to a decision at a real ssh client, in one language: the commands of docs/writing-a-policy.md, on ports that are free.
#
#   tests/new-policy.sh LANGUAGE      rust, c, cpp, go, python, javascript or typescript
#
# Needs `portreeve`, the language's tools, ssh and python3 on the PATH.
set -euo pipefail

language=${1:?a language}
folder=$(mktemp -d)
running=()
finish() {
    [ ${#running[@]} -eq 0 ] || kill "${running[@]}" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

# Prints a command, and runs it.
run() {
    printf '$ %s\n' "$*"
    "$@"
}

# waits FILE PATTERN: until a line of a file that is being written fits; prints what the pattern's group caught.
waits() {
    timeout 300 bash -c 'until line=$(grep -m 1 -E "$2" "$1"); do read -r -t 0.1 <> <(:) || true; done; echo "$line"' - "$1" "$2" | sed -E "s/.*$2.*/\1/"
}

cd "$folder"
run portreeve plugin new only-ports --lang "$language"
case $language in
python) (cd only-ports && run python3 -m venv .venv && run .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt) ;;
javascript | typescript) (cd only-ports && run npm install --silent --no-fund --no-audit) ;;
esac
run portreeve plugin build only-ports
run portreeve plugin test only-ports
[ "$language" != rust ] || (cd only-ports && run cargo test --quiet)

# Something that listens, and says so to who connects.
python3 -u -c '
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1])
while True:
    peer, _ = listener.accept()
    peer.sendall(b"hello from the target\n")
    peer.close()
' >target.log &
running+=($!)
port=$(waits target.log 'port ([0-9]+)')

# C and C++ have their port in the source.
case $language in
c) run sed -i "s/port == 22/port == $port/" only-ports/decide.c ;;
cpp) run sed -i "s/port == 22/port == $port/" only-ports/decide.cpp ;;
esac
case $language in
c | cpp) run portreeve plugin build only-ports ;;
*) settings="settings = { ports = [$port] }" ;;
esac

run ssh-keygen -q -t ed25519 -N "" -f alice_key
cat >gateway.toml <<EOF
[server]
listen = ["127.0.0.1:0"]

[[user]]
name = "alice"
authorized-keys = ["$(cat alice_key.pub)"]

[[policy.plugin]]
name = "only-ports"
component = "only-ports/only-ports.wasm"
${settings:-}
EOF
export XDG_STATE_HOME=$folder/state
run portreeve check --config gateway.toml
printf '$ portreeve serve --config gateway.toml\n'
portreeve serve --config gateway.toml >gateway.log 2>&1 &
running+=($!)
gateway=$(waits gateway.log 'listens on 127\.0\.0\.1:([0-9]+)')

client=(ssh -p "$gateway" -i alice_key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes)
allowed=$(run "${client[@]}" -W "127.0.0.1:$port" alice@127.0.0.1 </dev/null 2>&1)
printf '%s\n' "$allowed"
grep -q "hello from the target" <<<"$allowed"
refused=$(run "${client[@]}" -W 127.0.0.1:1 alice@127.0.0.1 </dev/null 2>&1) && { echo "port 1 was not refused"; exit 1; }
printf '%s\n' "$refused"
grep -q "this port cannot be reached from here" <<<"$refused"
echo "$language: new, build, test, serve, ssh: as they should be"
