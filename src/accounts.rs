//! The users of this gateway: whom a key, a certificate or a password belongs to, and with which limits.

mod authorities;
mod lines;
mod passwords;
mod refused;
mod standing;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use self::lines::KeyFiles;
use self::passwords::Passwords;
use crate::auth::{
    ForwardLimits, KeyBlob, KeyLine, Permitted, Presented, Refusal, Revocations, RevokedKeys, Visitor,
    admit_certificate, admit_key,
};
use crate::config::{Config, Fault, Secret};
use crate::request::{Credential, Fact, Principal};
use crate::shares::Shares;

pub(crate) use refused::{NotIn, Refused};
pub(crate) use standing::{Recheck, Rights, Standing};

/// The users who may log in, as configured.
#[derive(Clone)]
pub struct Accounts {
    users: Arc<HashMap<String, Account>>,
    /// One of their lines is an authority.
    some_trust: bool,
    key_files: KeyFiles,
    authority_files: Vec<PathBuf>,
    /// Their lines: authorities for every user.
    authorities: Vec<KeyLine>,
    revoked: Option<Arc<Revocations>>,
    passwords: Arc<Passwords>,
    /// The threads on which files are read.
    threads: Arc<Shares>,
    /// Others that must let a user in, too.
    also: Option<Arc<Accounts>>,
}

#[derive(Clone, Default)]
struct Account {
    groups: Vec<String>,
    claims: Vec<(String, Fact)>,
    keys: Vec<KeyLine>,
}

/// A user who proved who they are. Only [`Accounts::judge`] makes one.
#[derive(Clone)]
pub struct Admitted {
    principal: Principal,
    /// What may be forwarded, before any policy is asked.
    limits: ForwardLimits,
    /// From when on the key or certificate is void.
    until: Option<Timestamp>,
    /// By what, so that it can be asked again whether that still lets them in.
    proof: Proof,
}

impl Admitted {
    /// Who.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// What a user proved to have.
#[derive(Clone)]
pub enum Proof {
    /// This key.
    Key(KeyBlob),
    /// This certificate and its key.
    Certificate(Box<Presented>),
    /// The password of this hash.
    Password(Secret),
}

impl Accounts {
    /// Reads the keys that the configuration names. User key files are read at each login.
    ///
    /// # Errors
    /// Every inline key, CA file and revocation file that cannot be used, with its place.
    pub fn new(config: &Config, file: &Path) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut users = HashMap::new();
        let mut some_trust = false;
        for user in &config.users {
            let keys = lines::configured(user, file, &mut faults);
            some_trust |= keys.iter().any(|line| line.options.cert_authority);
            let account = Account {
                groups: user.groups.clone(),
                claims: user.claims.clone(),
                keys,
            };
            users.insert(user.name.clone(), account);
        }
        let (passwords, wrong) = Passwords::new(&config.users);
        let fault = |(user, words)| Fault::of_key(file, "user.password-hash", format!("{user}: {words}"));
        faults.extend(wrong.into_iter().map(fault));
        let authorities = authorities::read_all(&config.auth.trusted_user_ca_keys);
        let authorities = authorities
            .map_err(|words| {
                let fault = |words| Fault::of_key(file, "auth.trusted-user-ca-keys", words);
                faults.extend(words.into_iter().map(fault));
            })
            .unwrap_or_default();
        if let Some(path) = &config.auth.revoked_keys
            && let Err(error) = RevokedKeys::read(path)
        {
            faults.push(Fault::of_key(file, "auth.revoked-keys", error));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            users: Arc::new(users),
            some_trust,
            key_files: KeyFiles::new(&config.auth),
            authority_files: config.auth.trusted_user_ca_keys.clone(),
            authorities,
            revoked: config.auth.revoked_keys.as_deref().map(Revocations::at).map(Arc::new),
            passwords: Arc::new(passwords),
            threads: Shares::new(THREADS, WEIGHT),
            also: None,
        })
    }

    /// These accounts as far as `others` let the same credential in, too, with what both permit.
    #[must_use]
    pub fn narrowed_by(&self, others: &Arc<Self>) -> Self {
        Self {
            also: Some(Arc::clone(others)),
            ..self.clone()
        }
    }

    /// The same accounts with the keys that the files of authorities have now.
    ///
    /// # Errors
    /// Why a file cannot be used.
    pub fn with_authorities_again(&self) -> Result<Self, Vec<String>> {
        let also = self.also.as_ref().map(|also| also.with_authorities_again());
        Ok(Self {
            authorities: authorities::read_all(&self.authority_files)?,
            also: also.transpose()?.map(Arc::new),
            ..self.clone()
        })
    }

    /// The files of authorities, which are read when the configuration is.
    #[must_use]
    pub fn authority_files(&self) -> &[PathBuf] {
        &self.authority_files
    }

    /// The file of revoked keys, which is read at each login.
    #[must_use]
    pub fn revocation_file(&self) -> Option<&Path> {
        self.revoked.as_deref().map(Revocations::path)
    }

    /// The key files of a user, which are read at each login.
    #[must_use]
    pub fn key_files_of(&self, user: &str) -> Vec<PathBuf> {
        self.key_files.of(user)
    }

    /// Whether the user is configured.
    #[must_use]
    pub fn knows(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether a login reads files: those of users' keys, and the list of what is revoked.
    #[must_use]
    pub fn read_files(&self) -> bool {
        let others = self.also.as_ref().is_some_and(|also| also.read_files());
        !self.key_files.are_none() || self.revoked.is_some() || others
    }

    /// Asks about a user: at once where only the configuration has to be asked, which saves two changes of threads at every
    /// login, and otherwise where reading files holds up nobody. Users share the threads for that fairly, and a thread is
    /// given back when the files were read, and not when nobody waits for them any more: a file server that hangs holds up
    /// the users whose files it has.
    ///
    /// # Errors
    /// If asking failed, which no user is to blame for.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        user: &str,
        ask: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, String> {
        if !self.read_files() {
            return Ok(ask(self));
        }
        let thread = self.threads.take(user).await;
        let accounts = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let _thread = thread;
            ask(&accounts)
        });
        asked.await.map_err(|error| error.to_string())
    }

    /// Whether any user has a password.
    #[must_use]
    pub fn have_passwords(&self) -> bool {
        !self.passwords.are_none()
    }

    /// The limits of every key that is listed for a user, with its fingerprint: for `explain`.
    #[must_use]
    pub fn keys_of(&self, user: &str) -> Vec<(String, ForwardLimits)> {
        let (lines, _) = self.lines_of(user);
        lines
            .iter()
            .filter(|line| !line.options.cert_authority)
            .map(|line| (line.key.fingerprint(), line.options.limits()))
            .collect()
    }

    /// The user as configured, with additional groups.
    #[must_use]
    pub fn principal(&self, user: &str, credential: Credential) -> Principal {
        let account = self.users.get(user);
        Principal {
            user: user.to_owned(),
            groups: account.map(|account| account.groups.clone()).unwrap_or_default(),
            credential,
            claims: account.map(|account| account.claims.clone()).unwrap_or_default(),
        }
    }

    /// Whether some user could log in with a certificate: by an authority that all trust, or by a line of theirs. What the
    /// files of users say is not looked at, so that the answer says nothing of any user.
    #[must_use]
    pub fn take_certificates(&self) -> bool {
        !self.authorities.is_empty() || !self.key_files.are_none() || self.some_trust
    }

    /// Whether there is any credential with which this user could log in. Where [`Accounts::read_files`], call it where
    /// blocking is fine.
    #[must_use]
    pub fn have_a_way_in(&self, user: &str) -> bool {
        !self.authorities.is_empty() || self.passwords.has(user) || !self.lines_of(user).0.is_empty()
    }

    /// What a password proves. Hashing takes long: call it where blocking is fine.
    ///
    /// # Errors
    /// If the password is wrong or the user has none.
    pub fn check_password(&self, user: &str, password: &str) -> Result<Proof, NotIn> {
        can_be_a_user(user)?;
        let matched = self.passwords.check(user, password);
        matched
            .map(Proof::Password)
            .ok_or_else(|| Refused::WrongPassword.into())
    }

    /// May this user log in with this, from there and now, and as whom? The one place where that is decided: for a login,
    /// and again for what was proved earlier. A password is known by its hash only, so another hash is another password.
    /// Where [`Accounts::read_files`], call it where blocking is fine.
    ///
    /// # Errors
    /// Why not, or why that cannot be found out.
    pub fn judge(&self, user: &str, proof: &Proof, client: IpAddr) -> Result<Admitted, NotIn> {
        can_be_a_user(user)?;
        let (permitted, credential) = match proof {
            Proof::Key(key) => (self.key(user, key, client)?, by("publickey", Some(key))),
            Proof::Certificate(presented) => {
                let mut credential = by("certificate", Some(&presented.key));
                credential.certificate = Some(presented.certificate.clone());
                (self.certificate(user, presented, client)?, credential)
            }
            Proof::Password(hash) if self.passwords.is(user, hash) => (Permitted::default(), by("password", None)),
            Proof::Password(_) if self.knows(user) => return Err(Refused::PasswordChanged.into()),
            Proof::Password(_) => return Err(Refused::UnknownUser.into()),
        };
        let admitted = Admitted {
            principal: self.principal(user, credential),
            limits: permitted.limits,
            until: permitted.until,
            proof: proof.clone(),
        };
        self.narrowed(admitted, client)
    }

    fn key(&self, user: &str, key: &KeyBlob, client: IpAddr) -> Result<Permitted, NotIn> {
        if self.revoked()?.is_some_and(|revoked| revoked.key(key)) {
            return Err(Refused::KeyRevoked.into());
        }
        let (lines, unread) = self.lines_of(user);
        let visitor = Visitor::now(user, client);
        admit_key(key, &lines, &visitor).map_err(|refusal| or_unsure(refusal, unread))
    }

    fn certificate(&self, user: &str, presented: &Presented, client: IpAddr) -> Result<Permitted, NotIn> {
        if self.revoked()?.is_some_and(|revoked| revoked.covers(presented)) {
            return Err(Refused::CertificateRevoked.into());
        }
        let mut unread = None;
        let lines = || {
            let (lines, missing) = self.lines_of(user);
            unread = missing;
            lines
        };
        let visitor = Visitor::now(user, client);
        let permitted = admit_certificate(presented, &self.authorities, lines, &visitor);
        permitted.map_err(|refusal| or_unsure(refusal, unread))
    }

    /// What the others also permit, if there are others.
    fn narrowed(&self, admitted: Admitted, client: IpAddr) -> Result<Admitted, NotIn> {
        let Some(also) = &self.also else {
            return Ok(admitted);
        };
        let other = also.judge(&admitted.principal.user, &admitted.proof, client);
        let other = other.map_err(|error| match error {
            NotIn::Refused(reason) => Refused::NotYet(Box::new(reason)).into(),
            unsure => unsure,
        })?;
        Ok(Admitted {
            limits: admitted.limits.intersect(&other.limits),
            until: admitted.until.into_iter().chain(other.until).min(),
            ..admitted
        })
    }

    fn revoked(&self) -> Result<Option<Arc<RevokedKeys>>, NotIn> {
        let read = self.revoked.as_ref().map(|revocations| revocations.now()).transpose();
        read.map_err(|error| NotIn::Unsure(format!("every login is refused: {error}")))
    }

    /// The inline lines of a user, then those of the files; and whether a file could not be read, for whom its lines matter.
    fn lines_of(&self, user: &str) -> (Cow<'_, [KeyLine]>, Option<NotIn>) {
        let account = self.users.get(user);
        let mut lines = Cow::Borrowed(account.map_or(&[][..], |account| account.keys.as_slice()));
        let unread = self.key_files.add_lines_of(user, &mut lines);
        (lines, unread)
    }
}

/// A line in a file that could not be read might have permitted it.
fn or_unsure(refusal: Refusal, unread: Option<NotIn>) -> NotIn {
    match (refusal.depends_on_lines(), unread) {
        (true, Some(unsure)) => unsure,
        _ => NotIn::Refused(refusal.into()),
    }
}

/// What is longer is no name of a user, and is neither looked up nor part of any path.
fn can_be_a_user(name: &str) -> Result<(), Refused> {
    match name.len() {
        0..=MOST_NAME => Ok(()),
        bytes => Err(Refused::Name { bytes }),
    }
}

fn by(method: &str, key: Option<&KeyBlob>) -> Credential {
    Credential {
        method: method.to_owned(),
        fingerprint: key.map(KeyBlob::fingerprint),
        certificate: None,
    }
}

/// As long as the name of a file can be (`NAME_MAX`).
pub(crate) const MOST_NAME: usize = 255;

/// A fault repeats what it found, which may be anything.
const MAX_FAULT: usize = 400;
/// Questions that read files, at once.
const THREADS: usize = 64;
/// One user may have as many threads as are left free.
const WEIGHT: usize = 1;

#[cfg(test)]
mod tests;
