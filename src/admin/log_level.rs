//! `/v1/log-level`: which lines the log for operators has.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Steered;
use super::peer::Administrator;
use super::routes::{Answer, Failed, announce, json};
use super::view::LogLevel;
use crate::logging::{self, Filter};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogLevelRequest)]
pub(super) struct Wish {
    /// As in `RUST_LOG`: a level, or `target=level` separated by commas.
    filter: String,
}

pub(super) async fn shown() -> Response {
    let filter = logging::filter();
    json(&LogLevel {
        filter: filter.as_ref().map(|filter| filter.as_str().to_owned()),
    })
}

pub(super) async fn put<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    asked: Result<Json<Wish>, JsonRejection>,
) -> Answer<Response> {
    let Json(Wish { filter }) = asked?;
    let filter: Filter = filter
        .parse()
        .map_err(|error: logging::WrongFilter| Failed::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let detail = serde_json::json!({ "filter": filter.as_str() });
    announce(&*gateway, &administrator, "log-level", None, detail);
    logging::set_filter(filter).map_err(|words| Failed::new(StatusCode::CONFLICT, words))?;
    Ok(shown().await)
}
