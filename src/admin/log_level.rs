//! `/v1/log-level`: which lines the log for operators has.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;

use super::Steered;
use super::peer::Administrator;
use super::routes::{Answer, Failed, announce, json};
use crate::logging::{self, Filter};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    filter: String,
}

pub(super) async fn shown() -> Response {
    json(&serde_json::json!({ "filter": logging::filter().as_ref().map(Filter::as_str) }))
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
