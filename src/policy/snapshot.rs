//! A component that already ran `configure`: its memory as it was then is its initial memory now.
//!
//! `configure` is called once in every instance before it decides. To call it at each decision
//! would make a long rule set cost its whole parsing every time, and to keep configured instances
//! would carry state from one decision to the next. So the configured instance is frozen into a new
//! component, and every decision starts from a fresh copy of it, which the system maps page by page.

use wasmtime::component::{Instance, Lift, WasmList};
use wasmtime::{Result, Store};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use super::host::Guest;

/// A component prepared so that its state can be read.
pub(super) struct Instrumented<'a> {
    context: ComponentContext<'a>,
    pub(super) bytes: Vec<u8>,
}

/// None where the component does something that cannot be frozen, such as writing to a table.
pub(super) fn instrument(component: &[u8]) -> Option<Instrumented<'_>> {
    match Wizer::new().instrument_component(component) {
        Ok((context, bytes)) => Some(Instrumented { context, bytes }),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "no snapshot: each instance is configured");
            None
        }
    }
}

impl Instrumented<'_> {
    /// The bytes of a component that starts where `instance` is now.
    pub(super) async fn freeze(&self, store: &mut Store<Guest>, instance: Instance) -> Result<Vec<u8>> {
        // Here the gateway reads whole memories, which no guest can cause.
        store.set_hostcall_fuel(usize::MAX);
        let mut reader = Reader {
            store,
            instance,
            fault: None,
        };
        let frozen = Wizer::new().snapshot_component(&self.context, &mut reader).await?;
        match reader.fault {
            Some(fault) => Err(fault),
            None => Ok(frozen),
        }
    }
}

/// Reads the state of an instrumented instance; the first fault is kept, and makes the rest moot.
struct Reader<'a> {
    store: &'a mut Store<Guest>,
    instance: Instance,
    fault: Option<wasmtime::Error>,
}

impl Reader<'_> {
    async fn call<R: Lift + Send + Sync + 'static>(&mut self, interface: &str, name: &str) -> Option<R> {
        match self.try_call(interface, name).await {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault.get_or_insert(error);
                None
            }
        }
    }

    async fn try_call<R: Lift + Send + Sync + 'static>(&mut self, interface: &str, name: &str) -> Result<R> {
        let missing = || wasmtime::format_err!("no export {interface}#{name}");
        let (_, outer) = self
            .instance
            .get_export(&mut *self.store, None, interface)
            .ok_or_else(missing)?;
        let (_, inner) = self
            .instance
            .get_export(&mut *self.store, Some(&outer), name)
            .ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, inner)?;
        let (value,) = function.call_async(&mut *self.store, ()).await?;
        Ok(value)
    }
}

impl ComponentInstanceState for Reader<'_> {
    async fn call_func_ret_list_u8(&mut self, interface: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.call::<WasmList<u8>>(interface, name).await {
            Some(list) => contents(list.as_le_slice(&self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, interface: &str, name: &str) -> i32 {
        self.call(interface, name).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, interface: &str, name: &str) -> i64 {
        self.call(interface, name).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, interface: &str, name: &str) -> u32 {
        self.call::<f32>(interface, name).await.unwrap_or_default().to_bits()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, name: &str) -> u64 {
        self.call::<f64>(interface, name).await.unwrap_or_default().to_bits()
    }
}
