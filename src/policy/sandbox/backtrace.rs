//! The place of a failure in a guest: the functions that were running, if the component contains their names.

use std::fmt::Write;

use wasmtime::WasmBacktrace;

use crate::request::printable;

/// As in `, in divide, called by decide`; empty if the component has no names.
pub(super) fn of(error: &wasmtime::Error) -> String {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames);
    let names = frames.into_iter().flatten().filter_map(|frame| frame.func_name());
    words(names)
}

fn words<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    let mut last = String::new();
    let mut shown = 0;
    let mut border = "";
    for name in names {
        if let Some(export) = glue(name) {
            border = if export.is_empty() { border } else { export };
            continue;
        }
        let name = printable(&format!("{:#}", rustc_demangle::demangle(name)), MAX_NAME);
        // A recursion is one function many times.
        if name.trim().is_empty() || name == last {
            continue;
        }
        let link = if shown == 0 { ", in" } else { ", called by" };
        let _ = write!(out, "{link} {name}");
        last = name;
        shown += 1;
        if shown == MAX_FRAMES {
            break;
        }
    }
    // The author's functions may be part of the export, where the compiler has put them.
    if out.is_empty() && !border.is_empty() {
        let _ = write!(out, ", in {}", printable(border, MAX_NAME));
    }
    out
}

/// What toolchains put between the border and the author's functions: the name of the export, as far as it is known.
fn glue(name: &str) -> Option<&str> {
    if let Some(interface) = name.strip_prefix("portreeve:policy/") {
        return Some(interface.rsplit_once('#').map_or("", |(_, export)| export));
    }
    if name.starts_with("indirect-") {
        return Some("");
    }
    let export = name.strip_prefix("__wasm_export_")?;
    Some(export.strip_prefix("policy_").unwrap_or(export))
}

const MAX_FRAMES: usize = 4;
const MAX_NAME: usize = 80;

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn functions_are_named_from_the_inside_out() {
        #[rustfmt::skip]
        let table: [(&[&str], &str); 6] = [
            (&[],                                                        ""),
            (&["portreeve:policy/decision@0.2.0#decide"],                ", in decide"),
            (&["__wasm_export_policy_decide", "indirect-x"],             ", in decide"),
            (&["divide", "policy_decide"],                               ", in divide, called by policy_decide"),
            (&["deeper", "deeper", "deeper", "decide"],                  ", in deeper, called by decide"),
            (&["_ZN5unset6decide17h0123456789abcdefE", "a\u{1b}[31m"],   ", in unset::decide, called by a [31m"),
        ];
        for (names, expected) in table {
            assert_eq!(words(names.iter().copied()), expected);
        }
        assert!(words(["x".repeat(1000).as_str()].into_iter()).len() < 100);
        assert_eq!(
            words(["a", "b", "c", "d", "e"].into_iter()),
            ", in a, called by b, called by c, called by d"
        );
    }
}
