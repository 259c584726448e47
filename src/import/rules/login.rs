//! Logins that `sshd` refuses: here they log in, and may forward nothing.

use super::{Denial, Maker};
use crate::import::regions::{Region, listed, regions, unlisted, without};
use crate::import::sshd::{Directive, Scope, flag};
use crate::import::who::Who;

impl Maker<'_> {
    /// `allowed_user` of OpenSSH's `auth.c`, and what decides there which login is possible.
    pub(super) fn logins(&mut self) {
        self.denied_users();
        self.allowed_users();
        self.groups();
        self.root();
        let on = |line: &Directive| flag(line.first()) == Ok(true);
        self.login("RefuseConnection", &Who::everyone(), ("refuse-connection", false), on);
        let off = |line: &Directive| flag(line.first()) == Ok(false);
        let keys = Who::methods(&["publickey", "certificate"]);
        self.login("PubkeyAuthentication", &keys, ("pubkey-authentication", false), off);
        let several = |line: &Directive| !line.arguments.iter().any(|one| is_one_key(one));
        self.login(
            "AuthenticationMethods",
            &Who::everyone(),
            ("authentication-methods", true),
            several,
        );
        for line in self.sshd.all("AuthenticationMethods").filter(|line| several(line)) {
            self.notes.unsaid(
                &line.place,
                "AuthenticationMethods",
                "a login has one method, so those whom this concerns are denied everything: see the rule `authentication-methods`, and remove it if a key alone is enough",
            );
        }
        self.other_files();
    }

    /// Denies everything to those of `who` for whom the value forbids it.
    fn login(
        &mut self,
        keyword: &'static str,
        who: &Who,
        (name, stricter): (&'static str, bool),
        forbids: impl Fn(&Directive) -> bool,
    ) {
        for mut region in regions(self.sshd, &self.around, keyword, false, forbids) {
            for part in &mut region.parts {
                *part = part.and(who);
            }
            self.deny(&region, &login(name, stricter));
        }
    }

    /// Every line in a Match block that holds counts, together with the others; those outside count if there is none.
    fn denied_users(&mut self) {
        for (line, among) in self.lists("DenyUsers") {
            let entries: Vec<_> = line.arguments.iter().collect();
            let parts = listed(&entries, self.around.use_dns);
            self.never_a_user(&line);
            self.deny(&self.list(&line, &parts, &among), &login("deny-users", false));
        }
    }

    fn allowed_users(&mut self) {
        let lines = self.lists("AllowUsers");
        let mut done = Vec::new();
        for (line, among) in &lines {
            self.never_a_user(line);
            if done.contains(&line.scope) {
                continue;
            }
            done.push(line.scope);
            let same = lines.iter().filter(|(other, _)| other.scope == line.scope);
            let entries: Vec<_> = same.flat_map(|(line, _)| &line.arguments).collect();
            let parts = unlisted(&entries, self.around.use_dns);
            self.deny(&self.list(line, &parts, among), &login("allow-users", false));
        }
        self.lists_together("AllowUsers", &lines);
    }

    fn groups(&mut self) {
        for (line, among) in self.lists("DenyGroups") {
            let parts = [Who::groups(line.arguments.clone(), Vec::new())];
            self.deny(&self.list(&line, &parts, &among), &login("deny-groups", false));
        }
        let lines = self.lists("AllowGroups");
        let mut done = Vec::new();
        for (line, among) in &lines {
            if done.contains(&line.scope) {
                continue;
            }
            done.push(line.scope);
            let same = lines.iter().filter(|(other, _)| other.scope == line.scope);
            let all = same.flat_map(|(line, _)| line.arguments.clone()).collect();
            let parts = [Who::groups(Vec::new(), all)];
            self.deny(&self.list(line, &parts, among), &login("allow-groups", false));
        }
        self.lists_together("AllowGroups", &lines);
    }

    /// The lines of a list, each with those among whom it counts.
    fn lists(&self, keyword: &'static str) -> Vec<(Directive, Vec<Who>)> {
        let scoped: Vec<_> = self.sshd.scoped(keyword).collect();
        let exact = |(scope, _): &&(&Scope, &Directive)| Who::is_exact(scope, &self.around);
        let known: Vec<_> = scoped
            .iter()
            .filter(exact)
            .filter_map(|(scope, _)| Who::of(scope, &self.around))
            .collect();
        let within = scoped
            .iter()
            .filter_map(|(scope, line)| Some(((*line).clone(), vec![Who::of(scope, &self.around)?])));
        let (others, _) = without(Who::everyone(), &known);
        let outside = self.sshd.all(keyword).filter(|line| line.scope.is_none());
        within
            .chain(outside.map(|line| (line.clone(), others.clone())))
            .collect()
    }

    fn list(&self, line: &Directive, parts: &[Who], among: &[Who]) -> Region {
        let scope = line.scope.and_then(|scope| self.sshd.scopes.get(scope));
        Region {
            parts: among
                .iter()
                .flat_map(|who| parts.iter().map(move |part| who.and(part)))
                .collect(),
            place: line.place.clone(),
            text: line.text(),
            scope: scope.map(Scope::text),
            wider: scope.and_then(|scope| super::super::regions::open(scope, &self.around)),
        }
    }

    /// Where several blocks hold, OpenSSH takes their lists together; each has a rule of its own here.
    fn lists_together(&mut self, keyword: &'static str, lines: &[(Directive, Vec<Who>)]) {
        let mut scopes: Vec<_> = lines.iter().filter_map(|(line, _)| line.scope).collect();
        scopes.dedup();
        if let (true, Some((line, _))) = (scopes.len() > 1, lines.first()) {
            let words = "where several Match blocks hold that have this, a user must be in each of the lists, and not only in one of them";
            self.notes.stricter(&line.place, keyword, words);
            let place = line.place.line;
            let name = if keyword == "AllowUsers" {
                "allow-users-"
            } else {
                "allow-groups-"
            };
            let among = self
                .made
                .iter_mut()
                .filter(|rule| rule.name.starts_with(name) && place > 0);
            among.for_each(|rule| rule.stricter = true);
        }
    }

    fn never_a_user(&mut self, line: &Directive) {
        for entry in line.arguments.iter().filter(|entry| entry.starts_with('!')) {
            let words = format!("`{entry}` names no user, to sshd either: it knows no exceptions here");
            self.notes.unsaid(&line.place, line.keyword.name, words);
        }
    }

    fn root(&mut self) {
        let root = Who::users(vec!["root".to_owned()], Vec::new());
        let forbidden = |line: &Directive| {
            let value = line.first().to_ascii_lowercase();
            value == "no" || value == "forced-commands-only"
        };
        self.login("PermitRootLogin", &root, ("permit-root-login", false), forbidden);
        let forced = |line: &&Directive| line.first().eq_ignore_ascii_case("forced-commands-only");
        for line in self.sshd.all("PermitRootLogin").filter(forced) {
            let words = "no command is ever run, so root is denied everything";
            self.notes.stricter(&line.place, "PermitRootLogin", words);
        }
    }

    /// Where a Match block has other files of keys, the ones that are configured for all would let in whom it does not.
    fn other_files(&mut self) {
        for (keyword, name) in FILES {
            let global = self.sshd.global(keyword).map(|line| line.arguments.clone());
            let unset = |line: &Directive| line.first().eq_ignore_ascii_case("none");
            if keyword == "TrustedUserCAKeys" && self.sshd.global(keyword).is_none_or(unset) {
                // No authority is trusted at all, so there is nothing to deny.
                continue;
            }
            let other = |line: &Directive| line.scope.is_some() && Some(&line.arguments) != global.as_ref();
            let who = match keyword {
                "TrustedUserCAKeys" => Who::methods(&["certificate"]),
                _ => Who::everyone(),
            };
            self.login(keyword, &who, (name, true), other);
        }
    }
}

/// Whether a list of methods is a login with a key alone.
fn is_one_key(list: &str) -> bool {
    list.eq_ignore_ascii_case("any") || list.eq_ignore_ascii_case("publickey")
}

fn login(name: &'static str, stricter: bool) -> Denial {
    Denial {
        name,
        tell_user: "this login may not forward anything",
        stricter,
        ..Denial::default()
    }
}

/// Keywords that name where keys come from.
const FILES: [(&str, &str); 5] = [
    ("AuthorizedKeysFile", "authorized-keys-file"),
    ("AuthorizedPrincipalsCommand", "authorized-principals-command"),
    ("AuthorizedPrincipalsFile", "authorized-principals-file"),
    ("RevokedKeys", "revoked-keys"),
    ("TrustedUserCAKeys", "trusted-user-ca-keys"),
];
