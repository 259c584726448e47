use futures_util::FutureExt;

use super::*;

fn name(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn found() -> Result<Vec<IpAddr>, NameError> {
    Ok(vec![Ipv4Addr::new(192, 0, 2, 1).into()])
}

#[test]
fn the_patience_outlasts_two_silent_servers_and_three_lost_packets() {
    // resolv.conf(5): after five seconds the C library asks the next server, or the same once more.
    let next_server = Duration::from_secs(5);
    assert!(Limits::default().lookup_timeout > 3 * next_server);
}

#[tokio::test]
async fn the_names_of_one_decision_are_waited_for_together() {
    let mut lookups = Lookups::of(Resolver::answering_only("db"), "alice", Duration::from_millis(1));
    for (host, expected) in [
        ("silent", Err(NameError::TimedOut)),
        ("another", Err(NameError::TimedOut)),
        ("db", found()),
        ("silent", Err(NameError::TimedOut)),
    ] {
        assert_eq!(lookups.settle(&name(host)).await, expected, "{host}");
    }
    assert_eq!(lookups.unanswered(), Some(("another", &NameError::TimedOut)));
}

#[tokio::test]
async fn the_unanswered_names_of_one_user_hold_up_no_other() {
    let resolver = Resolver::answering_only("db");
    let hour = Duration::from_secs(3600);
    let ask = |user: &str, host: &str| {
        let (mut lookups, host) = (Lookups::of(resolver.clone(), user, hour), name(host));
        async move { lookups.settle(&host).await }.boxed()
    };
    // Over as many sessions as they like.
    let mut unanswered: Vec<_> = (0..1000).map(|number| ask("hostile", &format!("n{number}"))).collect();
    for one in &mut unanswered {
        assert!(one.now_or_never().is_none());
    }
    for other in 0..5 {
        let honest = ask(&format!("honest-{other}"), "db").now_or_never();
        assert_eq!(honest, Some(found()));
    }
    assert_eq!(ask("hostile", "db").now_or_never(), None, "their own further ones wait");
}

/// A resolver with a search domain in which `db` is another machine than `db.`
fn searching() -> Resolver {
    let address = |text: &str| Ok(vec![text.parse().unwrap()]);
    Resolver::table(HashMap::from([
        ("db.".to_owned(), address("192.0.2.1")),
        ("db".to_owned(), address("10.0.0.1")),
        ("web".to_owned(), address("10.0.0.2")),
    ]))
}

#[tokio::test]
async fn a_name_with_a_dot_at_its_end_is_asked_for_with_it() {
    #[rustfmt::skip]
    let table = [
        // the target, what a policy asks for, its address
        ("db.",  "db",   "192.0.2.1"), // as the policy is told of the target
        ("db.",  "db.",  "192.0.2.1"),
        ("db",   "db",   "10.0.0.1"),
        ("db",   "db.",  "192.0.2.1"),
        ("web",  "db.",  "192.0.2.1"),
        ("web.", "db",   "10.0.0.1"),
        ("web.", "web",  "10.0.0.2"),  // recorded without it
        ("DB.",  "Db",   "192.0.2.1"),
        ("localhost.", "localhost", "127.0.0.1"),
    ];
    for (target, asked, address) in table {
        let mut lookups = Lookups::new(searching());
        lookups.concern(&Endpoint::to_connect(target, 22).unwrap());
        let found = lookups.resolve(&name(asked)).await.unwrap();
        assert_eq!(found[0].to_string(), address, "{asked} for {target}");
        let names: Vec<_> = lookups.answered().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, [name(asked).to_string()], "it is recorded as it is compared");
    }
}

#[tokio::test]
async fn what_a_policy_was_told_is_what_is_dialled_with_and_without_the_dot() {
    let mut lookups = Lookups::new(searching());
    let target = Endpoint::to_connect("db.", 22).unwrap();
    lookups.concern(&target);
    let told = lookups.resolve(&name("db")).await;
    for spelling in ["db.", "db"] {
        assert_eq!(lookups.settle(&name(spelling)).await, told, "{spelling}");
    }
    assert_eq!(lookups.pinned().len(), 1);
    let mut again = Lookups::new(Resolver::silent());
    again.concern(&target);
    again.pin(lookups.pinned());
    assert_eq!(again.settle(&name("db.")).await, told, "a verdict that is used again");
}
