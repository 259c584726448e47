//! What the thread that writes the log has before it, and when it is woken for that.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Id;

use super::waiter::Waiter;

/// What the thread has before it.
#[derive(Default)]
pub(super) struct Queue {
    orders: Mutex<Orders>,
    called: Condvar,
}

#[derive(Default)]
pub(super) struct Orders {
    pub(super) lines: VecDeque<(Vec<u8>, Option<Waiter>)>,
    waits: Waits,
    /// The runtimes with a queued task that will wake the thread.
    pub(super) calls: Vec<Id>,
    /// Something of this must not wait.
    pub(super) urgent: bool,
    pub(super) reopen: bool,
    pub(super) finish: bool,
}

impl Orders {
    /// Whether the thread waits and has not been woken yet.
    pub(super) fn waits(&self) -> bool {
        !matches!(self.waits, Waits::No)
    }
}

/// What the thread waits for.
#[derive(Default)]
enum Waits {
    /// Nothing: it works, or has been woken.
    #[default]
    No,
    ForUrgent,
    ForAnything,
}

impl Queue {
    /// Adds a line without waking the thread: the caller must then [`call`](Self::call).
    pub(super) fn put_line(&self, line: Vec<u8>, waiter: Option<Waiter>, urgent: bool) -> MutexGuard<'_, Orders> {
        let mut orders = self.lock();
        orders.urgent |= urgent;
        orders.lines.push_back((line, waiter));
        orders
    }

    /// Wakes the thread if it waits for what the queue holds now. Each wake-up is a system call, so there is one for each wait.
    pub(super) fn call(&self, mut orders: MutexGuard<'_, Orders>) {
        let is_due = match orders.waits {
            Waits::No => false,
            Waits::ForUrgent => orders.urgent,
            Waits::ForAnything => orders.urgent || !orders.lines.is_empty(),
        };
        if is_due {
            orders.waits = Waits::No;
            // The thread takes the lock first thing when it wakes.
            drop(orders);
            self.called.notify_one();
        }
    }

    pub(super) fn add(&self, order: impl FnOnce(&mut Orders)) {
        let mut orders = self.lock();
        order(&mut orders);
        orders.urgent = true;
        self.called.notify_one();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to write that must not wait, or that has waited for as long as it may. More follows
    /// soon `after_urgent` lines, and is waited for.
    pub(super) fn next(&self, after_urgent: bool) -> MutexGuard<'_, Orders> {
        let mut orders = self.lock();
        if after_urgent {
            orders = self.rest(orders);
            if orders.urgent || !orders.lines.is_empty() {
                return orders;
            }
        }
        orders = self.sleep(orders);
        if orders.urgent { orders } else { self.rest(orders) }
    }

    /// Waits to try again what failed. New lines change nothing about that.
    pub(super) fn pause(&self) -> MutexGuard<'_, Orders> {
        self.wait(self.lock(), RETRY, |orders| orders.finish || orders.reopen)
    }

    /// Waits until something is urgent, but no longer than a line may wait.
    fn rest<'a>(&'a self, mut orders: MutexGuard<'a, Orders>) -> MutexGuard<'a, Orders> {
        orders.waits = Waits::ForUrgent;
        let mut orders = self.wait(orders, REST, |orders| orders.urgent);
        orders.waits = Waits::No;
        orders
    }

    fn wait<'a>(
        &'a self,
        orders: MutexGuard<'a, Orders>,
        time: Duration,
        until: impl Fn(&Orders) -> bool,
    ) -> MutexGuard<'a, Orders> {
        let waited = self.called.wait_timeout_while(orders, time, |orders| !until(orders));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until there is anything to do.
    fn sleep<'a>(&'a self, mut orders: MutexGuard<'a, Orders>) -> MutexGuard<'a, Orders> {
        orders.waits = Waits::ForAnything;
        let woken = self
            .called
            .wait_while(orders, |orders| orders.lines.is_empty() && !orders.urgent);
        let mut orders = woken.unwrap_or_else(PoisonError::into_inner);
        orders.waits = Waits::No;
        orders
    }
}

/// How long a line waits at most that is not urgent.
const REST: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_millis(500);
