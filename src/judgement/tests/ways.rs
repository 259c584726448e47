//! The way to a target: through a proxy, floors and address rules hold as without one.

use super::*;

/// A judge by whose configuration every target is reached through this proxy.
async fn judge_through(proxy: &str, names: &str) -> Judge {
    let text = format!(
        "[outbound]\nvia = \"office\"\n[[via]]\nname = \"office\"\nsocks5 = \"{proxy}:1080\"\nnames = \"{names}\"\n"
    );
    let resolver = Resolver::table(known_names());
    judge_asking(resolver, configured(&text), house(""), policies().await)
}

#[tokio::test]
async fn a_proxy_is_asked_only_for_what_is_permitted() {
    #[rustfmt::skip]
    let table = [
        // the target        an address is handed on         the name is handed on
        ("10.0.0.1:1",       "allow 10.0.0.1:1",             "allow 10.0.0.1:1"),
        ("169.254.1.1:1",    "deny floor deny",              "deny floor deny"),
        ("meta.test:1",      "deny floor deny",              "deny floor deny"),
        // The proxy might choose the one that is denied.
        ("mixed.test:1",     "allow 192.0.2.7:1",            "deny floor deny"),
        ("many.test:7004",   "allow 192.0.2.7:7004",         "deny policy address-rule"),
        ("many.test:1",      "allow 10.0.0.1:1 192.0.2.7:1", "allow"),
        // What only the proxy may know. Address rules cannot be judged for it.
        ("nowhere.test:1",   "allow, unreachable",           "allow"),
        ("nowhere.test:7004", "allow, unreachable",          "failed policy bad-obligation"),
        ("a.test:7010",      "rewrite, unreachable",         "rewrite nowhere.test:80"),
    ];
    let (resolving, handing_on) = (
        judge_through("192.0.2.1", "resolve").await,
        judge_through("192.0.2.1", "hand-on").await,
    );
    for (target, resolved, handed_on) in table {
        assert_eq!(resolving.says("connect", target).await, resolved, "{target}");
        assert_eq!(handing_on.says("connect", target).await, handed_on, "{target}");
    }
}

#[tokio::test]
async fn the_floors_are_not_asked_about_the_proxy_itself() {
    let denied = judge_through("169.254.1.1", "resolve").await;
    assert_eq!(denied.says("connect", "ten.test:1").await, "allow 10.0.0.1:1");
    let unknown = judge_through("nowhere.test", "resolve").await;
    assert_eq!(unknown.says("connect", "ten.test:1").await, "allow, unreachable");
}

#[tokio::test]
async fn the_line_says_how_a_target_is_connected_to() {
    let judge = judge_through("192.0.2.1", "resolve").await;
    let explained = async |action, target| judge.explain(supposed(action, target, ForwardLimits::default())).await;
    let allowed = explained("connect", "ten.test:1").await;
    let outbound = serde_json::to_value(allowed.line().outbound).unwrap();
    assert_eq!(outbound, json!({ "via": "office" }));
    assert!(allowed.outcome().is_ok_and(|allowed| allowed.through.is_some()));
    // The policy said nothing of it.
    assert_eq!(serde_json::to_value(allowed.line().terms).unwrap(), json!({}));
    let refused = explained("connect", "meta.test:1").await;
    assert_eq!(refused.line().outbound, None);
    let listener = explained("listen", "localhost:7777").await;
    assert_eq!(listener.line().outbound, None);
}
