//! The monitoring listener: read-only, and behind a bearer token where one is configured.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

use super::openapi::{self, Documented};
use super::{Steered, Token, health, page};
use crate::metrics::CONTENT_TYPE;

/// The health paths, which anyone may ask for, and all others, for which a token may be needed: without it not even that there is
/// no such path is said.
pub(super) fn monitored<S: Steered>(gateway: Arc<S>, token: Option<Token>) -> Router {
    let guarded = metrics()
        .undocumented()
        .with_state(Arc::clone(&gateway))
        .merge(page::routes(Arc::clone(&gateway)))
        .fallback(|| async { health::text(StatusCode::NOT_FOUND, "no such path\n".to_owned()) })
        .layer(from_fn(move |request: Request, next: Next| {
            let refused = refused(token.as_ref(), request.headers());
            async move {
                match refused {
                    Some(refused) => refused,
                    None => next.run(request).await,
                }
            }
        }));
    health::routes().undocumented().with_state(gateway).merge(guarded)
}

/// `/metrics`.
pub(super) fn metrics<S: Steered>() -> Documented<Arc<S>> {
    let said = openapi::text("All metrics, in the text format of Prometheus.", CONTENT_TYPE);
    Documented::new().get("/metrics", scrape::<S>, said)
}

async fn scrape<S: Steered>(State(gateway): State<Arc<S>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, gateway.metrics()).into_response()
}

fn refused(token: Option<&Token>, headers: &HeaderMap) -> Option<Response> {
    if token.is_none_or(|token| token.is_carried(headers)) {
        return None;
    }
    let mut refused = health::text(StatusCode::UNAUTHORIZED, UNAUTHORIZED.to_owned());
    let challenge = HeaderValue::from_static("Bearer");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    Some(refused)
}

/// A browser has no way to send the token by itself.
const UNAUTHORIZED: &str = "a bearer token is required: send the header `Authorization: Bearer TOKEN` with the token in the file that \
    admin.token-file names\n\nA browser cannot send it. To see the status page, open it through a reverse proxy that adds the header: \
    see \"Status page\" in the manual, docs/operating.md\n";
