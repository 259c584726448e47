//! The address rules of a verdict: judged on every address of the target, with the floors.

use super::*;

#[tokio::test]
async fn address_rules_are_judged_on_what_a_name_has() {
    let judge = judge("").await;
    #[rustfmt::skip]
    let table = [
        // 7004 refuses 10.0.0.0/8; 7005 permits it and refuses the rest.
        ("10.0.0.1:7004",    "deny policy address-rule"),
        ("ten.test:7004",    "deny policy address-rule"),
        ("192.0.2.7:7004",   "allow 192.0.2.7:7004"),
        ("many.test:7004",   "allow 192.0.2.7:7004"),
        ("six.test:7004",    "allow [2001:db8::1]:7004"),
        ("10.0.0.1:7005",    "allow 10.0.0.1:7005"),
        ("many.test:7005",   "allow 10.0.0.1:7005"),
        ("192.0.2.7:7005",   "deny policy address-rule"),
        ("six.test:7005",    "deny policy address-rule"),
        // One address is refused by the rules and the other by the floors; the first counts.
        ("mixed.test:7005",  "deny policy address-rule"),
        ("mixed.test:7004",  "allow 192.0.2.7:7004"),
    ];
    for (endpoint, expected) in table {
        let explanation = judge
            .explain(supposed("connect", endpoint, ForwardLimits::default()))
            .await;
        assert_eq!(told(&explanation), expected, "{endpoint}");
        assert!(
            !explanation.line().resolved.is_empty(),
            "{endpoint}: what was judged is recorded"
        );
    }
}

#[tokio::test]
async fn terms_and_tags_are_in_the_line() {
    let judge = judge("").await;
    let explanation = judge
        .explain(supposed("connect", "ten.test:7011", ForwardLimits::default()))
        .await;
    let line = explanation.line();
    assert_eq!(line.terms.unwrap().max_seconds, Some(60));
    let tags: Vec<_> = line
        .tags
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(tags, [("rule", "tagged"), ("ticket", "7")]);
    // Refused by a floor, it has no terms, and still says what the policy thought of it.
    let refused = judge
        .explain(supposed("connect", "meta.test:7011", ForwardLimits::default()))
        .await;
    assert_eq!((refused.line().terms, refused.line().tags.len()), (None, 2));
}
