//! Bounds each reply of Redis before the library makes room for it.
//!
//! The library reads a reply of any size into memory, and its deadline ends the wait of a call, not the reading. So what arrives is
//! followed here as far as its frame: how long strings and arrays say they are, and where a reply ends. A reply that is too large
//! ends the connection, as a broken one does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream from Redis whose replies are bounded.
pub(super) struct Bounded<S> {
    stream: S,
    reply: Reply,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            reply: Reply::default(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.reply.follow(new).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What is known of the reply that arrives, after RESP: each value is a line, which a string or the values of an array follow.
struct Reply {
    /// Bytes so far, with those of a string that are still to come.
    bytes: usize,
    /// Values that are still to come, with the one that arrives.
    values: usize,
    /// Values so far and to come.
    all: usize,
    /// Bytes of a string that are still to come, with the end of its line.
    string: usize,
    /// The beginning of the line that arrives.
    line: Vec<u8>,
    /// The last byte of the line was the first of its two ends.
    ending: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            bytes: 0,
            values: 1,
            all: 1,
            string: 0,
            line: Vec::new(),
            ending: false,
        }
    }
}

impl Reply {
    /// Follows what has arrived.
    ///
    /// # Errors
    /// If the reply is too large, or no reply.
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.string > 0 {
                let (passed, rest) = bytes.split_at(self.string.min(bytes.len()));
                self.string -= passed.len();
                bytes = rest;
                if self.string == 0 {
                    self.value_ended();
                }
                continue;
            }
            bytes = rest;
            self.grow(1)?;
            if self.ending && byte == b'\n' {
                self.line_ended()?;
                continue;
            }
            self.ending = byte == b'\r';
            if self.line.len() < MOST_KEPT {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes {
            ..=MOST_BYTES => Ok(()),
            _ => Err("redis sends a reply that is too long"),
        }
    }

    fn line_ended(&mut self) -> Result<(), &'static str> {
        self.ending = false;
        let line = std::mem::take(&mut self.line);
        let (&kind, rest) = line.split_first().ok_or(STRANGE)?;
        match kind {
            b'$' | b'=' | b'!' => match length(rest)? {
                Some(length) => {
                    self.string = length.saturating_add(2);
                    self.grow(self.string)?;
                }
                None => self.value_ended(),
            },
            b'*' | b'~' | b'>' => self.array(length(rest)?.unwrap_or(0))?,
            b'%' => self.array(length(rest)?.unwrap_or(0).saturating_mul(2))?,
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => self.value_ended(),
            // Attributes too, which are no value: the protocol that is spoken has none.
            _ => return Err(STRANGE),
        }
        Ok(())
    }

    fn array(&mut self, length: usize) -> Result<(), &'static str> {
        self.all = self.all.saturating_add(length);
        if self.all > MOST_VALUES {
            return Err("redis sends a reply of too many values");
        }
        self.values += length;
        self.value_ended();
        Ok(())
    }

    fn value_ended(&mut self) {
        self.values -= 1;
        if self.values == 0 {
            *self = Self::default();
        }
    }
}

/// The number of a line, as the library reads it; none if it is negative, which is no string or array.
fn length(line: &[u8]) -> Result<Option<usize>, &'static str> {
    let text = line.strip_suffix(b"\r").filter(|line| line.len() < MOST_KEPT - 2);
    let number = text.and_then(|text| std::str::from_utf8(text).ok()?.trim().parse::<i64>().ok());
    let number = number.ok_or("redis sends a length that is no number")?;
    Ok(usize::try_from(number).ok())
}

const STRANGE: &str = "redis sends a reply of another protocol";
/// Of a line: more than a length has digits.
const MOST_KEPT: usize = 32;
/// What all gateways answer to one question is the longest reply.
const MOST_BYTES: usize = 32 << 20;
/// A value takes some 60 bytes, however short it is. The longest array has a name and a note for each gateway.
const MOST_VALUES: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(parts: &[&[u8]]) -> Result<Reply, &'static str> {
        let mut reply = Reply::default();
        for part in parts {
            reply.follow(part)?;
        }
        Ok(reply)
    }

    #[test]
    fn replies_end_where_they_end_however_they_arrive() {
        let replies: &[&[u8]] = &[
            b"+OK\r\n",
            b"-ERR no\nsuch \r thing\r\n",
            b":7\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$12\r\n*9\r\n$77\r\n+++\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n+b\r\n$-1\r\n",
        ];
        for reply in replies {
            for cut in 0..reply.len() {
                let (head, tail) = reply.split_at(cut);
                let mut follows = follow(&[head]).unwrap();
                assert_eq!(follows.bytes == 0, cut == 0, "{reply:?} does not end at {cut}");
                follows.follow(tail).unwrap();
                assert_eq!((follows.bytes, follows.values), (0, 1), "{reply:?}, cut at {cut}");
            }
        }
        let all = replies.concat();
        assert_eq!(follow(&[&all, &all]).unwrap().bytes, 0);
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_arrives() {
        let long = format!("${}\r\n", MOST_BYTES);
        let many = format!("*{}\r\n", MOST_VALUES);
        let some = format!("*{}\r\n", MOST_VALUES / 2 + 1);
        for reply in [
            long.as_bytes(),
            many.as_bytes(),
            &[some.as_bytes(), some.as_bytes()].concat(),
            b"$9223372036854775807\r\n",
            b"*9223372036854775807\r\n",
            b"%9223372036854775807\r\n",
            b"$99999999999999999999\r\n",
            b"*x\r\n",
            b"*1                                       \r\n",
            b"|1\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\r\n",
        ] {
            assert!(follow(&[reply]).is_err(), "{}", String::from_utf8_lossy(reply));
        }
    }

    #[test]
    fn many_small_values_are_counted_together() {
        let line = vec![b'a'; 1 << 20];
        let mut reply = Reply::default();
        let lines = (0..).take_while(|_| reply.follow(&line).is_ok()).count();
        assert_eq!(lines, MOST_BYTES >> 20, "a line without an end");
        // One reply after the other is none that grows.
        let mut reply = Reply::default();
        for _ in 0..100 {
            reply.follow(b"$1048576\r\n").unwrap();
            reply.follow(&line).unwrap();
            reply.follow(b"\r\n").unwrap();
        }
    }
}
