//! What becomes of a decision whose names are not answered.

use std::sync::Arc;

use super::*;
use crate::accounts::Accounts;
use crate::config;
use crate::request::{Connection, Principal};

/// A judge by these rules. The resolver answers for `db.test`, and for no other name ever.
async fn judge(rules: serde_json::Value) -> Judge {
    let text = "[limits]\nlookup-timeout = \"100ms\"\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \
                \"builtin:rules\"\ngrants = [\"names\"]";
    let file = std::path::Path::new("test.toml");
    let mut config = config::parse(text, file).unwrap();
    config.policy.plugins[0].settings = serde_json::json!({ "rules": rules });
    let loaded = Policies::load(&config.policy, Arc::new(|_| 0)).await;
    let (policies, generation) = loaded.map_err(|errors| format!("{errors:?}")).unwrap();
    let accounts = Accounts::new(&config, file).unwrap();
    let current = Current {
        house: Arc::new(House::new(config.forwarding, config.floors, OwnListeners::default())),
        generation,
        accounts: Arc::new(accounts),
        limits: Arc::new(config.limits),
        on_swap: config.policy.on_swap,
        on_doubt: config.policy.on_doubt,
    };
    Judge::new(current, Arc::new(policies), Resolver::answering_only("db.test"))
}

fn question(target: &str) -> Question {
    let target: Endpoint = target.parse().unwrap();
    let model = ForwardRequest::dry("alice", Action::Connect, target.clone());
    Question {
        id: model.id.clone(),
        action: Action::Connect,
        requested: Requested::from(&target),
        listener: None,
        connected: None,
        originator: None,
        principal: Arc::new(Principal::clone(&model.principal)),
        connection: Arc::new(Connection::clone(&model.connection)),
        limits: Arc::default(),
        dry_run: false,
        again: None,
        verdicts: None,
    }
}

#[tokio::test]
async fn a_refusal_without_an_answer_for_a_name_is_a_failure_to_decide_and_says_so() {
    let judge = judge(serde_json::json!([
        { "name": "all", "ports": 1, "outcome": "allow" },
        { "name": "closed", "ports": 23, "outcome": "deny", "tell-user": "no telnet" },
        { "name": "inside", "ports": [80, 81], "addresses": "10.0.0.0/8", "outcome": "allow" },
        { "name": "rest", "ports": 80, "outcome": "deny", "tell-user": "ask the DBA" },
    ]))
    .await;
    let silent = "silent.test: the resolver did not answer in time";
    let told = format!("ask the DBA ({silent})");
    #[rustfmt::skip]
    let table = [
        // target           verdict               code                      the user reads
        ("silent.test:80", VerdictWord::Failed, Some("name-unanswered"), told.as_str()),
        ("silent.test:81", VerdictWord::Failed, Some("name-unanswered"), silent),
        // What does not rest on the name is a denial, and so is what rests on an answer.
        ("silent.test:23", VerdictWord::Deny,   Some("closed"),          "no telnet"),
        ("db.test:80",     VerdictWord::Deny,   Some("rest"),            "ask the DBA"),
        // The policy needs no name, and the gateway does.
        ("silent.test:1",  VerdictWord::Allow,  None,                    silent),
    ];
    for (target, verdict, code, sentence) in table {
        let judgement = judge.judge(question(target)).await;
        let decided = &judgement.decided;
        assert_eq!((decided.verdict, decided.code.as_deref()), (verdict, code), "{target}");
        let refusal = judgement.outcome.err().expect("a refusal");
        assert_eq!(refusal.sentence(), sentence, "{target}");
        // What is open is closed by a denial only.
        assert_eq!(refusal.is_doubt(), verdict == VerdictWord::Failed, "{target}");
    }
}
