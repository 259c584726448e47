//! The one question to ssh-agent that signing needs (draft-miller-ssh-agent).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::envelope::put_string;
use crate::auth::Fields;

/// Asks the agent at `SSH_AUTH_SOCK` to sign `data` with the key `blob`; none where there is no agent.
///
/// # Errors
/// If the agent cannot be talked to, or does not sign with this key.
#[expect(
    clippy::disallowed_methods,
    reason = "a tool of authors talks to their agent; no gateway runs"
)]
pub(super) fn sign(blob: &[u8], data: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Some(path) = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let mut agent = UnixStream::connect(path)?;
    // Long enough to confirm or to touch a security key.
    agent.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut question = vec![SIGN_REQUEST];
    put_string(&mut question, blob);
    put_string(&mut question, data);
    question.extend(RSA_SHA2_512.to_be_bytes());
    let mut message = Vec::new();
    put_string(&mut message, &question);
    agent.write_all(&message)?;
    let mut length = [0; 4];
    agent.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_ANSWER {
        return Err(io::Error::other("its answer is too long"));
    }
    let mut answer = vec![0; length as usize];
    agent.read_exact(&mut answer)?;
    match answer.split_first() {
        Some((&SIGN_RESPONSE, rest)) => {
            let signature = Fields::new(rest).string();
            let signature = signature.map_err(|_| io::Error::other("its answer is truncated"))?;
            Ok(Some(signature.to_vec()))
        }
        _ => Err(io::Error::other(
            "it does not sign with this key (`ssh-add -l` lists those it has)",
        )),
    }
}

const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Without it an RSA key would sign with SHA-1.
const RSA_SHA2_512: u32 = 4;
const MAX_ANSWER: u32 = 256 << 10;
