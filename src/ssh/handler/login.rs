//! Login: the credential that a client offers, whose it is, and what starts after the login.

use std::sync::Arc;

use jiff::Timestamp;
use russh::keys::Certificate;
use russh::server::{Auth, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{MethodKind, MethodSet};

use super::{Answer, Client};
use crate::accounts::{Accounts, Admitted, Proof, Standing};
use crate::events::{Event, LoggedIn, Subject};
use crate::request::{Cause, Connection, clipped, is_unseen};
use crate::sessions::{self, lock_sentence};
use crate::ssh::credential::{aside, blob, present};
use crate::ssh::entered::Entered;
use crate::ssh::failed_login::{FailedLogin, check_algorithm};

/// How far the login is.
pub(super) enum Login {
    Nobody,
    Proven(Box<Admitted>),
    Done,
}

/// What a client has tried so far.
pub(super) struct Tried {
    /// Refused requests of this connection, as OpenSSH counts them: a refused key is one, the opening `none` is not.
    failures: u32,
    most: u32,
    /// Something was asked.
    began: bool,
    /// A failure was written to the audit log.
    is_on_record: bool,
    /// The most telling of the keys that were offered and refused.
    declined: Option<Declined>,
}

/// A key that was offered, and may not log in.
struct Declined {
    user: String,
    fingerprint: Option<String>,
    reason: FailedLogin,
}

impl Tried {
    pub(super) fn new(most: u32) -> Self {
        Self {
            failures: 0,
            most,
            began: false,
            is_on_record: false,
            declined: None,
        }
    }

    /// The library ends the connection with the request that follows the last permitted one. It counts the opening `none`,
    /// so it is told one more, and a client that began otherwise is refused here unheard.
    fn are_used_up(&mut self) -> bool {
        self.began = true;
        self.failures >= self.most
    }
}

impl Client {
    /// The question which methods there are. It is an attempt only for those who ask again.
    pub(super) fn ask_for_methods(&mut self) -> Auth {
        match self.tried.began {
            true => self.tried.failures += 1,
            false => self.tried.began = true,
        }
        self.reject()
    }

    /// False where the line of a login could not be written: then nothing about it is decided.
    pub(super) fn can_be_recorded(&self) -> bool {
        let has_room = self.service.serves.events.audit().has_room();
        if !has_room {
            tracing::error!(client = %self.client, "login refused: too many audit lines are waiting to be written");
        }
        has_room
    }

    pub(super) async fn show_password(&mut self, user: &str, password: &str) -> Answer<Auth> {
        if self.tried.are_used_up() || !self.service.accounts().have_passwords() {
            return Ok(self.fail());
        }
        let turn = self.unless_cut(self.service.turn_to_hash()).await?;
        let accounts = self.accounts();
        let proof = aside({
            let (name, password, accounts) = (user.to_owned(), password.to_owned(), Arc::clone(&accounts));
            move || {
                let _turn = turn;
                Ok(accounts.check_password(&name, &password)?)
            }
        });
        let admitted = match self.unless_cut(proof).await? {
            Ok(proof) => self.judged(&accounts, user, move || Ok(proof)).await?,
            Err(reason) => Err(reason),
        };
        Ok(self.conclude(user, "password", None, admitted).await)
    }

    /// What comes of waiting, as long as somebody is served: who was sent away meanwhile holds nothing any more.
    ///
    /// # Errors
    /// If nobody is.
    async fn unless_cut<T>(&self, waits: impl Future<Output = T>) -> Answer<T> {
        tokio::select! {
            done = waits => Ok(done),
            () = self.cut.cancelled() => Err(russh::Error::Disconnect),
        }
    }

    /// Whether this lets the user in.
    ///
    /// # Errors
    /// As [`Client::unless_cut`].
    async fn judged(
        &self,
        accounts: &Arc<Accounts>,
        user: &str,
        proof: impl FnOnce() -> Result<Proof, FailedLogin> + Send + 'static,
    ) -> Answer<Result<Admitted, FailedLogin>> {
        let (name, client) = (user.to_owned(), self.client.ip());
        self.looked_up(accounts, user, move |accounts| {
            Ok(accounts.judge(&name, &proof()?, client)?)
        })
        .await
    }

    /// # Errors
    /// As [`Client::unless_cut`].
    async fn looked_up<T: Send + 'static>(
        &self,
        accounts: &Arc<Accounts>,
        user: &str,
        look: impl FnOnce(&Accounts) -> Result<T, FailedLogin> + Send + 'static,
    ) -> Answer<Result<T, FailedLogin>> {
        let found = self.unless_cut(accounts.ask(user, look)).await?;
        Ok(found.unwrap_or_else(|words| Err(FailedLogin::Unasked(words))))
    }

    /// A key is answered by whether it may log in, and that is all that can be learned.
    pub(super) async fn offer_key(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Answer<Auth> {
        if self.tried.are_used_up() {
            return Ok(self.fail());
        }
        let Some(key) = blob(offer.public_key.key_data()) else {
            return Ok(self.decline(user, None, FailedLogin::KeyType));
        };
        let fingerprint = Some(key.fingerprint());
        if let Err(reason) = check_algorithm(offer.algorithm.as_str()) {
            return Ok(self.decline(user, fingerprint, reason));
        }
        let (name, client) = (user.to_owned(), self.client.ip());
        let proof = Proof::Key(key);
        let accounts = self.service.accounts();
        let takes_certificates = accounts.take_certificates();
        let known = self.looked_up(&accounts, user, move |accounts| {
            let refused = accounts.judge(&name, &proof, client).err();
            Ok(refused.map(|reason| (reason.into(), accounts.have_a_way_in(&name))))
        });
        let (reason, has_a_way_in) = match known.await? {
            Ok(None) => return Ok(Auth::Accept),
            Ok(Some(refused)) => refused,
            Err(reason) => (reason, true),
        };
        // The library shows the key of a certificate as if it came without one. Whether the certificate lets the user in is
        // answered once it is proven, for every user alike.
        let algorithm = offer.algorithm.to_string();
        if takes_certificates && self.heard.may_be_certificate(user, &algorithm, offer.public_key) {
            return Ok(Auth::Accept);
        }
        if !has_a_way_in && !self.tried.is_on_record {
            self.refused(user, "publickey", fingerprint, &reason);
            return Ok(self.fail());
        }
        Ok(self.decline(user, fingerprint, reason))
    }

    pub(super) async fn show_key(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Answer<Auth> {
        let sound = check_algorithm(key.algorithm.as_str());
        let Some(key) = blob(key.public_key.key_data()) else {
            return Ok(self.fail());
        };
        let fingerprint = Some(key.fingerprint());
        let accounts = self.accounts();
        let proof = move || sound.map(|()| Proof::Key(key));
        let admitted = self.judged(&accounts, user, proof).await?;
        Ok(self.conclude(user, "publickey", fingerprint, admitted).await)
    }

    /// The algorithm of the user's own signature was looked at when the certificate was offered: the library makes sure that
    /// it is the same.
    pub(super) async fn show_certificate(&mut self, user: &str, certificate: &Certificate) -> Answer<Auth> {
        let presented = present(certificate);
        let fingerprint = presented.as_ref().ok().map(|presented| presented.key.fingerprint());
        let accounts = self.accounts();
        let proof = move || Ok(Proof::Certificate(Box::new(presented?)));
        let admitted = self.judged(&accounts, user, proof).await?;
        Ok(self.conclude(user, "certificate", fingerprint, admitted).await)
    }

    /// Who may log in now; remembered, since a reload may put others in their place before the login is through.
    fn accounts(&mut self) -> Arc<Accounts> {
        let accounts = self.service.accounts();
        self.asked = Arc::downgrade(&accounts);
        accounts
    }

    /// Lets the user in, or says in the log why not.
    async fn conclude(
        &mut self,
        user: &str,
        method: &'static str,
        fingerprint: Option<String>,
        admitted: Result<Admitted, FailedLogin>,
    ) -> Auth {
        let refused = match admitted {
            Ok(admitted) => match self.enter(user).await {
                Ok(()) => {
                    self.login = Login::Proven(Box::new(admitted));
                    return Auth::Accept;
                }
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        self.refused(user, method, fingerprint, &refused);
        self.fail()
    }

    async fn enter(&mut self, user: &str) -> Result<(), FailedLogin> {
        if user.contains(is_unseen) {
            return Err(FailedLogin::UnseenName);
        }
        let serves = &self.service.serves;
        if let Some(lock) = serves.locks.of(user) {
            return Err(FailedLogin::Locked(lock.reason.clone()));
        }
        if serves.sessions.refuses_new() {
            return Err(FailedLogin::CutOff);
        }
        let per_user = serves.judge.current().limits.sessions_per_user;
        let seat = serves.sessions.admit_everywhere(user, per_user).await;
        self.seat = Some(seat.ok_or(FailedLogin::TooManySessions)?);
        Ok(())
    }

    /// An offer is no failed login: clients offer one key after the other. If none of them comes to anything, the end of the
    /// connection is on record with this one.
    fn decline(&mut self, user: &str, fingerprint: Option<String>, reason: FailedLogin) -> Auth {
        let user = clipped(user);
        tracing::debug!(session = self.id, user, client = %self.client, %reason, "a key was offered and refused");
        let is_telling = |declined: &Declined| !declined.reason.is_unlisted_key();
        if !self.tried.declined.as_ref().is_some_and(is_telling) {
            self.tried.declined = Some(Declined {
                user,
                fingerprint,
                reason,
            });
        }
        self.fail()
    }

    fn fail(&mut self) -> Auth {
        self.tried.failures += 1;
        self.reject()
    }

    /// Every method can be tried again: the library would not offer one that failed any more.
    fn reject(&self) -> Auth {
        let mut methods = MethodSet::from([MethodKind::PublicKey].as_slice());
        if self.service.accounts().have_passwords() {
            methods.push(MethodKind::Password);
        }
        Auth::Reject {
            proceed_with_methods: Some(methods),
            partial_success: false,
        }
    }

    fn refused(&mut self, user: &str, method: &'static str, fingerprint: Option<String>, reason: &FailedLogin) {
        let user = &clipped(user);
        let reason = reason.to_string();
        let subject = Subject {
            session: Some(self.id.clone()),
            user: Some(user.to_owned()),
            client: Some(self.client),
            forward: None,
        };
        let event = Event::AuthFailed {
            method,
            fingerprint,
            reason,
            repeated: None,
        };
        self.service.failed(subject, event);
        self.tried.is_on_record = true;
    }

    /// The connection ends. If nobody came in, and nothing says so yet, the keys that were offered do.
    pub(super) fn leave(&mut self) {
        if !matches!(self.login, Login::Nobody) || self.tried.is_on_record {
            return;
        }
        if let Some(declined) = self.tried.declined.take() {
            self.refused(&declined.user, "publickey", declined.fingerprint, &declined.reason);
        }
    }

    /// The user is in: the session begins, and whoever serves the connection is told.
    pub(super) fn begin(&mut self, session: &Session) -> Answer<()> {
        let Login::Proven(admitted) = std::mem::replace(&mut self.login, Login::Done) else {
            return Err(russh::Error::NotAuthenticated);
        };
        // Nobody is in who is not counted and listed.
        let (Some(entered), Some(seat)) = (self.entered.take(), self.seat.take()) else {
            return Err(russh::Error::NotAuthenticated);
        };
        let connection = Connection {
            id: self.id.clone(),
            client: self.client,
            server: self.server,
            software: String::from_utf8_lossy(session.remote_sshid()).trim_end().to_owned(),
            since: Timestamp::now(),
        };
        let event = Event::AuthSucceeded(Box::new(LoggedIn::new(admitted.principal(), &connection)));
        let serves = &self.service.serves;
        let current = serves.judge.current();
        let quota = serves.sessions.quota(&admitted.principal().user);
        let standing = Standing::new(*admitted, self.client.ip(), std::mem::take(&mut self.asked));
        let ours = Arc::new(sessions::Session::new(standing, connection, &current.limits, quota));
        serves.events.emit(&ours.subject, &event);
        let entry = serves.sessions.enter(&ours, seat);
        let _ = entered.send(Entered::new(
            serves.events.clone(),
            Arc::clone(&ours),
            self.began,
            entry,
        ));
        // A lock or a reload from here on finds the session; one since the key was looked up did not.
        if let Some(lock) = serves.locks.of(&ours.user) {
            ours.end(Cause::Killed, &lock_sentence(&lock.reason));
        }
        if !ours.standing.is_current(&serves.judge.current().accounts) {
            let (review, ours) = (serves.forwarder.review().clone(), Arc::clone(&ours));
            serves.tasks.spawn(async move { review.renew(vec![ours]).await });
        }
        self.ours = Some(ours);
        Ok(())
    }
}
