//! The threads for decisions that take longer than their first turn.

use std::future::Future;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::policy::LoadError;

/// Where decisions go on that take longer than one turn. It lasts as long as a generation needs it.
pub(in crate::policy) enum Spare {
    /// Threads of its own; none once it is dropped.
    Own(Option<Runtime>),
    /// Where the tools run.
    Here(Handle),
}

impl Spare {
    pub(super) fn start() -> Result<Self, LoadError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("policy")
            .thread_keep_alive(Duration::from_secs(10))
            .enable_all()
            .build();
        let runtime =
            runtime.map_err(|error| LoadError::Engine(format!("cannot start threads for policies: {error}")))?;
        Ok(Self::Own(Some(runtime)))
    }

    /// On the threads of the caller, who has a runtime.
    pub(in crate::policy) fn here() -> Self {
        Self::Here(Handle::current())
    }

    pub(in crate::policy) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match self {
            Self::Own(runtime) => runtime
                .as_ref()
                .expect("it is taken only when it is dropped")
                .spawn(task),
            Self::Here(handle) => handle.spawn(task),
        }
    }
}

impl Drop for Spare {
    /// A runtime must not be dropped where another one runs; this does not wait.
    fn drop(&mut self) {
        if let Self::Own(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}
