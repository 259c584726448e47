//! The status page of the monitoring listener: `GET /`, and what it fetches under `/page/`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Steered, Unready};
use crate::history::Span;
use crate::page::{self, Facts, ICON, Open, Policy, SCRIPT, STYLE};

/// The paths of the page.
pub(super) fn routes<S: Steered>(gateway: Arc<S>) -> Router {
    let looked_at = Arc::new(LookedAt {
        gateway,
        minutes: Drawn::default(),
        hour: Drawn::default(),
    });
    Router::new()
        .route("/", get(whole::<S>))
        .route("/page/live", get(live::<S>))
        .with_state(looked_at)
        .route(
            "/page/style.css",
            get(|| async { answer("text/css; charset=utf-8", STYLE) }),
        )
        .route(
            "/page/script.js",
            get(|| async { answer("text/javascript; charset=utf-8", SCRIPT) }),
        )
        .route("/page/icon.svg", get(|| async { answer("image/svg+xml", ICON) }))
}

/// A gateway, and its page as it was last drawn: many who look at once cost no more than one.
struct LookedAt<S> {
    gateway: Arc<S>,
    minutes: Drawn,
    hour: Drawn,
}

#[derive(Default)]
struct Drawn(Mutex<Option<(Instant, Arc<str>)>>);

impl Drawn {
    /// What was drawn within the last second, or else what `draw` makes.
    fn fresh(&self, now: Instant, draw: impl FnOnce() -> String) -> Arc<str> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, there)) = &*drawn
            && now.saturating_duration_since(*when) < FRESH
        {
            return Arc::clone(there);
        }
        let new: Arc<str> = draw().into();
        *drawn = Some((now, Arc::clone(&new)));
        new
    }
}

impl<S: Steered> LookedAt<S> {
    fn live(&self, span: Span) -> Arc<str> {
        let drawn = match span {
            Span::Minutes => &self.minutes,
            Span::Hour => &self.hour,
        };
        drawn.fresh(Instant::now(), || {
            page::live(&facts(&*self.gateway), &self.gateway.history().look(span))
        })
    }
}

#[derive(Deserialize)]
struct Wanted {
    span: Option<String>,
}

type Asked = Result<Query<Wanted>, QueryRejection>;

/// What is not known is the default: a page is better than an error.
fn span(asked: Asked) -> Span {
    let wanted = asked.ok().and_then(|Query(wanted)| wanted.span);
    match wanted.as_deref() {
        Some("hour") => Span::Hour,
        _ => Span::Minutes,
    }
}

async fn whole<S: Steered>(State(looked_at): State<Arc<LookedAt<S>>>, asked: Asked) -> Response {
    let span = span(asked);
    answer(HTML, page::whole(span, &looked_at.live(span)))
}

async fn live<S: Steered>(State(looked_at): State<Arc<LookedAt<S>>>, asked: Asked) -> Response {
    answer(HTML, looked_at.live(span(asked)).to_string())
}

fn facts<S: Steered>(gateway: &S) -> Facts {
    let status = gateway.status();
    let policies = status.policies.into_iter().map(|view| Policy {
        plugin: view.plugin,
        version: view.policy.version,
        sha256: view.policy.sha256,
        settings_sha256: view.policy.settings_sha256,
    });
    Facts {
        version: status.version.to_owned(),
        started: status.started,
        now: Timestamp::now(),
        unready: gateway.unready().iter().map(worded).collect(),
        open: Open {
            sessions: status.sessions,
            tunnels: status.tunnels,
            listeners: status.listeners,
        },
        policies: policies.collect(),
    }
}

/// The name of a task may have an address of the gateway in it, which does not belong on the page.
fn worded(reason: &Unready) -> String {
    match reason {
        Unready::CutOff(_) => "the shared state is not reachable: see /readyz".to_owned(),
        Unready::Absent(_) => "an essential task is not running: see /readyz".to_owned(),
        reason => reason.to_string(),
    }
}

fn answer(kind: &'static str, body: impl IntoResponse) -> Response {
    (HEADERS, [(header::CONTENT_TYPE, kind)], body).into_response()
}

const HTML: &str = "text/html; charset=utf-8";

/// Nothing from elsewhere, nothing inline, in no frame, and no trace of it anywhere.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// For so long, those who look see the same.
const FRESH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_drawn_once_in_a_second_however_many_look() {
        let (drawn, began) = (Drawn::default(), Instant::now());
        let mut times = 0;
        let mut look = |millis| {
            let shown = drawn.fresh(began + Duration::from_millis(millis), || {
                times += 1;
                times.to_string()
            });
            shown.to_string()
        };
        let shown: Vec<_> = [0, 0, 500, 999, 1000, 1500, 2500].map(&mut look).to_vec();
        assert_eq!(shown, ["1", "1", "1", "1", "2", "2", "3"]);
    }

    #[test]
    fn a_reason_has_no_address() {
        let absent = Unready::Absent("accepting on 192.0.2.7:22".to_owned());
        assert!(!worded(&absent).contains("192.0.2.7"));
        assert_eq!(worded(&Unready::Draining), "the gateway is draining");
    }
}
