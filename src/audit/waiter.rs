//! Whoever waits until a line is in the log.

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Whoever waits until a line is in the log.
pub(super) struct Waiter {
    done: oneshot::Sender<()>,
    /// The thread that it waits on, where that is known.
    thread: Option<Handle>,
}

impl Waiter {
    /// Whoever waits for what comes through the other half on this thread.
    pub(super) fn new(done: oneshot::Sender<()>) -> Self {
        Self {
            done,
            thread: Handle::try_current().ok(),
        }
    }
}

/// Tells all of them that their lines are in the log. A thread on which several wait is woken once: to wake it for each is a
/// call to the system for each.
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
