//! Tasks that wait until their line is in the log.

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A task that waits until its line is in the log.
pub(super) struct Waiter {
    done: oneshot::Sender<()>,
    /// The runtime of the task; none outside of one.
    thread: Option<Handle>,
}

impl Waiter {
    /// A task of the current runtime, which holds the receiver.
    pub(super) fn new(done: oneshot::Sender<()>) -> Self {
        Self {
            done,
            thread: Handle::try_current().ok(),
        }
    }
}

/// Tells them that their lines are in the log. Several tasks of one runtime are told by one task there, because each wake-up of
/// another thread is a system call.
pub(super) fn confirm(waiters: impl Iterator<Item = Waiter>) {
    let mut threads: Vec<(Handle, Vec<oneshot::Sender<()>>)> = Vec::new();
    for Waiter { done, thread } in waiters {
        let Some(thread) = thread else {
            let _ = done.send(());
            continue;
        };
        match threads.iter_mut().find(|(known, _)| known.id() == thread.id()) {
            Some((_, all)) => all.push(done),
            None => threads.push((thread, vec![done])),
        }
    }
    for (thread, all) in threads {
        match all.len() {
            1 => tell(all),
            _ => drop(thread.spawn(async move { tell(all) })),
        }
    }
}

fn tell(all: Vec<oneshot::Sender<()>>) {
    for done in all {
        let _ = done.send(());
    }
}
