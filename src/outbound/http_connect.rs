//! The client's side of HTTP CONNECT (RFC 9110 section 9.3.6), with Basic credentials if the proxy wants them (RFC 7617).
//!
//! The head of the answer ends with an empty line, and what follows is the target's: it is read byte by byte, so that nothing
//! behind it is. A head has a few hundred bytes, once in a connection.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::credentials::Credentials;
use super::{ProxyError, Wanted, lost};
use crate::request::{Unreached, printable};

pub(super) async fn ask<S>(stream: &mut S, wanted: &Wanted, credentials: Option<&Credentials>) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request(wanted, credentials).as_bytes()).await?;
    let mut left = MOST_HEAD;
    loop {
        let status = read_head(stream, &mut left).await?;
        match status.code {
            // Something is still to come (RFC 9110 section 15.2); switching the protocol was not asked for.
            100 | 102..=199 => {}
            200..=299 => return Ok(()),
            _ => return Err(unreached(&status, credentials.is_some())),
        }
    }
}

fn request(wanted: &Wanted, credentials: Option<&Credentials>) -> String {
    let authority = match wanted {
        Wanted::Address(address) => address.to_string(),
        Wanted::Name(name, port) => format!("{name}:{port}"),
    };
    let credentials = credentials
        .map(|credentials| format!("Proxy-Authorization: Basic {}\r\n", credentials.basic()))
        .unwrap_or_default();
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n")
}

/// What a proxy answered.
struct Status {
    code: u16,
    /// Its words, safe to show.
    reason: String,
}

/// Reads one head up to its empty line, of at most `left` bytes.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, left: &mut usize) -> Result<Status, ProxyError> {
    let mut head = Vec::new();
    while !(head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n")) {
        let spent = left.checked_sub(1);
        *left = spent.ok_or_else(|| ProxyError::Malformed(format!("its head has more than {MOST_HEAD} bytes")))?;
        head.push(stream.read_u8().await.map_err(lost)?);
        if !could_be_http(&head) {
            return Err(ProxyError::Malformed("it does not speak HTTP/1".to_owned()));
        }
    }
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    status(line.trim_end()).ok_or_else(|| ProxyError::Malformed("its first line is no status line".to_owned()))
}

/// Something else is seen at once, and not after the deadline.
fn could_be_http(head: &[u8]) -> bool {
    head.iter().zip(VERSION).all(|(found, expected)| found == expected)
}

/// RFC 9112 section 4: `HTTP/1.1 200 OK`, the words of which may be missing.
fn status(line: &str) -> Option<Status> {
    let mut words = line.splitn(3, ' ');
    let (version, code) = (words.next()?, words.next()?);
    let plain = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let minor = version.strip_prefix("HTTP/1.")?;
    if !plain || minor.len() != 1 || !minor.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Status {
        code: code.parse().ok()?,
        reason: printable(words.next().unwrap_or_default(), MOST_REASON),
    })
}

fn unreached(status: &Status, had_credentials: bool) -> ProxyError {
    let words = format!("it answered {} {}", status.code, status.reason);
    let words = words.trim_end().to_owned();
    match status.code {
        // tinyproxy answers 401 to wrong credentials, which only an origin server should.
        401 | 407 if had_credentials => ProxyError::Credentials(format!("{words}: it does not accept the credentials")),
        407 => ProxyError::Credentials(format!("{words}: set `credentials-file`")),
        // Which failure it was, a proxy says in words only: these two are about the way to the target.
        502 | 503 => ProxyError::Unreached(Unreached::Unreachable, words),
        408 | 504 => ProxyError::Unreached(Unreached::TimedOut, words),
        _ => ProxyError::Unreached(Unreached::Other, words),
    }
}

const VERSION: &[u8] = b"HTTP/1.";
/// Of all heads of one answer, in bytes.
const MOST_HEAD: usize = 8192;
const MOST_REASON: usize = 100;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn asked(answer: &[u8], credentials: Option<&Credentials>) -> (Result<(), ProxyError>, String, Vec<u8>) {
        let (mut near, mut far) = duplex(1 << 16);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let wanted = Wanted::Address("[2001:db8::1]:443".parse().unwrap());
        let outcome = ask(&mut near, &wanted, credentials).await;
        let mut left = Vec::new();
        near.read_to_end(&mut left).await.unwrap();
        drop(near);
        let mut sent = String::new();
        far.read_to_string(&mut sent).await.unwrap();
        (outcome, sent, left)
    }

    #[tokio::test]
    async fn a_head_is_read_and_nothing_behind_it() {
        #[rustfmt::skip]
        let table: [&[u8]; 5] = [
            b"HTTP/1.1 200 Connection established\r\n\r\nSSH-2.0-x\r\n",
            b"HTTP/1.0 200\r\n\r\nSSH-2.0-x\r\n",
            b"HTTP/1.1 204 \r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\nSSH-2.0-x\r\n",
            b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nVia: a\r\n\r\nSSH-2.0-x\r\n",
            b"HTTP/1.1 200 OK\n\nSSH-2.0-x\r\n",
        ];
        for answer in table {
            let (outcome, sent, left) = asked(answer, None).await;
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(left, b"SSH-2.0-x\r\n");
            assert_eq!(
                sent,
                "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"
            );
        }
    }

    #[tokio::test]
    async fn credentials_are_sent_as_basic() {
        let credentials = Credentials {
            user: "Aladdin".to_owned(),
            password: "open sesame".to_owned(),
        };
        let (_, sent, _) = asked(b"HTTP/1.1 200 OK\r\n\r\n", Some(&credentials)).await;
        // The example of RFC 7617 section 2.
        let expected = "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
        assert!(sent.ends_with(expected), "{sent}");
    }

    #[tokio::test]
    async fn credentials_that_are_not_accepted_are_told_from_missing_ones() {
        let own = Credentials {
            user: "alice".to_owned(),
            password: "wrong".to_owned(),
        };
        for answer in [
            b"HTTP/1.0 401 Unauthorized\r\n\r\n".as_slice(),
            b"HTTP/1.1 407 Again\r\n\r\n",
        ] {
            let error = asked(answer, Some(&own)).await.0.unwrap_err().to_string();
            assert!(error.ends_with("it does not accept the credentials"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_no_connection_is_an_error_that_says_why() {
        let long = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 9000], b"\r\n\r\n"].concat();
        let endless = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(400);
        #[rustfmt::skip]
        let table: [(&[u8], Unreached, &str); 13] = [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Unreached::Other, "set `credentials-file`"),
            (b"HTTP/1.1 401 Unauthorized\r\n\r\n",   Unreached::Other,       "it answered 401 Unauthorized"),
            (b"HTTP/1.1 403 Filtered\r\n\r\n",       Unreached::Other,       "it answered 403 Filtered"),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n",    Unreached::Unreachable, "it answered 502 Bad Gateway"),
            (b"HTTP/1.1 503 \x1b[31m\r\n\r\n",       Unreached::Unreachable, "it answered 503"),
            (b"HTTP/1.1 504 Late\r\n\r\n",           Unreached::TimedOut,    "it answered 504 Late"),
            (b"HTTP/1.1 101 Switching\r\n\r\n",      Unreached::Other,       "it answered 101"),
            (b"SSH-2.0-OpenSSH_9.2\r\n",             Unreached::Other,       "does not speak HTTP/1"),
            (b"HTTP/1.1 2000 OK\r\n\r\n",            Unreached::Other,       "no status line"),
            (b"HTTP/1.1 200 OK\r\n",                 Unreached::Other,       "closed the connection"),
            (b"",                                    Unreached::Other,       "closed the connection"),
            (&long,                                  Unreached::Other,       "more than 8192 bytes"),
            (&endless,                               Unreached::Other,       "more than 8192 bytes"),
        ];
        for (answer, why, words) in table {
            let error = asked(answer, None).await.0.unwrap_err();
            let said = error.to_string();
            assert!(said.contains(words), "{}: {said}", answer.escape_ascii());
            assert!(!said.contains('\x1b'), "{said:?}");
            assert_eq!(error.why(), why, "{said}");
        }
    }
}
