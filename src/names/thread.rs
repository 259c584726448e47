//! The thread on which name servers are asked. Their connections stay on it, whoever asks, so nothing that keeps another thread busy
//! holds up a look-up, and no TLS handshake with a name server holds up bytes that are relayed.

use tokio::runtime::{Builder, Handle, Runtime};

/// Ends when it is dropped; what runs there is cut short.
pub(super) struct Thread(Option<Runtime>);

impl Thread {
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("names").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn.
    pub(super) fn handle(&self) -> &Handle {
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
