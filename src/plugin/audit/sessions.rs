//! Who is logged in, as a log tells it.

use std::collections::{HashMap, VecDeque};

use super::{Kind, Line, Session};

/// The sessions that are open, and a few that have just ended.
pub(in crate::plugin) struct Sessions {
    open: HashMap<String, Session>,
    entered: VecDeque<String>,
    /// A decision can be recorded shortly after the end of its session.
    ended: VecDeque<String>,
    /// Completes what the log does not say.
    complete: Box<dyn Fn(&mut Session) + Send>,
}

impl Sessions {
    /// None yet; `complete` is shown each session whose login is not in the log as a whole.
    pub(in crate::plugin) fn new(complete: impl Fn(&mut Session) + Send + 'static) -> Self {
        Self {
            open: HashMap::new(),
            entered: VecDeque::new(),
            ended: VecDeque::new(),
            complete: Box::new(complete),
        }
    }

    /// Takes note of a line that begins or ends a session.
    ///
    /// # Errors
    /// What a login lacks.
    pub(in crate::plugin) fn follow(&mut self, mut line: Line) -> Result<(), String> {
        match line.event {
            Kind::AuthSucceeded => {
                let session = line.login();
                let session = session.ok_or("a login without session, user, client, method or time")?;
                self.enter(session);
            }
            Kind::SessionClosed => {
                if let Some(id) = line.session {
                    self.leave(id);
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
    pub(in crate::plugin) fn of(&mut self, line: &Line) -> Result<Session, String> {
        let id = line.session.as_ref().ok_or("a decision without `session`")?;
        if let Some(session) = self.open.get(id) {
            return Ok(session.clone());
        }
        let stranger = line.stranger().ok_or("a decision without user, client or time")?;
        Ok(self.enter(stranger).clone())
    }

    fn enter(&mut self, mut session: Session) -> &Session {
        if !session.complete {
            (self.complete)(&mut session);
        }
        let id = session.connection.id.clone();
        // Sessions of which no log has the end make room when many others have come after them.
        self.entered.push_back(id.clone());
        if self.entered.len() > MAX_SESSIONS
            && let Some(oldest) = self.entered.pop_front()
        {
            self.open.remove(&oldest);
        }
        self.open.entry(id).insert_entry(session).into_mut()
    }

    fn leave(&mut self, id: String) {
        self.ended.push_back(id);
        if self.ended.len() > MAX_ENDED
            && let Some(id) = self.ended.pop_front()
        {
            self.open.remove(&id);
        }
    }
}

const MAX_SESSIONS: usize = 1 << 18;
const MAX_ENDED: usize = 4096;
