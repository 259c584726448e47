//! A client's connection: it accepts every write of the session at once, and keeps reading meanwhile.
//!
//! # Why nothing waits in a circle
//!
//! The library writes and flushes inside the loop that reads, so while a write waits, nothing is read. Many clients do the
//! same (Go's `x/crypto`, paramiko), and then both wait for each other for good. So here no write ever waits: bytes that
//! the socket does not take at once go into an outbox, and are written when the socket has room. Each party waits only for
//! these:
//!
//! - **The session** waits for the connection to be readable or writable, for a message of a tunnel, and for nothing else of
//!   the client or of a target. It looks for a packet before it rests, and each look for a packet writes what waits as well;
//!   so the outbox is emptied as fast as the client takes it, whether there is anything to read or not. A message to a
//!   tunnel does not make it wait: tunnels take what arrives before all else (`relay/tunnel`), even while they wait for
//!   the gate, for the client's window, or to say that they end.
//! - **A tunnel** waits with what its target says: for the client's window, and then at the gate (`ssh/flow/gate`), which is
//!   closed while much is in the outbox. A tunnel that waits for a window has no place at the gate. So the way down waits
//!   for the client to read, and for nothing else.
//! - **The client** may read as late as it likes. What it sends is taken in the meantime, up to the windows that it was
//!   granted, and these depend on what the targets take (`ssh/flow/window`), not on what it reads itself.
//! - **A target** waits for the client it talks to, through the window and the gate, and for nothing of other tunnels but
//!   their turn at the gate.
//!
//! So the way up never waits for the way down. A target that waits for its answer to be read before it reads on has that
//! circle with its client on any connection; the other tunnels go on.
//!
//! # What bounds the outbox
//!
//! The gate holds back data from targets, to some hundred kilobytes in any case. The rest of the outbox is caused by the client:
//! replies to its requests, and windows for what it sent. If a client keeps sending requests without reading, the connection
//! ends when [`MOST_UNREAD`] wait for it.
//!
//! The connection also ends if the client neither reads nor sends anything within its keepalive time. The library sends a
//! keepalive request and does not count the replies: the request waits behind everything else, so a client that reads what is
//! before it is alive too.
//!
//! # How it saves system calls
//!
//! A read takes as many packets as there are, so that a packet does not cost two reads. Small writes are held and sent with the
//! next one, and before the next read at the latest: the session always reads before it rests. While channels with stalled
//! targets are granted two bytes at a time, these grants are written together: once all of the last round were answered if a
//! channel depends on it, else with the next write or after a pause.
//!
//! # How it saves 40 ms of a login
//!
//! Clients log in with Nagle's algorithm (RFC 896; OpenSSH turns it off later): they send a second small message only after the
//! first was acknowledged. Linux acknowledges data with the server's next answer, or after 40 ms. A client's first message of the
//! key exchange gets no answer, so its second one would wait for 40 ms. The first reads of a connection are therefore
//! acknowledged at once (`TCP_QUICKACK`, tcp(7)).

mod ahead;
mod opening;
mod outbox;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_quickack;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use self::ahead::{AHEAD, Ahead};
use self::opening::Opening;
use self::outbox::{Outbox, Silence};
use crate::ssh::flow::Flows;

/// A client's connection that can be cut from outside, whatever the protocol waits for.
pub(super) struct Wire {
    stream: TcpStream,
    token: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    ahead: Ahead,
    flows: Flows,
    opening: Opening,
    /// How many more reads are acknowledged at once.
    at_once: u8,
    outbox: Outbox,
    silence: Silence,
    /// What the gate was told to wait for.
    told: usize,
    /// Nothing can be written any more.
    broken: Option<io::ErrorKind>,
}

impl Wire {
    /// `patience` is how long the client may neither take nor send anything; it is asked meanwhile.
    pub(super) fn new(stream: TcpStream, cut: CancellationToken, flows: Flows, patience: Option<Duration>) -> Self {
        Self {
            stream,
            cut: Box::pin(cut.clone().cancelled_owned()),
            token: cut,
            ahead: Ahead::default(),
            flows,
            opening: Opening::default(),
            at_once: READS_OF_A_LOGIN,
            outbox: Outbox::default(),
            silence: Silence::new(patience),
            told: 0,
            broken: None,
        }
    }

    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(context).is_ready()
    }

    /// Reads where there may be something. A read that finds less than it could take has emptied the socket: the runtime
    /// is told so, and a second read is spared.
    fn poll_fill(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (room, before) = (buffer.remaining() + AHEAD, buffer.filled().len());
        loop {
            let Poll::Ready(ready) = self.stream.poll_read_ready(context) else {
                self.ahead.free();
                return Poll::Pending;
            };
            ready?;
            let (stream, ahead) = (&self.stream, &mut self.ahead);
            let mut found = Err(io::ErrorKind::WouldBlock.into());
            let _ = stream.try_io(Interest::READABLE, || {
                found = ahead.fill(stream, buffer);
                match &found {
                    Ok(length) if (1..room).contains(length) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            });
            match found {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                found => {
                    if let Some(fewer) = self.at_once.checked_sub(1) {
                        self.at_once = fewer;
                        // Without it the client merely waits longer.
                        let _ = set_tcp_quickack(&self.stream, true);
                    }
                    self.silence.end();
                    self.opening.hears(buffer.filled().get(before..).unwrap_or_default());
                    return Poll::Ready(found.map(drop));
                }
            }
        }
    }

    /// Writes what waits and then this, as far as the connection takes it; the rest waits.
    fn send(&mut self, context: &mut Context<'_>, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            self.begin_round();
            let waiting = self.outbox.bytes();
            let both = [IoSlice::new(waiting), IoSlice::new(rest)];
            let first = usize::from(waiting.is_empty());
            let last = 2 - usize::from(rest.is_empty());
            let slices = both.get(first..last).unwrap_or_default();
            if slices.is_empty() {
                return;
            }
            match Pin::new(&mut self.stream).poll_write_vectored(context, slices) {
                Poll::Ready(Ok(sent @ 1..)) => {
                    let before = self.outbox.bytes().len().min(sent);
                    self.took(before);
                    rest = rest.get(sent - before..).unwrap_or_default();
                }
                Poll::Ready(Ok(0)) => return self.fails(&io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => return self.fails(&error),
                Poll::Pending => return self.outbox.add_rest(rest),
            }
        }
    }

    /// The connection took so much of what waited. Where it had no room before, the client has made some; that the system
    /// takes a question is no sign of life.
    fn took(&mut self, bytes: usize) {
        if self.outbox.stuck() > 0 {
            self.silence.end();
        }
        if bytes > 0 {
            self.outbox.take(bytes);
        }
    }

    /// What is read first is still heard; the next write meets the error.
    fn fails(&mut self, error: &io::Error) {
        self.broken = Some(error.kind());
        self.outbox = Outbox::default();
    }

    /// All that waits is on its way.
    fn begin_round(&mut self) {
        if self.outbox.begin() {
            self.flows.round().begin();
        }
    }

    /// Tells the gate how much the connection has not taken.
    fn tell(&mut self) {
        let stuck = self.outbox.stuck();
        if std::mem::replace(&mut self.told, stuck) != stuck {
            self.flows.gate().waits(stuck);
        }
    }

    /// Writes what waits if its time has come. What cannot be written now is tried again once there is room, and with the
    /// next call.
    fn release(&mut self, context: &mut Context<'_>) {
        if self.outbox.bytes().is_empty() {
            return;
        }
        if self.outbox.has_grants() {
            self.flows.round().wakes(context.waker());
            if self.flows.round().is_due() {
                self.outbox.hurry();
            }
        }
        if !self.outbox.is_due(context) {
            return;
        }
        self.send(context, &[]);
        self.tell();
    }

    /// Waits for the client to take or send something, for as long as it may be silent.
    ///
    /// The system calls a socket writable only once a third of its buffer is free, which takes a slow client long. So what
    /// counts in the end is whether there is any room at all.
    fn is_patient(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.silence.poll(context).is_ready() {
            if self.outbox.stuck() == 0 {
                return Err(unanswered());
            }
            match SockRef::from(&self.stream).send(self.outbox.bytes()) {
                Ok(sent) => self.took(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(untaken()),
                Err(error) => {
                    self.fails(&error);
                    return Ok(());
                }
            }
            self.tell();
        }
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.release(context);
        if !self.ahead.is_empty() {
            self.ahead.give(buffer);
            return Poll::Ready(Ok(()));
        }
        if self.token.is_cancelled() {
            return Poll::Ready(Err(cut()));
        }
        if let Poll::Ready(read) = self.poll_fill(context, buffer) {
            return Poll::Ready(read);
        }
        if let Some(keys) = self.opening.release(context) {
            self.outbox.add(&keys);
            self.release(context);
        }
        self.is_patient(context)?;
        match self.is_cut(context) {
            true => Poll::Ready(Err(cut())),
            false => Poll::Pending,
        }
    }
}

impl AsyncWrite for Wire {
    /// Takes everything; only the end of the connection is an error, and a client that reads nothing of too much.
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if let Some(keys) = self.opening.follow() {
            self.outbox.add(&keys);
        }
        let length = bytes.len();
        let now = self.opening.sends(bytes);
        let bytes = bytes.get(..now).unwrap_or_default();
        let grants = self.flows.round().granted();
        if grants > 0 && GRANTS.contains(&(bytes.len() / grants)) && bytes.len() % grants == 0 && self.outbox.has_room()
        {
            self.outbox.add_grants(bytes);
        } else if bytes.len() <= LITTLE && (self.outbox.stuck() > 0 || self.outbox.has_room()) {
            self.outbox.add(bytes);
        } else {
            self.send(context, bytes);
        }
        self.tell();
        if self.outbox.bytes().len() > MOST_UNREAD {
            return Poll::Ready(Err(unread()));
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(keys) = self.opening.follow() {
            self.outbox.add(&keys);
        }
        self.send(context, &[]);
        self.is_patient(context)?;
        self.tell();
        if self.outbox.stuck() > 0 {
            return match self.is_cut(context) {
                true => Poll::Ready(Err(cut())),
                false => Poll::Pending,
            };
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

fn unanswered() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client does not respond")
}

fn untaken() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")
}

fn unread() -> io::Error {
    let most = MOST_UNREAD >> 20;
    io::Error::other(format!(
        "the client does not read its replies: more than {most} MiB are waiting"
    ))
}

/// What a client may ask for without reading: the answers to some ten thousand requests.
const MOST_UNREAD: usize = 4 << 20;
/// The packet that grants a window, in the ciphers that are offered: length, padded to 16, and the tag of the cipher or MAC.
const GRANTS: [usize; 3] = [4 + 16 + 16, 4 + 16 + 32, 4 + 16 + 64];
/// A login takes about ten, and a few more if the client offers several keys.
const READS_OF_A_LOGIN: u8 = 32;
/// To copy it costs less than a write of its own.
const LITTLE: usize = 4 << 10;

#[cfg(test)]
mod tests;
