use std::future::poll_fn;
use std::net;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use super::*;
use crate::relay::Memory;

/// A connection, its client, and what cuts it.
async fn connected() -> (Wire, net::TcpStream, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let cut = CancellationToken::new();
    let wire = Wire::new(stream, cut.clone(), Flows::new(&Memory::default(), u64::MAX), None);
    (wire, client, cut.drop_guard())
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
async fn a_client_that_takes_nothing_is_not_written_for_without_bounds() {
    let (mut wire, client, cut) = connected().await;
    let mut held = 0;
    let end = poll_fn(|context| {
        while Pin::new(&mut wire).poll_write(context, &[b'x'; 1000])?.is_ready() {
            held = wire.held.bytes.len().max(held);
            wire.release(context);
        }
        Poll::Ready(io::Result::Ok(()))
    });
    end.await.unwrap();
    assert!(held < 2 * MOST_HELD, "{held} bytes were held");
    let mut ending = Box::pin(wire.shutdown());
    let is_pending = poll_fn(|context| Poll::Ready(ending.as_mut().poll(context).is_pending()));
    assert!(is_pending.await, "what was taken is not dropped");
    drop(cut);
    assert_eq!(ending.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    drop(client);
}
