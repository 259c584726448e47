//! Names that are resolved, and what is remembered of them.

use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::config::Limits;
use crate::request::{Endpoint, Host};

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

#[tokio::test]
async fn a_policy_may_ask_for_a_few_names_and_the_gateway_for_its_own() {
    let known: Names = (0..20).map(|number| (format!("n{number}.test"), found())).collect();
    let mut lookups = Lookups::new(Resolver::table(known));
    for number in 0..8 {
        assert_eq!(
            lookups.resolve(&name(&format!("n{number}.test"))).await,
            found(),
            "{number}"
        );
    }
    #[rustfmt::skip]
    let table = [
        // a policy asks for               what it is told
        ("n9.test",                        Err(NameError::OverBudget)),
        ("nowhere.test",                   Err(NameError::OverBudget)),
        ("192.0.2.1",                      Err(NameError::OverBudget)),
        // What was asked before is known.
        ("n0.test",                        found()),
        ("N7.test",                        found()),
    ];
    for (asked, expected) in table {
        assert_eq!(lookups.resolve(&name(asked)).await, expected, "{asked}");
    }
    assert_eq!(
        lookups.settle(&name("n9.test")).await,
        found(),
        "the target itself is looked up all the same"
    );
}

#[tokio::test]
async fn what_was_recorded_comes_first_and_then_what_others_recorded() {
    let answer = |text: &str| Ok(vec![text.parse::<IpAddr>().unwrap()]);
    let names = |pairs: &[(&str, &str)]| -> Arc<Names> {
        Arc::new(
            pairs
                .iter()
                .map(|(name, text)| ((*name).to_owned(), answer(text)))
                .collect(),
        )
    };
    let own = names(&[("db.test", "10.0.0.1")]);
    let others = names(&[("db.test", "10.0.0.2"), ("web.test", "10.0.0.3")]);
    let resolver = Resolver::silent().recorded(own, others, Elsewhere::Nobody);
    let loopback = Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    #[rustfmt::skip]
    let table = [
        ("db.test",             answer("10.0.0.1")),
        ("DB.test.",            answer("10.0.0.1")),
        ("web.test",            answer("10.0.0.3")),
        ("nowhere.test",        Err(NameError::NoSuchName)),
        // RFC 6761 section 6.3: these are never looked up.
        ("localhost",           loopback.clone()),
        ("LocalHost.",          loopback.clone()),
        ("a.localhost",         loopback.clone()),
        ("localhost.test",      Err(NameError::NoSuchName)),
        ("notlocalhost",        Err(NameError::NoSuchName)),
        // Addresses are what they are.
        ("127.1",               answer("127.0.0.1")),
        ("::ffff:10.0.0.9",     answer("10.0.0.9")),
    ];
    for (asked, expected) in table {
        let mut lookups = Lookups::new(resolver.clone());
        assert_eq!(lookups.settle(&name(asked)).await, expected, "{asked}");
    }
    let every = Lookups::new(resolver).settle(&Host::Any).await;
    assert_eq!(every, Err(NameError::NoSuchName), "every address is no target");
}

#[tokio::test]
async fn only_what_was_not_answered_is_in_doubt() {
    let failed = || NameError::Failed("SERVFAIL".to_owned());
    #[rustfmt::skip]
    let table = [
        // what became of the look-up     in doubt
        (Ok(Vec::new()),                  false),
        (Err(NameError::NoSuchName),      false),
        (Err(NameError::OverBudget),      false),
        (Err(NameError::TimedOut),        true),
        (Err(failed()),                   true),
    ];
    for (answer, doubtful) in table {
        let names = Names::from([
            ("one.test".to_owned(), answer.clone()),
            ("other.test".to_owned(), answer.clone()),
        ]);
        let mut lookups = Lookups::new(Resolver::table(names));
        for asked in ["other.test", "one.test"] {
            assert_eq!(lookups.settle(&name(asked)).await, answer, "{asked}");
        }
        let found = lookups.unanswered().map(|(name, _)| name);
        assert_eq!(
            found,
            doubtful.then_some("one.test"),
            "{answer:?}: the first by the alphabet"
        );
    }
}

#[test]
fn the_words_of_the_system_say_whether_a_name_exists() {
    let failed = |words: &str| NameError::Failed(words.to_owned());
    #[rustfmt::skip]
    let table = [
        // getaddrinfo(3), as Rust repeats it
        ("failed to lookup address information: Name or service not known",          NameError::NoSuchName),
        ("failed to lookup address information: No address associated with hostname", NameError::NoSuchName),
        ("failed to lookup address information: Temporary failure in name resolution",
            failed("failed to lookup address information: Temporary failure in name resolution")),
        ("out of memory", failed("out of memory")),
    ];
    for (words, expected) in table {
        assert_eq!(sort(&std::io::Error::other(words)), expected, "{words}");
    }
}
