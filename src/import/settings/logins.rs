//! `[auth]` and `[[user]]`: where keys come from, and the groups of users.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{DAY, From, Page, absolute, duration, expect_file, is_on, list, quoted};
use crate::auth::{authorized_keys_path, parse_line};
use crate::import::note::{Notes, Place, Wrong};
use crate::import::sshd::{Directive, Sshd, seconds, text_of};

/// Writes `[auth]`; returns the files beside the configuration.
pub(super) fn auth(from: &From<'_>, notes: &mut Notes, page: &mut Page) -> Result<Vec<(PathBuf, String)>, Wrong> {
    let sshd = from.sshd;
    page.section("auth");
    let mut copies: BTreeMap<String, String> = BTreeMap::new();
    for file in from.keys.iter().filter(|file| !file.in_place) {
        let text = copies.entry(file.user.clone()).or_default();
        text.push_str(&format!("# {}\n{}\n", file.path.display(), file.text.trim_end()));
    }
    authorities(from, notes, page, &mut copies);
    key_files(sshd, notes, page, !copies.is_empty());
    let mut files: Vec<_> = copies
        .into_iter()
        .map(|(user, text)| (Path::new("keys").join(user), text))
        .collect();
    files.extend(revoked(sshd, notes, page)?);
    if let Some(line) = sshd.global("StrictModes") {
        page.from(line, "strict-modes", &is_on(sshd, "StrictModes", true).to_string());
    }
    attempts(sshd, notes, page);
    passwords(sshd, notes);
    Ok(files)
}

fn key_files(sshd: &Sshd, notes: &mut Notes, page: &mut Page, copies: bool) {
    let line = sshd.global("AuthorizedKeysFile");
    let mut patterns: Vec<String> = if copies { vec!["keys/%u".to_owned()] } else { Vec::new() };
    let named = patterns_of(sshd);
    for pattern in &named {
        let bare = pattern.replace("%%", "").replace("%u", "").replace("%h", "");
        match bare.contains('%') {
            false => patterns.push(pattern.clone()),
            true => {
                let words = format!("`{pattern}`: only %u, %h and %% are possible in `auth.authorized-keys`");
                notes.stricter(
                    &line.map_or_else(|| sshd.default_place(), |line| line.place.clone()),
                    "AuthorizedKeysFile",
                    words,
                );
            }
        }
    }
    match line {
        Some(line) => page.source(line),
        None => page.comment("sshd's default: .ssh/authorized_keys and .ssh/authorized_keys2 in the home folder"),
    }
    if !is_on(sshd, "PubkeyAuthentication", true) {
        page.comment("PubkeyAuthentication no: no file of keys is read");
        patterns.clear();
    }
    page.key("authorized-keys", &list(&patterns));
    if let Some(line) = sshd.global("AuthorizedKeysCommand").filter(|line| is_set(line)) {
        let words =
            "no command is asked for keys: write them to a file that `auth.authorized-keys` names, or into `[[user]]`";
        notes.stricter(&line.place, "AuthorizedKeysCommand", words);
    }
}

/// The patterns of `AuthorizedKeysFile` as portreeve has them: relative ones are below the home folder.
pub(crate) fn patterns_of(sshd: &Sshd) -> Vec<String> {
    let named = match sshd.global("AuthorizedKeysFile") {
        Some(line) if is_set(line) => line.arguments.clone(),
        Some(_) => Vec::new(),
        None => [".ssh/authorized_keys", ".ssh/authorized_keys2"]
            .map(str::to_owned)
            .to_vec(),
    };
    let below_home = |pattern: String| match pattern.starts_with('/') || pattern.starts_with("%h") {
        true => pattern,
        false => format!("%h/{pattern}"),
    };
    named.into_iter().map(below_home).collect()
}

fn is_set(line: &Directive) -> bool {
    !line.first().eq_ignore_ascii_case("none")
}

/// Authorities that all trust. With files of principals, each user trusts them by lines of their own, which say the same.
fn authorities(from: &From<'_>, notes: &mut Notes, page: &mut Page, copies: &mut BTreeMap<String, String>) {
    let sshd = from.sshd;
    for (_, line) in sshd.scoped("TrustedUserCAKeys").filter(|(_, line)| is_set(line)) {
        let words = "an authority is trusted for all or, with `cert-authority` in their file of keys, by one user";
        notes.unsaid(&line.place, "TrustedUserCAKeys", words);
    }
    let Some(line) = sshd.global("TrustedUserCAKeys").filter(|line| is_set(line)) else {
        return;
    };
    page.source(line);
    let path = absolute(line.first());
    if !is_on(sshd, "PubkeyAuthentication", true) {
        page.comment("PubkeyAuthentication no: no certificate is accepted");
        return;
    }
    if let Some(command) = sshd.global("AuthorizedPrincipalsCommand").filter(|line| is_set(line)) {
        let words = "no command is asked for principals, so no certificate of `TrustedUserCAKeys` is accepted: write \
                     `cert-authority,principals=\"…\"` lines into the users' files of keys";
        notes.stricter(&command.place, "AuthorizedPrincipalsCommand", words);
        return;
    }
    match sshd.global("AuthorizedPrincipalsFile").filter(|line| is_set(line)) {
        None => {
            expect_file(&path, line, notes);
            page.key("trusted-user-ca-keys", &list(&[path.display().to_string()]));
        }
        Some(principals) => {
            page.source(principals);
            page.comment("each user with principals trusts the authorities in keys/NAME, with these principals");
            by_principals(from, (&path, line), principals, notes, copies);
        }
    }
}

fn by_principals(
    from: &From<'_>,
    (path, authority): (&Path, &Directive),
    line: &Directive,
    notes: &mut Notes,
    copies: &mut BTreeMap<String, String>,
) {
    let pattern = line.first();
    let keys = match text_of(path) {
        Ok(keys) => keys,
        Err(words) => {
            let words = format!(
                "{}: {words}; no certificate is accepted until its keys are in the users' files of keys",
                path.display()
            );
            notes.stricter(&authority.place, "TrustedUserCAKeys", words);
            return;
        }
    };
    let keys: Vec<_> = keys
        .lines()
        .filter(|line| matches!(parse_line(line), Ok(Some(_))))
        .collect();
    let mut found = false;
    for user in users_of(pattern, from) {
        let Ok(Some(file)) = authorized_keys_path(pattern, &user) else {
            continue;
        };
        let Ok(text) = text_of(&file) else {
            continue;
        };
        found = true;
        let copy = copies.entry(user).or_default();
        trusted(&keys, (&file, &text), notes, copy);
    }
    let words = match found {
        true => {
            "the principals are those of today: they are copied to keys/NAME, and a new user needs such lines there"
        }
        false => {
            "no file of principals can be read here, so no certificate is accepted: write \
                  `cert-authority,principals=\"…\"` lines into the users' files of keys"
        }
    };
    notes.stricter(&line.place, "AuthorizedPrincipalsFile", words);
}

/// A line for each principal in a file and each authority, with the options of the principal.
fn trusted(keys: &[&str], (file, text): (&Path, &str), notes: &mut Notes, copy: &mut String) {
    let lines = (1..).zip(text.lines().map(str::trim));
    for (line, entry) in lines.filter(|(_, entry)| !entry.is_empty() && !entry.starts_with('#')) {
        let (options, principal) = match entry.rsplit_once([' ', '\t']) {
            Some((options, principal)) => (format!(",{}", options.trim()), principal),
            None => (String::new(), entry),
        };
        for key in keys {
            let trusted = format!("cert-authority,principals=\"{principal}\"{options} {key}");
            if matches!(parse_line(&trusted), Ok(Some(_))) {
                copy.push_str(&format!("# {}:{line}: {entry}\n{trusted}\n", file.display()));
                continue;
            }
            let place = Place {
                file: file.into(),
                line,
            };
            notes.stricter(
                &place,
                "AuthorizedPrincipalsFile",
                format!("`{entry}` permits nothing here"),
            );
        }
    }
}

/// Whose files a pattern may mean: known users, and those for whom its folder has a file.
fn users_of(pattern: &str, from: &From<'_>) -> Vec<String> {
    let mut users: Vec<String> = from.people.keys().cloned().collect();
    if let Some((folder, "%u")) = pattern.rsplit_once('/') {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        users.extend(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()));
    }
    users.sort_unstable();
    users.dedup();
    users
}

/// One file of revoked keys; several lists become one.
fn revoked(sshd: &Sshd, notes: &mut Notes, page: &mut Page) -> Result<Option<(PathBuf, String)>, Wrong> {
    let Some(line) = sshd.global("RevokedKeys").filter(|line| is_set(line)) else {
        return Ok(None);
    };
    page.source(line);
    if let [one] = line.arguments.as_slice() {
        let path = absolute(one);
        expect_file(&path, line, notes);
        page.key("revoked-keys", &quoted(&path.display().to_string()));
        return Ok(None);
    }
    let mut all = String::new();
    for name in &line.arguments {
        let wrong = |words: String| Wrong {
            place: line.place.clone(),
            words: format!("RevokedKeys: {name}: {words}: several files have to become one, as with `ssh-keygen -k`"),
        };
        let text = text_of(&absolute(name)).map_err(wrong)?;
        if text.starts_with("SSHKRL") {
            return Err(wrong("it is a KRL".to_owned()));
        }
        all.push_str(&format!("# {name}\n{}\n", text.trim_end()));
    }
    page.key("revoked-keys", &quoted("revoked_keys"));
    notes.stricter(
        &line.place,
        "RevokedKeys",
        "several lists are copied into one: revoke further keys in `revoked_keys`",
    );
    Ok(Some((PathBuf::from("revoked_keys"), all)))
}

fn attempts(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    let grace = sshd.global("LoginGraceTime");
    // `SSHD_DEFAULT_LOGIN_GRACE_TIME`.
    let time = grace.map_or(120, |line| seconds(line.first()).unwrap_or(120));
    match grace {
        Some(line) => page.source(line),
        None => page.comment("sshd's default"),
    }
    let longest = DAY / 24;
    if let (true, Some(line)) = (time == 0 || time > longest, grace) {
        notes.stricter(&line.place, "LoginGraceTime", "a login may take an hour at most");
    }
    let time = if time == 0 { longest } else { time.min(longest) };
    page.key("login-grace", &duration(time));
    if let Some(line) = sshd.global("MaxAuthTries") {
        let most: u32 = line.first().parse().unwrap_or(6);
        page.from(line, "max-attempts", &most.clamp(1, 100).to_string());
        if most > 100 {
            notes.stricter(&line.place, "MaxAuthTries", "100 at most");
        }
    }
}

/// `sshd` takes passwords unless told not to; portreeve has none until a hash is in `[[user]]`.
fn passwords(sshd: &Sshd, notes: &mut Notes) {
    if is_on(sshd, "PasswordAuthentication", true) {
        let line = sshd.global("PasswordAuthentication");
        let place = line.map_or_else(|| sshd.default_place(), |line| line.place.clone());
        let words = "the system's passwords are not used: who has no key needs a `password-hash` in `[[user]]` (portreeve hash-password)";
        notes.stricter(&place, "PasswordAuthentication", words);
    }
    for (_, line) in sshd.scoped("PasswordAuthentication") {
        notes.unsaid(
            &line.place,
            "PasswordAuthentication",
            "a user logs in with a password if `[[user]]` has a `password-hash`",
        );
    }
}

/// `[[user]]` with the groups that are known, if rules ask for groups.
pub(super) fn users(from: &From<'_>, notes: &mut Notes, page: &mut Page) {
    if !from.rules.uses_groups {
        return;
    }
    page.0.push_str(
        "\n# Rules ask for groups, which are those of this table, and not the system's. Whoever has no group here may forward nothing.\n",
    );
    let mut unknown = Vec::new();
    for (user, groups) in from.people {
        match groups {
            Some(groups) => page.0.push_str(&format!(
                "\n[[user]]\nname = {}\ngroups = {}\n",
                quoted(user),
                list(groups)
            )),
            None => unknown.push(user.clone()),
        }
    }
    let place = from.sshd.default_place();
    notes.stricter(
        &place,
        "Group",
        "groups are those in `[[user]]`, as they are today: a user without an entry there may forward nothing",
    );
    if !unknown.is_empty() {
        let words = format!(
            "the groups of {} are not known here: add a `[[user]]` for each, or give a copy of /etc/group with --groups",
            unknown.join(", ")
        );
        notes.stricter(&place, "Group", words);
        page.comment(&format!("not known: the groups of {}", unknown.join(", ")));
    }
}
