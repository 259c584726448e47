//! `GET /v1/events`: the audit log's lines as they happen, as server-sent events (WHATWG HTML, section 9.2); of this gateway, or of
//! all of the fleet.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::filter::{Filter, Wanted};
use super::follow::Everywhere;
use super::lists::filter;
use super::routes::{Answer, Failed};
use super::serve::Until;
use super::{Steered, everywhere};
use crate::events::{Fact, Missed, Reading};

/// Places of those who read along: they stay, and others want to ask something, too.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(READERS))
}

pub(super) async fn events<S: Steered>(
    State(gateway): State<Arc<S>>,
    axum::Extension(places): axum::Extension<Arc<Semaphore>>,
    axum::Extension(until): axum::Extension<Until>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    let Query(wanted) = wanted?;
    let filter = filter(wanted.clone())?;
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let place = || {
        places.try_acquire_owned().map_err(|_| {
            let words = format!("{READERS} clients already read events: close one of them first");
            Failed::new(StatusCode::CONFLICT, words)
        })
    };
    let reader = if wanted.fleet {
        let fleet = everywhere::fleet(&*gateway)?;
        let after = last.map(str::parse).transpose();
        let after = after.map_err(|()| wrong_id("it is not of a stream of all gateways"))?;
        Reader::Everywhere(Box::new(Everywhere::begin(fleet, wanted, after, place()?).await?))
    } else {
        let after = last
            .map(str::parse)
            .transpose()
            .map_err(|words: String| wrong_id(&words))?;
        Reader::Here(Box::new(Here {
            reading: gateway.events().live().read(after),
            filter,
            followed: Followed::default(),
            waiting: VecDeque::new(),
            _place: place()?,
        }))
    };
    let stream = stream::unfold((reader, until), |(mut reader, until)| async move {
        // Where another process takes over, its events are the ones to read.
        let event = tokio::select! {
            event = reader.next() => event,
            () = until.leaving.cancelled() => return None,
        };
        Some((Ok::<_, Infallible>(event), (reader, until)))
    });
    Ok(Sse::new(stream)
        .keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE))
        .into_response())
}

fn wrong_id(words: &str) -> Failed {
    Failed::new(StatusCode::BAD_REQUEST, format!("Last-Event-ID: {words}"))
}

/// Whose events are read.
enum Reader {
    Here(Box<Here>),
    Everywhere(Box<Everywhere>),
}

impl Reader {
    async fn next(&mut self) -> Event {
        match self {
            Self::Here(reader) => reader.next().await,
            Self::Everywhere(reader) => reader.next().await,
        }
    }
}

/// Reads the events of this gateway.
struct Here {
    reading: Reading,
    filter: Filter,
    followed: Followed,
    waiting: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

impl Here {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            match self.reading.next().await {
                Ok(facts) => {
                    let wanted = facts.iter().filter(|fact| self.followed.wants(&self.filter, fact));
                    self.waiting.extend(wanted.map(|fact| shown(fact)));
                }
                Err(Missed(missed)) => {
                    let data = serde_json::json!({ "missed": missed }).to_string();
                    return Event::default().event("missed").data(data);
                }
            }
        }
    }
}

fn shown(fact: &Fact) -> Event {
    Event::default()
        .id(fact.place.to_string())
        .event(fact.event)
        .data(&fact.line)
}

/// Forwards of which something was wanted: their end is wanted, too, although it says less of them.
#[derive(Default)]
pub(super) struct Followed {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Followed {
    pub(super) fn wants(&mut self, filter: &Filter, fact: &Fact) -> bool {
        let forward = fact.subject.forward.as_ref();
        if forward.is_some_and(|forward| self.ids.contains(forward)) {
            return true;
        }
        let wanted = filter.hears(fact);
        if let (true, Some(forward)) = (wanted, forward) {
            self.ids.insert(forward.clone());
            self.order.push_back(forward.clone());
            if self.order.len() > MOST_FOLLOWED
                && let Some(oldest) = self.order.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
        wanted
    }
}

const READERS: usize = 32;
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
const MOST_FOLLOWED: usize = 10_000;
