//! What is open follows what is in force: logins are asked again what they give, and what a change concerns is judged again.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::Review;
use crate::accounts::{Accounts, Recheck, Refused, Rights, Standing};
use crate::config::OnSwap;
use crate::events::{Event, LoggedIn, Subject};
use crate::judgement::{Concerns, Current};
use crate::request::{By, Connection, Refusal};
use crate::sessions::{Forward, Session};

impl Review {
    /// Lets what is open follow the change from `before` to what is in force now: sessions whose users may no longer log in
    /// end, and tunnels and listeners that the change can concern are judged again. If nothing changed that concerns them,
    /// nothing is judged.
    pub(crate) async fn follow(&self, before: &Current) {
        let current = self.judge.current();
        let changed = match Arc::ptr_eq(&current.accounts, &before.accounts) {
            true => HashSet::new(),
            false => self.ask_logins(self.sessions.all()).await,
        };
        self.judge_those(|forward| {
            changed.contains(&forward.request.connection.id) || concerns(&current, before, forward)
        })
        .await;
    }

    /// Asks again what the logins of these sessions give, because a file that says so has changed, or a credential has
    /// expired.
    pub(crate) async fn renew(&self, sessions: Vec<Arc<Session>>) {
        let changed = self.ask_logins(sessions).await;
        self.judge_those(|forward| changed.contains(&forward.request.connection.id))
            .await;
    }

    /// What the user's login gives by these accounts.
    ///
    /// # Errors
    /// The refusal of whatever is asked now: the user may no longer log in, which ends the session, or that cannot be found
    /// out, which ends nothing.
    pub(super) async fn rights(&self, session: &Session, accounts: &Arc<Accounts>) -> Result<Arc<Rights>, Refusal> {
        let rights = self.rights_of(&session.standing, &session.connection, accounts).await;
        if let Err(NoRights::Gone(reason)) = &rights {
            session.revoke(&reason.to_string());
        }
        rights.map_err(NoRights::into_refusal)
    }

    /// Returns the sessions whose logins now give other rights than their tunnels and listeners were judged with. Another request may
    /// have found that out first.
    async fn ask_logins(&self, sessions: Vec<Arc<Session>>) -> HashSet<String> {
        let asked = stream::iter(sessions).map(async |session| {
            self.ask_login(&session).await;
            let changed = session.standing.takes_up_judging();
            changed.then(|| session.connection.id.clone())
        });
        asked
            .buffer_unordered(AT_ONCE)
            .filter_map(async |one| one)
            .collect()
            .await
    }

    async fn ask_login(&self, session: &Session) {
        let accounts = Arc::clone(&self.judge.current().accounts);
        match session.standing.ask_again(&accounts).await {
            Recheck::Stands(changed) => self.note_renewal(changed, &session.standing.rights(), &session.connection),
            Recheck::Gone(reason) => session.revoke(&reason.to_string()),
            Recheck::Unsure(reason) => {
                let (session, user) = (&session.connection.id, &session.user);
                tracing::warn!(
                    session,
                    user,
                    reason,
                    "cannot find out whether a user may still log in; the session goes on"
                );
            }
        }
    }

    /// What a login gives by these accounts, which are asked if that is not known.
    pub(super) async fn rights_of(
        &self,
        standing: &Arc<Standing>,
        connection: &Connection,
        accounts: &Arc<Accounts>,
    ) -> Result<Arc<Rights>, NoRights> {
        if standing.is_current(accounts) {
            return Ok(standing.rights());
        }
        match Box::pin(standing.ask(accounts)).await {
            Recheck::Stands(changed) => {
                let rights = standing.rights();
                self.note_renewal(changed, &rights, connection);
                Ok(rights)
            }
            Recheck::Gone(reason) => Err(NoRights::Gone(reason)),
            Recheck::Unsure(reason) => Err(NoRights::Unsure(reason)),
        }
    }

    /// Whoever reads the log later must know what policies were told from here on.
    fn note_renewal(&self, changed: bool, rights: &Rights, connection: &Connection) {
        if !changed {
            return;
        }
        let principal = &rights.principal;
        let subject = Subject {
            session: Some(connection.id.clone()),
            user: Some(principal.user.clone()),
            client: Some(connection.client),
            forward: None,
        };
        let event = Event::AuthRenewed(Box::new(LoggedIn::new(principal, connection)));
        self.events.emit(&subject, &event);
    }

    async fn judge_those(&self, wanted: impl Fn(&Forward) -> bool) {
        if self.judge.current().on_swap == OnSwap::Keep {
            return;
        }
        let mut open = self.sessions.forwards();
        open.retain(|forward| wanted(forward));
        self.reconsider_these(open).await;
    }
}

/// Why a login gives nothing now.
pub(super) enum NoRights {
    /// The user may no longer log in.
    Gone(Refused),
    /// That cannot be found out.
    Unsure(String),
}

impl NoRights {
    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            Self::Gone(reason) => {
                let told = format!("you may no longer log in: {reason}");
                Refusal::told(By::Key, "revoked", told)
            }
            Self::Unsure(reason) => Refusal::Undecided {
                code: "credential",
                reason: format!("cannot find out whether the user may still log in: {reason}"),
            },
        }
    }
}

/// Whether the change can concern this tunnel or listener.
pub(super) fn concerns(current: &Current, before: &Current, forward: &Forward) -> bool {
    match current.concerns(before) {
        Concerns::Nothing => false,
        Concerns::Everything => true,
        Concerns::Refused => {
            let house = &current.house;
            !house.still_permits(&forward.request, &forward.effective, forward.dialled)
        }
    }
}

/// Sessions that are asked about at once.
const AT_ONCE: usize = 32;
