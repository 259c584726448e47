//! The monitoring listener: read-only, and behind a bearer token where one is configured.
//!
//! Without a token it listens on loopback, and a browser there is led to it by any site whose name resolves to 127.0.0.1 (DNS
//! rebinding). Such a request names that site in its `Host`, so only addresses and names without a dot are answered then.

use std::net::{IpAddr, SocketAddr};
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
    let Some(token) = token else {
        return (!is_local(headers.get(header::HOST)))
            .then(|| health::text(StatusCode::FORBIDDEN, FORBIDDEN.to_owned()));
    };
    if token.is_carried(headers) {
        return None;
    }
    let mut refused = health::text(StatusCode::UNAUTHORIZED, UNAUTHORIZED.to_owned());
    let challenge = HeaderValue::from_static("Bearer");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    Some(refused)
}

/// Whether a `Host` (RFC 9110, section 7.2) is no name that a site of the internet could have: those have a dot. Browsers always send
/// one.
fn is_local(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    !name.contains('.') && !name.is_empty() || address.parse::<IpAddr>().is_ok() || host.parse::<SocketAddr>().is_ok()
}

const FORBIDDEN: &str = "without admin.token-file only requests to an address or to `localhost` are answered here, so that no web site can \
    read this through a browser: use http://127.0.0.1:PORT\n";
/// A browser has no way to send the token by itself.
const UNAUTHORIZED: &str = "a bearer token is required: send the header `Authorization: Bearer TOKEN` with the token in the file that \
    admin.token-file names\n\nA browser cannot send it. To see the status page, open it through a reverse proxy that adds the header: \
    see \"Status page\" in the manual, docs/operating.md\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_or_a_name_without_dots_is_local() {
        #[rustfmt::skip]
        let table = [
            (None,                            true),
            (Some("127.0.0.1:9464"),          true),
            (Some("127.0.0.1"),               true),
            (Some("[::1]:9464"),              true),
            (Some("[::1]"),                   true),
            (Some("10.1.2.3:9464"),           true),
            (Some("localhost:9464"),          true),
            (Some("LocalHost"),               true),
            (Some("gateway:9464"),            true),
            (Some("rebound.example:9464"),    false),
            (Some("rebound.example"),         false),
            (Some("localhost.example:9464"),  false),
            (Some("127.0.0.1.example:9464"),  false),
            (Some("me@rebound.example"),      false),
            (Some("rebound.example."),        false),
            (Some(""),                        false),
        ];
        for (host, local) in table {
            let value = host.map(HeaderValue::from_static);
            assert_eq!(is_local(value.as_ref()), local, "{host:?}");
        }
        assert!(!is_local(Some(&HeaderValue::from_bytes(b"\xff").unwrap())));
    }
}
