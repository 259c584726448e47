//! Things in things in things.

use super::{COMPONENT, MODULE, Odd, number, section};

pub const KINDS: &[&str] = &[
    "instance types",
    "component types",
    "types in turn",
    "components",
    "defined types",
    "blocks",
    "operands",
    "tries",
];

pub fn nested(kind: &str, levels: usize) -> Odd {
    let bytes = match kind {
        "instance types" => types(&[0x42], levels),
        "component types" => types(&[0x41], levels),
        "types in turn" => types(&[0x41, 0x42, 0x42], levels),
        "components" => components(levels),
        "defined types" => defined(levels),
        "blocks" => function(b"\x02\x40", b"\x0b", levels),
        "tries" => function(b"\x1f\x40\x00", b"\x0b", levels),
        // Each constant waits for the additions at the end.
        "operands" => function(b"\x41\x01", b"\x6a", levels),
        other => unreachable!("{other}"),
    };
    Odd::new(format!("{levels} {kind} in each other"), bytes)
}

fn types(kinds: &[u8], levels: usize) -> Vec<u8> {
    let mut content = vec![1];
    for kind in kinds.iter().cycle().take(levels) {
        // One declaration: a type.
        content.extend([*kind, 1, 1]);
    }
    content.extend([0x42, 0]);
    let mut out = COMPONENT.to_vec();
    section(7, &content, &mut out);
    out
}

fn components(levels: usize) -> Vec<u8> {
    // Sizes from the innermost one on.
    let mut sizes = vec![COMPONENT.len()];
    for _ in 0..levels {
        let inner = sizes[sizes.len() - 1];
        let mut length = Vec::new();
        number(inner, &mut length);
        sizes.push(COMPONENT.len() + 1 + length.len() + inner);
    }
    let mut out = COMPONENT.to_vec();
    for size in sizes.iter().rev().skip(1) {
        out.push(4);
        number(*size, &mut out);
        out.extend(COMPONENT);
    }
    out
}

/// A list of lists of lists; each names the one before it.
fn defined(levels: usize) -> Vec<u8> {
    let mut content = Vec::new();
    number(levels + 1, &mut content);
    content.push(0x7d);
    for level in 0..levels {
        content.push(0x70);
        index(level, &mut content);
    }
    let mut out = COMPONENT.to_vec();
    section(7, &content, &mut out);
    out
}

/// LEB128, signed, of a type that is not built in.
fn index(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x40 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A component of one module of one function.
fn function(open: &[u8], close: &[u8], levels: usize) -> Vec<u8> {
    let operands = open[0] == 0x41;
    let mut body = vec![0];
    body.extend(open.repeat(levels));
    body.extend(close.repeat(levels.saturating_sub(usize::from(operands))));
    body.push(0x0b);
    let mut code = vec![1];
    number(body.len(), &mut code);
    code.extend(body);
    let mut module = MODULE.to_vec();
    let kind: &[u8] = if operands {
        &[1, 0x60, 0, 1, 0x7f]
    } else {
        &[1, 0x60, 0, 0]
    };
    section(1, kind, &mut module);
    section(3, &[1, 0], &mut module);
    section(10, &code, &mut module);
    let mut out = COMPONENT.to_vec();
    section(1, &module, &mut out);
    section(2, &[1, 0, 0, 0], &mut out);
    out
}
