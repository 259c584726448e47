//! The chain: the first denial wins, a rewrite is what the next policy sees, terms only tighten.

use super::*;

/// Two policies; the second may not rewrite.
pub(super) async fn chain() -> Loaded {
    static LOADED: OnceCell<Loaded> = OnceCell::const_new();
    let first = json!([
        { "name": "one", "ports": 1001, "outcome": "deny" },
        { "name": "moved", "ports": 1002, "actions": "connect", "outcome": "rewrite", "to": "many.test:1003" },
        { "name": "long", "ports": 1004, "outcome": "allow",
          "terms": { "max-seconds": 60, "idle-seconds": 5, "address-rules": [{ "cidr": "10.0.0.0/8", "effect": "refuse" }] } },
        { "name": "rest", "outcome": "allow" },
    ]);
    let second = json!([
        { "name": "two", "ports": [1001, 1003], "outcome": "deny" },
        { "name": "short", "ports": 1004, "outcome": "allow",
          "terms": { "max-seconds": 30, "idle-seconds": 50, "address-rules": [{ "cidr": "192.0.2.0/24", "effect": "refuse" }] } },
        { "name": "ungranted", "ports": 1005, "actions": "connect", "outcome": "rewrite", "to": "ten.test:1" },
        { "name": "rest", "outcome": "allow" },
    ]);
    LOADED
        .get_or_init(|| load(vec![(true, first), (false, second)]))
        .await
        .clone()
}

#[tokio::test]
async fn each_policy_of_a_chain_must_agree() {
    let judge = judge_by(chain().await, "").await;
    #[rustfmt::skip]
    let table = [
        // asked            what comes of it                      which policy decided
        ("ten.test:80",     "allow 10.0.0.1:80",                  "rules-2"),
        ("ten.test:1001",   "deny policy one",                    "rules-1"),
        ("ten.test:1003",   "deny policy two",                    "rules-2"),
        // The second sees what the first has made of it.
        ("ten.test:1002",   "deny policy two",                    "rules-2"),
        // The address rules of both must permit.
        ("ten.test:1004",   "deny policy address-rule",           "rules-2"),
        ("many.test:1004",  "deny policy address-rule",           "rules-2"),
        ("six.test:1004",   "allow [2001:db8::1]:1004",           "rules-2"),
        // A failure to decide is no denial.
        ("ten.test:1005",   "failed policy rewrite-not-granted",  "rules-2"),
    ];
    for (endpoint, expected, policy) in table {
        let explanation = judge
            .explain(supposed("connect", endpoint, ForwardLimits::default()))
            .await;
        let decided = explanation.line().policy.map(|policy| policy.name);
        assert_eq!(
            (told(&explanation).as_str(), decided.as_deref()),
            (expected, Some(policy)),
            "{endpoint}"
        );
    }
    let explanation = judge
        .explain(supposed("connect", "six.test:1004", ForwardLimits::default()))
        .await;
    let terms = explanation.line().terms.unwrap();
    assert_eq!(
        (terms.max_seconds, terms.idle_seconds),
        (Some(30), Some(5)),
        "the smaller of each"
    );
}
