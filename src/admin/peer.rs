//! Admits users to the control socket by their peer credentials from the kernel (unix(7), SO_PEERCRED).

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use serde::{Deserialize, Serialize};
use tokio::net::unix::UCred;

use super::Relatives;

/// Who is admitted: root, the gateway's own user, and the members of one group.
#[derive(Clone, Debug)]
pub(crate) struct Admins {
    own: Uid,
    group: Option<Gid>,
    /// The gateway's own process, which connects to sockets for its users.
    process: i32,
    /// Other processes that do.
    relatives: Relatives,
}

/// A peer that was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Administrator {
    pub(super) uid: u32,
    /// The name of that user, or the number where it has none.
    pub(super) name: String,
}

impl Admins {
    /// Root, the current user, and the members of `group`.
    ///
    /// # Errors
    /// A sentence, if there is no such group.
    pub(crate) fn new(group: Option<&str>) -> Result<Self, String> {
        let group = group.map(|name| match Group::from_name(name) {
            Ok(Some(found)) => Ok(found.gid),
            Ok(None) => Err(format!("group `{name}` does not exist on this machine")),
            Err(error) => Err(format!("cannot look up the group `{name}`: {error}")),
        });
        Ok(Self {
            own: Uid::effective(),
            group: group.transpose()?,
            process: i32::try_from(std::process::id()).unwrap_or(0),
            relatives: Relatives::default(),
        })
    }

    /// Processes of this gateway besides this one.
    pub(crate) fn relatives(&self) -> &Relatives {
        &self.relatives
    }

    pub(super) fn group(&self) -> Option<Gid> {
        self.group
    }

    /// The administrator behind a connection, if it is one.
    ///
    /// A connection that a process of this gateway made is none, whatever its user: it would be a forward to the control socket.
    pub(super) fn admit(&self, peer: UCred) -> Option<Administrator> {
        if self.is_a_gateway(peer) {
            return None;
        }
        let uid = Uid::from_raw(peer.uid());
        let user = User::from_uid(uid).ok().flatten();
        let is_member = || {
            self.group.is_some_and(|group| {
                Gid::from_raw(peer.gid()) == group || user.as_ref().is_some_and(|user| groups_of(user).contains(&group))
            })
        };
        let admitted = self.needs_no_name(uid) || is_member();
        admitted.then(|| Administrator {
            uid: uid.as_raw(),
            name: user.map_or_else(|| uid.to_string(), |user| user.name),
        })
    }
}

impl Admins {
    /// The same without a look-up, for when the names are not there: root and the gateway's own user.
    pub(super) fn admit_unnamed(&self, peer: UCred) -> Option<Administrator> {
        let uid = Uid::from_raw(peer.uid());
        let admitted = !self.is_a_gateway(peer) && self.needs_no_name(uid);
        admitted.then(|| Administrator {
            uid: uid.as_raw(),
            name: uid.to_string(),
        })
    }

    fn is_a_gateway(&self, peer: UCred) -> bool {
        let is_one = |process| process == self.process || self.relatives.has(process);
        peer.pid().is_some_and(is_one)
    }

    fn needs_no_name(&self, uid: Uid) -> bool {
        uid.is_root() || uid == self.own
    }
}

fn groups_of(user: &User) -> Vec<Gid> {
    let Ok(name) = CString::new(user.name.as_str()) else {
        return Vec::new();
    };
    getgrouplist(&name, user.gid).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_connection_of_the_gateway_itself_is_not_admitted() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = ours.peer_cred().unwrap();
        let admins = Admins::new(None).unwrap();
        assert_eq!(admins.admit(peer), None);
        assert_eq!(admins.admit_unnamed(peer), None);
        // The same user from another process.
        let others = Admins { process: 0, ..admins };
        others.relatives.add(std::process::id());
        assert_eq!(
            (others.admit(peer), others.admit_unnamed(peer)),
            (None, None),
            "a process of the same gateway"
        );
        let others = Admins {
            relatives: Relatives::default(),
            ..others
        };
        let unnamed = others.admit_unnamed(peer).map(|found| found.name);
        assert_eq!(unnamed, Some(Uid::effective().to_string()));
        assert_eq!(
            others.admit(peer).map(|found| found.uid),
            Some(Uid::effective().as_raw())
        );
    }

    #[tokio::test]
    async fn who_is_neither_root_nor_the_gateway_nor_in_the_group_is_not_admitted() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = ours.peer_cred().unwrap();
        let stranger = Admins {
            own: Uid::from_raw(peer.uid() + 1),
            group: None,
            process: 0,
            relatives: Relatives::default(),
        };
        // Root is admitted in any case.
        assert_eq!(stranger.admit(peer).is_some(), peer.uid() == 0);
        let member = Admins {
            group: Some(Gid::from_raw(peer.gid())),
            ..stranger
        };
        assert!(member.admit(peer).is_some());
    }

    #[test]
    fn a_group_that_is_not_there_is_named() {
        let error = Admins::new(Some("no-such-group-here")).unwrap_err();
        assert_eq!(error, "group `no-such-group-here` does not exist on this machine");
    }
}
