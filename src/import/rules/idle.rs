//! `ChannelTimeout`: after which time without traffic a tunnel ends.

use crate::auth::matches;
use crate::import::note::Notes;
use crate::import::sshd::{Sshd, seconds};

/// `ChannelTimeout`, in seconds, by kind of channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) connect: Option<u64>,
    pub(super) connect_socket: Option<u64>,
    pub(super) forwarded: Option<u64>,
    pub(super) forwarded_socket: Option<u64>,
}

impl Idle {
    /// The shortest times of all lines; a note where they differ between users.
    pub(super) fn of(sshd: &Sshd, notes: &mut Notes) -> Self {
        let mut all = Vec::new();
        for line in sshd.all("ChannelTimeout") {
            if line.scope.is_some() {
                let words = "the shortest time of all lines holds for everyone";
                notes.stricter(&line.place, "ChannelTimeout", words);
            }
            for entry in &line.arguments {
                match entry
                    .split_once('=')
                    .and_then(|(kind, time)| Some((kind, seconds(time).ok()?)))
                {
                    Some(("global", _)) => {
                        let words = "the time without traffic of a whole connection: see `limits.idle-timeout`, which is that of a tunnel";
                        notes.unsaid(&line.place, "ChannelTimeout", words);
                    }
                    Some((kind, time)) => all.push((kind.to_owned(), time, line.scope)),
                    None if entry.eq_ignore_ascii_case("none") => {}
                    None => notes.unsaid(
                        &line.place,
                        "ChannelTimeout",
                        format!("`{entry}` is no type=time with whole seconds"),
                    ),
                }
            }
        }
        let shortest = |channel: &str| {
            let mut scopes: Vec<_> = all.iter().map(|(_, _, scope)| *scope).collect();
            scopes.dedup();
            let first = |scope: &Option<usize>| {
                let of = all.iter().find(|(kind, _, of)| of == scope && matches(kind, channel));
                of.map(|(_, time, _)| *time).filter(|time| *time > 0)
            };
            scopes.iter().filter_map(first).min()
        };
        Self {
            connect: shortest("direct-tcpip"),
            connect_socket: shortest("direct-streamlocal@openssh.com"),
            forwarded: shortest("forwarded-tcpip"),
            forwarded_socket: shortest("forwarded-streamlocal@openssh.com"),
        }
    }

    /// The time, if it is the same for all kinds: then it is a limit of the gateway.
    pub(super) fn of_all(&self) -> Option<u64> {
        let same = [self.connect_socket, self.forwarded, self.forwarded_socket];
        self.connect.filter(|_| same.iter().all(|other| *other == self.connect))
    }

    /// The time of one kind, if it is not that of all.
    pub(super) fn each(&self, seconds: Option<u64>) -> Option<u64> {
        if self.of_all().is_some() { None } else { seconds }
    }
}
