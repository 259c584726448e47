//! The open sessions, as read from a log.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::{Kind, Line, Session};

/// The sessions that are open, and a few that have just ended.
pub(crate) struct Sessions {
    known: HashMap<String, (u64, Session)>,
    /// The ids of those that are open, in the order in which they were entered.
    open: BTreeMap<u64, String>,
    /// A decision can be recorded shortly after the end of its session.
    ended: VecDeque<(u64, String)>,
    entered: u64,
    /// Completes what the log does not say.
    complete: Box<dyn Fn(&mut Session) + Send>,
}

impl Sessions {
    /// None yet; `complete` is shown each session whose login is not in the log as a whole.
    pub(crate) fn new(complete: impl Fn(&mut Session) + Send + 'static) -> Self {
        Self {
            known: HashMap::new(),
            open: BTreeMap::new(),
            ended: VecDeque::new(),
            entered: 0,
            complete: Box::new(complete),
        }
    }

    /// Takes note of a line that begins or ends a session.
    ///
    /// # Errors
    /// What a login lacks.
    pub(crate) fn follow(&mut self, mut line: Line) -> Result<(), String> {
        match line.event {
            Kind::AuthSucceeded => {
                let session = line.login();
                let session = session.ok_or("a login without session, user, client, method or time")?;
                self.enter(session);
            }
            Kind::AuthRenewed => {
                let session = line.login();
                let session = session.ok_or("a renewed login without session, user, client, method or time")?;
                self.renew(session);
            }
            Kind::SessionClosed => {
                if let Some(id) = line.session {
                    self.leave(&id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The session of a decision: of which the log has no login, what the decision says of it.
    ///
    /// # Errors
    /// What the decision lacks.
    pub(crate) fn of(&mut self, line: &Line) -> Result<Session, String> {
        let id = line.session.as_ref().ok_or("a decision without `session`")?;
        if let Some((_, session)) = self.known.get(id) {
            return Ok(session.clone());
        }
        let stranger = line.stranger().ok_or("a decision without user, client or time")?;
        Ok(self.enter(stranger))
    }

    fn enter(&mut self, mut session: Session) -> Session {
        if !session.complete {
            (self.complete)(&mut session);
        }
        let id = session.connection.id.clone();
        self.entered += 1;
        // One that comes twice, as in logs that overlap, is the later one.
        if let Some((before, _)) = self.known.insert(id.clone(), (self.entered, session.clone())) {
            self.open.remove(&before);
        }
        self.open.insert(self.entered, id);
        // Sessions of which no log has the end make room when many others are open.
        if self.open.len() > MAX_SESSIONS
            && let Some((oldest, id)) = self.open.pop_first()
        {
            self.forget(oldest, &id);
        }
        session
    }

    /// The same session from here on, of which policies are told something else.
    fn renew(&mut self, mut renewed: Session) {
        match self.known.get_mut(&renewed.connection.id) {
            Some((_, known)) => {
                Arc::make_mut(&mut renewed.connection).since = known.connection.since;
                *known = renewed;
            }
            None => drop(self.enter(renewed)),
        }
    }

    fn leave(&mut self, id: &str) {
        let Some((entered, _)) = self.known.get(id) else {
            return;
        };
        if let Some(id) = self.open.remove(entered) {
            self.ended.push_back((*entered, id));
        }
        if self.ended.len() > MAX_ENDED
            && let Some((entered, id)) = self.ended.pop_front()
        {
            self.forget(entered, &id);
        }
    }

    /// Unless one of the same id has been entered since.
    fn forget(&mut self, entered: u64, id: &str) {
        if self.known.get(id).is_some_and(|(last, _)| *last == entered) {
            self.known.remove(id);
        }
    }
}

const MAX_SESSIONS: usize = 1 << 18;
const MAX_ENDED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::Text;
    use super::*;

    fn line(event: &str, session: usize) -> Line {
        let text = format!(
            r#"{{"v":1,"time":"2026-11-01T00:00:00Z","session":"s-{session}","user":"alice","client":"192.0.2.7:50000","event":"{event}","method":"publickey","server":"192.0.2.2:22"}}"#
        );
        Text::alone(&text).line().unwrap()
    }

    fn none() -> Sessions {
        Sessions::new(|_| {})
    }

    impl Sessions {
        fn enters(&mut self, session: usize) {
            self.follow(line("auth-succeeded", session)).unwrap();
        }

        fn ends(&mut self, session: usize) {
            self.follow(line("session-closed", session)).unwrap();
        }

        fn knows(&mut self, session: usize) -> bool {
            self.of(&line("forward-decided", session)).unwrap().complete
        }
    }

    #[test]
    fn one_that_is_open_outlasts_any_number_that_have_ended() {
        let mut sessions = none();
        sessions.enters(0);
        for session in 1..=MAX_SESSIONS {
            sessions.enters(session);
            sessions.ends(session);
        }
        assert!(sessions.knows(0));
        assert!(sessions.knows(MAX_SESSIONS), "its last decision may follow its end");
        assert!(!sessions.knows(1), "it ended long ago");
    }

    #[test]
    fn those_of_which_no_log_has_the_end_make_room() {
        let mut sessions = none();
        for session in 0..=MAX_SESSIONS {
            sessions.enters(session);
        }
        assert_eq!(sessions.open.len(), MAX_SESSIONS);
        assert!(sessions.knows(1) && sessions.knows(MAX_SESSIONS) && !sessions.knows(0));
    }

    #[test]
    fn one_whose_login_is_renewed_goes_on_as_another_principal() {
        let mut sessions = none();
        sessions.enters(0);
        sessions.enters(1);
        let renewed = r#"{"v":1,"time":"2026-11-01T01:00:00Z","session":"s-0","user":"alice","client":"192.0.2.7:50000","event":"auth-renewed","method":"publickey","groups":["web"],"server":"192.0.2.2:22"}"#;
        let before = sessions.of(&line("forward-decided", 0)).unwrap();
        sessions.follow(Text::alone(renewed).line().unwrap()).unwrap();
        let after = sessions.of(&line("forward-decided", 0)).unwrap();
        assert_eq!(after.principal.groups, ["web"]);
        assert_eq!(after.connection, before.connection, "it began when it began");
        assert!(
            sessions
                .of(&line("forward-decided", 1))
                .unwrap()
                .principal
                .groups
                .is_empty()
        );
        sessions.ends(0);
        assert!(sessions.knows(0));
    }

    #[test]
    fn one_that_comes_twice_is_not_ended_by_the_end_of_the_first() {
        let mut sessions = none();
        sessions.enters(0);
        sessions.ends(0);
        sessions.enters(0);
        for session in 1..=MAX_ENDED {
            sessions.enters(session);
            sessions.ends(session);
        }
        assert!(sessions.knows(0));
    }
}
