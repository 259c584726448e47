//! A tunnel from its opening to its one end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use super::{Desk, Visit, millis};
use crate::audit::{Audit, Cause, Ended, Event, Subject};
use crate::judgement::Permit;
use crate::policy::{ForwardEnded, Policies};
use crate::registry::{Bytes, Forward, ForwardGuard, Stop};
use crate::relay::{self, Patience, Queued, Sink, Source, Stream};
use crate::request::Endpoint;

/// What a tunnel is between: a channel of the client, and a connection.
pub(super) struct Ends<S, K> {
    pub(super) source: S,
    pub(super) sink: K,
    pub(super) queue: Queued,
    pub(super) stream: Stream,
}

impl Desk {
    pub(super) async fn tunnel<S: Source, K: Sink>(
        &self,
        visit: &Visit,
        permit: &Permit,
        ends: Ends<S, K>,
        place: Option<Endpoint>,
        address: Option<SocketAddr>,
        held: Option<OwnedSemaphorePermit>,
    ) {
        let request = permit.request();
        let guard = self.registry.enter(Forward {
            request: Arc::clone(request),
            effective: permit.effective().clone(),
            dialled: address,
            limits: Arc::clone(&visit.limits),
            terms: permit.terms().clone(),
            stop: Stop::default(),
            bytes: Bytes::default(),
        });
        let subject = visit.subject.with_forward(&request.id);
        self.audit.record(
            &subject,
            &Event::TunnelOpened {
                action: request.action,
                requested: request.requested.clone(),
                effective: permit.effective().clone(),
                dialled: place.clone(),
            },
        );
        let mut closing = Closing {
            audit: &self.audit,
            policies: self.judge.policies(),
            subject,
            guard,
            began: Instant::now(),
            dialled: place,
            cause: Cause::Closed,
            _held: held,
        };
        let limits = self.limits.load();
        let patience = Patience {
            idle: limits.idle_timeout,
            stall: limits.stall_timeout,
            close: visit.close_patience(),
        };
        let Ends {
            source,
            mut sink,
            queue,
            stream,
        } = ends;
        let carried = relay::run(source, &mut sink, stream, &closing.guard, queue, patience);
        closing.cause = tokio::select! {
            cause = carried => cause,
            cause = self.recheck(permit, &closing.guard) => cause,
        };
        // It is over and recorded, even where the client takes no message any more.
        drop(closing);
        sink.close().await;
    }
}

/// Records the end of a tunnel, exactly once, however its task ends.
struct Closing<'a> {
    audit: &'a Audit,
    policies: &'a Policies,
    subject: Subject,
    guard: ForwardGuard,
    began: Instant,
    dialled: Option<Endpoint>,
    cause: Cause,
    _held: Option<OwnedSemaphorePermit>,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let ended = Ended {
            dialled: self.dialled.take(),
            bytes_up: self.guard.bytes.up.load(Ordering::Relaxed),
            bytes_down: self.guard.bytes.down.load(Ordering::Relaxed),
            millis: millis(self.began),
            cause: self.cause,
        };
        let told = ForwardEnded::new(&self.guard, ended.cause, ended.millis);
        self.policies.current().observe(told);
        self.audit.record(&self.subject, &Event::TunnelClosed(ended));
    }
}

impl ForwardEnded {
    pub(super) fn new(forward: &Forward, cause: Cause, millis: u64) -> Self {
        Self {
            id: forward.request.id.clone(),
            cause: cause.as_str(),
            millis,
            bytes_up: forward.bytes.up.load(Ordering::Relaxed),
            bytes_down: forward.bytes.down.load(Ordering::Relaxed),
            dialled: forward.dialled,
        }
    }
}
