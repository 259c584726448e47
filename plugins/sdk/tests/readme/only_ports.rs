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
        return Verdict::deny("only-connections", "not a connection")
            .tell_user("only connections can be forwarded here");
    }
    match request.port() {
        Some(port) if settings.ports.contains(&port) => Verdict::allow(),
        _ => {
            Verdict::deny("other-port", "not a port of the settings").tell_user("this port cannot be reached from here")
        }
    }
}

policy!(name: "only-ports", summary: "connections to some ports", settings: Settings, decide: decide);
