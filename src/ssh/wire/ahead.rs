//! Reads more than was asked for, so that fewer calls are made.

use std::io::{self, IoSliceMut, Read};

use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// What was read beyond what was asked for.
#[derive(Default)]
pub(super) struct Ahead {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Ahead {
    pub(super) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    pub(super) fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let kept = self.bytes.get(self.from..self.to).unwrap_or_default();
        let given = kept.get(..buffer.remaining().min(kept.len())).unwrap_or_default();
        buffer.put_slice(given);
        self.from += given.len();
    }

    /// Reads into the buffer and, once that is full, ahead.
    pub(super) fn fill(&mut self, stream: &TcpStream, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
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
    pub(super) fn free(&mut self) {
        self.bytes = Vec::new();
    }
}

pub(super) const AHEAD: usize = 4 << 10;
