//! Liveness (`/healthz`) and readiness for new clients (`/readyz`).

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Steered;
use super::openapi::{self, Documented};

/// One reason why a gateway should get no new clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unready {
    /// No policy is loaded.
    NoPolicy,
    /// The gateway is stopping.
    Draining,
    /// The audit log is required and cannot be written.
    Audit,
    /// A task that the gateway cannot do without has ended and has not come back.
    Absent(String),
    /// The other gateways cannot be reached, and the configuration says that nothing new is served then.
    CutOff(String),
}

impl fmt::Display for Unready {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => formatter.write_str("no policy is loaded"),
            Self::Draining => formatter.write_str("the gateway is draining"),
            Self::Audit => formatter.write_str("the audit log cannot be written"),
            Self::CutOff(why) => formatter.write_str(why),
            Self::Absent(task) => write!(formatter, "not running: {task}"),
        }
    }
}

/// The two health paths: plain text, one reason per line.
pub(super) fn routes<S: Steered>() -> Documented<Arc<S>> {
    Documented::new()
        .get(
            "/healthz",
            || async { text(StatusCode::OK, "alive\n".to_owned()) },
            openapi::text("Says that the program runs.", TEXT),
        )
        .get(
            "/readyz",
            ready::<S>,
            openapi::text("Says whether the gateway is ready for new clients.", TEXT)
                .or_unready("It is not ready; each line is a reason."),
        )
}

async fn ready<S: Steered>(State(gateway): State<Arc<S>>) -> Response {
    answer(&gateway.unready(), &gateway.remarks())
}

fn answer(reasons: &[Unready], remarks: &[String]) -> Response {
    if reasons.is_empty() {
        let remarks: String = remarks.iter().map(|remark| format!("{remark}\n")).collect();
        return text(StatusCode::OK, format!("ready\n{remarks}"));
    }
    let lines: String = reasons.iter().map(|reason| format!("{reason}\n")).collect();
    text(StatusCode::SERVICE_UNAVAILABLE, lines)
}

pub(super) fn text(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, TEXT),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body).into_response()
}

const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_ready_when_nothing_speaks_against_it() {
        let table = [
            (vec![], StatusCode::OK),
            (vec![Unready::NoPolicy], StatusCode::SERVICE_UNAVAILABLE),
            (vec![Unready::Draining], StatusCode::SERVICE_UNAVAILABLE),
            (
                vec![Unready::CutOff("redis is away".to_owned())],
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            (vec![Unready::Audit], StatusCode::SERVICE_UNAVAILABLE),
            (
                vec![Unready::Absent("file watcher".to_owned()), Unready::Audit],
                StatusCode::SERVICE_UNAVAILABLE,
            ),
        ];
        for (reasons, status) in table {
            assert_eq!(answer(&reasons, &[]).status(), status, "{reasons:?}");
        }
    }
}
