//! The client's side of SOCKS version 5: CONNECT (RFC 1928), with a user and a password if the proxy wants them (RFC 1929).
//!
//! Every answer says how long it is before it goes on, so nothing behind it is read.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::credentials::Credentials;
use super::{ProxyError, Wanted, lost};
use crate::request::Unreached;

pub(super) async fn ask<S>(stream: &mut S, wanted: &Wanted, credentials: Option<&Credentials>) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(wanted)?;
    let greeting: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, OPEN, PASSWORD],
        None => &[VERSION, 1, OPEN],
    };
    stream.write_all(greeting).await?;
    let [version, method] = read(stream).await?;
    check_version(version, VERSION)?;
    match (method, credentials) {
        (OPEN, _) => {}
        (PASSWORD, Some(credentials)) => log_in(stream, credentials).await?,
        (NO_METHOD, None) => {
            let words = "it wants credentials: set `credentials-file`, unless it wants another method";
            return Err(ProxyError::Credentials(words.to_owned()));
        }
        (NO_METHOD, Some(_)) => {
            let words = "it takes neither a password nor a client without one";
            return Err(ProxyError::Credentials(words.to_owned()));
        }
        (method, _) => {
            return Err(ProxyError::Malformed(format!(
                "it chose method {method}, which was not offered"
            )));
        }
    }
    stream.write_all(&request).await?;
    let [version, code, _, kind] = read(stream).await?;
    check_version(version, VERSION)?;
    if code != SUCCEEDED {
        return Err(unreached(code));
    }
    skip_address(stream, kind).await
}

async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: &Credentials,
) -> Result<(), ProxyError> {
    let mut message = vec![NEGOTIATION];
    for text in [&credentials.user, &credentials.password] {
        push_short(&mut message, text.as_bytes())?;
    }
    stream.write_all(&message).await?;
    let [version, status] = read(stream).await?;
    check_version(version, NEGOTIATION)?;
    match status {
        0 => Ok(()),
        _ => Err(ProxyError::Credentials("it does not accept the credentials".to_owned())),
    }
}

fn request(wanted: &Wanted) -> Result<Vec<u8>, ProxyError> {
    let mut request = vec![VERSION, CONNECT, 0];
    let port = match wanted {
        Wanted::Address(SocketAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.ip().octets());
            address.port()
        }
        Wanted::Address(SocketAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.ip().octets());
            address.port()
        }
        Wanted::Name(name, port) => {
            request.push(NAME);
            push_short(&mut request, name.as_bytes())?;
            *port
        }
    };
    request.extend(port.to_be_bytes());
    Ok(request)
}

/// A field with its length in one octet before it.
fn push_short(message: &mut Vec<u8>, field: &[u8]) -> Result<(), ProxyError> {
    let length = u8::try_from(field.len());
    let length = length.map_err(|_| ProxyError::Malformed("a field is longer than 255 bytes".to_owned()))?;
    message.push(length);
    message.extend(field);
    Ok(())
}

/// The address that the proxy connects from says nothing here.
async fn skip_address<S: AsyncRead + Unpin>(stream: &mut S, kind: u8) -> Result<(), ProxyError> {
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let [length] = read(stream).await?;
            usize::from(length)
        }
        kind => return Err(ProxyError::Malformed(format!("it names an address of type {kind}"))),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).await.map_err(lost)?;
    Ok(())
}

async fn read<const LENGTH: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; LENGTH], ProxyError> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).await.map_err(lost)?;
    Ok(bytes)
}

fn check_version(found: u8, expected: u8) -> Result<(), ProxyError> {
    match found == expected {
        true => Ok(()),
        false => Err(ProxyError::Malformed(format!(
            "it speaks version {found}, and not {expected}"
        ))),
    }
}

/// RFC 1928 section 6.
fn unreached(code: u8) -> ProxyError {
    let (why, words) = match code {
        1 => (Unreached::Other, "general failure"),
        2 => (Unreached::Other, "the proxy does not permit it"),
        3 => (Unreached::Unreachable, "Network is unreachable"),
        4 => (Unreached::Unreachable, "No route to host"),
        5 => (Unreached::Refused, "Connection refused"),
        6 => (Unreached::TimedOut, "TTL expired"),
        7 => (Unreached::Other, "the proxy does not know the command"),
        8 => (Unreached::Other, "the proxy does not know the type of address"),
        code => return ProxyError::Malformed(format!("it answered code {code}")),
    };
    ProxyError::Unreached(why, words.to_owned())
}

const VERSION: u8 = 5;
/// Of the negotiation of a password.
const NEGOTIATION: u8 = 1;
const CONNECT: u8 = 1;
const OPEN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const SUCCEEDED: u8 = 0;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What comes of these answers, what was sent for them, and what is left behind them.
    async fn asked(
        answers: &[u8],
        wanted: &Wanted,
        credentials: Option<&Credentials>,
    ) -> (Result<(), String>, Vec<u8>, Vec<u8>) {
        let (mut near, mut far) = duplex(4096);
        far.write_all(answers).await.unwrap();
        far.shutdown().await.unwrap();
        let outcome = ask(&mut near, wanted, credentials).await;
        let mut left = Vec::new();
        near.read_to_end(&mut left).await.unwrap();
        drop(near);
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).await.unwrap();
        (outcome.map_err(|error| error.to_string()), sent, left)
    }

    fn address(text: &str) -> Wanted {
        Wanted::Address(text.parse().unwrap())
    }

    fn credentials() -> Credentials {
        Credentials {
            user: "alice".to_owned(),
            password: "secret".to_owned(),
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_and_nothing_behind_it() {
        let name = Wanted::Name("db.internal".to_owned(), 443);
        let named = [b"\x05\x01\0\x05\x01\0\x03\x0b".as_slice(), b"db.internal\x01\xbb"].concat();
        #[rustfmt::skip]
        let table: [(&[u8], Wanted, &[u8]); 3] = [
            (b"\x05\0\x05\0\0\x01\x7f\0\0\x01\x12\x34hello", address("10.0.0.1:443"),
             b"\x05\x01\0\x05\x01\0\x01\x0a\0\0\x01\x01\xbb"),
            (b"\x05\0\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34hello", address("[::1]:443"),
             b"\x05\x01\0\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb"),
            (b"\x05\0\x05\0\0\x03\x02ab\x12\x34hello", name, &named),
        ];
        for (answers, wanted, expected) in table {
            let (outcome, sent, left) = asked(answers, &wanted, None).await;
            assert_eq!((outcome, left.as_slice()), (Ok(()), b"hello".as_slice()), "{wanted:?}");
            assert_eq!(sent, expected, "{wanted:?}");
        }
    }

    #[tokio::test]
    async fn a_password_is_sent_to_a_proxy_that_wants_one() {
        let answers = b"\x05\x02\x01\0\x05\0\0\x01\x7f\0\0\x01\x12\x34";
        let (outcome, sent, _) = asked(answers, &address("10.0.0.1:443"), Some(&credentials())).await;
        assert_eq!(outcome, Ok(()));
        let expected = b"\x05\x02\0\x02\x01\x05alice\x06secret\x05\x01\0\x01\x0a\0\0\x01\x01\xbb";
        assert_eq!(sent, expected);
    }

    #[tokio::test]
    async fn what_is_no_connection_is_an_error_that_says_why() {
        let own = credentials();
        #[rustfmt::skip]
        let table: [(&[u8], Option<&Credentials>, &str); 12] = [
            (b"\x05\xff",                     None,       "set `credentials-file`"),
            (b"\x05\xff",                     Some(&own), "neither a password"),
            (b"\x05\x02",                     None,       "which was not offered"),
            (b"\x05\x02\x01\x01",             Some(&own), "does not accept the credentials"),
            (b"\x04\0",                       None,       "version 4"),
            (b"HTTP/1.1 400 Bad Request\r\n", None,       "version 72"),
            (b"\x05",                         None,       "closed the connection"),
            (b"",                             None,       "closed the connection"),
            (b"\x05\0\x05\x05\0\x01",         None,       "Connection refused"),
            (b"\x05\0\x05\x03\0\x01",         None,       "Network is unreachable"),
            (b"\x05\0\x05\x63\0\x01",         None,       "code 99"),
            (b"\x05\0\x05\0\0\x09",           None,       "type 9"),
        ];
        for (answers, credentials, words) in table {
            let (outcome, _, _) = asked(answers, &address("10.0.0.1:443"), credentials).await;
            let error = outcome.unwrap_err();
            assert!(error.contains(words), "{}: {error}", answers.escape_ascii());
        }
    }

    #[test]
    fn the_proxys_reasons_are_those_of_a_direct_connection() {
        let table = [
            (1, Unreached::Other),
            (2, Unreached::Other),
            (3, Unreached::Unreachable),
            (4, Unreached::Unreachable),
            (5, Unreached::Refused),
            (6, Unreached::TimedOut),
            (9, Unreached::Other),
        ];
        for (code, expected) in table {
            assert_eq!(unreached(code).why(), expected, "{code}");
        }
    }
}
