//! What is read from a target, in pieces whose buffers are made when something is there.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{tcp, unix};

use super::Outlet;

/// The reading half of a socket, which can tell that something is there before a buffer is made for it.
pub(super) trait Readable: AsyncRead + Unpin {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Readable for tcp::ReadHalf<'_> {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.as_ref().poll_read_ready(context)
    }
}

impl Readable for unix::ReadHalf<'_> {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.as_ref().poll_read_ready(context)
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
    /// At most `limit` bytes, which is asked when there is something to read; none at the end. Nothing is read while too
    /// much waits for the client.
    ///
    /// A read that does not fill its room has emptied the socket. tokio then waits for news of it, and what comes
    /// meanwhile is read in one piece; asking again at once would find little, and tell the target of each little.
    pub(super) async fn read(
        &mut self,
        socket: &mut impl Readable,
        outlet: &impl Outlet,
        limit: impl Fn() -> usize,
    ) -> io::Result<Bytes> {
        loop {
            outlet.open(self.piece).await;
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
                    // A task whose turn is used up is told that nothing is there, too. This waits for its next turn, where
                    // tokio's `readable` would say at once that something is there, again and again.
                    poll_fn(|context| socket.poll_readable(context)).await?;
                }
            }
        }
    }
}

const MIN_READ: usize = 4 << 10;
/// Of a socket that always has more. Each read tells the other side that there is room again, and what it then sends is
/// sent, on loopback, at the cost of the reader: reads of eight times [`PIECE`] took a third of the processor time away, and
/// these hardly less. With larger ones the client waits longer for the first of it.
pub(crate) const MAX_READ: usize = 512 << 10;
/// Is handed over at once. Four SSH packets' worth: more would keep small messages of other tunnels waiting behind it.
pub(crate) const PIECE: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    /// Nothing holds it back.
    struct Open;

    impl Outlet for Open {
        type Held = ();

        fn room(&self) -> usize {
            MAX_READ
        }

        async fn open(&self, _bytes: usize) {}

        fn hold(&self, _bytes: usize) {}

        async fn send(&self, bytes: usize) -> usize {
            bytes
        }
    }

    #[test]
    fn a_task_that_reads_for_longer_than_its_turn_goes_on_in_the_next() {
        // More reads than tokio gives a task in one turn. A thread of its own, for it may never end.
        const READS: usize = 1000;
        let (done, ends) = channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let heard = runtime.unwrap().block_on(async {
                let (mut near, mut far) = UnixStream::pair().unwrap();
                near.write_all(&[7; READS]).await.unwrap();
                let (mut far, _) = far.split();
                let mut buffer = Buffer::default();
                let mut heard = 0;
                for _ in 0..READS {
                    heard += buffer.read(&mut far, &Open, || 1).await.unwrap().len();
                }
                heard
            });
            done.send(heard)
        });
        assert_eq!(ends.recv_timeout(Duration::from_secs(10)), Ok(READS));
    }
}
