//! When the server's first new keys are sent.
//!
//! Right behind them a server may say which signatures it takes (`server-sig-algs`, RFC 8308). The library says so once it has
//! the client's new keys, too. That is early enough for most clients, but libssh chooses how to sign as soon as the exchange
//! of keys is over, and with an RSA key it then chooses SHA-1, which is refused. A client sends its new keys without waiting for
//! the server's. So for libssh the server's are held back until the client's have come, and leave together with what the
//! library says next.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The beginning of a connection, before it is encrypted.
#[derive(Default)]
pub(super) struct Opening {
    client: Version,
    is_over: bool,
    held: Option<HeldKeys>,
}

/// What is known of the client from its first bytes.
enum Version {
    /// So many of them are those of [`LIBSSH`].
    Begins(usize),
    Libssh,
    Other,
}

/// New keys that have not been sent.
struct HeldKeys {
    bytes: Vec<u8>,
    /// The client has sent something since.
    is_heard: bool,
    until: Pin<Box<Sleep>>,
}

impl Default for Version {
    fn default() -> Self {
        Self::Begins(0)
    }
}

impl Opening {
    /// The client has sent this.
    pub(super) fn hears(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let Version::Begins(count) = self.client else {
                break;
            };
            self.client = match LIBSSH.get(count) {
                Some(expected) if expected == byte && count + 1 == LIBSSH.len() => Version::Libssh,
                Some(expected) if expected == byte => Version::Begins(count + 1),
                _ => Version::Other,
            };
        }
        if let Some(held) = &mut self.held
            && !bytes.is_empty()
        {
            held.is_heard = true;
        }
    }

    /// How much of these whole packets may be sent; the rest is held.
    pub(super) fn sends(&mut self, bytes: &[u8]) -> usize {
        if self.is_over || bytes.starts_with(b"SSH-") {
            return bytes.len();
        }
        let Some(start) = new_keys(bytes) else {
            return bytes.len();
        };
        self.is_over = true;
        if !matches!(self.client, Version::Libssh) {
            return bytes.len();
        }
        self.held = Some(HeldKeys {
            bytes: bytes.get(start..).unwrap_or_default().to_vec(),
            is_heard: false,
            until: Box::pin(sleep_until(Instant::now() + PATIENCE)),
        });
        start
    }

    /// What is held, if something follows it.
    pub(super) fn follow(&mut self) -> Option<Vec<u8>> {
        self.held.take().map(|held| held.bytes)
    }

    /// What is held, if the client's keys have come and nothing follows, or if they do not come.
    pub(super) fn release(&mut self, context: &mut Context<'_>) -> Option<Vec<u8>> {
        let held = self.held.as_mut()?;
        let is_due = held.is_heard || held.until.as_mut().poll(context).is_ready();
        if is_due { self.follow() } else { None }
    }
}

/// Where the new keys begin among unencrypted packets: each has its length, the length of its padding, and its kind.
fn new_keys(packets: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let packet = packets.get(start..)?;
        let (length, rest) = packet.split_first_chunk::<4>()?;
        if rest.get(1) == Some(&NEW_KEYS) {
            return Some(start);
        }
        start += 4 + usize::try_from(u32::from_be_bytes(*length)).ok()?;
    }
}

const LIBSSH: &[u8] = b"SSH-2.0-libssh_";
/// `SSH_MSG_NEWKEYS` (RFC 4253, section 12).
const NEW_KEYS: u8 = 21;
/// For a client that waits for the server's keys before it sends its own; libssh does not.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn packet(kind: u8, length: usize) -> Vec<u8> {
        let mut packet = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        packet.extend([4, kind]);
        packet.resize(4 + length, NEW_KEYS);
        packet
    }

    /// How much of the reply with new keys is sent at once to a client with this version.
    fn sent(version: &[u8]) -> (Opening, usize) {
        let mut opening = Opening::default();
        assert_eq!(opening.sends(b"SSH-2.0-portreeve_1\r\n"), 21);
        for byte in version {
            opening.hears(&[*byte]);
        }
        let init = packet(20, 1020);
        assert_eq!(opening.sends(&init), init.len());
        let both = [packet(31, 300), packet(NEW_KEYS, 12)].concat();
        let sent = opening.sends(&both);
        (opening, sent)
    }

    #[tokio::test]
    async fn only_for_libssh_the_new_keys_are_held() {
        for (version, length) in [
            (b"SSH-2.0-libssh_0.10.6\r\n".as_slice(), 304),
            (b"SSH-2.0-libssh2_1.10.0\r\n", 320),
            (b"SSH-2.0-OpenSSH_10.5\r\n", 320),
            (b"SSH-2.0-libss", 320),
            (b"", 320),
        ] {
            assert_eq!(sent(version).1, length, "{}", version.escape_ascii());
        }
    }

    #[tokio::test]
    async fn they_leave_with_what_follows_or_once_the_client_was_heard() {
        let mut context = Context::from_waker(Waker::noop());
        let (mut opening, _) = sent(b"SSH-2.0-libssh_0.10.6\r\n");
        assert_eq!(opening.release(&mut context), None);
        assert_eq!(opening.follow(), Some(packet(NEW_KEYS, 12)));
        assert_eq!(opening.follow(), None);

        let (mut opening, _) = sent(b"SSH-2.0-libssh_0.10.6\r\n");
        opening.hears(&[0]);
        assert_eq!(opening.release(&mut context), Some(packet(NEW_KEYS, 12)));

        let (mut opening, _) = sent(b"SSH-2.0-libssh_0.10.6\r\n");
        let until = &mut opening.held.as_mut().unwrap().until;
        until.as_mut().reset(Instant::now());
        until.await;
        assert_eq!(opening.release(&mut context), Some(packet(NEW_KEYS, 12)));
        // What comes later is encrypted, whatever it looks like.
        let later = packet(NEW_KEYS, 12);
        assert_eq!(opening.sends(&later), later.len());
    }
}
