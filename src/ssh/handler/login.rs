//! How a client becomes a user: what it shows, whose that is, and what begins once they are in.

use std::sync::Arc;

use jiff::Timestamp;
use russh::keys::Certificate;
use russh::server::{Auth, PublicKeyOffer, Session, VerifiedPublicKey};

use super::{Answer, Client};
use crate::accounts::{Accounts, Admitted, Standing};
use crate::audit::{Event, LoggedIn, Subject};
use crate::forwarder::Visit;
use crate::request::{Connection, clipped};
use crate::ssh::credential::{aside, blob, look_up, present};
use crate::ssh::entered::Entered;

/// How far the login is.
pub(super) enum Login {
    Nobody,
    Proven(Box<Admitted>),
    Done,
}

impl Client {
    pub(super) async fn show_password(&mut self, user: &str, password: &str) -> Auth {
        if !self.service.accounts().have_passwords() {
            return Auth::reject();
        }
        let (name, password, client) = (user.to_owned(), password.to_owned(), self.client.ip());
        let service = Arc::clone(&self.service);
        let _turn = service.turn_to_hash().await;
        let accounts = self.accounts();
        let admitted = aside(move || accounts.by_password(&name, &password, client)).await;
        self.conclude(user, "password", None, admitted)
    }

    pub(super) async fn offer_key(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Auth {
        let Some(key) = blob(offer.public_key.key_data()) else {
            return Auth::reject();
        };
        let (name, client) = (user.to_owned(), self.client.ip());
        let fingerprint = key.fingerprint();
        // russh shows the key of a certificate here as if it came without one, so where a certificate
        // could let the user in, the answer waits for the proof.
        let known = look_up(self.service.accounts(), move |accounts| {
            match accounts.by_key(&name, &key, client) {
                Err(_) if accounts.take_certificates(&name) => Ok(()),
                admitted => admitted.map(drop),
            }
        });
        match known.await {
            Ok(()) => Auth::Accept,
            Err(reason) => {
                self.refused(user, "publickey", Some(fingerprint), reason);
                Auth::reject()
            }
        }
    }

    pub(super) async fn show_key(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Auth {
        let Some(key) = blob(key.public_key.key_data()) else {
            return Auth::reject();
        };
        let (name, client) = (user.to_owned(), self.client.ip());
        let fingerprint = Some(key.fingerprint());
        let accounts = self.accounts();
        let admitted = look_up(accounts, move |accounts| accounts.by_key(&name, &key, client)).await;
        self.conclude(user, "publickey", fingerprint, admitted)
    }

    pub(super) async fn show_certificate(&mut self, user: &str, certificate: &Certificate) -> Auth {
        let presented = present(certificate);
        let fingerprint = presented.as_ref().ok().map(|presented| presented.key.fingerprint());
        let (name, client) = (user.to_owned(), self.client.ip());
        let accounts = self.accounts();
        let admitted = look_up(accounts, move |accounts| {
            accounts.by_certificate(&name, &presented?, client)
        });
        let admitted = admitted.await;
        self.conclude(user, "certificate", fingerprint, admitted)
    }

    /// Who may log in now; remembered, since a reload may put others in their place before the login is through.
    fn accounts(&mut self) -> Arc<Accounts> {
        let accounts = self.service.accounts();
        self.asked = Arc::downgrade(&accounts);
        accounts
    }

    /// Lets the user in, or says in the log why not.
    fn conclude(
        &mut self,
        user: &str,
        method: &'static str,
        fingerprint: Option<String>,
        admitted: Result<Admitted, String>,
    ) -> Auth {
        let refused = match admitted {
            Ok(admitted) => match self.enter(user) {
                true => {
                    self.login = Login::Proven(Box::new(admitted));
                    return Auth::Accept;
                }
                false => "the user has too many sessions (limits.sessions-per-user)".to_owned(),
            },
            Err(reason) => reason,
        };
        self.refused(user, method, fingerprint, refused);
        Auth::reject()
    }

    fn enter(&mut self, user: &str) -> bool {
        let per_user = self.service.desk.judge.current().limits.sessions_per_user;
        self.guard = self.service.desk.registry.enter_session(user, per_user);
        self.guard.is_some()
    }

    fn refused(&self, user: &str, method: &'static str, fingerprint: Option<String>, reason: String) {
        let user = &clipped(user);
        tracing::info!(session = self.id, user, client = %self.client, method, reason, "login refused");
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
        };
        self.service.desk.audit.record(&subject, &event);
    }

    /// The user is in: the visit begins, and whoever serves the connection is told.
    pub(super) fn begin(&mut self, session: &Session) -> Answer<()> {
        let Login::Proven(admitted) = std::mem::replace(&mut self.login, Login::Done) else {
            return Err(russh::Error::NotAuthenticated);
        };
        let connection = Connection {
            id: self.id.clone(),
            client: self.client,
            server: self.server,
            software: String::from_utf8_lossy(session.remote_sshid()).trim_end().to_owned(),
            since: Timestamp::now(),
        };
        let event = Event::AuthSucceeded(Box::new(LoggedIn::new(&admitted.principal, &connection)));
        let current = self.service.desk.judge.current();
        let quota = self.service.desk.quotas.of(&admitted.principal.user);
        let standing = Standing::new(*admitted, self.client.ip(), std::mem::take(&mut self.asked));
        let visit = Arc::new(Visit::new(standing, connection, &current.limits, quota));
        self.service.desk.audit.record(&visit.subject, &event);
        tracing::info!(session = self.id, user = visit.user, client = %self.client, "logged in");
        if let Some(entered) = self.entered.take() {
            let desk = Arc::clone(&self.service.desk);
            let _ = entered.send(Entered::new(desk, Arc::clone(&visit), self.began, self.guard.take()));
        }
        // A reload from here on finds the session; one since the key was looked up did not.
        let desk = Arc::clone(&self.service.desk);
        if !visit.standing.is_current(&desk.judge.current().accounts) {
            let (tasks, visit) = (desk.tasks.clone(), Arc::clone(&visit));
            tasks.spawn(async move { desk.renew(vec![visit]).await });
        }
        self.visit = Some(visit);
        Ok(())
    }
}
