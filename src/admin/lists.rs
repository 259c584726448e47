//! `/v1/status` and what is open: sessions, tunnels, listeners, here or on all gateways of the fleet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::everywhere::What;
use super::filter::{Filter, Wanted};
use super::routes::{Answer, Failed, json};
use super::view::{SessionView, TunnelView};
use super::{Steered, everywhere};
use crate::request::Action;
use crate::sessions::{Forward, SHORTEST, Session};

pub(super) async fn status<S: Steered>(
    State(gateway): State<Arc<S>>,
    asked: Result<Query<Everywhere>, QueryRejection>,
) -> Answer<Response> {
    let Query(Everywhere { fleet }) = asked?;
    if fleet {
        return everywhere::show(&*gateway, What::Status, Wanted::default()).await;
    }
    Ok(json(&gateway.status()))
}

/// Whether all gateways of the fleet are meant.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Everywhere {
    /// On all gateways of the fleet, and not only on this one.
    #[serde(default)]
    pub(super) fleet: bool,
}

pub(super) async fn sessions<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    show(&*gateway, wanted, What::Sessions).await
}

pub(super) async fn tunnels<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    show(&*gateway, wanted, What::Tunnels).await
}

pub(super) async fn listeners<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    show(&*gateway, wanted, What::Listeners).await
}

async fn show<S: Steered>(gateway: &S, wanted: Result<Query<Wanted>, QueryRejection>, what: What) -> Answer<Response> {
    let Query(wanted) = wanted?;
    if wanted.fleet {
        return everywhere::show(gateway, what, wanted).await;
    }
    match what {
        What::Status => Ok(json(&gateway.status())),
        What::Sessions => Ok(json(&sessions_here(gateway, wanted)?)),
        What::Tunnels => Ok(json(&open_here(gateway, wanted, is_tunnel).await?)),
        What::Listeners => Ok(json(&open_here(gateway, wanted, is_listener).await?)),
    }
}

/// The same for whoever puts lists together.
pub(super) async fn listed<S: Steered>(gateway: &S, what: What, wanted: Wanted) -> Answer<Value> {
    Ok(match what {
        What::Status => serde_json::json!(gateway.status()),
        What::Sessions => serde_json::json!(sessions_here(gateway, wanted)?),
        What::Tunnels => serde_json::json!(open_here(gateway, wanted, is_tunnel).await?),
        What::Listeners => serde_json::json!(open_here(gateway, wanted, is_listener).await?),
    })
}

fn is_tunnel(action: Action) -> bool {
    !is_listener(action)
}

fn is_listener(action: Action) -> bool {
    action == Action::Listen
}

fn sessions_here<S: Steered>(gateway: &S, wanted: Wanted) -> Answer<Vec<SessionView>> {
    let wanted = wanted
        .only_sessions()
        .map_err(|words| Failed::new(StatusCode::BAD_REQUEST, words))?;
    let Wanted { session, user, .. } = wanted;
    let mut open = HashMap::<String, Vec<Arc<Forward>>>::new();
    for forward in gateway.sessions().forwards() {
        let session = forward.request.connection.id.clone();
        open.entry(session).or_default().push(forward);
    }
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let mut found = gateway.sessions().all();
    found.retain(|one| is(&session, &one.connection.id) && is(&user, &one.user));
    found.sort_by(|one, other| one.connection.id.cmp(&other.connection.id));
    let open_of = |one: &Session| open.get(&one.connection.id).map(Vec::as_slice).unwrap_or_default();
    Ok(found.iter().map(|one| SessionView::new(one, open_of(one))).collect())
}

async fn open_here<S: Steered>(gateway: &S, wanted: Wanted, kind: fn(Action) -> bool) -> Answer<Vec<TunnelView>> {
    let filter = filter(wanted)?;
    let mut found = found(gateway, &filter);
    found.retain(|forward| kind(forward.request.action));
    let rates = |found: &[Arc<Forward>]| -> Vec<_> {
        let now = Instant::now();
        found.iter().map(|forward| forward.rate(now)).collect()
    };
    let mut rate = rates(&found);
    if rate.contains(&None) {
        // Nobody has looked lately.
        tokio::time::sleep(SHORTEST).await;
        rate = rates(&found);
    }
    let shown = found.iter().zip(rate);
    Ok(shown.map(|(forward, rate)| TunnelView::new(forward, rate)).collect())
}

pub(super) fn filter(wanted: Wanted) -> Answer<Filter> {
    Filter::new(wanted).map_err(|words| Failed::new(StatusCode::BAD_REQUEST, words))
}

/// In the order in which they were opened.
pub(super) fn found<S: Steered>(gateway: &S, filter: &Filter) -> Vec<Arc<Forward>> {
    let mut found = gateway.sessions().forwards();
    found.retain(|forward| filter.matches(forward));
    found.sort_by(|one, other| one.request.id.cmp(&other.request.id));
    found
}
