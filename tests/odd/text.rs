//! Components and modules that have a text: one of each proposal, and whatever snapshots are made of.

use super::{Odd, number, section};
use crate::dice::Dice;

/// Modules that are instantiated beside a policy.
pub fn modules() -> &'static [&'static str] {
    &[
        "(module (global (mut v128) (v128.const i32x4 1 2 3 4)))",
        "(module (global (export \"g\") (mut v128) (v128.const i32x4 1 2 3 4)))",
        "(module (global (mut funcref) (ref.null func)))",
        "(module (global (mut externref) (ref.null extern)))",
        "(module (global (mut f32) (f32.const nan:0x200001)) (global (mut f64) (f64.const -0)) (global (mut i64) (i64.const -1)))",
        "(module (global i32 (i32.const 1)) (global (mut i32) (i32.add (i32.const 1) (global.get 0))))",
        "(module (table 10 funcref) (elem (i32.const 0) $f) (func $f))",
        "(module (table 10 1000000 externref))",
        "(module (table 10000000 funcref))",
        "(module (table 1 funcref) (func $f (table.set (i32.const 0) (ref.func $f))) (elem declare func $f) (start $f))",
        "(module (table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1)))))",
        "(module (memory 1) (func $f (loop (br 0))) (start $f))",
        "(module (func $f unreachable) (start $f))",
        "(module (func $f (call $f)) (start $f))",
        "(module (memory 1) (func $f (drop (memory.grow (i32.const 60000)))) (start $f))",
        "(module (memory 1) (memory 2) (memory 3))",
        "(module (memory 0) (memory 0) (memory 0) (memory 0) (memory 0) (memory 0))",
        "(module (memory 60000))",
        "(module (memory 1 (pagesize 1)))",
        "(module (memory i64 1))",
        "(module (table i64 1 funcref))",
        "(module (memory 1 1 shared))",
        "(module (memory 1) (data \"passive\") (func $f (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 7))) (start $f))",
        "(module (memory 1) (data (i32.const 65535) \"x\"))",
        "(module (memory 1) (data (i32.const 65536) \"outside\"))",
        "(module (tag (param i32)) (func (throw 0 (i32.const 1))))",
        "(module (type $a (array (mut i8))) (global (mut (ref null $a)) (ref.null $a)))",
        "(module (rec (type $s (struct (field (ref null $s))))) (func (result (ref null $s)) (ref.null $s)))",
        "(module (type $s (sub (struct))) (type $t (sub $s (struct (field i32)))))",
        "(module (func (result i32) (return_call 0)))",
        "(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))",
        "(module (type $f (func)) (type $c (cont $f)) (func (drop (ref.null $c))))",
        "(module (func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
        "(module (func (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))",
        "(module (func (param i32) (result i32 i64 f32 f64) (local.get 0) (i64.const 0) (f32.const 0) (f64.const 0)))",
        "(module (import \"a\" \"b\" (func)))",
        "(module (func (export \"__wizer_global_0\")) (global (export \"__wizer_memory_0\") (mut i32) (i32.const 0)))",
        "(module (memory (export \"memory\") 1) (memory (export \"second\") 1) (global (export \"a\") (mut i32) (i32.const 5)))",
    ]
}

/// Whole components.
fn components() -> &'static [&'static str] {
    &[
        "(component)",
        "(component (component (core module (memory 1)) (core instance (instantiate 0))) (instance (instantiate 0)))",
        "(component (core module (global (mut i32) (i32.const 0))) (core instance (instantiate 0)) (core instance (instantiate 0)))",
        "(component (import \"a\" (core module)))",
        "(component (import \"a\" (component)))",
        "(component (import \"a\" (func)) (export \"b\" (func 0)))",
        "(component (import \"a\" (instance (export \"b\" (type (sub resource))))))",
        "(component (type (resource (rep i32))) (export \"r\" (type 0)))",
        "(component (type $r (resource (rep i32))) (core func (canon resource.new $r)) (core func (canon resource.drop $r)))",
        "(component (type (stream u8)) (type (future u8)) (core func (canon stream.new 0)))",
        "(component (type error-context))",
        "(component (core func (canon task.cancel)))",
        "(component (core func (canon backpressure.inc)) (core func (canon backpressure.dec)))",
        "(component (type (list u8 100000)))",
        "(component (type (map string u8)))",
        "(component (type (func async (param \"a\" string))) (export \"t\" (type 0)))",
        "(component (core module $m (func (export \"f\") (param i32 i32) (result i32) (i32.const 0)) (memory (export \"m\") 1)
            (func (export \"r\") (param i32 i32 i32 i32) (result i32) (i32.const 0))) (core instance $i (instantiate $m))
            (func (export \"f\") (param \"a\" string) (result string)
              (canon lift (core func $i \"f\") (memory $i \"m\") (realloc (func $i \"r\")) string-encoding=utf16)))",
        "(component (instance $i (export \"wasmtime:wizer/access\" (instance))))",
        "(component (instance $i) (export \"wasmtime:wizer/access\" (instance $i)))",
        "(component (type $t (tuple u8 (list u8) (option u8) (result u8 (error u8)) (variant (case \"a\") (case \"b\" u8)) (enum \"a\") (flags \"x\"))) (export \"t\" (type $t)))",
        "(component (import \"portreeve:policy/types@0.1.0\" (instance)))",
        "(component (core type (module (import \"a\" \"b\" (func)) (export \"c\" (memory 1)))))",
        "(component (component $c (type $t (instance)) (export \"t\" (type $t))) (instance (instantiate $c)) (alias export 0 \"t\" (type)))",
    ]
}

pub fn any(policy: &[u8], dice: &mut Dice) -> Odd {
    let (text, made) = if dice.below(3) == 0 {
        let text = dice.one_of(components());
        (text, wat::parse_str(text).ok())
    } else {
        let text = dice.one_of(modules());
        let made = if dice.below(2) == 0 {
            beside(policy, text)
        } else {
            exporting(policy, text)
        };
        (text, made)
    };
    // What this version of the parser has no text for.
    Odd::new(text, made.unwrap_or_else(|| policy.to_vec()))
}

/// A policy with a module that is instantiated beside it.
pub fn beside(policy: &[u8], module: &str) -> Option<Vec<u8>> {
    let module = wat::parse_str(module).ok()?;
    Some(module_beside(policy, &module, 1))
}

/// The same of a module that exports something, without which snapshots are not even tried.
pub fn exporting(policy: &[u8], module: &str) -> Option<Vec<u8>> {
    beside(
        policy,
        &format!("{} (func (export \"exported\")))", module.strip_suffix(')')?),
    )
}

pub fn module_beside(policy: &[u8], module: &[u8], instances: usize) -> Vec<u8> {
    let mut out = policy.to_vec();
    let index = modules_of(policy);
    section(1, module, &mut out);
    let mut content = Vec::new();
    number(instances, &mut content);
    for _ in 0..instances {
        content.push(0);
        number(index, &mut content);
        content.push(0);
    }
    section(2, &content, &mut out);
    out
}

/// How many core modules a component has.
fn modules_of(component: &[u8]) -> usize {
    let mut rest = &component[8..];
    let mut modules = 0;
    while let Some((id, after)) = rest.split_first() {
        modules += usize::from(*id == 1);
        let (mut length, mut shift, mut used) = (0_usize, 0, 0);
        for byte in after {
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            used += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        rest = &after[used + length..];
    }
    modules
}
