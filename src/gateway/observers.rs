//! Policies that want to know what became of what they allowed are told how it ended.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::events::{Event, Listener, Subject};
use crate::judgement::Judge;
use crate::policy::ForwardEnded;
use crate::request::{Endpoint, Host};

/// Tells the policies that are in force at the time of the end.
pub(super) struct Observers(pub(super) Arc<Judge>);

impl Listener for Observers {
    fn hear(&self, subject: &Subject, event: &Event) {
        let (Some(user), Some(ended)) = (&subject.user, ended(subject, event)) else {
            return;
        };
        self.0.current().generation.observe(user, ended);
    }
}

fn ended(subject: &Subject, event: &Event) -> Option<ForwardEnded> {
    let id = subject.forward.clone()?;
    match event {
        Event::TunnelClosed(ended) => Some(ForwardEnded {
            id,
            cause: ended.cause.as_str(),
            millis: ended.millis,
            bytes_up: ended.bytes_up,
            bytes_down: ended.bytes_down,
            dialled: ended.dialled.as_ref().and_then(address),
        }),
        Event::ListenerClosed { millis, cause } => Some(ForwardEnded {
            id,
            cause: cause.as_str(),
            millis: *millis,
            bytes_up: 0,
            bytes_down: 0,
            dialled: None,
        }),
        _ => None,
    }
}

/// Of a tunnel to a TCP target.
fn address(dialled: &Endpoint) -> Option<SocketAddr> {
    match dialled {
        Endpoint::Tcp {
            host: Host::Address(address),
            port,
        } => Some((*address, *port).into()),
        _ => None,
    }
}
