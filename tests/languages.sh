#!/usr/bin/env bash
# Policies in every language: the conformance suite, the examples with their cases, and the way from `plugin new` to a decision at
# a real ssh client.
#
#   tests/languages.sh [LANGUAGE…]      rust, c, cpp, go, python, javascript, typescript; default: all of them
#
# The program is target/debug/portreeve (`cargo build` first), or the one that PORTREEVE names. A language whose tools are not
# here is skipped, and with CI set in the environment that is a failure (tests/install.sh installs them all).
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

target=${CARGO_TARGET_DIR:-$root/target}
portreeve=${PORTREEVE:-$target/debug/portreeve}
suite=$root/tests/conformance
export PATH=$target/tools/python/bin:$target/tools/node/node_modules/.bin:$PATH
# One folder for all policies in Rust, so that the standard library is built once; plugins/build.sh uses it as well.
guests=$target/guests

main() {
    case ${1:-} in
    --one) shift; one "$@" ;;
    *) all "$@" ;;
    esac
}

# Two at a time, the longest first.
all() {
    local languages=("$@") failed=0 language
    [ $# -gt 0 ] || languages=(python rust go typescript javascript cpp c)
    [ -x "$portreeve" ] || { echo "languages.sh: $portreeve is not there: run cargo build"; exit 1; }
    logs=$(mktemp -d)
    trap 'rm -rf "$logs"' EXIT
    # A component in Python takes longest to compile, at a low priority: nothing else runs meanwhile.
    printf '%s\n' "${languages[@]}" | grep -x python | at_once 1 "$logs"
    printf '%s\n' "${languages[@]}" | grep -vx python | at_once 2 "$logs"
    for language in "${languages[@]}"; do
        printf '\n== %s\n' "$language"
        cat "$logs/$language"
        [ "$(cat "$logs/$language.code")" = 0 ] || { failed=1; echo "$language: FAILED"; }
    done
    return "$failed"
}

# at_once N LOGS: the languages of standard input, N at a time.
at_once() {
    xargs -r -P "$1" -I LANGUAGE sh -c '"$0" --one LANGUAGE >"$1/LANGUAGE" 2>&1; echo $? >"$1/LANGUAGE.code"' "${BASH_SOURCE[0]}" "$2"
}

one() {
    local language=$1 began=$SECONDS
    has_tools "$language" || return
    set -e
    step conformance "$language"
    step no_verdict "$language"
    step example "$language"
    step transcript "$language"
    echo "$language: passed in $((SECONDS - began)) s"
}

# step FUNCTION LANGUAGE: with its time.
step() {
    local began=$SECONDS
    echo "-- $1"
    "$@" "$2"
    echo "-- $1: $((SECONDS - began)) s"
}

has_tools() {
    local missing
    case $1 in
    rust) missing=$(need cargo) ;;
    c) missing=$(need_any clang-22 clang) ;;
    cpp) missing=$(need_any clang++-22 clang++) ;;
    go) missing=$(need go) ;;
    python) missing=$(need componentize-py) ;;
    javascript) missing=$(need componentize-qjs) ;;
    typescript) missing=$(need componentize-qjs tsc) ;;
    *) echo "languages.sh: $1 is none of the languages"; return 2 ;;
    esac
    [ -n "$missing" ] || return 0
    echo "skipped: $missing is missing (tests/install.sh installs it)"
    [ -z "${CI:-}" ] || return 1
    exit 0
}

need() {
    local tool
    for tool in "$@"; do command -v "$tool" >/dev/null || echo "$tool"; done
}

need_any() {
    local tool
    for tool in "$@"; do command -v "$tool" >/dev/null && return; done
    echo "$1"
}

# What it compiles it keeps in $target, too.
plugin() { CARGO_TARGET_DIR=$guests XDG_STATE_HOME=$target/state "$portreeve" plugin "$@"; }

# Every case of the suite, and what a guest meets that is not granted what it imports.
conformance() {
    local guest=$suite/guests/$1 component cases
    component=$guest/build/conformance.wasm
    plugin build "$guest"
    mapfile -t cases < <(cases_of "$1")
    plugin test --component "$component" -- "${cases[@]}" | summary
    refused_without_grants "$component"
    [ "$1" != c ] || catches_the_wrong_guest
}

cases_of() {
    ls "$suite"/cases/*.toml "$suite"/since-*.toml
    # Numbers past 2^53 are not for JavaScript.
    case $1 in javascript | typescript) ;; *) echo "$suite/numbers.toml" ;; esac
    case $1 in rust | c | cpp) echo "$suite/panics/trap.toml" ;; *) echo "$suite/panics/deny.toml" ;; esac
}

# The lines of failures, and the last one. Fails where the program failed.
summary() { grep -v '^  ok ' | grep -v '^$'; }

refused_without_grants() {
    local said
    said=$(plugin test --component "$1" -- "$suite/not-granted.toml") && { echo "a component was loaded without its grants"; return 1; }
    grep -qE 'portreeve:policy/(names|state|view)@0.2.0.*grants' <<<"$said" || { echo "$said"; return 1; }
}

# A guest that is wrong in one term fails the two cases with that term, and no others.
catches_the_wrong_guest() {
    local wrong=$suite/guests/wrong said cases
    plugin build "$wrong"
    mapfile -t cases < <(cases_of c)
    said=$(plugin test --component "$wrong/build/conformance.wasm" -- "${cases[@]}") && { echo "the wrong guest passed"; return 1; }
    grep '^  FAIL' <<<"$said"
    [ "$(grep -c '^  FAIL' <<<"$said")" = 2 ] && [ "$(grep -c '^  FAIL  .* with every term' <<<"$said")" = 2 ]
}

# What is no verdict never becomes an allow: built for the newest contract, and for the older one that is served.
no_verdict() {
    local project=$suite/unset/$1 older
    plugin build "$project"
    plugin test "$project" | summary
    # The SDK of Rust is of the newest contract only.
    [ "$1" != rust ] || return 0
    older=$(mktemp -d)
    cp -r "$project"/. "$older"
    rm -rf "$older/build"
    sed -i '1i contract = "0.1.0"' "$older/policy.toml"
    plugin build "$older"
    plugin inspect "$older" | grep -F 'portreeve:policy/policy@0.1.0' >/dev/null
    plugin test "$older" | summary
    rm -rf "$older"
}

example() {
    local project
    for project in examples/policies/*/; do
        grep -qx "language = \"$1\"" "$project/policy.toml" || continue
        plugin build "$project"
        plugin test "$project"
    done
}

transcript() {
    local folder
    folder=$(mktemp -d)
    ln -s "$portreeve" "$folder/portreeve"
    PATH=$folder:$PATH CARGO_TARGET_DIR=$guests "$root/tests/new-policy.sh" "$1"
    rm -rf "$folder"
}

main "$@"
