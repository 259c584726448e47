//! When the thread that writes the log hears of lines that somebody waits for.

use std::sync::{Arc, MutexGuard};

use tokio::runtime::{Handle, Id, RuntimeFlavor};

use super::queue::Orders;
use super::sink::Shared;

/// Calls the thread that writes the log when it is dropped, whether its task has run or was cut short.
struct Call {
    shared: Arc<Shared>,
    from: Id,
}

/// Calls the thread that writes once all tasks of this thread have had a turn that can go on now, so that what they record
/// meanwhile is written together. Otherwise each of the decisions that one packet asks for wakes the other thread, and is
/// woken by it.
pub(super) fn call_soon(shared: &Arc<Shared>, mut orders: MutexGuard<'_, Orders>) {
    // Tasks of other runtimes go on somewhere else meanwhile.
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
