//! The rules of `tests/bench/peers` as a policy with Kubewarden's SDK.

use kubewarden_policy_sdk::request::ValidationRequest;
use kubewarden_policy_sdk::{
    accept_request, protocol_version_guest, reject_request, settings::Validatable, validate_settings,
};
use serde::{Deserialize, Serialize};
use wapc_guest::{CallResult, register_function};

/// Called by the host before anything else.
#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    register_function("validate", validate);
    register_function("validate_settings", validate_settings::<Settings>);
    register_function("protocol_version", protocol_version_guest);
}

#[derive(Default, Deserialize, Serialize)]
struct Settings {
    rules: Vec<Rule>,
}

#[derive(Deserialize, Serialize)]
struct Rule {
    host: String,
    ports: Vec<u16>,
    groups: Vec<String>,
}

impl Validatable for Settings {
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Deserialize)]
struct Asked {
    groups: Vec<String>,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    host: String,
    port: u16,
}

fn validate(payload: &[u8]) -> CallResult {
    let request: ValidationRequest<Settings> = ValidationRequest::new(payload)?;
    let asked: Asked = serde_json::from_value(request.request.object)?;
    let fits = |rule: &Rule| {
        rule.host == asked.target.host
            && rule.ports.contains(&asked.target.port)
            && asked.groups.iter().any(|group| rule.groups.contains(group))
    };
    match request.settings.rules.iter().any(fits) {
        true => accept_request(),
        false => reject_request(Some("no rule".to_owned()), None, None, None),
    }
}
