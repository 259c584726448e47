//! How long the client's last request was: what tells an offered certificate from an offered key.
//!
//! The library shows an offered certificate as the key in it, and the certificate itself only once it was proven. But whether
//! a key may log in has to be answered when it is offered. So the bytes that the library takes for a request are counted,
//! encrypted as they are: it takes exactly one packet at a time, and answers each request of a login before it takes the next.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use russh::keys::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes were taken from the client since it was last written to.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<AtomicUsize>);

impl Heard {
    /// Can the last request have offered a certificate for this key? Then it was longer than one that offers the key alone
    /// can be. Padding beyond what is needed, or a signature, is taken for a certificate as well.
    pub(super) fn may_be_certificate(&self, user: &str, algorithm: &str, key: &PublicKey) -> bool {
        let blob = key.to_bytes().map_or(0, |bytes| bytes.len());
        let alone = OFFER + user.len() + algorithm.len() + blob;
        self.0.load(Ordering::Relaxed) > alone + MOST_AROUND
    }
}

/// A connection whose reads are counted.
pub(super) struct Counted<S> {
    stream: S,
    heard: Heard,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, heard: Heard) -> Self {
        Self { stream, heard }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let taken = buffer.filled().len().saturating_sub(before);
        // Wraps after the login, when it is no longer asked for.
        self.heard.0.fetch_add(taken, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.0.store(0, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.heard.0.store(0, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A request that offers a key (RFC 4252 section 7) without its user, algorithm and key: the type of the message, the
/// lengths of five texts, `ssh-connection`, `publickey` and the flag that says that there is no signature.
const OFFER: usize = 1 + 5 * 4 + "ssh-connection".len() + "publickey".len() + 1;

/// What goes around a request at most: its length and that of the padding, up to 19 bytes of padding, a tag of up to 64
/// bytes. The least that a certificate adds is more than 200 bytes, its CA's key and signature alone are 142.
const MOST_AROUND: usize = 4 + 1 + 19 + 64 + SLACK;
/// Half of what is left between the two.
const SLACK: usize = 56;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINeq1q2UHWOiofHWo3o7mlNRgIcRSGImWFtTdN+oza4v";

    #[test]
    fn a_request_is_told_by_its_length() {
        let key = PublicKey::from_openssh(KEY).expect("a key");
        // For alice: 45 + 5 + 11 + 51.
        #[rustfmt::skip]
        let table = [
            (0,                   false),
            (112 + 5 + 4,         false),
            (112 + 88,            false),
            (112 + 4 + 1 + 4 + 16 + 200, true),
            (1000,                true),
        ];
        for (length, expected) in table {
            let heard = Heard(Arc::new(AtomicUsize::new(length)));
            assert_eq!(
                heard.may_be_certificate("alice", "ssh-ed25519", &key),
                expected,
                "{length}"
            );
        }
    }

    #[tokio::test]
    async fn what_was_taken_counts_until_something_is_written() {
        let heard = Heard::default();
        let (one, mut other) = tokio::io::duplex(64);
        let mut counted = Counted::new(one, heard.clone());
        other.write_all(b"0123456789").await.expect("written");
        counted.read_exact(&mut [0; 4]).await.expect("read");
        assert_eq!(heard.0.load(Ordering::Relaxed), 4);
        counted.read_exact(&mut [0; 6]).await.expect("read");
        assert_eq!(heard.0.load(Ordering::Relaxed), 10);
        counted.write_all(b"answer").await.expect("written");
        assert_eq!(heard.0.load(Ordering::Relaxed), 0);
    }
}
