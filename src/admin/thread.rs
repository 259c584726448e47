//! The thread that serves administrators and monitors. It has a lower priority than the threads that forward, so a flood of requests,
//! slow clients or garbage make its answers later, and delay no relayed bytes.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// Ends when it is dropped; what runs there is cut short.
pub(crate) struct Thread(Option<Runtime>);

impl Thread {
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("admin")
            .on_thread_start(|| {
                // On Linux of this thread only. One that stays as urgent as the others still is no more than one.
                let _ = rustix::process::nice(LESS_URGENT);
            })
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn.
    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is taken only when it is dropped").handle()
    }
}

impl Drop for Thread {
    /// A runtime must not be dropped where another one runs; this does not wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A tenth of the share that a thread of the relay gets where both have work.
const LESS_URGENT: i32 = 10;
