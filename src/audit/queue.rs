//! What the thread that writes the log has before it, and when it is woken for that.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// What the thread has before it.
#[derive(Default)]
pub(super) struct Queue {
    orders: Mutex<Orders>,
    called: Condvar,
}

#[derive(Default)]
pub(super) struct Orders {
    pub(super) lines: VecDeque<(Vec<u8>, Option<oneshot::Sender<()>>)>,
    /// The thread waits for whatever comes.
    asleep: bool,
    /// Something of this must not wait.
    pub(super) urgent: bool,
    pub(super) reopen: bool,
    pub(super) finish: bool,
}

impl Queue {
    /// Wakes the thread where the line is urgent, or where there is no rest to wait for.
    pub(super) fn add_line(&self, line: Vec<u8>, done: Option<oneshot::Sender<()>>, urgent: bool) {
        let mut orders = self.lock();
        orders.urgent |= urgent;
        orders.lines.push_back((line, done));
        if orders.urgent || orders.asleep {
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
    fn rest<'a>(&'a self, orders: MutexGuard<'a, Orders>) -> MutexGuard<'a, Orders> {
        self.wait(orders, REST, |orders| orders.urgent)
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
        orders.asleep = true;
        let woken = self
            .called
            .wait_while(orders, |orders| orders.lines.is_empty() && !orders.urgent);
        let mut orders = woken.unwrap_or_else(PoisonError::into_inner);
        orders.asleep = false;
        orders
    }
}

/// How long a line waits at most that is not urgent.
const REST: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_millis(500);
