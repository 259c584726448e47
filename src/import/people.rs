//! Whose groups are known: portreeve has them in `[[user]]`, and `sshd` from the system.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;

use nix::unistd::{Gid, Group, User, getgrouplist};

use super::sshd::{Criterion, Sshd, text_of};

/// Users by name, with their groups; none if these are not known.
pub(crate) type People = BTreeMap<String, Option<Vec<String>>>;

/// Where groups are looked up.
#[derive(Debug)]
pub(crate) enum Directory {
    /// On this machine.
    System,
    /// In a file as group(5): each group with its members.
    File(BTreeMap<String, Vec<String>>),
}

impl Directory {
    /// Reads a file as `/etc/group`.
    ///
    /// # Errors
    /// If it cannot be read, or has a line that is none of such a file: a sentence.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = text_of(path)?;
        let mut groups = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<_> = line.split(':').collect();
            let [name, _, _, members] = fields.as_slice() else {
                return Err(format!(
                    "line {number} is no line of group(5): expected name:password:number:members"
                ));
            };
            let members = members.split(',').map(str::trim).filter(|one| !one.is_empty());
            groups.insert((*name).to_owned(), members.map(str::to_owned).collect());
        }
        Ok(Self::File(groups))
    }

    /// The groups of a user; `None` if nothing is known of them.
    pub(crate) fn groups_of(&self, user: &str) -> Option<Vec<String>> {
        match self {
            Self::System => system_groups(user),
            Self::File(groups) => {
                let member =
                    |(name, members): &(&String, &Vec<String>)| *name == user || members.iter().any(|one| one == user);
                let found: Vec<_> = groups.iter().filter(member).map(|(name, _)| name.clone()).collect();
                (!found.is_empty()).then_some(found)
            }
        }
    }

    fn members(&self, group: &str) -> Vec<String> {
        match self {
            Self::System => Group::from_name(group)
                .ok()
                .flatten()
                .map(|group| group.mem)
                .unwrap_or_default(),
            Self::File(groups) => groups.get(group).cloned().unwrap_or_default(),
        }
    }
}

fn system_groups(user: &str) -> Option<Vec<String>> {
    let account = User::from_name(user).ok().flatten()?;
    let name = CString::new(user).ok()?;
    let ids = getgrouplist(&name, account.gid).ok()?;
    let name_of = |id: Gid| Group::from_gid(id).ok().flatten().map(|group| group.name);
    let names: Vec<_> = ids.into_iter().filter_map(name_of).collect();
    (!names.is_empty()).then_some(names)
}

/// The users that the configuration and the key files name, and the members of groups that it names.
pub(crate) fn people(sshd: &Sshd, others: &[String], directory: &Directory) -> People {
    let exact = |pattern: &str| !pattern.contains(['*', '?', '!']) && !pattern.is_empty();
    let mut users: Vec<String> = others.to_vec();
    for group in groups(sshd).iter().filter(|group| exact(group)) {
        users.extend(directory.members(group));
    }
    users.extend(named_users(sshd).into_iter().filter(|name| exact(name)));
    users.sort_unstable();
    users.dedup();
    users
        .into_iter()
        .map(|user| (user.clone(), directory.groups_of(&user)))
        .collect()
}

/// Every pattern on users, exceptions included.
pub(crate) fn named_users(sshd: &Sshd) -> Vec<String> {
    let lists = sshd.all("AllowUsers").chain(sshd.all("DenyUsers"));
    let lists = lists
        .flat_map(|line| &line.arguments)
        .map(|one| one.rsplit_once('@').map_or(one.as_str(), |(user, _)| user));
    let mut found: Vec<String> = lists.map(str::to_owned).collect();
    for criterion in sshd.scopes.iter().flat_map(|scope| &scope.criteria) {
        if let Criterion::User(patterns) = criterion {
            found.extend(patterns.any.iter().chain(&patterns.none).cloned());
        }
    }
    found
}

/// Every pattern on groups, exceptions included.
pub(crate) fn groups(sshd: &Sshd) -> Vec<String> {
    let lists = sshd.all("AllowGroups").chain(sshd.all("DenyGroups"));
    let mut found: Vec<String> = lists.flat_map(|line| line.arguments.clone()).collect();
    for criterion in sshd.scopes.iter().flat_map(|scope| &scope.criteria) {
        if let Criterion::Group(patterns) = criterion {
            found.extend(patterns.any.iter().chain(&patterns.none).cloned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_from_a_file_as_group_5() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("group");
        std::fs::write(&path, "# all\nroot:x:0:\ndba:x:1001:alice, bob\nalice:x:1002:\n").expect("written");
        let directory = Directory::read(&path).expect("read");
        assert_eq!(
            directory.groups_of("alice"),
            Some(vec!["alice".to_owned(), "dba".to_owned()])
        );
        assert_eq!(directory.groups_of("bob"), Some(vec!["dba".to_owned()]));
        assert_eq!(directory.groups_of("carol"), None);
        std::fs::write(&path, "dba:x\n").expect("written");
        assert!(Directory::read(&path).expect_err("no group").contains("line 1"));
    }
}
