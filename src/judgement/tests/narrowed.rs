//! While a reload prepares policies, of two configurations what both permit counts.

use super::*;

async fn narrowed(one: &str, other: &str) -> [Judge; 2] {
    [
        judge_in(house(one).narrowed_by(&house(other)), policies().await),
        judge_in(house(other).narrowed_by(&house(one)), policies().await),
    ]
}

#[tokio::test]
async fn what_either_configuration_refuses_is_refused() {
    #[rustfmt::skip]
    let table = [
        // one configuration                          action     asked               with it refused as
        ("[forwarding]\nlocal = false",               "connect", "ten.test:80",      "deny switch local"),
        ("[forwarding]\nlocal-sockets = false",       "connect", "unix:/nowhere",    "deny switch local-sockets"),
        ("[forwarding]\nremote = false",              "listen",  "localhost:8080",   "deny switch remote"),
        ("[forwarding]\nremote-sockets = false",      "listen",  "unix:/nowhere",    "deny switch remote-sockets"),
        ("[floors]\ndeny = [\"10.0.0.0/8\"]",         "connect", "ten.test:80",      "deny floor deny"),
        // The other configuration still has the list that is built in.
        ("[floors]\ndeny = []",                       "connect", "meta.test:80",     "deny floor deny"),
        ("[floors]\nprivileged-listen-ports = true",  "listen",  "localhost:80",     "deny floor privileged-listen-ports"),
        ("[forwarding]\ngateway-ports = \"yes\"",     "listen",  "localhost:7007",   "deny switch gateway-ports"),
        ("[forwarding]\ngateway-ports = \"yes\"",     "listen",  "*:8080",           "allow 127.0.0.1:8080 [::1]:8080"),
    ];
    for (one, action, endpoint, expected) in table {
        for judge in narrowed(one, "").await {
            assert_eq!(
                judge.says(action, endpoint).await,
                expected,
                "{one}: {action} {endpoint}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_open_is_judged_again_only_if_a_change_can_concern_it() {
    let open = |action: Action, target: &str| ForwardRequest::dry("alice", action, target.parse().unwrap());
    let closed = "[forwarding]\nremote = false";
    #[rustfmt::skip]
    let table = [
        // the configuration now                 what is open                  dialled                stays
        ("",                                     Action::Connect, "ten.test:80",     Some("10.0.0.1:80"),   true),
        ("[forwarding]\nlocal = false",          Action::Connect, "ten.test:80",     Some("10.0.0.1:80"),   false),
        (closed,                                 Action::Connect, "ten.test:80",     Some("10.0.0.1:80"),   true),
        ("[floors]\ndeny = [\"10.0.0.0/8\"]",    Action::Connect, "ten.test:80",     Some("10.0.0.1:80"),   false),
        ("[floors]\ndeny = [\"10.0.0.0/8\"]",    Action::Connect, "many.test:80",    Some("192.0.2.7:80"),  true),
        // A proxy looked the name up.
        ("",                                     Action::Connect, "ten.test:80",     None,                  false),
        ("",                                     Action::Listen,  "localhost:8080",  None,                  true),
        (closed,                                 Action::Listen,  "localhost:8080",  None,                  false),
        (closed,                                 Action::Accept,  "localhost:8080",  None,                  false),
        ("",                                     Action::Listen,  "*:8080",          None,                  false),
        ("[forwarding]\ngateway-ports = \"yes\"", Action::Listen, "*:8080",          None,                  true),
        ("[forwarding]\ngateway-ports = \"yes\"", Action::Listen, "10.0.0.1:8080",   None,                  true),
        // What a name means now, only a judgement can say.
        ("[forwarding]\ngateway-ports = \"yes\"", Action::Listen, "ten.test:8080",   None,                  false),
        ("",                                     Action::Listen,  "localhost:80",    None,                  false),
        ("[forwarding]\nlocal-sockets = false",  Action::Connect, "unix:/nowhere",   None,                  false),
        ("",                                     Action::Connect, "unix:/nowhere",   None,                  true),
    ];
    for (text, action, target, dialled, stays) in table {
        let request = open(action, target);
        let dialled = dialled.map(|address| address.parse().unwrap());
        let found = house(text).still_permits(&request, &request.target, dialled);
        assert_eq!(found, stays, "{text}: {action:?} {target}");
    }
    // Whether it is the gateway itself, only the system can say.
    let own = OwnListeners::default();
    own.add("0.0.0.0:2222".parse().unwrap());
    let config = configured("");
    let house = House::new(config.forwarding, config.floors, own);
    let request = open(Action::Connect, "192.0.2.7:2222");
    assert!(!house.still_permits(&request, &request.target, Some("192.0.2.7:2222".parse().unwrap())));
}

#[tokio::test]
async fn what_a_change_can_concern_is_told_by_what_it_replaced() {
    let (_, other) = chain::chain().await;
    let (_, same) = policies().await;
    let of = |house: House, generation: &Arc<Generation>, limits: &str| {
        let config = configured(limits);
        Current {
            house: Arc::new(house),
            generation: Arc::clone(generation),
            names: Resolver::silent(),
            routes: Arc::new(
                crate::outbound::Routes::new(&config, Path::new("test.toml"))
                    .map_err(|_| ())
                    .unwrap(),
            ),
            accounts: Arc::new(Accounts::new(&config, Path::new("test.toml")).unwrap()),
            limits: Arc::new(config.limits),
            on_swap: config.policy.on_swap,
            on_doubt: config.policy.on_doubt,
        }
    };
    let base = house("");
    let before = of(base.clone(), &same, "");
    let tighter = base.narrowed_by(&house("[forwarding]\nlocal = false"));
    #[rustfmt::skip]
    let table = [
        // the house         the policies   the limits                     what of it concerns what is open
        (base.clone(),       &same,         "",                            Concerns::Nothing),
        (base.clone(),       &same,         "[limits]\nsessions = 7",      Concerns::Nothing),
        (base.clone(),       &same,         "[outbound]\nmark = 7",       Concerns::Everything),
        (tighter.clone(),    &same,         "",                            Concerns::Refused),
        (base.clone(),       &other,        "",                            Concerns::Everything),
        (tighter,            &other,        "",                            Concerns::Everything),
    ];
    for (number, (house, generation, limits, expected)) in table.into_iter().enumerate() {
        let now = of(house, generation, limits).keeping(&before);
        assert_eq!(now.concerns(&before), expected, "row {number}");
        // What is equal stays in its place, so that it is known to be the same.
        assert_eq!(
            Arc::ptr_eq(&now.limits, &before.limits),
            !limits.starts_with("[limits]"),
            "row {number}"
        );
    }
}
