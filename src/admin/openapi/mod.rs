//! The OpenAPI document of the control socket, and the only way to add a route to that socket.
//!
//! A path comes with its handler and with what the document says of it in one call, so no route is undocumented. Schemas are derived
//! from the types that the room sends and receives; [`shapes`] describes the few that belong to other rooms. The crate for axum that
//! does the same with macros (`utoipa-axum`) needs `paste` in the version for utoipa 5, which has no maintainer.

mod operation;
pub(super) mod shapes;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::body::Bytes;
use axum::handler::Handler;
use axum::http::header;
use axum::routing::{MethodRouter, delete, get, post, put};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, LicenseBuilder, OpenApiBuilder, Paths, ResponseBuilder,
};

pub(super) use operation::{Failure, Operation, answers, anything, lists, text};

/// Routes, and what the document says of them.
pub(super) struct Documented<S> {
    router: Router<S>,
    paths: Paths,
    components: ComponentsBuilder,
}

impl<S: Clone + Send + Sync + 'static> Documented<S> {
    /// No route yet.
    pub(super) fn new() -> Self {
        Self {
            router: Router::new(),
            paths: Paths::new(),
            components: ComponentsBuilder::new(),
        }
    }

    pub(super) fn get<T: 'static>(self, path: &str, handler: impl Handler<T, S>, operation: Operation) -> Self {
        self.route(HttpMethod::Get, path, get(handler), operation)
    }

    pub(super) fn put<T: 'static>(self, path: &str, handler: impl Handler<T, S>, operation: Operation) -> Self {
        self.route(HttpMethod::Put, path, put(handler), operation)
    }

    pub(super) fn post<T: 'static>(self, path: &str, handler: impl Handler<T, S>, operation: Operation) -> Self {
        self.route(HttpMethod::Post, path, post(handler), operation)
    }

    pub(super) fn delete<T: 'static>(self, path: &str, handler: impl Handler<T, S>, operation: Operation) -> Self {
        self.route(HttpMethod::Delete, path, delete(handler), operation)
    }

    fn route(mut self, method: HttpMethod, path: &str, handler: MethodRouter<S>, operation: Operation) -> Self {
        let (operation, schemas) = operation.build(&method, path);
        self.paths.add_path_operation(path, vec![method], operation);
        self.components = self.components.schemas_from_iter(schemas);
        self.router = self.router.route(path, handler);
        self
    }

    /// The routes of another part of the room.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.paths.merge(other.paths);
        self.components = self.components.schemas_from_iter(other.components.build().schemas);
        self
    }

    /// The routes, without the document.
    pub(super) fn undocumented(self) -> Router<S> {
        self.router
    }

    /// The routes, with the document as one of them.
    pub(super) fn served(self) -> Router<S> {
        let (own, _) = anything("This document.", JSON).build(&HttpMethod::Get, PATH);
        let Self {
            router,
            mut paths,
            components,
        } = self;
        paths.add_path_operation(PATH, vec![HttpMethod::Get], own);
        let text = Bytes::from(document(paths, components));
        let headers = [(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, "no-store")];
        router.route(PATH, get(move || async move { (headers, text) }))
    }
}

fn document(paths: Paths, components: ComponentsBuilder) -> String {
    let (failed, schemas) = operation::schema_of::<shapes::Failed>();
    let mut components = components.schemas_from_iter(schemas);
    for failure in Failure::ALL {
        let content = ContentBuilder::new().schema(Some(failed.clone())).build();
        let response = ResponseBuilder::new().description(failure.words());
        components = components.response(failure.name(), response.content(JSON, content).build());
    }
    let info = InfoBuilder::new()
        .title("portreeve")
        .description(Some(DESCRIPTION))
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(
            LicenseBuilder::new()
                .name(env!("CARGO_PKG_LICENSE"))
                .identifier(Some(env!("CARGO_PKG_LICENSE")))
                .build(),
        ));
    let document = OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .build();
    let text = document.to_pretty_json();
    text.expect("every key of the document is a string") + "\n"
}

/// Where the document is.
const PATH: &str = "/v1/openapi.json";
const JSON: &str = "application/json";

const DESCRIPTION: &str = "The control socket of a running gateway: HTTP/1.1 over the Unix socket that `admin.socket` names. It admits \
    root, the gateway's own user and the members of `admin.group`, as the kernel identifies them. Keys are in `snake_case`, except \
    for those of `terms`; a key without a value is absent. Keys may be added to answers; unknown keys in requests are errors. \
    Errors are `{\"error\": \"…\"}`: on every path, a method that is not listed here returns 405, and any other path returns 404. \
    The manual is docs/operating.md.";
