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
    /// One for each core.
    pub(super) fn start() -> Result<Self, LoadError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self::with(threads, "policy", || {})
    }

    /// One, which the system runs when no other has work: for candidates and for what is asked again.
    pub(super) fn aside() -> Result<Self, LoadError> {
        Self::with(1, "aside", || {
            // On Linux of this thread only. One that stays as urgent as the others still is no more than one.
            let _ = rustix::process::nice(LEAST_URGENT);
        })
    }

    fn with(threads: usize, name: &str, begin: fn()) -> Result<Self, LoadError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .on_thread_start(begin)
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

const LEAST_URGENT: i32 = 19;

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
