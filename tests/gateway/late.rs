//! Clients that read late, seldom or slowly, with many tunnels to targets that answer at once. Whatever they do, what they
//! send is taken, and what they are sent arrives.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::future::{join, join_all};
use russh::ChannelMsg;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{PATIENCE, Server, Setup, wire};

/// When a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Not before everything is written.
    Last,
    /// A little, after each mebibyte that it wrote.
    InTurn,
    /// Half a kilobyte at a time, and something else in between.
    Slowly,
    /// All the time.
    Always,
}

/// The socket of such a client.
struct Late {
    stream: TcpStream,
    manner: Manner,
    shared: Arc<Shared>,
    /// What it has read since it last wrote a mebibyte, and where that was.
    turn: (usize, usize),
    rests: bool,
}

#[derive(Default)]
struct Shared {
    /// Reading is slowed down until so much is written.
    until: AtomicUsize,
    written: AtomicUsize,
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Shared {
    fn is_done(&self) -> bool {
        self.written.load(Ordering::SeqCst) >= self.until.load(Ordering::SeqCst)
    }

    fn wake(place: &Mutex<Option<Waker>>) {
        if let Some(waker) = place.lock().unwrap().take() {
            waker.wake();
        }
    }

    /// From now on the manner counts, until so much more is written.
    fn expects(&self, bytes: usize) {
        self.until
            .store(self.written.load(Ordering::SeqCst) + bytes, Ordering::SeqCst);
    }

    async fn is_written(&self) {
        poll_fn(|context| {
            *self.writer.lock().unwrap() = Some(context.waker().clone());
            match self.is_done() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

impl Late {
    /// Whether nothing is read now.
    fn rests(&mut self) -> bool {
        match self.manner {
            Manner::Always => false,
            Manner::Last => !self.shared.is_done(),
            Manner::InTurn => {
                let written = self.shared.written.load(Ordering::SeqCst) >> 20;
                if written != self.turn.1 {
                    self.turn = (0, written);
                }
                self.turn.0 > 256 << 10 && !self.shared.is_done()
            }
            Manner::Slowly => {
                self.rests = !self.rests;
                self.rests
            }
        }
    }
}

impl AsyncRead for Late {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        *self.shared.reader.lock().unwrap() = Some(context.waker().clone());
        if self.rests() {
            if self.manner == Manner::Slowly {
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let most = if self.manner == Manner::Slowly { 512 } else { usize::MAX };
        let room = buffer.remaining().min(most);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut part);
        let read = part.filled().len();
        buffer.advance(read);
        self.turn.0 += read;
        polled
    }
}

impl AsyncWrite for Late {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = &polled {
            self.shared.written.fetch_add(*length, Ordering::SeqCst);
            Shared::wake(&self.shared.reader);
            Shared::wake(&self.shared.writer);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Sends so much into each of so many tunnels to a target that sends it back, and compares what comes.
fn echoes(manner: Manner, tunnels: usize, size: usize) {
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    gateway.block_on(async {
        let shared = Arc::new(Shared::default());
        let socket = Late {
            stream: TcpStream::connect(gateway.address()).await.unwrap(),
            manner,
            shared: Arc::clone(&shared),
            turn: (0, 0),
            rests: false,
        };
        let client = wire::log_in_over(&gateway, socket).await;
        let open = || client.channel_open_direct_tcpip("127.0.0.1", target.port.into(), "127.0.0.1", 1);
        let channels = join_all((0..tunnels).map(|_| open())).await;
        shared.expects(tunnels * size);
        let echoes = channels
            .into_iter()
            .enumerate()
            .map(|(number, channel)| echo(channel.unwrap(), number, size));
        let written = async {
            let written = timeout(PATIENCE, shared.is_written()).await;
            let count = shared.written.load(Ordering::SeqCst);
            assert!(written.is_ok(), "{manner:?}: {count} bytes were taken, and no more");
        };
        let (_, echoed) = join(written, timeout(PATIENCE, join_all(echoes))).await;
        assert!(echoed.is_ok(), "{manner:?}: not everything came back");
        // The client is there until it has been seen that the gateway did not end it.
        assert_eq!(gateway.events("session-closed").len(), 0);
        drop(client);
    });
    assert_eq!(gateway.buffered(), 0);
}

async fn echo(channel: russh::Channel<Msg>, number: usize, size: usize) {
    let (mut read, write) = channel.split();
    let said: Vec<u8> = (0..size)
        .map(|place| (place * 7 + (place >> 9) + number) as u8)
        .collect();
    let saying = async {
        write.data_bytes(said.clone()).await.unwrap();
        write.eof().await.unwrap();
    };
    let hearing = async {
        let mut heard = Vec::new();
        while let Some(message) = read.wait().await {
            match message {
                ChannelMsg::Data { data } => heard.extend_from_slice(&data),
                ChannelMsg::Eof => break,
                _ => {}
            }
        }
        heard
    };
    let ((), heard) = join(saying, hearing).await;
    assert!(heard == said, "{number}: {} of {size} bytes, or others", heard.len());
}

#[test]
fn a_client_may_write_everything_before_it_reads() {
    // Far more than the buffers of a connection hold.
    echoes(Manner::Last, 96, 256 << 10);
}

#[test]
fn a_client_may_read_and_write_in_turn() {
    echoes(Manner::InTurn, 64, 256 << 10);
}

#[test]
fn a_client_may_read_slowly() {
    echoes(Manner::Slowly, 16, 128 << 10);
}

#[test]
fn a_client_may_stop_reading_whenever_it_cannot_write() {
    // The library's client does that of itself, as others do.
    echoes(Manner::Always, 200, 256 << 10);
}
