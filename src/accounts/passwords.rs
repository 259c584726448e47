//! Checks passwords, in the same time for every user name.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier};

use crate::config::{Secret, User};

/// The hashes of all users who have one.
#[derive(Default)]
pub(super) struct Passwords {
    of: HashMap<String, Secret>,
    /// The same, in the order of the configuration: one of them is computed for a name that has none.
    all: Vec<Secret>,
    /// Chooses among them, always the same for a name, so that nothing is learned from a second try.
    choice: RandomState,
}

impl Passwords {
    /// The hashes of these users, and those that cannot be computed: whose, and why.
    pub(super) fn new(users: &[User]) -> (Self, Vec<(String, &'static str)>) {
        let (mut passwords, mut faults) = (Self::default(), Vec::new());
        for user in users {
            let Some(hash) = &user.password_hash else { continue };
            if let Err(words) = check(hash) {
                faults.push((user.name.clone(), words));
            }
            passwords.of.insert(user.name.clone(), hash.clone());
            passwords.all.push(hash.clone());
        }
        (passwords, faults)
    }

    pub(super) fn are_none(&self) -> bool {
        self.of.is_empty()
    }

    pub(super) fn has(&self, user: &str) -> bool {
        self.of.contains_key(user)
    }

    /// Is this hash still the one of this user?
    pub(super) fn is(&self, user: &str, hash: &Secret) -> bool {
        self.of.get(user) == Some(hash)
    }

    /// The hash of this user, where the password is right.
    ///
    /// A user without one costs what one of the others costs: the time of an answer does not tell who exists, whatever the
    /// hashes are set to.
    pub(super) fn check(&self, user: &str, password: &str) -> Option<Secret> {
        let own = self.of.get(user);
        let computed = own.or_else(|| self.stand_in(user))?;
        let hash = PasswordHash::new(computed.expose()).ok()?;
        let right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        own.filter(|_| right).cloned()
    }

    fn stand_in(&self, user: &str) -> Option<&Secret> {
        let count = u64::try_from(self.all.len()).ok()?;
        let chosen = self.choice.hash_one(user).checked_rem(count)?;
        self.all.get(usize::try_from(chosen).ok()?)
    }
}

/// What cannot be computed would let nobody in, and say so at once.
fn check(hash: &Secret) -> Result<(), &'static str> {
    let parsed = PasswordHash::new(hash.expose())
        .map_err(|_| "the password hash is not a PHC string: make one with `portreeve hash-password`")?;
    let usable = Params::try_from(&parsed).is_ok() && parsed.salt.is_some() && parsed.hash.is_some();
    match usable {
        true => Ok(()),
        false => Err(
            "the password hash lacks its salt or hash, or its parameters are out of range: make one with `portreeve hash-password`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use argon2::password_hash::{PasswordHasher, SaltString};
    use argon2::{Algorithm, Version};

    use super::*;

    fn hash(password: &str, memory: u32) -> String {
        let params = Params::new(memory, 1, 1, None).expect("in range");
        let salt = SaltString::from_b64("c2FsdHNhbHQ").expect("a salt");
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let made = hasher.hash_password(password.as_bytes(), &salt);
        made.expect("a hash").to_string()
    }

    fn passwords(users: &[(&str, Option<&str>)]) -> (Passwords, Vec<(String, &'static str)>) {
        let lines = users.iter().map(|(name, hash)| {
            let hash = hash
                .map(|hash| format!("password-hash = {hash:?}\n"))
                .unwrap_or_default();
            format!("[[user]]\nname = {name:?}\n{hash}")
        });
        let policy = "[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n";
        let text = lines.collect::<String>() + policy;
        let config = crate::config::parse(&text, Path::new("test.toml")).expect("users");
        Passwords::new(&config.users)
    }

    #[test]
    fn only_the_users_own_password_lets_in() {
        let (one, other) = (hash("one", 64), hash("other", 128));
        let passwords = passwords(&[("alice", Some(&one)), ("bob", Some(&other)), ("carol", None)]).0;
        #[rustfmt::skip]
        let table = [
            ("alice",   "one",    true),
            ("alice",   "other",  false),
            ("alice",   "",       false),
            ("bob",     "other",  true),
            ("bob",     "one",    false),
            // Computed with another's hash, and refused all the same.
            ("carol",   "one",    false),
            ("carol",   "other",  false),
            ("nobody",  "one",    false),
            ("nobody",  "other",  false),
            ("",        "one",    false),
        ];
        for (user, password, right) in table {
            let found = passwords.check(user, password);
            assert_eq!(found.is_some(), right, "{user} {password}");
            assert!(found.is_none_or(|hash| passwords.is(user, &hash)), "{user} {password}");
        }
    }

    #[test]
    fn a_name_without_a_password_costs_what_some_user_costs() {
        let (cheap, dear) = (hash("a", 64), hash("b", 1024));
        let passwords = passwords(&[("alice", Some(&cheap)), ("bob", Some(&dear))]).0;
        let mut costs = std::collections::HashSet::new();
        for number in 0..200 {
            let name = format!("user{number}");
            let chosen = passwords.stand_in(&name).expect("one of two").expose();
            assert!(chosen == cheap || chosen == dear, "{chosen}");
            assert_eq!(
                passwords.stand_in(&name).map(Secret::expose),
                Some(chosen),
                "always the same"
            );
            costs.insert(chosen.to_owned());
        }
        assert_eq!(costs.len(), 2, "each cost stands for some name");
    }

    #[test]
    fn a_hash_that_cannot_be_computed_is_a_fault() {
        let good = hash("a", 64);
        let unsalted: String = good.split('$').take(4).collect::<Vec<_>>().join("$");
        for wrong in [
            unsalted.as_str(),
            "$argon2id$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$Zm9yIG5vYm9keQ",
            "$argon2id$nonsense$$",
        ] {
            let (_, faults) = passwords(&[("alice", Some(&good)), ("bob", Some(wrong))]);
            let users: Vec<_> = faults.iter().map(|(user, _)| user.as_str()).collect();
            assert_eq!(users, ["bob"], "{wrong}");
        }
    }
}
