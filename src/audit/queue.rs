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

    /// Waits until something is urgent, but no longer than a line may wait.
    pub(super) fn rest(&self) -> MutexGuard<'_, Orders> {
        self.wait(REST, |orders| orders.urgent)
    }

    /// Waits to try again what failed. New lines change nothing about that.
    pub(super) fn pause(&self) -> MutexGuard<'_, Orders> {
        self.wait(RETRY, |orders| orders.finish || orders.reopen)
    }

    fn wait(&self, time: Duration, until: impl Fn(&Orders) -> bool) -> MutexGuard<'_, Orders> {
        let waited = self
            .called
            .wait_timeout_while(self.lock(), time, |orders| !until(orders));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until there is anything to do.
    pub(super) fn sleep<'a>(&'a self, mut orders: MutexGuard<'a, Orders>) -> MutexGuard<'a, Orders> {
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
