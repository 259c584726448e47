use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{tcp, unix};

/// The reading half of a socket, which can tell that something is there before a buffer is made for it.
pub(super) trait Readable: AsyncRead + Unpin {
    async fn readable(&self) -> io::Result<()>;
}

impl Readable for tcp::ReadHalf<'_> {
    async fn readable(&self) -> io::Result<()> {
        tcp::ReadHalf::readable(self).await
    }
}

impl Readable for unix::ReadHalf<'_> {
    async fn readable(&self) -> io::Result<()> {
        unix::ReadHalf::readable(self).await
    }
}

/// Reads into pieces as large as what arrives; an idle tunnel holds none.
pub(super) struct Buffer {
    bytes: BytesMut,
    piece: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            piece: MIN_READ,
        }
    }
}

impl Buffer {
    /// At most `limit` bytes, which is asked when there is something to read; none at the end.
    ///
    /// A read that does not fill its room has emptied the socket. tokio then waits for news of it, and what comes
    /// meanwhile is read in one piece; asking again at once would find little, and tell the target of each little.
    pub(super) async fn read(&mut self, socket: &mut impl Readable, limit: impl Fn() -> usize) -> io::Result<Bytes> {
        loop {
            let limit = limit();
            if self.bytes.capacity() < MIN_READ / 4 {
                self.bytes.reserve(self.piece.min(limit.max(MIN_READ)));
            }
            let room = self.bytes.capacity().min(limit);
            let read = socket.read_buf(&mut (&mut self.bytes).limit(room)).now_or_never();
            match read {
                Some(length) => {
                    let length = length?;
                    self.piece = if length == room { self.piece * 2 } else { length };
                    self.piece = self.piece.clamp(MIN_READ, MAX_READ);
                    return Ok(self.bytes.split().freeze());
                }
                None => {
                    self.bytes = BytesMut::new();
                    socket.readable().await?;
                }
            }
        }
    }
}

const MIN_READ: usize = 4 << 10;
/// Of a socket that always has more. Each read tells the other side that there is room again, and what it then sends is
/// sent, on loopback, at the cost of the reader: reads of eight times [`PIECE`] took a third of the processor time away.
pub(super) const MAX_READ: usize = 1 << 20;
/// Is handed over at once. Four SSH packets' worth: more would keep small messages of other tunnels waiting behind it.
pub(super) const PIECE: usize = 128 << 10;
