//! The two sides of a channel, as the relay sees them.

use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::flow::{Flows, Queued, Way};
use crate::forwarder::{Channels, Opener, Pending, Unopened};
use crate::judgement::{Deliver, Permit};
use crate::relay::{Inbound, Sink, Source};
use crate::request::{Endpoint, Refusal, Requested, printable};

/// The client's sending side of a channel.
pub(super) struct Incoming(ChannelReadHalf);

/// The client's receiving side of a channel.
pub(super) struct Outgoing {
    half: ChannelWriteHalf<Msg>,
    flows: Flows,
    /// Of a tunnel.
    way: Option<Way>,
    /// The end of file was sent.
    ended: bool,
}

pub(super) fn halves(channel: Channel<Msg>, flows: &Flows) -> (Incoming, Outgoing) {
    let way = flows.way(channel.id().into());
    let (read, write) = channel.split();
    let outgoing = Outgoing {
        half: write,
        flows: flows.clone(),
        way,
        ended: false,
    };
    (Incoming(read), outgoing)
}

impl Source for Incoming {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Inbound>> {
        loop {
            // Receiving is cancel-safe, so a new future for each poll loses nothing.
            match ready!(pin!(self.0.wait()).poll(context)) {
                Some(ChannelMsg::Data { data }) => return Poll::Ready(Some(Inbound::Data(data))),
                Some(ChannelMsg::Eof) => return Poll::Ready(Some(Inbound::Eof)),
                Some(ChannelMsg::Close) | None => return Poll::Ready(None),
                Some(_) => {}
            }
        }
    }
}

impl Outgoing {
    /// How many bytes the client takes at once now.
    pub(super) async fn room(&self) -> usize {
        self.half.writable_packet_size().await
    }
}

impl Sink for Outgoing {
    async fn data(&mut self, bytes: &mut Bytes) -> bool {
        while !bytes.is_empty() {
            let grants = self.way.as_ref().map(Way::grants);
            // Packet by packet: of more, nobody would know how much was sent where this ends in the middle.
            let room = self.room().await.min(bytes.len());
            let sent = match (room, &self.way) {
                (1.., _) => {
                    let _passage = self.flows.gate().pass(room).await;
                    let sent = self.half.data_bytes(bytes.slice(..room)).await;
                    sent.is_ok().then_some(room)
                }
                // Without a place at the gate: however long the client takes to grant more, it holds up no other tunnel.
                (0, Some(way)) => {
                    way.granted_since(grants.unwrap_or(0)).await;
                    continue;
                }
                // It waits, and then says how much it took.
                (0, None) => self.half.make_writer().write(bytes).await.ok(),
            };
            let Some(sent) = sent else {
                return false;
            };
            if let Some(way) = &self.way {
                way.gives(sent);
            }
            bytes.advance(sent);
        }
        true
    }

    async fn eof(&mut self) -> bool {
        std::mem::replace(&mut self.ended, true) || self.half.eof().await.is_ok()
    }

    async fn close(&mut self) -> bool {
        self.half.close().await.is_ok()
    }
}

/// A `direct-tcpip` or `direct-streamlocal` channel that waits for its answer.
pub(super) struct Asked {
    pub(super) channel: Channel<Msg>,
    pub(super) reply: ChannelOpenHandle,
    pub(super) flows: Flows,
    pub(super) queue: Queued,
}

impl Channels for Box<Asked> {
    type Source = Incoming;
    type Sink = Outgoing;
    type Queue = Queued;
}

impl Pending for Box<Asked> {
    async fn accept(self) -> Option<(Incoming, Outgoing, Queued)> {
        self.reply.accept().await;
        let (source, sink) = halves(self.channel, &self.flows);
        Some((source, sink, self.queue))
    }

    async fn refuse(self, refusal: &Refusal, forward: &str) {
        self.reply.reject(failure(refusal, forward)).await;
    }
}

/// The wire code of a refusal (RFC 4254 section 5.1) and its sentence: 1 for a denial, 2 for a target
/// that was not reached, 4 for a limit and for a policy that failed to decide.
pub(super) fn failure(refusal: &Refusal, forward: &str) -> ChannelOpenFailure {
    let code = match refusal {
        Refusal::Denied { .. } => 1,
        Refusal::Unreachable { .. } => 2,
        Refusal::Undecided { .. } | Refusal::Unanswered { .. } | Refusal::Exhausted { .. } => 4,
    };
    ChannelOpenFailure::Other {
        code,
        reason: sentence(refusal, forward),
    }
}

/// What the user reads, with the reference that finds the audit line.
pub(super) fn sentence(refusal: &Refusal, forward: &str) -> String {
    let words = printable(&refusal.sentence(), MAX_SENTENCE);
    match refusal {
        Refusal::Unreachable { .. } => words,
        _ => format!("{words} [ref {forward}]"),
    }
}

/// Opens `forwarded-tcpip` and `forwarded-streamlocal@openssh.com` channels.
#[derive(Clone)]
pub(super) struct Back {
    pub(super) handle: Handle,
    pub(super) flows: Flows,
}

impl Channels for Back {
    type Source = Incoming;
    type Sink = Outgoing;
    type Queue = Queued;
}

impl Opener for Back {
    async fn open(&self, permit: Permit<Deliver>) -> Result<(Incoming, Outgoing, Queued), Unopened> {
        let (_, Deliver { listener, peer }) = permit.spend();
        let opening = async {
            match &listener.requested {
                Requested::Tcp { host, port: asked } => {
                    // The client knows its listener by what it asked for, or by the port it was told.
                    let port = match (asked, &listener.endpoint) {
                        (0, Endpoint::Tcp { port, .. }) => u32::from(*port),
                        (asked, _) => *asked,
                    };
                    let (ip, from) = peer.map_or((String::new(), 0), |peer| {
                        (peer.ip().to_string(), u32::from(peer.port()))
                    });
                    self.handle
                        .channel_open_forwarded_tcpip(host.clone(), port, ip, from)
                        .await
                }
                Requested::Socket(path) => self.handle.channel_open_forwarded_streamlocal(path.clone()).await,
            }
        };
        let opened = timeout(OPEN_PATIENCE, opening).await;
        let channel = opened
            .map_err(|_| Unopened::Unanswered)?
            .map_err(|_| Unopened::Refused)?;
        let queue = self.flows.queue(channel.id().into());
        let (source, sink) = halves(channel, &self.flows);
        Ok((source, sink, queue))
    }
}

/// What fits on a few lines of a terminal.
const MAX_SENTENCE: usize = 400;
/// A client that does not answer an open channel in this time does not want it.
const OPEN_PATIENCE: Duration = Duration::from_secs(30);
