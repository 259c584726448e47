//! What two processes say to each other: one packet for each word, with the open files that belong to it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::Label;

/// A word.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    /// Here are the sockets, and the processes that served on them before.
    Take {
        /// What the files of this packet are, in their order.
        sockets: Vec<Label>,
        /// The processes, which may still serve what they have.
        processes: Vec<u32>,
    },
    /// The successor serves.
    Serving,
    /// The successor cannot serve, because of this.
    Failed(String),
    /// The predecessor accepts nothing more.
    Released,
}

/// One end of the way between two processes.
#[derive(Debug)]
pub(super) struct End(OwnedFd);

impl End {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), other))
    }

    pub(super) fn of(end: OwnedFd) -> Self {
        Self(end)
    }

    /// Sends a word without waiting.
    pub(super) fn say<F: AsFd>(&self, word: &Word, files: &[F]) -> io::Result<()> {
        if files.len() > MOST_FILES {
            return Err(io::Error::other(format!(
                "there are more than {MOST_FILES} listening sockets"
            )));
        }
        let text = serde_json::to_vec(word)?;
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::Error::other("the sockets do not fit into one message"));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, flags)?;
        Ok(())
    }

    /// Waits for a word, with its files; none where the other end is gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if nothing came.
    pub(super) fn hear(&self, patience: Option<Duration>) -> io::Result<Option<(Word, Vec<OwnedFd>)>> {
        let limit = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut asked = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        match poll(&mut asked, limit.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut text = vec![0; MOST_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let heard = recvmsg(&self.0, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
        if heard.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::other(
                "a message between two versions of this program was cut",
            ));
        }
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        match text.get(..heard.bytes).filter(|text| !text.is_empty()) {
            Some(text) => Ok(Some((serde_json::from_slice(text)?, files))),
            None => Ok(None),
        }
    }
}

/// What the system takes in one message (SCM_MAX_FD).
const MOST_FILES: usize = 253;
const MOST_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_that_was_passed_accepts_what_connects_to_it() {
        let (one, other) = End::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let word = Word::Take {
            sockets: vec![Label::Ssh { asked: address }],
            processes: vec![1],
        };
        one.say(&word, &[&listener]).unwrap();
        drop(listener);
        let (heard, mut files) = End::of(other).hear(None).unwrap().unwrap();
        assert_eq!(heard, word);
        let passed = TcpListener::from(files.pop().unwrap());
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(passed.accept().unwrap().1, client.local_addr().unwrap());
        assert!(files.is_empty());
    }

    #[test]
    fn an_end_that_is_gone_is_told_from_one_that_is_silent() {
        let (one, other) = End::pair().unwrap();
        let silent = one.hear(Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        drop(other);
        assert!(one.hear(None).unwrap().is_none());
        assert!(one.say::<OwnedFd>(&Word::Serving, &[]).is_err());
    }
}
