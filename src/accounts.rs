//! The users of this gateway: whom a key, a certificate or a password belongs to, and with which limits.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use jiff::Timestamp;
use nix::errno::Errno;

use crate::auth::{
    ForwardLimits, KeyBlob, KeyLine, PathError, ReadError, Revocations, RevokedKeys, SourceAddresses,
    authorized_keys_path, parse_line, read_keys_of,
};
use crate::config::{Config, Fault, Secret};
use crate::files::{self, MOST_TEXT};
use crate::request::{Certificate, Credential, Fact, Principal, printable};

mod standing;

pub use standing::{Answer, Rights, Standing};

/// Everybody who may log in, as configured.
#[derive(Clone)]
pub struct Accounts {
    users: HashMap<String, Account>,
    key_files: Vec<String>,
    authority_files: Vec<PathBuf>,
    authorities: Vec<KeyBlob>,
    revoked: Option<Arc<Revocations>>,
    /// Others that must let a user in, too.
    also: Option<Arc<Accounts>>,
}

#[derive(Clone, Default)]
struct Account {
    groups: Vec<String>,
    claims: Vec<(String, Fact)>,
    keys: Vec<KeyLine>,
    password: Option<Secret>,
}

/// A user who proved who they are.
#[derive(Clone)]
pub struct Admitted {
    /// Who.
    pub principal: Principal,
    /// What may be forwarded, before any policy is asked.
    pub limits: ForwardLimits,
    /// From when on the key or certificate is void.
    pub until: Option<Timestamp>,
    /// By what, so that it can be asked again whether that still lets them in.
    pub proof: Proof,
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

/// Why a user is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIn {
    /// The accounts say no.
    #[error("{0}")]
    Refused(String),
    /// The accounts cannot say: a file cannot be read. Nobody is let in, and nothing that is open is closed.
    #[error("{0}")]
    Unsure(String),
}

impl From<String> for NotIn {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

impl From<&str> for NotIn {
    fn from(reason: &str) -> Self {
        Self::Refused(reason.to_owned())
    }
}

/// A certificate whose CA signature was verified by the caller.
#[derive(Clone)]
pub struct Presented {
    /// Its fields.
    pub certificate: Certificate,
    /// The user's key in it.
    pub key: KeyBlob,
    /// The CA's key.
    pub authority: KeyBlob,
}

impl Accounts {
    /// Reads the keys that the configuration names. User key files are read at each login.
    ///
    /// # Errors
    /// Every inline key, CA file and revocation file that cannot be used, with its place.
    pub fn new(config: &Config, file: &Path) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut users = HashMap::new();
        for user in &config.users {
            let mut keys = Vec::new();
            for inline in &user.authorized_keys {
                match parse_line(&inline.text) {
                    Ok(Some(line)) => keys.push(line),
                    Ok(None) => faults.push(inline.fault(file, "it is empty: put a line of an authorized_keys file")),
                    Err(error) => faults.push(inline.fault(file, printable(&error.to_string(), MAX_FAULT))),
                }
            }
            if let Some(secret) = &user.password_hash
                && PasswordHash::new(secret.expose()).is_err()
            {
                let words = format!(
                    "the password hash of {} is no PHC string: make one with argon2(1)",
                    user.name
                );
                faults.push(Fault::of_key(file, "user.password-hash", words));
            }
            let account = Account {
                groups: user.groups.clone(),
                claims: user.claims.clone(),
                keys,
                password: user.password_hash.clone(),
            };
            users.insert(user.name.clone(), account);
        }
        let authorities = read_all_authorities(&config.auth.trusted_user_ca_keys);
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
            users,
            key_files: config.auth.authorized_keys.clone(),
            authority_files: config.auth.trusted_user_ca_keys.clone(),
            authorities,
            revoked: config.auth.revoked_keys.as_deref().map(Revocations::at).map(Arc::new),
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
            authorities: read_all_authorities(&self.authority_files)?,
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
        let paths = self.key_files.iter().map(|pattern| authorized_keys_path(pattern, user));
        paths.filter_map(|path| path.ok().flatten()).collect()
    }

    /// Whether the user is configured.
    #[must_use]
    pub fn knows(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether a login reads files: those of users' keys, and the list of what is revoked.
    #[must_use]
    pub fn read_files(&self) -> bool {
        !self.key_files.is_empty() || self.revoked.is_some()
    }

    /// Whether anybody has a password.
    #[must_use]
    pub fn have_passwords(&self) -> bool {
        self.users.values().any(|account| account.password.is_some())
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

    /// A login with a plain key. Where [`Accounts::read_files`], call it where blocking is fine.
    ///
    /// # Errors
    /// Why the key does not let this user in, for the log.
    pub fn by_key(&self, user: &str, key: &KeyBlob, client: IpAddr) -> Result<Admitted, String> {
        self.key(user, key, client).map_err(|error| error.to_string())
    }

    fn key(&self, user: &str, key: &KeyBlob, client: IpAddr) -> Result<Admitted, NotIn> {
        can_be_a_user(user)?;
        if self.revoked()?.is_some_and(|revoked| revoked.key(key)) {
            return Err("the key is revoked".into());
        }
        let (lines, unread) = self.lines_of(user);
        let mut refusal = unread.unwrap_or_else(|| "the key is not listed for this user".into());
        for line in lines {
            if line.options.cert_authority || line.key != *key {
                continue;
            }
            match line.options.admits(client, Timestamp::now()) {
                Ok(()) => {
                    let credential = Credential {
                        method: "publickey".to_owned(),
                        fingerprint: Some(key.fingerprint()),
                        certificate: None,
                    };
                    let admitted = Admitted {
                        principal: self.principal(user, credential),
                        limits: line.options.limits(),
                        until: line.options.expires,
                        proof: Proof::Key(key.clone()),
                    };
                    return self.narrowed(admitted, client);
                }
                Err(error) => refusal = error.to_string().into(),
            }
        }
        Err(refusal)
    }

    /// Whether some certificate could let this user in. Where [`Accounts::read_files`], call it where blocking is fine.
    #[must_use]
    pub fn take_certificates(&self, user: &str) -> bool {
        let trusted = |line: &KeyLine| line.options.cert_authority;
        !self.authorities.is_empty() || self.lines_of(user).0.iter().any(trusted)
    }

    /// A login with a certificate whose signatures were verified (OpenSSH `PROTOCOL.certkeys`).
    ///
    /// # Errors
    /// Why the certificate does not let this user in, for the log.
    pub fn by_certificate(&self, user: &str, presented: &Presented, client: IpAddr) -> Result<Admitted, String> {
        let admitted = self.certificate(user, presented, client);
        admitted.map_err(|error| error.to_string())
    }

    fn certificate(&self, user: &str, presented: &Presented, client: IpAddr) -> Result<Admitted, NotIn> {
        can_be_a_user(user)?;
        let Presented {
            certificate,
            key,
            authority,
        } = presented;
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
        if now < certificate.valid_after || now >= certificate.valid_before {
            return Err("the certificate is not valid at this time".into());
        }
        let revoked = self.revoked()?;
        if revoked.is_some_and(|list| list.certificate(authority, certificate.serial, &certificate.key_id, key)) {
            return Err("the certificate is revoked".into());
        }
        check_critical(certificate, client)?;
        let own = if certificate
            .extensions
            .iter()
            .any(|(name, _)| name == "permit-port-forwarding")
        {
            ForwardLimits::default()
        } else {
            ForwardLimits::none()
        };
        let mut until = i64::try_from(certificate.valid_before)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        let limits = if self.authorities.contains(authority) {
            if !certificate.principals.iter().any(|name| name == user) {
                return Err("the certificate does not name this user".into());
            }
            own
        } else {
            let (lines, unread) = self.lines_of(user);
            let line = lines
                .iter()
                .find(|line| line.options.cert_authority && line.key == *authority)
                .ok_or_else(|| unread.unwrap_or_else(|| "the certificate's authority is not trusted".into()))?;
            until = line.options.expires.into_iter().chain(until).min();
            let admitted = line.options.admits(client, Timestamp::now());
            admitted.map_err(|error| error.to_string())?;
            if !line.options.admits_principal(user, &certificate.principals) {
                return Err("the certificate does not name this user".into());
            }
            own.intersect(&line.options.limits())
        };
        let credential = Credential {
            method: "certificate".to_owned(),
            fingerprint: Some(key.fingerprint()),
            certificate: Some(certificate.clone()),
        };
        let admitted = Admitted {
            principal: self.principal(user, credential),
            limits,
            until,
            proof: Proof::Certificate(Box::new(presented.clone())),
        };
        self.narrowed(admitted, client)
    }

    /// A login with a password. Hashing takes long: call it where blocking is fine.
    ///
    /// # Errors
    /// Why it does not let this user in, for the log.
    pub fn by_password(&self, user: &str, password: &str, client: IpAddr) -> Result<Admitted, String> {
        can_be_a_user(user)?;
        let known = self.users.get(user).and_then(|account| account.password.as_ref());
        // Somebody unknown costs as much as somebody known.
        let text = known.map_or(NOBODY, |secret| secret.expose());
        let hash = PasswordHash::new(text).map_err(|error| format!("the password hash cannot be read: {error}"))?;
        let right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        let Some(hash) = known.filter(|_| right) else {
            return Err("the password is wrong or the user has none".to_owned());
        };
        let admitted = self.password(user, hash);
        self.narrowed(admitted, client).map_err(|error| error.to_string())
    }

    fn password(&self, user: &str, hash: &Secret) -> Admitted {
        let credential = Credential {
            method: "password".to_owned(),
            ..Credential::default()
        };
        Admitted {
            principal: self.principal(user, credential),
            limits: ForwardLimits::default(),
            until: None,
            proof: Proof::Password(hash.clone()),
        }
    }

    /// Whether what a user proved earlier would still let them in from there, and as whom. A password is known by its
    /// hash only, so another hash is another password.
    ///
    /// # Errors
    /// Why not, or why that cannot be found out.
    pub fn again(&self, user: &str, proof: &Proof, client: IpAddr) -> Result<Admitted, NotIn> {
        match proof {
            Proof::Key(key) => self.key(user, key, client),
            Proof::Certificate(presented) => self.certificate(user, presented, client),
            Proof::Password(hash) => match self.users.get(user) {
                Some(account) if account.password.as_ref() == Some(hash) => {
                    self.narrowed(self.password(user, hash), client)
                }
                Some(_) => Err("the password has changed".into()),
                None => Err("the user is not configured".into()),
            },
        }
    }

    /// What the others permit, too, where there are others.
    fn narrowed(&self, admitted: Admitted, client: IpAddr) -> Result<Admitted, NotIn> {
        let Some(also) = &self.also else {
            return Ok(admitted);
        };
        let other = also.again(&admitted.principal.user, &admitted.proof, client);
        let other = other.map_err(|error| match error {
            NotIn::Refused(reason) => NotIn::Refused(format!(
                "the new configuration lets this user in once its policies are in force; until then: {reason}"
            )),
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
    fn lines_of(&self, user: &str) -> (Vec<KeyLine>, Option<NotIn>) {
        let mut unread = None;
        let mut lines = self
            .users
            .get(user)
            .map(|account| account.keys.clone())
            .unwrap_or_default();
        if can_be_a_user(user).is_err() {
            return (lines, None);
        }
        for pattern in &self.key_files {
            let path = match authorized_keys_path(pattern, user) {
                Ok(Some(path)) => path,
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(user, %error, "no key file");
                    if let PathError::Lookup(..) = &error {
                        unread = Some(NotIn::Unsure(error.to_string()));
                    }
                    continue;
                }
            };
            match read_keys_of(&path, user) {
                Ok((found, faults)) => {
                    for (line, error) in faults {
                        let error = printable(&error.to_string(), MAX_FAULT);
                        tracing::warn!(path = %path.display(), line, error, "a line of a key file is void");
                    }
                    lines.extend(found);
                }
                Err(error) => {
                    tracing::warn!(%error, "a key file is not used");
                    if let ReadError::Io { source, .. } = &error
                        && may_pass(source)
                    {
                        unread = Some(NotIn::Unsure(format!("{error}: {source}")));
                    }
                }
            }
        }
        (lines, unread)
    }
}

/// Whether the file may be readable in a moment. What may not be read counts as not there: somebody has decided that.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    let lasting = [IsADirectory, NotADirectory, NotFound, PermissionDenied];
    let is_loop = error.raw_os_error() == Some(Errno::ELOOP as i32);
    !is_loop && !lasting.contains(&error.kind())
}

/// What is longer is no name of a user, and is neither looked up nor part of any path.
fn can_be_a_user(name: &str) -> Result<(), String> {
    match name.len() {
        0..=MOST_NAME => Ok(()),
        bytes => Err(format!("the user name has {bytes} bytes, more than {MOST_NAME}")),
    }
}

/// `force-command` is about sessions, which this server has none of; what is unknown voids the certificate.
fn check_critical(certificate: &Certificate, client: IpAddr) -> Result<(), String> {
    for (name, value) in &certificate.critical_options {
        match name.as_str() {
            "force-command" => {}
            "source-address" => {
                let sources = SourceAddresses::parse(value)
                    .ok_or_else(|| format!("the certificate's source-address `{value}` cannot be read"))?;
                sources.admits(client).map_err(|error| error.to_string())?;
            }
            name => {
                return Err(format!(
                    "the certificate has the critical option `{name}`, which cannot be met"
                ));
            }
        }
    }
    Ok(())
}

fn read_all_authorities(paths: &[PathBuf]) -> Result<Vec<KeyBlob>, Vec<String>> {
    let mut authorities = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        match read_authorities(path) {
            Ok(found) => authorities.extend(found),
            Err(words) => faults.push(words),
        }
    }
    if faults.is_empty() {
        Ok(authorities)
    } else {
        Err(faults)
    }
}

fn read_authorities(path: &Path) -> Result<Vec<KeyBlob>, String> {
    let text = files::read_text(path, MOST_TEXT).map_err(|error| format!("{}: {error}", path.display()))?;
    let (lines, faults) = crate::auth::parse_file(&text);
    if let Some((line, error)) = faults.first() {
        return Err(format!("{}:{line}: {error}", path.display()));
    }
    if lines.is_empty() {
        return Err(format!("{}: it has no key", path.display()));
    }
    Ok(lines.into_iter().map(|line| line.key).collect())
}

/// A hash of nothing that anybody knows, with the parameters of a usual one.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$Zm9yIG5vYm9keSwgb25seSB0byBjb3N0IHRoZSBzYW1l";

/// As long as the name of a file can be (`NAME_MAX`).
pub const MOST_NAME: usize = 255;

/// A fault repeats what it found, which may be anything.
const MAX_FAULT: usize = 400;
