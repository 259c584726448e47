wit_bindgen::generate!({ world: "policy", path: "../../../wit" });
use exports::portreeve::policy::{decision, lifecycle};
use portreeve::policy::types::{Action, Denial, Description, Endpoint, Problem, Request, Verdict};

struct OnlyPort22;

impl decision::Guest for OnlyPort22 {
    fn decide(request: Request) -> Verdict {
        match (request.action, request.target) {
            (Action::Connect, Endpoint::Tcp(place)) if place.port == 22 => Verdict::Allow,
            _ => Verdict::Deny(Denial {
                code: "only-port-22".into(),
                reason: "not a connection to port 22".into(),
                tell_user: Some("only port 22 can be reached from here".into()),
            }),
        }
    }
}

impl lifecycle::Guest for OnlyPort22 {
    fn describe() -> Description {
        Description {
            name: "only-port-22".into(),
            version: "0.1.0".into(),
            summary: "connections to port 22 and nothing else".into(),
            settings_schema: None,
        }
    }

    fn configure(_settings: String) -> Result<(), Vec<Problem>> {
        Ok(())
    }
}

export!(OnlyPort22);
