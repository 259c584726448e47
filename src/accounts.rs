//! The users of this gateway: whom a key, a certificate or a password belongs to, and with which limits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use jiff::Timestamp;

use crate::auth::{
    ForwardLimits, KeyBlob, KeyLine, RevokedKeys, SourceAddresses, authorized_keys_path, parse_line, read_keys_of,
};
use crate::config::{Config, Fault, Secret};
use crate::files::{self, MOST_TEXT};
use crate::request::{Certificate, Credential, Fact, Principal, printable};

/// Everybody who may log in, as configured.
pub struct Accounts {
    users: HashMap<String, Account>,
    key_files: Vec<String>,
    authorities: Vec<KeyBlob>,
    revoked: Option<PathBuf>,
}

#[derive(Default)]
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
}

/// A certificate whose CA signature was verified by the caller.
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
        let mut authorities = Vec::new();
        for path in &config.auth.trusted_user_ca_keys {
            match read_authorities(path) {
                Ok(found) => authorities.extend(found),
                Err(words) => faults.push(Fault::of_key(file, "auth.trusted-user-ca-keys", words)),
            }
        }
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
            authorities,
            revoked: config.auth.revoked_keys.clone(),
        })
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
        self.lines_of(user)
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
        if self.revoked()?.is_some_and(|revoked| revoked.key(key)) {
            return Err("the key is revoked".to_owned());
        }
        let mut refusal = "the key is not listed for this user".to_owned();
        for line in self.lines_of(user) {
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
                    return Ok(Admitted {
                        principal: self.principal(user, credential),
                        limits: line.options.limits(),
                    });
                }
                Err(error) => refusal = error.to_string(),
            }
        }
        Err(refusal)
    }

    /// Whether some certificate could let this user in. Where [`Accounts::read_files`], call it where blocking is fine.
    #[must_use]
    pub fn take_certificates(&self, user: &str) -> bool {
        let trusted = |line: &KeyLine| line.options.cert_authority;
        !self.authorities.is_empty() || self.lines_of(user).iter().any(trusted)
    }

    /// A login with a certificate whose signatures were verified (OpenSSH `PROTOCOL.certkeys`).
    ///
    /// # Errors
    /// Why the certificate does not let this user in, for the log.
    pub fn by_certificate(&self, user: &str, presented: &Presented, client: IpAddr) -> Result<Admitted, String> {
        let Presented {
            certificate,
            key,
            authority,
        } = presented;
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
        if now < certificate.valid_after || now >= certificate.valid_before {
            return Err("the certificate is not valid at this time".to_owned());
        }
        let revoked = self.revoked()?;
        if revoked.is_some_and(|list| list.certificate(authority, certificate.serial, &certificate.key_id, key)) {
            return Err("the certificate is revoked".to_owned());
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
        let limits = if self.authorities.contains(authority) {
            if !certificate.principals.iter().any(|name| name == user) {
                return Err("the certificate does not name this user".to_owned());
            }
            own
        } else {
            let lines = self.lines_of(user);
            let line = lines
                .iter()
                .find(|line| line.options.cert_authority && line.key == *authority)
                .ok_or("the certificate's authority is not trusted")?;
            let admitted = line.options.admits(client, Timestamp::now());
            admitted.map_err(|error| error.to_string())?;
            if !line.options.admits_principal(user, &certificate.principals) {
                return Err("the certificate does not name this user".to_owned());
            }
            own.intersect(&line.options.limits())
        };
        let credential = Credential {
            method: "certificate".to_owned(),
            fingerprint: Some(key.fingerprint()),
            certificate: Some(certificate.clone()),
        };
        Ok(Admitted {
            principal: self.principal(user, credential),
            limits,
        })
    }

    /// A login with a password. Hashing takes long: call it where blocking is fine.
    ///
    /// # Errors
    /// Why it does not let this user in, for the log.
    pub fn by_password(&self, user: &str, password: &str) -> Result<Admitted, String> {
        let known = self.users.get(user).and_then(|account| account.password.as_ref());
        // Somebody unknown costs as much as somebody known.
        let text = known.map_or(NOBODY, |secret| secret.expose());
        let hash = PasswordHash::new(text).map_err(|error| format!("the password hash cannot be read: {error}"))?;
        let right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        if known.is_none() || !right {
            return Err("the password is wrong or the user has none".to_owned());
        }
        let credential = Credential {
            method: "password".to_owned(),
            ..Credential::default()
        };
        Ok(Admitted {
            principal: self.principal(user, credential),
            limits: ForwardLimits::default(),
        })
    }

    fn revoked(&self) -> Result<Option<RevokedKeys>, String> {
        let read = self.revoked.as_deref().map(RevokedKeys::read).transpose();
        read.map_err(|error| format!("every login is refused: {error}"))
    }

    /// The inline lines of a user, then those of the files.
    fn lines_of(&self, user: &str) -> Vec<KeyLine> {
        let mut lines = self
            .users
            .get(user)
            .map(|account| account.keys.clone())
            .unwrap_or_default();
        for pattern in &self.key_files {
            let path = match authorized_keys_path(pattern, user) {
                Ok(Some(path)) => path,
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(user, %error, "no key file");
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
                Err(error) => tracing::warn!(%error, "a key file is not used"),
            }
        }
        lines
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

/// A fault repeats what it found, which may be anything.
const MAX_FAULT: usize = 400;
