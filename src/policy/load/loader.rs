//! The tools that load components: an engine, the compilers, and the thread that prepares instances.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use wasmtime::component::Component;

use crate::policy::LoadError;
use crate::policy::compile::{Order, StateImage, Workshop};
use crate::policy::pool::Refill;
use crate::policy::sandbox::{Meter, Sandbox};
use crate::policy::source;

/// An engine with what is needed to load components on it.
pub(in crate::policy) struct Loader {
    pub(in crate::policy) sandbox: Arc<Sandbox>,
    /// Where components are compiled.
    pub(in crate::policy) workshop: Arc<Workshop>,
    /// Where instances are made ahead.
    pub(in crate::policy) refill: Refill,
    /// What was compiled before; only where the same component is loaded with many settings.
    compiled: Option<Compiled>,
}

/// Components by what was made of which bytes, each compiled by the first who asks; none if that cannot be made.
type Compiled = Mutex<HashMap<String, Arc<OnceCell<Option<Component>>>>>;

impl Loader {
    /// Prepares an engine whose instances may hold `memory` bytes each, for components that are compiled in that workshop.
    ///
    /// # Errors
    /// If the engine or one of its threads cannot be started.
    pub(in crate::policy) fn new(memory: u64, workshop: Arc<Workshop>, meter: Meter) -> Result<Self, LoadError> {
        Ok(Self {
            sandbox: Arc::new(Sandbox::new(memory, meter)?),
            workshop,
            refill: Refill::start()?,
            compiled: None,
        })
    }

    /// Compiles the same bytes only once from here on.
    pub(in crate::policy) fn remembering(self) -> Self {
        Self {
            compiled: Some(Compiled::default()),
            ..self
        }
    }

    /// The component as it is: compiled once for all settings if this loader remembers it.
    pub(super) async fn plain(&self, component: &source::Component) -> Result<Component, LoadError> {
        let made = self
            .remembered("plain", component, Order::Plain(component.clone()))
            .await?;
        made.ok_or_else(|| LoadError::Engine("nothing was compiled".to_owned()))
    }

    /// One whose instances show their state, if it can be made; remembered as the other.
    pub(super) async fn instrumented(&self, component: &source::Component) -> Result<Option<Component>, LoadError> {
        self.remembered("instrumented", component, Order::Instrumented(component.clone()))
            .await
    }

    /// One whose instances begin with that state.
    pub(super) async fn frozen(&self, image: StateImage) -> Result<Component, LoadError> {
        let made = self.workshop.made(&self.sandbox, Order::Frozen(image)).await?;
        made.ok_or_else(|| LoadError::Engine("nothing was compiled".to_owned()))
    }

    /// What does not depend on settings.
    async fn remembered(
        &self,
        what: &str,
        of: &source::Component,
        order: Order,
    ) -> Result<Option<Component>, LoadError> {
        let Some(compiled) = &self.compiled else {
            return self.workshop.made(&self.sandbox, order).await;
        };
        let place = {
            let mut compiled = compiled.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(compiled.entry(format!("{what} {}", of.sha256())).or_default())
        };
        let made = place
            .get_or_try_init(|| self.workshop.made(&self.sandbox, order))
            .await?;
        Ok(made.clone())
    }
}
