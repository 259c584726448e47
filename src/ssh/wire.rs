use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::relay::Flows;

/// A client's connection that can be cut from outside, whatever the protocol waits for.
///
/// A client that takes nothing for as long as it may be silent is given up as one that does not answer: it cannot be asked,
/// since the question would wait behind everything else, and so would the session.
///
/// What follows a packet is read with it, so that a packet does not cost two reads. What is little is written with what
/// follows it, and before the next read at the latest: the session always reads before it waits for anything. And while
/// channels whose targets are stalled are granted two bytes at a time, these grants are written together: once all of the
/// last round were answered if somebody depends on it, or else with what is written next or after a [`PAUSE`].
pub(super) struct Wire {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    ahead: Ahead,
    flows: Flows,
    held: Held,
    patience: Option<Duration>,
    /// Something waits to be written, until then.
    is_full: bool,
    until: Option<Pin<Box<Sleep>>>,
}

/// What was read beyond what was asked for.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

/// What may wait to be written.
#[derive(Default)]
struct Held {
    bytes: BytesMut,
    is_due: bool,
    /// The connection took no more of it.
    is_stuck: bool,
    /// Grants of the least are among it.
    has_grants: bool,
    /// They are on their way.
    began: bool,
    until: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    /// `patience` is how long the client may take nothing.
    pub(super) fn new(stream: TcpStream, cut: CancellationToken, flows: Flows, patience: Option<Duration>) -> Self {
        Self {
            stream,
            cut: Box::pin(cut.cancelled_owned()),
            ahead: Ahead::default(),
            flows,
            held: Held::default(),
            patience,
            is_full: false,
            until: None,
        }
    }

    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(context).is_ready()
    }

    /// Reads where there may be something. A read that finds less than it could take has emptied the socket: the runtime
    /// is told so, and a second read is spared.
    fn poll_fill(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buffer.remaining() + AHEAD;
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
                found => return Poll::Ready(found.map(drop)),
            }
        }
    }

    /// All that is held is on its way.
    fn begin_round(&mut self) {
        if self.held.has_grants && !mem::replace(&mut self.held.began, true) {
            self.flows.round().begin();
        }
    }

    /// Writes what was held, and then this; answers how much of this was written.
    fn poll_send(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while !self.held.bytes.is_empty() {
            self.begin_round();
            let mut all = [IoSlice::new(&[]); 3];
            for (place, slice) in all
                .iter_mut()
                .zip([IoSlice::new(&self.held.bytes)].iter().chain(slices))
            {
                *place = *slice;
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &all))?;
            let before = self.held.bytes.len().min(sent);
            self.held.take(before);
            if sent > before {
                return Poll::Ready(Ok(sent - before));
            }
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    /// Waits with what cannot be written, for as long as the client may take nothing.
    ///
    /// The system calls a socket writable only once a third of its buffer is free, which takes a slow client long. So what
    /// counts in the end is whether there is any room at all.
    fn poll_patience(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(patience) = self.patience else {
            return Poll::Pending;
        };
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now())));
        if !mem::replace(&mut self.is_full, true) {
            until.as_mut().reset(Instant::now() + patience);
        }
        loop {
            ready!(until.as_mut().poll(context));
            let is_held = !self.held.bytes.is_empty();
            let first = if is_held { &self.held.bytes } else { bytes };
            match SockRef::from(&self.stream).send(first) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Ready(Err(untaken())),
                Ok(sent) if is_held => self.held.take(sent),
                sent => return Poll::Ready(sent),
            }
            until.as_mut().reset(Instant::now() + patience);
        }
    }

    /// Writes what is held where its time has come. What cannot be written now is tried again with the next call.
    fn release(&mut self, context: &mut Context<'_>) {
        if self.held.bytes.is_empty() {
            return;
        }
        if self.held.has_grants {
            self.flows.round().wakes(context.waker());
            self.held.is_due |= self.flows.round().is_due();
        }
        if self.held.is_due(context) {
            self.held.is_stuck = self.poll_empty(context).is_pending();
        }
    }

    /// Writes all that is held.
    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.held.bytes.is_empty() {
            self.begin_round();
            let (stream, held) = (Pin::new(&mut self.stream), &mut self.held);
            match ready!(stream.poll_write(context, &held.bytes)) {
                Ok(sent) => held.take(sent),
                // The next read or write meets the error, too.
                Err(_) => held.take(held.bytes.len()),
            }
        }
        Poll::Ready(())
    }
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let kept = self.bytes.get(self.from..self.to).unwrap_or_default();
        let given = kept.get(..buffer.remaining().min(kept.len())).unwrap_or_default();
        buffer.put_slice(given);
        self.from += given.len();
    }

    /// Reads into the buffer and, once that is full, ahead.
    fn fill(&mut self, stream: &TcpStream, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        self.bytes.resize(AHEAD, 0);
        let wanted = buffer.remaining();
        let mut slices = [
            IoSliceMut::new(buffer.initialize_unfilled()),
            IoSliceMut::new(&mut self.bytes),
        ];
        let length = (&*SockRef::from(stream)).read_vectored(&mut slices)?;
        buffer.advance(length.min(wanted));
        (self.from, self.to) = (0, length.saturating_sub(wanted));
        Ok(length)
    }

    /// A connection on which nothing comes holds no memory.
    fn free(&mut self) {
        self.bytes = Vec::new();
    }
}

impl Held {
    fn has_room(&self) -> bool {
        self.bytes.len() < MOST_HELD
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.is_due = true;
    }

    fn add_grants(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.has_grants = true;
        if self.until.is_none() {
            self.until = Some(Box::pin(sleep_until(Instant::now() + PAUSE)));
        }
    }

    fn take(&mut self, sent: usize) {
        self.bytes.advance(sent);
        if self.bytes.is_empty() {
            *self = Self::default();
        }
    }

    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        if !self.is_due {
            let until = self.until.as_mut();
            self.is_due = until.is_some_and(|until| until.as_mut().poll(context).is_ready());
        }
        self.is_due && !self.bytes.is_empty()
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
        match self.poll_fill(context, buffer) {
            Poll::Pending if self.is_cut(context) => Poll::Ready(Err(cut())),
            polled => polled,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let grants = self.flows.round().granted();
        if grants > 0 && bytes.len() == grants * GRANT && self.held.has_room() {
            self.held.add_grants(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        if bytes.len() <= LITTLE && !self.held.is_stuck && self.held.has_room() {
            self.held.add(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let polled = match self.poll_send(context, &[IoSlice::new(bytes)]) {
            Poll::Pending if self.is_cut(context) => Poll::Ready(Err(cut())),
            Poll::Pending => self.poll_patience(context, bytes),
            polled => polled,
        };
        self.is_full &= polled.is_pending();
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_empty(context).is_pending() {
            return match self.is_cut(context) {
                true => Poll::Ready(Err(cut())),
                false => Poll::Pending,
            };
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

fn untaken() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")
}

/// Long enough to make the round of two bytes each cheap.
const PAUSE: Duration = Duration::from_millis(100);
/// The packet that grants a window, in the ciphers that are offered: length, padded to 16, and tag.
const GRANT: usize = 4 + 16 + 16;
const MOST_HELD: usize = 64 << 10;
/// To copy it costs less than a write of its own.
const LITTLE: usize = 4 << 10;
const AHEAD: usize = 4 << 10;

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
