//! Many of one thing.

use super::{COMPONENT, MODULE, Odd, number, section, text};

pub const KINDS: &[&str] = &[
    "component types",
    "component instances",
    "components",
    "core types",
    "core instances",
    "modules",
    "globals",
    "functions",
    "locals",
    "tables",
    "fields",
    "cases",
    "exports",
    "imports",
    "custom sections",
    "producers",
    "bytes of a name",
    "memories of noise",
    "branches",
];

/// A component with `count` of them; beside a policy, if it could be one then.
pub fn many(kind: &str, count: usize, policy: &[u8]) -> Odd {
    let bytes = match kind {
        "component types" => listed(7, count, |_, out| out.extend([0x40, 0, 1, 0])),
        "component instances" => listed(5, count, |_, out| out.extend([1, 0])),
        "components" => repeated(4, &COMPONENT, count),
        "modules" => repeated(1, &MODULE, count),
        "core types" => module(1, count, |_, out| out.extend([0x60, 1, 0x7f, 1, 0x7e])),
        "core instances" => core_instances(count, policy),
        "globals" => beside(
            policy,
            &module_of(6, count.min(900_000), |_, out| out.extend([0x7f, 1, 0x41, 7, 0x0b])),
        ),
        "tables" => beside(policy, &module_of(4, count, |_, out| out.extend([0x70, 0, 1]))),
        "functions" => functions(count, policy),
        "locals" => locals(count),
        "branches" => branches(count),
        "fields" => one_type(0x72, count),
        "cases" => one_type(0x71, count),
        "exports" => module(7, count, |number, out| {
            name(&format!("e{number}"), out);
            out.extend([3, 0]);
        }),
        "imports" => module(2, count, |number, out| {
            name("m", out);
            name(&format!("i{number}"), out);
            out.extend([3, 0x7f, 0]);
        }),
        "custom sections" => {
            let mut out = policy.to_vec();
            (0..count).for_each(|_| section(0, b"\x01x", &mut out));
            out
        }
        "producers" => producers(count, policy),
        "bytes of a name" => {
            let mut content = vec![1, 0];
            name(&"n".repeat(count), &mut content);
            content.extend([1, 0]);
            let mut out = COMPONENT.to_vec();
            section(7, &[1, 0x40, 0, 1, 0], &mut out);
            section(10, &content, &mut out);
            out
        }
        "memories of noise" => noise(count.min(1000), policy),
        other => unreachable!("{other}"),
    };
    Odd::new(format!("{count} {kind}"), bytes)
}

fn name(text: &str, out: &mut Vec<u8>) {
    number(text.len(), out);
    out.extend(text.bytes());
}

fn content(count: usize, one: impl Fn(usize, &mut Vec<u8>)) -> Vec<u8> {
    let mut content = Vec::new();
    number(count, &mut content);
    (0..count).for_each(|number| one(number, &mut content));
    content
}

/// A component with one section.
fn listed(id: u8, count: usize, one: impl Fn(usize, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = COMPONENT.to_vec();
    section(id, &content(count, one), &mut out);
    out
}

fn repeated(id: u8, inner: &[u8], count: usize) -> Vec<u8> {
    let mut out = COMPONENT.to_vec();
    (0..count).for_each(|_| section(id, inner, &mut out));
    out
}

fn module_of(id: u8, count: usize, one: impl Fn(usize, &mut Vec<u8>)) -> Vec<u8> {
    let mut module = MODULE.to_vec();
    if id == 7 {
        section(6, &[1, 0x7f, 1, 0x41, 0, 0x0b], &mut module);
    }
    section(id, &content(count, one), &mut module);
    module
}

/// A component of one module, which is instantiated.
fn whole(module: &[u8]) -> Vec<u8> {
    let mut out = COMPONENT.to_vec();
    section(1, module, &mut out);
    section(2, &[1, 0, 0, 0], &mut out);
    out
}

fn module(id: u8, count: usize, one: impl Fn(usize, &mut Vec<u8>)) -> Vec<u8> {
    whole(&module_of(id, count, one))
}

fn beside(policy: &[u8], module: &[u8]) -> Vec<u8> {
    text::module_beside(policy, module, 1)
}

/// Many instances of a module with many globals: each takes memory wherever the component is instantiated.
fn core_instances(count: usize, policy: &[u8]) -> Vec<u8> {
    let globals = module_of(6, 50_000, |_, out| out.extend([0x7e, 1, 0x42, 7, 0x0b]));
    text::module_beside(policy, &globals, count)
}

fn functions(count: usize, policy: &[u8]) -> Vec<u8> {
    let mut module = MODULE.to_vec();
    section(1, &[1, 0x60, 0, 0], &mut module);
    section(3, &content(count, |_, out| out.push(0)), &mut module);
    section(10, &content(count, |_, out| out.extend([2, 0, 0x0b])), &mut module);
    beside(policy, &module)
}

fn locals(count: usize) -> Vec<u8> {
    let mut body = vec![1];
    number(count, &mut body);
    body.extend([0x7f, 0x0b]);
    one_function(&body)
}

fn branches(count: usize) -> Vec<u8> {
    let mut body = vec![0, 0x02, 0x40, 0x41, 0, 0x0e];
    number(count, &mut body);
    body.extend(std::iter::repeat_n(0, count + 1));
    body.extend([0x0b, 0x0b]);
    one_function(&body)
}

fn one_function(body: &[u8]) -> Vec<u8> {
    let mut code = vec![1];
    number(body.len(), &mut code);
    code.extend(body);
    let mut module = MODULE.to_vec();
    section(1, &[1, 0x60, 0, 0], &mut module);
    section(3, &[1, 0], &mut module);
    section(10, &code, &mut module);
    whole(&module)
}

/// A record or variant that is exported in a function's type.
fn one_type(kind: u8, count: usize) -> Vec<u8> {
    let mut types = vec![2, kind];
    types.extend(content(count, |number, out| {
        name(&format!("f{number}"), out);
        match kind {
            0x72 => out.push(0x79),
            _ => out.extend([1, 0x79, 0]),
        }
    }));
    types.extend([0x40, 1, 1, b'p', 0, 1, 0]);
    let mut out = COMPONENT.to_vec();
    section(7, &types, &mut out);
    section(10, &[1, 0, 1, b'f', 1, 1], &mut out);
    out
}

fn producers(count: usize, policy: &[u8]) -> Vec<u8> {
    let mut section_content = Vec::new();
    name("producers", &mut section_content);
    section_content.push(1);
    name("language", &mut section_content);
    section_content.extend(content(count, |number, out| {
        name(&format!("l{number}"), out);
        name("1", out);
    }));
    let mut out = policy.to_vec();
    section(0, &section_content, &mut out);
    out
}

/// A policy beside a module whose start function fills that many pages with what cannot be made smaller.
fn noise(pages: usize, policy: &[u8]) -> Vec<u8> {
    let module = format!(
        "(module (memory {pages}) (func $fill (local $at i32) (local $x i32) (local.set $x (i32.const 1))
           (loop $again
             (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
             (i32.store (local.get $at) (local.get $x))
             (local.set $at (i32.add (local.get $at) (i32.const 64)))
             (br_if $again (i32.lt_u (local.get $at) (i32.const {}))))) (start $fill) (export \"fill\" (func $fill)))",
        pages * 65536
    );
    text::beside(policy, &module).expect("its text")
}
