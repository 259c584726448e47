//! The stream below the library, byte by byte.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net;
use std::time::Duration;

use futures_util::FutureExt;
use rustix::net::sockopt::tcp_quickack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::*;
use crate::ssh::flow::Memory;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, its client, and what cuts it.
async fn connected_with(patience: Option<Duration>) -> (Wire, net::TcpStream, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let cut = CancellationToken::new();
    let wire = Wire::new(stream, cut.clone(), Flows::new(&Memory::default(), u64::MAX), patience);
    (wire, client, cut.drop_guard())
}

async fn connected() -> (Wire, net::TcpStream, DropGuard) {
    connected_with(None).await
}

/// The session looks for a packet, and there is none.
async fn read_nothing(wire: &mut Wire) {
    let mut buffer = [0; 8];
    let read = poll_fn(|context| {
        let mut buffer = ReadBuf::new(&mut buffer);
        Poll::Ready(Pin::new(&mut *wire).poll_read(context, &mut buffer).is_pending())
    });
    assert!(read.await);
}

/// What the system has for the client, without waiting for more.
fn arrived(client: &net::TcpStream) -> Vec<u8> {
    let mut bytes = [0; 64];
    let length = client.peek(&mut bytes).unwrap_or(0);
    bytes[..length].to_vec()
}

/// Bytes that are told apart by their place.
fn pattern(place: usize) -> u8 {
    (place ^ place >> 8 ^ place >> 16) as u8
}

/// Writes into the wire, which takes all of it at once, until so much is stuck; answers how much was written.
fn fill(wire: &mut Wire, stuck: usize) -> usize {
    let mut written = 0;
    while wire.outbox.stuck() < stuck {
        let piece: Vec<u8> = (written..written + 32_768).map(pattern).collect();
        wire.write_all(&piece).now_or_never().expect("no write waits").unwrap();
        wire.flush().now_or_never().expect("no flush waits").unwrap();
        written += piece.len();
    }
    written
}

#[tokio::test]
async fn what_is_little_leaves_together_before_the_next_read() {
    let (mut wire, client, _cut) = connected().await;
    wire.write_all(b"data, ").await.unwrap();
    wire.write_all(b"end").await.unwrap();
    assert_eq!(arrived(&client), b"");
    read_nothing(&mut wire).await;
    assert_eq!(arrived(&client), b"data, end");
}

#[tokio::test]
async fn what_is_large_leaves_at_once_and_after_what_was_held() {
    let (mut wire, client, _cut) = connected().await;
    wire.write_all(b"first").await.unwrap();
    wire.write_all(&[b'x'; LITTLE + 1]).await.unwrap();
    let mut all = vec![0; 5 + LITTLE + 1];
    let mut client = TcpStream::from_std(client).unwrap();
    client.read_exact(&mut all).await.unwrap();
    assert!(all.starts_with(b"firstx"));
}

#[tokio::test]
async fn what_is_held_is_written_before_the_end() {
    let (mut wire, client, _cut) = connected().await;
    wire.write_all(b"farewell").await.unwrap();
    wire.shutdown().await.unwrap();
    let mut all = Vec::new();
    let mut client = TcpStream::from_std(client).unwrap();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"farewell");
}

#[tokio::test]
async fn while_the_client_takes_nothing_it_is_heard_and_what_waits_leaves_as_it_takes_it() {
    let (mut wire, client, _cut) = connected().await;
    let written = fill(&mut wire, 300_000);
    // Little things go behind it, whatever is stuck.
    let mut expected: Vec<u8> = (0..written).map(pattern).collect();
    for _ in 0..100 {
        wire.write_all(b"little").await.unwrap();
        expected.extend_from_slice(b"little");
    }
    assert!(wire.flows.gate().open(1 << 20).now_or_never().is_none());
    let mut client = client;
    client.write_all(b"question").unwrap();
    let mut question = [0; 8];
    timeout(PATIENCE, wire.read_exact(&mut question))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&question, b"question");

    // From here on the session only waits for a packet.
    let mut heard = Vec::new();
    let mut reader = TcpStream::from_std(client).unwrap();
    let hearing = async {
        let mut piece = [0; 10_000];
        while heard.len() < expected.len() {
            let length = reader.read(&mut piece).await.unwrap();
            heard.extend_from_slice(&piece[..length]);
        }
    };
    let mut byte = [0];
    tokio::select! {
        heard = timeout(PATIENCE, hearing) => heard.expect("all arrives"),
        read = wire.read(&mut byte) => panic!("there is nothing to read: {read:?}"),
    }
    assert!(heard == expected);
    assert_eq!(wire.outbox.bytes().len(), 0);
    assert!(wire.flows.gate().open(1 << 20).now_or_never().is_some());
}

#[tokio::test]
async fn what_waits_for_a_client_is_bounded_and_the_end_says_why() {
    let (mut wire, client, cut) = connected().await;
    let full = loop {
        match wire.write_all(&[b'x'; 1000]).now_or_never().expect("no write waits") {
            Ok(()) => {}
            Err(error) => break error,
        }
        let _ = wire.read(&mut [0]).now_or_never();
    };
    assert_eq!(
        full.to_string(),
        "the client does not read its replies: more than 4 MiB are waiting"
    );
    assert!((MOST_UNREAD..MOST_UNREAD + 2000).contains(&wire.outbox.bytes().len()));
    let mut ending = Box::pin(wire.shutdown());
    assert!((&mut ending).now_or_never().is_none(), "what was taken is not dropped");
    drop(cut);
    assert_eq!(ending.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    drop(client);
}

#[tokio::test]
async fn a_client_that_takes_and_sends_nothing_is_given_up_and_one_that_sends_is_not() {
    const PATIENT: Duration = Duration::from_millis(200);
    for (stuck, reason) in [
        (0, "the client does not respond"),
        (3 << 20, "the client stopped reading"),
    ] {
        let (mut wire, mut client, _cut) = connected_with(Some(PATIENT)).await;
        fill(&mut wire, stuck);
        let began = tokio::time::Instant::now();
        while began.elapsed() < 3 * PATIENT {
            client.write_all(b"x").unwrap();
            let read = timeout(PATIENCE, wire.read_exact(&mut [0])).await.unwrap();
            read.expect("it is heard, so it is there");
        }
        // It is asked all the while.
        let read = loop {
            wire.write_all(b"?").await.unwrap();
            if let Ok(read) = timeout(PATIENT / 4, wire.read(&mut [0])).await {
                break read;
            }
        };
        assert_eq!(read.unwrap_err().to_string(), reason);
    }
}

#[tokio::test]
async fn what_a_client_said_before_it_was_gone_is_heard() {
    let (mut wire, mut client, _cut) = connected().await;
    client.write_all(b"last words").unwrap();
    client.shutdown(net::Shutdown::Write).unwrap();
    fill(&mut wire, 1);
    let mut heard = Vec::new();
    timeout(PATIENCE, wire.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, b"last words");
    // It leaves with something unread, which breaks the connection.
    client.set_nonblocking(false).unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    let broken = poll_fn(|context| {
        let _ = Pin::new(&mut wire).poll_read(context, &mut ReadBuf::new(&mut [0]));
        match Pin::new(&mut wire).poll_write(context, b"x") {
            Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
            _ => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    });
    let broken = timeout(PATIENCE, broken).await.expect("a write ends");
    assert!(
        [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&broken),
        "{broken}"
    );
}

#[tokio::test]
async fn the_new_keys_for_libssh_leave_with_what_follows_them() {
    let (mut wire, mut client, _cut) = connected().await;
    client.write_all(b"SSH-2.0-libssh_0.10.6\r\n").unwrap();
    timeout(PATIENCE, wire.read_exact(&mut [0; 23])).await.unwrap().unwrap();
    // A reply and new keys, as packets in the clear.
    let reply = [&[0, 0, 0, 6, 4, 31][..], b"hash"].concat();
    let keys = [&[0, 0, 0, 6, 4, 21][..], b"pads"].concat();
    wire.write_all(&[&*reply, &keys].concat()).await.unwrap();
    read_nothing(&mut wire).await;
    assert_eq!(arrived(&client), reply);
    client.write_all(b"its keys").unwrap();
    timeout(PATIENCE, wire.read_exact(&mut [0; 8])).await.unwrap().unwrap();
    wire.write_all(b"algorithms").await.unwrap();
    read_nothing(&mut wire).await;
    assert_eq!(arrived(&client), [&*reply, &keys, b"algorithms"].concat());
}

#[tokio::test]
async fn what_is_read_first_is_acknowledged_at_once() {
    let (mut wire, mut client, _cut) = connected().await;
    let mut buffer = [0; 8];
    let mut round = async || {
        // An answer tells the system that it may wait for the next one.
        wire.write_all(b"answered").await.unwrap();
        wire.flush().await.unwrap();
        client.write_all(b"question").unwrap();
        let read = wire.read_exact(&mut buffer);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        tcp_quickack(&wire.stream).unwrap()
    };
    for number in 0..READS_OF_A_LOGIN {
        assert!(round().await, "read {number}");
    }
    for _ in 0..READS_OF_A_LOGIN {
        if !round().await {
            return;
        }
    }
    panic!("it never ended");
}
