//! Types of other rooms as they look in JSON, so that those rooms need not know of the document. A test compares them with the types.

#![expect(dead_code, reason = "their shape is read, and none is ever made")]

use jiff::Timestamp;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::request;

/// What every error looks like.
#[derive(ToSchema)]
#[schema(as = Error)]
pub(in crate::admin) struct Failed {
    /// What happened, and what to do.
    error: String,
}

/// What the client asked the gateway to do with the endpoint.
pub(in crate::admin) struct Action;

impl PartialSchema for Action {
    fn schema() -> RefOr<Schema> {
        let words = request::Action::ALL.map(request::Action::as_str);
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("What the client asks the gateway to do with the endpoint."));
        schema.enum_values(Some(words)).into()
    }
}

impl ToSchema for Action {}

/// Which policy decided.
#[derive(ToSchema)]
pub(in crate::admin) struct PolicyRef {
    /// The name under which it is configured.
    name: String,
    /// The version that the component states.
    version: String,
    /// SHA-256 of the component, hexadecimal.
    sha256: String,
    /// SHA-256 of the settings, hexadecimal.
    settings_sha256: String,
}

/// Terms on which a request was allowed; what is absent follows the configured default.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in crate::admin) struct Terms {
    /// The tunnel or listener closes after so many seconds.
    #[schema(nullable = false)]
    max_seconds: Option<u32>,
    /// It closes after so many seconds without a byte in either direction.
    #[schema(nullable = false)]
    idle_seconds: Option<u32>,
    /// It closes after so many bytes, both directions together.
    #[schema(nullable = false)]
    max_bytes: Option<u64>,
    /// Rate limit for each direction.
    #[schema(nullable = false)]
    bytes_per_second: Option<u64>,
    /// The address rules of each policy of the chain: each list must permit an address. In a list, the first match wins.
    #[schema(nullable = false)]
    address_rules: Option<Vec<Vec<AddressRule>>>,
    /// The policy is asked again about the open tunnel after so many seconds.
    #[schema(nullable = false)]
    recheck_seconds: Option<u32>,
    /// Equal requests of the same connection may be answered from this verdict for so many seconds.
    #[schema(nullable = false)]
    reuse_seconds: Option<u32>,
    /// A socket that is already there is replaced.
    #[schema(nullable = false)]
    replace_socket: Option<bool>,
    /// The version of the PROXY header that the target is sent first: `v1`, `v2` or `none`.
    #[schema(nullable = false)]
    proxy_protocol: Option<String>,
    /// The address that the target is connected to from.
    #[schema(nullable = false)]
    source_address: Option<String>,
    /// The mark of the connection's packets.
    #[schema(nullable = false)]
    mark: Option<u32>,
    /// The class of service of its packets: a name, or a number from 0 to 63 that has none.
    #[schema(nullable = false)]
    dscp: Option<serde_json::Value>,
    /// The proxy through which the target is reached, or `direct`.
    #[schema(nullable = false)]
    via: Option<String>,
}

/// One address rule.
#[derive(ToSchema)]
pub(in crate::admin) struct AddressRule {
    /// The network.
    cidr: String,
    /// Whether an address in it may be dialled.
    effect: Effect,
}

/// What an address rule says.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::admin) enum Effect {
    Permit,
    Refuse,
}

/// Why a user is locked out.
#[derive(ToSchema)]
pub(in crate::admin) struct Lock {
    /// The user.
    user: String,
    /// What the administrator said.
    reason: String,
    /// Since when.
    since: Timestamp,
    /// Until when; absent: until it is lifted.
    #[schema(nullable = false)]
    until: Option<Timestamp>,
    /// The administrator's uid.
    uid: u32,
    /// The administrator's name on this machine.
    admin: String,
    /// All gateways of the fleet were told; absent: only this one.
    #[schema(nullable = false)]
    fleet: Option<bool>,
}
