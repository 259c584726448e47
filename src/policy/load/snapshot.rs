//! A component that already ran `configure`: its memory as it was then is its initial memory now.
//!
//! `configure` is called once in every instance before it decides. To call it at each decision
//! would make a long rule set cost its whole parsing every time, and to keep configured instances
//! would carry state from one decision to the next. So the configured instance is frozen into a new
//! component, and every decision starts from a fresh copy of it, which the system maps page by page.
//!
//! The tool for that rewrites the author's bytes, so it works in the compiling process: first it makes a component whose
//! instances show their state (`Work::Instrument`), and once this process has configured one and written down what it
//! shows ([`StateImage`]), it makes the one that begins there (`Work::Freeze`).

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Instance, WasmList};
use wasmtime::{Result, Store, format_err};

use crate::policy::compile::{StateImage, Writing};
use crate::policy::sandbox::Guest;

/// What an instance of an instrumented component shows, written down after the component itself.
pub(super) async fn state_of(
    bytes: &[u8],
    instrumented: &Component,
    store: &mut Store<Guest>,
    instance: Instance,
) -> Result<StateImage> {
    // Here the gateway reads whole memories, which no guest can cause.
    store.set_hostcall_fuel(usize::MAX);
    let mut writing = Writing::new(bytes)?;
    for (name, kind) in shown(instrumented)? {
        read(&mut writing, &name, kind, store, instance).await?;
    }
    Ok(writing.finish()?)
}

/// The kinds of values that are shown.
#[derive(Clone, Copy)]
enum Shown {
    Memory,
    S32,
    S64,
    F32,
    F64,
}

/// What can be read of an instance, by name.
fn shown(component: &Component) -> Result<Vec<(String, Shown)>> {
    let engine = component.engine();
    let kind = component.component_type();
    let access = kind.get_export(engine, ACCESS);
    let Some(ComponentItem::ComponentInstance(access)) = access.map(|export| export.ty) else {
        return Err(format_err!("the state of its instances cannot be read"));
    };
    let exports = access.exports(engine).map(|(name, export)| match export.ty {
        ComponentItem::ComponentFunc(function) => Ok((name.to_owned(), Shown::of(&function)?)),
        _ => Err(format_err!("`{name}` is not a function")),
    });
    exports.collect()
}

impl Shown {
    fn of(function: &ComponentFunc) -> Result<Self> {
        match function.results().next() {
            Some(Type::List(list)) if matches!(list.ty(), Type::U8) => Ok(Self::Memory),
            Some(Type::S32) => Ok(Self::S32),
            Some(Type::S64) => Ok(Self::S64),
            Some(Type::Float32) => Ok(Self::F32),
            Some(Type::Float64) => Ok(Self::F64),
            other => Err(format_err!("a value of another type: {other:?}")),
        }
    }
}

async fn read(
    writing: &mut Writing,
    name: &str,
    kind: Shown,
    store: &mut Store<Guest>,
    instance: Instance,
) -> Result<()> {
    let missing = || format_err!("no export {ACCESS}#{name}");
    let (_, access) = instance.get_export(&mut *store, None, ACCESS).ok_or_else(missing)?;
    let (_, export) = instance
        .get_export(&mut *store, Some(&access), name)
        .ok_or_else(missing)?;
    macro_rules! call {
        ($kind:ty) => {{
            let function = instance.get_typed_func::<(), ($kind,)>(&mut *store, export)?;
            function.call_async(&mut *store, ()).await?.0
        }};
    }
    match kind {
        Shown::Memory => {
            let list = call!(WasmList<u8>);
            writing.add(name, list.as_le_slice(&store))
        }
        Shown::S32 => writing.add(name, &call!(i32).to_le_bytes()),
        Shown::S64 => writing.add(name, &call!(i64).to_le_bytes()),
        Shown::F32 => writing.add(name, &call!(f32).to_bits().to_le_bytes()),
        Shown::F64 => writing.add(name, &call!(f64).to_bits().to_le_bytes()),
    }?;
    Ok(())
}

/// The interface that the tool adds.
const ACCESS: &str = "wasmtime:wizer/access";
