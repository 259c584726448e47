//! Tables of cases: real policies, one request a row, and what came of it in a few words.

mod addresses;
mod again;
mod bind;
mod chain;
mod floors;
mod keys;
mod names;
mod narrowed;
mod own;
mod record;
mod reuse;
mod switches;
mod ways;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::*;
use crate::accounts::{Accounts, Proof, Standing};
use crate::auth::{ForwardLimits, parse_line};
use crate::config::{self, Config};
use crate::names::Resolver;
use crate::policy::Generation;
use crate::request::{Action, Requested};

/// Policies, compiled once for all tables.
type Loaded = (Arc<Policies>, Arc<Generation>);

/// A judge by what is not the policies' business in this configuration, and by the policies of all tables.
async fn judge(text: &str) -> Judge {
    judge_by(policies().await, text).await
}

async fn judge_by(loaded: Loaded, text: &str) -> Judge {
    judge_in(house(text), loaded)
}

fn judge_in(house: House, loaded: Loaded) -> Judge {
    judge_asking(Resolver::table(known_names()), configured(""), house, loaded)
}

fn judge_asking(resolver: Resolver, config: Config, house: House, (policies, generation): Loaded) -> Judge {
    let current = Current {
        house: Arc::new(house),
        generation,
        names: resolver,
        routes: Arc::new(
            crate::outbound::Routes::new(&config, Path::new("test.toml"))
                .map_err(|_| ())
                .unwrap(),
        ),
        accounts: Arc::new(Accounts::new(&config, Path::new("test.toml")).unwrap()),
        limits: Arc::new(config.limits),
        on_swap: config.policy.on_swap,
        on_doubt: config.policy.on_doubt,
    };
    Judge::new(current, policies)
}

/// The switches and floors of a configuration.
fn house(text: &str) -> House {
    let config = configured(text);
    House::new(config.forwarding, config.floors, OwnListeners::default())
}

fn configured(text: &str) -> Config {
    let text = format!("{text}\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n");
    config::parse(&text, Path::new("test.toml")).unwrap_or_else(|faults| panic!("{faults}"))
}

fn known_names() -> HashMap<String, Result<Vec<IpAddr>, crate::names::NameError>> {
    let names: [(&str, &[&str]); 6] = [
        ("ten.test", &["10.0.0.1"]),
        ("many.test", &["10.0.0.1", "192.0.2.7"]),
        ("six.test", &["2001:db8::1"]),
        ("meta.test", &["169.254.169.254"]),
        ("mixed.test", &["169.254.169.254", "192.0.2.7"]),
        ("self.test", &["127.0.0.1"]),
    ];
    let parsed = |addresses: &[&str]| addresses.iter().map(|one| one.parse().unwrap()).collect();
    names
        .into_iter()
        .map(|(name, addresses)| (name.to_owned(), Ok(parsed(addresses))))
        .collect()
}

/// What the ports mean to the policies of all tables; every other port is allowed.
fn rules() -> Value {
    json!([
        { "name": "closed", "ports": 23, "outcome": "deny", "tell-user": "no telnet" },
        { "name": "no-visitors", "ports": 7009, "actions": "accept", "outcome": "deny" },
        { "name": "to-a-name", "ports": 7001, "actions": "connect", "outcome": "rewrite", "to": "ten.test:80" },
        { "name": "to-metadata", "ports": 7002, "actions": "connect", "outcome": "rewrite", "to": "169.254.169.254:80" },
        { "name": "to-itself", "ports": 7003, "actions": "connect", "outcome": "rewrite", "to": "127.0.0.1:2222" },
        { "name": "not-ten", "ports": 7004, "outcome": "allow",
          "terms": { "address-rules": [{ "cidr": "10.0.0.0/8", "effect": "refuse" }] } },
        { "name": "only-ten", "ports": 7005, "outcome": "allow",
          "terms": { "address-rules": [{ "cidr": "10.0.0.0/8", "effect": "permit" },
                                       { "cidr": "0.0.0.0/0", "effect": "refuse" },
                                       { "cidr": "::/0", "effect": "refuse" }] } },
        { "name": "again", "ports": 7006, "outcome": "allow", "terms": { "reuse-seconds": 60 } },
        { "name": "elsewhere", "ports": 7007, "actions": "listen", "outcome": "rewrite", "to": "10.0.0.1:7017" },
        { "name": "privileged", "ports": 7008, "actions": "listen", "outcome": "rewrite", "to": ":80" },
        { "name": "to-nothing", "ports": 7010, "actions": "connect", "outcome": "rewrite", "to": "nowhere.test:80" },
        { "name": "tagged", "ports": 7011, "outcome": "allow", "terms": { "max-seconds": 60, "tags": { "ticket": "7" } } },
        { "name": "to-a-socket", "ports": 7012, "actions": "connect", "outcome": "rewrite", "to": "unix:/nowhere" },
        { "name": "from-a-socket", "sockets": "/rewritten", "actions": "connect", "outcome": "rewrite", "to": "ten.test:80" },
        { "name": "inside", "ports": [7020, 7021], "addresses": "10.0.0.0/8", "outcome": "allow" },
        { "name": "outside", "ports": 7020, "outcome": "deny", "tell-user": "ask the DBA" },
        { "name": "beyond", "ports": 7021, "outcome": "deny" },
        { "name": "rest", "outcome": "allow" },
    ])
}

async fn policies() -> Loaded {
    static LOADED: OnceCell<Loaded> = OnceCell::const_new();
    LOADED.get_or_init(|| load(vec![(true, rules())])).await.clone()
}

/// A chain of the built-in policy: which of them may rewrite, and their rules.
async fn load(chain: Vec<(bool, Value)>) -> Loaded {
    let plugins = (1..).zip(&chain).map(|(number, (rewrite, _))| {
        format!(
            "[[policy.plugin]]\nname = \"rules-{number}\"\ncomponent = \"builtin:rules\"\ngrants = [\"names\"]\nrewrite = \
             {rewrite}\n"
        )
    });
    let mut config = config::parse(&plugins.collect::<String>(), Path::new("test.toml")).unwrap();
    for (plugin, (_, rules)) in config.policy.plugins.iter_mut().zip(chain) {
        plugin.settings = json!({ "rules": rules });
    }
    // The compiled code and what makes instances outlive the test that comes first.
    let loaded = Policies::load(&config.policy, Arc::new(|_| 0)).await;
    let (policies, generation) = loaded.map_err(|errors| format!("{errors:?}")).unwrap();
    (Arc::new(policies), generation)
}

/// What a client asks: `connect`, `listen` or `accept`, and an endpoint as it sends it.
fn asked(action: &str, endpoint: &str) -> Asked {
    let requested = match endpoint.strip_prefix("unix:") {
        Some(path) => Requested::Socket(path.to_owned()),
        None => {
            let (host, port) = endpoint.rsplit_once(':').unwrap();
            Requested::Tcp {
                host: host.to_owned(),
                port: port.parse().unwrap(),
            }
        }
    };
    match action {
        "connect" => Asked::Connect(Connect::new(requested, None)),
        "listen" => Asked::Listen(Listen { requested }),
        "accept" => Asked::Deliver(Deliver {
            listener: Listener {
                requested,
                endpoint: endpoint.parse().unwrap(),
            },
            peer: Some("192.0.2.99:5".parse().unwrap()),
        }),
        other => panic!("{other}"),
    }
}

fn supposed(action: &str, endpoint: &str, limits: ForwardLimits) -> Supposed {
    let model = ForwardRequest::dry("alice", Action::Connect, "ten.test:1".parse().unwrap());
    Supposed {
        principal: crate::request::Principal::clone(&model.principal),
        limits,
        connection: crate::request::Connection::clone(&model.connection),
        asked: asked(action, endpoint),
        now: Timestamp::now(),
    }
}

/// The limits of a key with these options.
fn limits(options: &str) -> ForwardLimits {
    let line = parse_line(&format!("{options} {KEY}")).unwrap().unwrap();
    line.options.limits()
}

impl Judge {
    /// What comes of one request, in a few words: [`told`].
    async fn says(&self, action: &str, endpoint: &str) -> String {
        told(&self.explain(supposed(action, endpoint, ForwardLimits::default())).await)
    }
}

/// `allow` and the addresses; `rewrite` with the new endpoint and the addresses; `deny` or `failed` with who and the code; or
/// `unreachable`.
fn told(explanation: &Explanation) -> String {
    let line = explanation.line();
    let word = line.verdict.as_str();
    match explanation.outcome() {
        Ok(allowed) => {
            let effective = line.effective.as_ref().map(ToString::to_string);
            assert_eq!(
                Some(&allowed.effective),
                line.effective.as_ref().or(line.target.as_ref()),
                "what is allowed is what is recorded"
            );
            let addresses = explanation.addresses().iter().map(ToString::to_string);
            let words = [word.to_owned()].into_iter().chain(effective).chain(addresses);
            words.collect::<Vec<_>>().join(" ")
        }
        Err(Refusal::Unreachable { .. }) => format!("{word}, unreachable"),
        Err(_) => {
            let by = serde_json::to_value(line.by).unwrap();
            assert!(line.terms.is_none(), "what is refused has no terms");
            format!(
                "{word} {} {}",
                by.as_str().unwrap_or_default(),
                line.code.unwrap_or_default()
            )
        }
    }
}

/// What the login of a user gives, whose key has these options.
fn rights(options: &str) -> Arc<Rights> {
    let key = format!("{options} {KEY}");
    let config = configured(&format!(
        "[[user]]\nname = \"alice\"\nauthorized-keys = ['''{}''']",
        key.trim()
    ));
    let accounts = Arc::new(Accounts::new(&config, Path::new("test.toml")).unwrap());
    let proof = Proof::Key(parse_line(KEY).unwrap().unwrap().key);
    let client = [127, 0, 0, 1].into();
    let admitted = accounts.judge("alice", &proof, client).unwrap();
    Standing::new(admitted, client, Arc::downgrade(&accounts)).rights()
}

fn question<D>(asked: D) -> Question<D> {
    let model = ForwardRequest::dry("alice", Action::Connect, "ten.test:1".parse().unwrap());
    Question::new(asked, &rights(""), model.connection)
}

fn connect(endpoint: &str) -> Question<Connect> {
    match asked("connect", endpoint) {
        Asked::Connect(asked) => question(asked),
        other => panic!("{other:?}"),
    }
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINeq1q2UHWOiofHWo3o7mlNRgIcRSGImWFtTdN+oza4v";
