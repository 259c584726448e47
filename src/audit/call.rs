//! Wakes the writing thread for lines that a task waits for: once for all that one thread records in a turn.

use std::sync::{Arc, MutexGuard};

use tokio::runtime::{Handle, Id, RuntimeFlavor};

use super::queue::Orders;
use super::sink::Pipeline;

/// Wakes the writing thread when dropped, so also if the runtime ends before the task runs.
struct Call {
    shared: Arc<Pipeline>,
    from: Id,
}

/// Queues a task that wakes the writing thread. Tasks of this thread that are ready now run first, and their lines are written
/// in the same batch. Waking it for each line would cost two system calls for every decision that one packet asks for.
pub(super) fn call_soon(shared: &Arc<Pipeline>, mut orders: MutexGuard<'_, Orders>) {
    // On a runtime with several threads, other tasks do not wait for this one.
    let here = Handle::try_current().ok();
    let Some(here) = here.filter(|here| here.runtime_flavor() == RuntimeFlavor::CurrentThread) else {
        return shared.queue.call(orders);
    };
    let from = here.id();
    if !orders.waits() || orders.calls.contains(&from) {
        return;
    }
    orders.calls.push(from);
    drop(orders);
    let call = Call {
        shared: Arc::clone(shared),
        from,
    };
    drop(here.spawn(async move { drop(call) }));
}

impl Drop for Call {
    fn drop(&mut self) {
        let queue = &self.shared.queue;
        let mut orders = queue.lock();
        orders.calls.retain(|from| *from != self.from);
        queue.call(orders);
    }
}
