//! What the document says of one method of one path.

use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, HttpMethod, Ref, RefOr, Required, Response, ResponseBuilder, path};
use utoipa::{IntoParams, ToSchema};

/// Built with [`answers`], [`lists`], [`text`] or [`anything`].
pub(in crate::admin) struct Operation {
    summary: &'static str,
    status: u16,
    content_type: &'static str,
    schema: Option<RefOr<Schema>>,
    unready: Option<&'static str>,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    failures: Vec<Failure>,
    schemas: Schemas,
}

/// Named ones.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// It returns 200 and this type as JSON.
pub(in crate::admin) fn answers<T: ToSchema>(summary: &'static str) -> Operation {
    let (schema, schemas) = schema_of::<T>();
    Operation {
        schema: Some(schema),
        schemas,
        ..anything(summary, JSON)
    }
}

/// It returns 200 and any number of this type.
pub(in crate::admin) fn lists<T: ToSchema>(summary: &'static str) -> Operation {
    let (schema, schemas) = schema_of::<T>();
    Operation {
        schema: Some(ArrayBuilder::new().items(schema).into()),
        schemas,
        ..anything(summary, JSON)
    }
}

/// It returns 200 and text.
pub(in crate::admin) fn text(summary: &'static str, content_type: &'static str) -> Operation {
    Operation {
        schema: Some(ObjectBuilder::new().schema_type(Type::String).into()),
        ..anything(summary, content_type)
    }
}

/// It returns 200, and something that has no schema here.
pub(in crate::admin) fn anything(summary: &'static str, content_type: &'static str) -> Operation {
    Operation {
        summary,
        status: 200,
        content_type,
        schema: None,
        unready: None,
        parameters: Vec::new(),
        body: None,
        failures: vec![Failure::Forbidden, Failure::TimedOut],
        schemas: Vec::new(),
    }
}

impl Operation {
    /// Not with 200.
    pub(in crate::admin) fn with(mut self, status: axum::http::StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    /// The body that it needs.
    pub(in crate::admin) fn takes<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::True)
    }

    /// The body that it takes, which may be absent.
    pub(in crate::admin) fn may_take<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::False)
    }

    fn body<T: ToSchema>(mut self, required: Required) -> Self {
        let (schema, schemas) = schema_of::<T>();
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let body = RequestBodyBuilder::new()
            .content(JSON, content)
            .required(Some(required));
        self.body = Some(body.build());
        self.schemas.extend(schemas);
        self
    }

    /// The parameters of its query.
    pub(in crate::admin) fn queried_by<P: IntoParams>(mut self) -> Self {
        self.parameters.extend(P::into_params(|| Some(ParameterIn::Query)));
        self
    }

    /// Of the parameters of its query, these alone.
    pub(in crate::admin) fn only(mut self, names: &[&str]) -> Self {
        self.parameters.retain(|one| names.contains(&one.name.as_str()));
        self
    }

    /// A header that it reads.
    pub(in crate::admin) fn header(mut self, name: &str, description: &str) -> Self {
        let header = parameter(name, ParameterIn::Header, Required::False);
        self.parameters.push(header.description(Some(description)).build());
        self
    }

    /// Text of the same type with 503, and what it means.
    pub(in crate::admin) fn or_unready(mut self, words: &'static str) -> Self {
        self.unready = Some(words);
        self
    }

    /// How it fails, apart from what can happen on every path.
    pub(in crate::admin) fn fails(mut self, failures: &[Failure]) -> Self {
        self.failures.extend_from_slice(failures);
        self
    }

    /// With the parameters that the path has, and the schemas that it refers to.
    pub(super) fn build(self, method: &HttpMethod, path: &str) -> (path::Operation, Schemas) {
        let named = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path = named.map(|name| parameter(name, ParameterIn::Path, Required::True).build());
        let parameters: Vec<_> = in_path.chain(self.parameters.iter().cloned()).collect();
        let mut operation = OperationBuilder::new()
            .summary(Some(self.summary))
            .operation_id(Some(id(method, path)))
            .parameters((!parameters.is_empty()).then_some(parameters))
            .request_body(self.body.clone())
            .response(self.status.to_string(), self.response("Done."));
        if let Some(words) = self.unready {
            operation = operation.response("503", self.response(words));
        }
        for failure in self.failures {
            operation = operation.response(failure.status(), Ref::from_response_name(failure.name()));
        }
        (operation.build(), self.schemas)
    }

    fn response(&self, words: &str) -> Response {
        let content = ContentBuilder::new().schema(self.schema.clone()).build();
        let response = ResponseBuilder::new().description(words);
        response.content(self.content_type, content).build()
    }
}

/// What goes wrong, as `{"error": "…"}`.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) enum Failure {
    BadRequest,
    Forbidden,
    NotFound,
    TimedOut,
    Conflict,
    Unprocessable,
    Internal,
    Unavailable,
}

impl Failure {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::BadRequest,
        Self::Forbidden,
        Self::NotFound,
        Self::TimedOut,
        Self::Conflict,
        Self::Unprocessable,
        Self::Internal,
        Self::Unavailable,
    ];

    pub(super) fn name(self) -> String {
        format!("{self:?}")
    }

    fn status(self) -> &'static str {
        match self {
            Self::BadRequest => "400",
            Self::Forbidden => "403",
            Self::NotFound => "404",
            Self::TimedOut => "408",
            Self::Conflict => "409",
            Self::Unprocessable => "422",
            Self::Internal => "500",
            Self::Unavailable => "503",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::BadRequest => "The request cannot be read, or a value in it is wrong.",
            Self::Forbidden => "The peer is not permitted to use this socket.",
            Self::NotFound => "What the path names does not exist.",
            Self::TimedOut => "The request took too long.",
            Self::Conflict => "The gateway's state does not permit this now.",
            Self::Unprocessable => "The body does not have the right shape, or the gateway refuses what it asks for.",
            Self::Internal => "The gateway could not finish it.",
            Self::Unavailable => "The other gateways of the fleet cannot be reached.",
        }
    }
}

/// A reference to a type, and all schemas that it needs.
pub(super) fn schema_of<T: ToSchema>() -> (RefOr<Schema>, Schemas) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    (Ref::from_schema_name(T::name()).into(), schemas)
}

fn parameter(name: &str, place: ParameterIn, required: Required) -> ParameterBuilder {
    let text: Schema = ObjectBuilder::new().schema_type(Type::String).into();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(text))
}

/// Such as `post_policies_plugin_load`.
fn id(method: &HttpMethod, path: &str) -> String {
    let method = match method {
        HttpMethod::Put => "put",
        HttpMethod::Post => "post",
        HttpMethod::Delete => "delete",
        _ => "get",
    };
    let parts = path.split(['/', '.', '-', '{', '}']);
    let parts = parts.filter(|part| !part.is_empty() && *part != "v1");
    parts.fold(method.to_owned(), |id, part| format!("{id}_{part}"))
}

const JSON: &str = "application/json";
