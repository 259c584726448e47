//! Calls observers after a forward has ended, with a separate budget.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::ComponentExportIndex;

use super::generation::Generation;
use crate::names::{Lookups, Resolver};
use crate::policy::Failure;
use crate::policy::contract::newest::types::{Ended, SocketAddress};
use crate::policy::load::Loaded;
use crate::policy::sandbox::{Guest, Phase, classify, configure, store};

/// The end of something that was allowed.
#[derive(Clone, Debug)]
pub struct ForwardEnded {
    /// The id of its request.
    pub id: String,
    /// The audit log's word.
    pub cause: &'static str,
    /// Since it was opened.
    pub millis: u64,
    /// From the client to the target.
    pub bytes_up: u64,
    /// From the target to the client.
    pub bytes_down: u64,
    /// What was dialled, of a tunnel to a TCP target.
    pub dialled: Option<SocketAddr>,
}

impl Generation {
    /// Tells every policy that wants to know what became of a forward of this user. Nothing waits for it, and
    /// it changes nothing; if too many decisions are in progress for too long it is not told.
    pub fn observe(self: &Arc<Self>, user: &str, ended: ForwardEnded) {
        if self.chain.iter().all(|loaded| loaded.observer.is_none()) {
            return;
        }
        let (generation, user) = (Arc::clone(self), user.to_owned());
        self.spare.spawn(async move {
            let Ok(_turn) = generation.places.enter(&user, &generation.loader.sandbox).await else {
                return tracing::warn!(
                    forward = ended.id,
                    "too many decisions: a policy was not told that a forward ended"
                );
            };
            for loaded in &generation.chain {
                if let Err(failure) = generation.told(loaded, &ended).await {
                    let policy = &loaded.reference.name;
                    tracing::warn!(policy, forward = ended.id, %failure, "an observer failed");
                }
            }
        });
    }

    /// Tells one policy, in a fresh instance; one that does not want to know has nothing against it.
    pub(in crate::policy) async fn told(&self, loaded: &Loaded, ended: &ForwardEnded) -> Result<(), Failure> {
        let told = timeout(self.deadline * 4, self.tell(loaded, ended)).await;
        told.unwrap_or(Err(Failure::Deadline))
    }

    async fn tell(&self, loaded: &Loaded, ended: &ForwardEnded) -> Result<(), Failure> {
        let Some(export) = &loaded.observer else {
            return Ok(());
        };
        let label = loaded.label_for(ended.id.clone());
        let lookups = Lookups::new(Resolver::silent());
        let memory = self.loader.sandbox.memory;
        let guest = Guest::new(
            label,
            Phase::Decide,
            Arc::clone(&self.facts),
            lookups,
            memory,
            self.deadline,
        );
        let mut store = store(&self.loader.sandbox, guest);
        let told = loaded.observe(&mut store, export, ended).await;
        if let Some(recorder) = &self.facts.recorder {
            let fuel = store.get_fuel().ok().filter(|_| told.is_ok());
            recorder.spent(fuel, store.data().ceiling.taken());
        }
        store.data_mut().say_printed();
        told
    }
}

impl Loaded {
    async fn observe(
        &self,
        store: &mut Store<Guest>,
        export: &ComponentExportIndex,
        ended: &ForwardEnded,
    ) -> Result<(), Failure> {
        let made = self.pre.instance_pre().instantiate_async(&mut *store).await;
        let instance = made.map_err(|error| classify(&error, store.data()))?;
        if self.configures {
            let policy = self.pre.of(&mut *store, &instance);
            let policy = policy.map_err(|error| classify(&error, store.data()))?;
            let _ = configure(&policy, store, &self.settings).await?;
            store.data_mut().enter(Phase::Decide);
        }
        let event = Ended {
            id: ended.id.clone(),
            cause: ended.cause.to_owned(),
            milliseconds: ended.millis,
            bytes_up: ended.bytes_up,
            bytes_down: ended.bytes_down,
            dialled: ended.dialled.map(|address| SocketAddress {
                ip: address.ip().to_string(),
                port: address.port(),
            }),
        };
        let function = instance.get_typed_func::<(Ended,), ()>(&mut *store, export);
        let function = function.map_err(|error| classify(&error, store.data()))?;
        let called = function.call_async(&mut *store, (event,)).await;
        called.map_err(|error| classify(&error, store.data()))
    }
}
