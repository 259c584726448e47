//! Which ports may be forwarded. The crate `portreeve-policy` has the types; `cargo test` runs the tests below without WebAssembly.

use portreeve_policy::{Request, Verdict, policy};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    #[serde(default = "ssh")]
    ports: Vec<u16>,
}

fn ssh() -> Vec<u16> {
    vec![22]
}

fn decide(request: &Request, settings: &Settings) -> Verdict {
    if !request.is_connect() {
        return Verdict::deny("only-connections", "not a connection").tell_user("only connections can be forwarded here");
    }
    match request.port() {
        Some(port) if settings.ports.contains(&port) => Verdict::allow(),
        _ => Verdict::deny("other-port", "not a port of the settings").tell_user("this port cannot be reached from here"),
    }
}

policy!(name: "{{name}}", summary: "connections to some ports", settings: Settings, decide: decide);

#[cfg(test)]
mod tests {
    use super::*;
    use portreeve_policy::testing;

    #[test]
    fn other_ports_are_closed() {
        let settings = Settings { ports: vec![443] };
        assert!(decide(&testing::connect("db.internal:443").build(), &settings).is_allow());
        assert!(!decide(&testing::connect("db.internal:22").build(), &settings).is_allow());
    }
}
