use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes wait in the tunnels of one session.
///
/// The session loop must never wait for a tunnel, so what a target does not take is queued here,
/// and the queue is bounded by what the client is allowed to send: see [`Gauge::window`].
#[derive(Clone, Default)]
pub struct Gauge {
    bytes: Arc<AtomicUsize>,
    all: Option<Arc<AtomicUsize>>,
}

impl Gauge {
    /// A gauge whose bytes count into this one too.
    #[must_use]
    pub fn within(&self) -> Self {
        Self {
            bytes: Arc::default(),
            all: Some(Arc::clone(&self.bytes)),
        }
    }

    fn change(&self, change: impl Fn(&AtomicUsize)) {
        change(&self.bytes);
        if let Some(all) = &self.all {
            change(all);
        }
    }

    /// A queue that counts into this gauge.
    #[must_use]
    pub fn queue(&self) -> Queued {
        Queued {
            gauge: self.clone(),
            bytes: 0,
        }
    }

    /// Bytes that wait now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The receive window to grant now: the full one while little waits, ever less towards
    /// `bound`, and then the least that still brings the client back to ask.
    #[must_use]
    pub fn window(&self, full: u32, bound: u64) -> u32 {
        let soft = bound / 4;
        let waiting = self.bytes() as u64;
        if waiting <= soft {
            return full;
        }
        let left = bound.saturating_sub(waiting);
        let share = u64::from(full) * left / (bound - soft).max(1);
        u32::try_from(share).unwrap_or(full).clamp(LEAST, full)
    }
}

/// A window of one would never be topped up again, because russh tops up below half of it.
const LEAST: u32 = 2;

/// The bytes of one queue; leaves the gauge when it is dropped.
pub struct Queued {
    gauge: Gauge,
    bytes: usize,
}

impl Queued {
    /// Bytes were queued.
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.gauge.change(|count| {
            count.fetch_add(bytes, Ordering::Relaxed);
        });
    }

    /// Bytes left the queue.
    pub fn take(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.gauge.change(|count| {
            count.fetch_sub(bytes, Ordering::Relaxed);
        });
    }

    /// Bytes in this queue.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.gauge.change(|count| {
            count.fetch_sub(self.bytes, Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_shrinks_as_the_queue_grows_and_comes_back() {
        let gauge = Gauge::default();
        let mut queue = gauge.queue();
        assert_eq!(gauge.window(1 << 21, 16 << 20), 1 << 21);
        queue.add(10 << 20);
        let half = gauge.window(1 << 21, 16 << 20);
        assert!((1..1 << 21).contains(&half), "{half}");
        queue.add(10 << 20);
        assert_eq!(gauge.window(1 << 21, 16 << 20), 2);
        drop(queue);
        assert_eq!(gauge.window(1 << 21, 16 << 20), 1 << 21);
    }
}
