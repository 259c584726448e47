//! Who asks what. A question of a client has its asker from a login that [`Accounts`](crate::accounts::Accounts) let in;
//! what nobody asked can be supposed, and is then only explained.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Connect, Deliver, Direction, House, Judgement, Listen, Listener, Verdicts};
use crate::accounts::Rights;
use crate::auth::ForwardLimits;
use crate::events::Subject;
use crate::request::{self, Action, Connection, Endpoint, ForwardRequest, Principal, Refusal, new_id};

/// What a client asks.
#[derive(Clone)]
pub struct Question<D> {
    id: String,
    pub(super) asked: D,
    principal: Arc<Principal>,
    connection: Arc<Connection>,
    pub(super) limits: Arc<ForwardLimits>,
    pub(super) verdicts: Option<Arc<Verdicts>>,
}

/// What may be asked, where the direction is not known before.
#[derive(Clone, Debug)]
pub enum Asked {
    /// To connect.
    Connect(Connect),
    /// To listen.
    Listen(Listen),
    /// To hand over an accepted connection.
    Deliver(Deliver),
}

/// A question that no client asked: what would be decided?
pub struct Supposed {
    /// Who would ask.
    pub principal: Principal,
    /// What the key or certificate would permit.
    pub limits: ForwardLimits,
    /// Over which connection.
    pub connection: Connection,
    /// What.
    pub asked: Asked,
    /// When.
    pub now: Timestamp,
}

/// On which occasion something is judged.
#[derive(Clone, Copy)]
pub(super) enum Occasion {
    /// A client has asked.
    Asked,
    /// It is open and is judged again: `swap` or `recheck`.
    Again(&'static str),
    /// Nobody has asked; if they did, then it would be now.
    Supposed(Timestamp),
}

impl<D> Question<D> {
    /// What a client asks whose login gives these rights.
    #[must_use]
    pub fn new(asked: D, rights: &Rights, connection: Arc<Connection>) -> Self {
        Self {
            id: new_id("f"),
            asked,
            principal: Arc::clone(&rights.principal),
            connection,
            limits: Arc::clone(&rights.limits),
            verdicts: None,
        }
    }

    /// Verdicts of the connection may be used again.
    #[must_use]
    pub fn reusing(mut self, verdicts: Arc<Verdicts>) -> Self {
        self.verdicts = Some(verdicts);
        self
    }

    /// The audit log's `forward`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Of a user whose login gives `rights` now.
    pub fn asked_by(&mut self, rights: &Rights) {
        self.principal = Arc::clone(&rights.principal);
        self.limits = Arc::clone(&rights.limits);
    }

    /// The same asker, and another question.
    fn with<E>(self, asked: E) -> Question<E> {
        Question {
            id: self.id,
            asked,
            principal: self.principal,
            connection: self.connection,
            limits: self.limits,
            verdicts: self.verdicts,
        }
    }

    /// Whom the lines of the audit log are about.
    pub(super) fn user(&self) -> &str {
        &self.principal.user
    }

    pub(super) fn subject(&self) -> Subject {
        Subject {
            session: Some(self.connection.id.clone()),
            user: Some(self.principal.user.clone()),
            client: Some(self.connection.client),
            forward: Some(self.id.clone()),
        }
    }
}

impl<D: Direction> Question<D> {
    /// A refusal before anything else is judged: because of what the user's login gives now, or because a limit is reached.
    pub fn refused(&self, house: &House, refusal: Refusal) -> Judgement<D> {
        Judgement::unasked(self, refusal).with_target(self.target(house))
    }

    /// The endpoint that is meant, if it is one, whether or not it may be asked for.
    pub(super) fn target(&self, house: &House) -> Option<Endpoint> {
        self.asked.endpoint(&ForwardLimits::default(), house).ok()
    }

    /// The request as policies are told of it.
    pub(super) fn request(&self, target: Endpoint, occasion: Occasion) -> ForwardRequest {
        ForwardRequest {
            id: self.id.clone(),
            now: match occasion {
                Occasion::Supposed(now) => now,
                Occasion::Asked | Occasion::Again(_) => Timestamp::now(),
            },
            action: D::ACTION,
            target,
            requested: self.asked.requested().clone(),
            originator: self.asked.originator(),
            principal: Arc::clone(&self.principal),
            connection: Arc::clone(&self.connection),
            dry_run: matches!(occasion, Occasion::Supposed(_)),
            extra: occasion.again().map(request::again).into_iter().collect(),
        }
    }
}

impl Occasion {
    pub(super) fn again(self) -> Option<&'static str> {
        match self {
            Self::Again(why) => Some(why),
            Self::Asked | Self::Supposed(_) => None,
        }
    }
}

impl Question<Asked> {
    /// The question about something that is open, of a user whose login gives `rights` now.
    pub(super) fn again(request: &ForwardRequest, rights: &Rights) -> Self {
        let requested = request.requested.clone();
        let asked = match request.action {
            Action::Connect => Asked::Connect(Connect {
                requested,
                originator: request.originator,
                connected: match &request.target {
                    Endpoint::Socket(path) => Some(path.clone()),
                    Endpoint::Tcp { .. } => None,
                },
            }),
            Action::Listen => Asked::Listen(Listen { requested }),
            Action::Accept => Asked::Deliver(Deliver {
                listener: Listener {
                    requested,
                    endpoint: request.target.clone(),
                },
                peer: request.originator,
            }),
        };
        Self {
            id: request.id.clone(),
            ..Self::new(asked, rights, Arc::clone(&request.connection))
        }
    }

    pub(super) fn sorted(self) -> Sorted {
        match self.asked.clone() {
            Asked::Connect(asked) => Sorted::Connect(self.with(asked)),
            Asked::Listen(asked) => Sorted::Listen(self.with(asked)),
            Asked::Deliver(asked) => Sorted::Deliver(self.with(asked)),
        }
    }
}

/// A question whose direction is known.
pub(super) enum Sorted {
    Connect(Question<Connect>),
    Listen(Question<Listen>),
    Deliver(Question<Deliver>),
}

impl From<Supposed> for Question<Asked> {
    fn from(supposed: Supposed) -> Self {
        Self {
            id: new_id("f"),
            asked: supposed.asked,
            principal: Arc::new(supposed.principal),
            connection: Arc::new(supposed.connection),
            limits: Arc::new(supposed.limits),
            verdicts: None,
        }
    }
}
