//! Answers of name servers, right, wrong and late.

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;

use hickory_resolver::proto::op::ResponseCode;
use rustls::pki_types::pem::PemObject;

use super::super::server_tests::{Certificate, NameServer as Server, Says, addresses, parsed};
use super::super::{Lookups, MAX_AT_ONCE, Resolver};
use super::{
    Answer, CertificateDer, Duration, Instant, NameError, NameServer, NameTransport, Naming, Servers, trusting,
};
use crate::request::Host;

/// How the servers are asked, with a short patience.
fn asking(servers: &[&Server]) -> Naming {
    let plain = |server: &&Server| NameServer {
        address: server.address,
        transport: NameTransport::Plain,
    };
    Naming {
        servers: servers.iter().map(plain).collect(),
        timeout: Duration::from_millis(300),
        attempts: 1,
        ..Naming::default()
    }
}

/// Looks a name up for a decision of its own.
async fn find(resolver: &Resolver, name: &str) -> Answer {
    find_for(resolver, "alice", name).await
}

fn find_for(resolver: &Resolver, user: &str, name: &str) -> impl Future<Output = Answer> + use<> {
    let mut lookups = Lookups::of(resolver.clone(), user, Duration::from_secs(20));
    let host = Host::parse(name).unwrap();
    async move { lookups.settle(&host).await }
}

fn failed(words: &str) -> Answer {
    Err(NameError::Failed(words.to_owned()))
}

#[tokio::test]
async fn each_answer_of_a_server_is_told_apart() {
    let server = Server::start(&[
        ("db.test", addresses("127.0.0.5")),
        ("both.test", addresses("127.0.0.5 127.0.0.6 127.0.0.5")),
        ("mapped.test", addresses("::ffff:127.0.0.5")),
        ("alias.test", Says::Alias("db.test", 60)),
        ("lone.test", Says::AliasAlone("db.test")),
        ("chain.test", Says::AliasAlone("lone.test")),
        ("circle.test", Says::AliasAlone("circle.test")),
        ("dangling.test", Says::Alias("nowhere.test", 60)),
        ("odd_name.test", addresses("127.0.0.5")),
        (
            "strange.test",
            Says::WithStranger(parsed("127.0.0.5"), parsed("127.0.0.66")),
        ),
        ("robbed.test", Says::WithStranger(Vec::new(), parsed("127.0.0.66"))),
        ("empty.test", Says::NoAddress),
        ("half.test", Says::HalfFails(parsed("127.0.0.5"))),
        (
            "long.test",
            Says::TooLong((1..=60).map(|last| Ipv4Addr::new(127, 0, 1, last).into()).collect()),
        ),
        ("servfail.test", Says::Fails(ResponseCode::ServFail)),
        ("refused.test", Says::Fails(ResponseCode::Refused)),
        ("notimp.test", Says::Fails(ResponseCode::NotImp)),
        ("refers.test", Says::Refers),
        ("silent.test", Says::Silent),
        ("wrong.test", Says::WrongId(parsed("127.0.0.66"))),
    ]);
    let resolver = Resolver::new(&asking(&[&server])).unwrap();
    let five = || Ok(parsed("127.0.0.5"));
    #[rustfmt::skip]
    let table = [
        ("db.test",       five()),
        ("DB.test.",      five()),
        ("both.test",     Ok(parsed("127.0.0.5 127.0.0.6"))),
        ("mapped.test",   five()),
        ("alias.test",    five()),
        ("lone.test",     five()),
        ("chain.test",    five()),
        ("odd_name.test", five()),
        ("strange.test",  five()),
        ("half.test",     five()),
        ("long.test",     Ok((1..=32).map(|last| Ipv4Addr::new(127, 0, 1, last).into()).collect())),
        ("nowhere.test",  Err(NameError::NoSuchName)),
        ("dangling.test", Err(NameError::NoSuchName)),
        ("empty.test",    Err(NameError::NoSuchName)),
        ("robbed.test",   Err(NameError::NoSuchName)),
        ("circle.test",   Err(NameError::NoSuchName)),
        ("servfail.test", failed("the name server answered \"Server Failure\"")),
        ("refused.test",  failed("the name server answered \"Query Refused\"")),
        ("notimp.test",   failed("the name server answered \"Not Implemented\"")),
        ("refers.test",   failed("the name server only refers to other servers: it must look names up itself")),
        ("silent.test",   Err(NameError::TimedOut)),
        // Whoever answers without having seen the question is not heard.
        ("wrong.test",    Err(NameError::TimedOut)),
    ];
    for (name, expected) in table {
        assert_eq!(find(&resolver, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn garbage_is_a_doubt_and_not_the_end_of_the_resolver() {
    let server = Server::start(&[("odd.test", Says::Garbage), ("db.test", addresses("127.0.0.5"))]);
    let resolver = Resolver::new(&asking(&[&server])).unwrap();
    for _ in 0..3 {
        let error = find(&resolver, "odd.test").await.unwrap_err();
        assert!(error.is_doubt() && error.to_string().len() < 300, "{error}");
        assert_eq!(find(&resolver, "db.test").await, Ok(parsed("127.0.0.5")));
    }
}

#[tokio::test]
async fn some_names_are_never_asked_for() {
    let server = Server::start(&[("localhost", addresses("127.0.0.66"))]);
    let resolver = Resolver::new(&asking(&[&server])).unwrap();
    let local = Ok(parsed("127.0.0.1 ::1"));
    let long = format!("{}.test", ["a".repeat(63).as_str(); 4].join("."));
    assert!(Host::parse(&long).is_err(), "too long for a name");
    #[rustfmt::skip]
    let table = [
        ("localhost",       local.clone()),
        ("LOCALHOST.",      local.clone()),
        ("db.localhost",    local),
        ("127.1",           Ok(parsed("127.0.0.1"))),
        ("::ffff:10.0.0.9", Ok(parsed("10.0.0.9"))),
        ("db.invalid",      Err(NameError::NoSuchName)), // RFC 6761 section 6.4
    ];
    for (name, expected) in table {
        assert_eq!(find(&resolver, name).await, expected, "{name}");
    }
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test]
async fn names_are_searched_as_resolv_conf_says() {
    let server = Server::start(&[
        ("db.one.test", addresses("127.0.0.1")),
        ("db.two.test", addresses("127.0.0.2")),
        ("web.two.test", addresses("127.0.0.3")),
        ("web", addresses("127.0.0.4")),
        ("bare", addresses("127.0.0.5")),
        ("a.b", addresses("127.0.0.6")),
        ("a.b.one.test", addresses("127.0.0.7")),
        ("c.d.two.test", addresses("127.0.0.8")),
        ("slow.one.test", Says::Silent),
        ("slow.two.test", addresses("127.0.0.66")),
        ("slow", addresses("127.0.0.66")),
        ("empty.one.test", Says::NoAddress),
        ("empty.two.test", addresses("127.0.0.9")),
    ]);
    let search = |ndots| Naming {
        search: vec!["one.test".to_owned(), "two.test".to_owned()],
        ndots,
        ..asking(&[&server])
    };
    #[rustfmt::skip]
    let table = [
        // ndots  name      its address
        (1, "db",      Ok("127.0.0.1")),
        (1, "web",     Ok("127.0.0.3")),
        (1, "web.",    Ok("127.0.0.4")),
        (1, "bare",    Ok("127.0.0.5")),
        (1, "db.",     Err(NameError::NoSuchName)),
        (1, "a.b",     Ok("127.0.0.6")),
        (2, "a.b",     Ok("127.0.0.7")),
        (0, "web",     Ok("127.0.0.4")),
        (1, "c.d",     Ok("127.0.0.8")),
        (1, "c.d.",    Err(NameError::NoSuchName)),
        (1, "empty",   Ok("127.0.0.9")),
        // In doubt it is not the next one's machine.
        (1, "slow",    Err(NameError::TimedOut)),
        (1, "nowhere", Err(NameError::NoSuchName)),
    ];
    for (ndots, name, expected) in table {
        let resolver = Resolver::new(&search(ndots)).unwrap();
        assert_eq!(
            find(&resolver, name).await,
            expected.map(parsed),
            "{name} with ndots = {ndots}"
        );
    }
    server.asked();
    let long = "a".repeat(62);
    let name = [long.as_str(); 4].join(".");
    let answer = find(&Resolver::new(&search(9)).unwrap(), &name).await;
    assert_eq!(answer, Err(NameError::NoSuchName));
    let asked = server.asked();
    assert_eq!(
        asked,
        [format!("{name} A"), format!("{name} AAAA")],
        "what would be too long is left out"
    );
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails() {
    let good = Server::start(&[("db.test", addresses("127.0.0.5"))]);
    for says in [
        Says::Silent,
        Says::Fails(ResponseCode::ServFail),
        Says::Refers,
        Says::Garbage,
    ] {
        let bad = Server::start(&[("db.test", says.clone())]);
        let resolver = Resolver::new(&asking(&[&bad, &good])).unwrap();
        assert_eq!(find(&resolver, "db.test").await, Ok(parsed("127.0.0.5")), "{says:?}");
        // That there is none is an answer, and no failure.
        assert_eq!(find(&resolver, "nowhere.test").await, Err(NameError::NoSuchName));
    }
    let other = Server::start(&[("db.test", addresses("127.0.0.6"))]);
    let resolver = Resolver::new(&asking(&[&other, &good])).unwrap();
    good.asked();
    assert_eq!(
        find(&resolver, "db.test").await,
        Ok(parsed("127.0.0.6")),
        "the first counts"
    );
    assert_eq!(good.asked(), [""; 0], "and the second is not told");
}

#[tokio::test]
async fn every_server_is_asked_as_often_as_configured() {
    let servers = [Server::start(&[]), Server::start(&[])];
    for server in &servers {
        server.be_silent(true);
    }
    let config = Naming {
        attempts: 3,
        timeout: Duration::from_millis(50),
        ..asking(&[&servers[0], &servers[1]])
    };
    let resolver = Resolver::new(&config).unwrap();
    let began = Instant::now();
    assert_eq!(find(&resolver, "db.test").await, Err(NameError::TimedOut));
    let took = began.elapsed();
    assert!(
        took >= 6 * config.timeout,
        "{took:?}: three times 50 ms for each of both"
    );
    for server in &servers {
        assert_eq!(server.asked(), ["db.test A", "db.test AAAA"]);
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_last_and_one_that_is_back_is_used() {
    let [first, second] = [
        Server::start(&[("db.test", Says::Addresses(parsed("127.0.0.5"), 0))]),
        Server::start(&[("db.test", Says::Addresses(parsed("127.0.0.6"), 0))]),
    ];
    let resolver = Resolver::new(&asking(&[&first, &second])).unwrap();
    first.be_silent(true);
    assert_eq!(find(&resolver, "db.test").await, Ok(parsed("127.0.0.6")));
    first.asked();
    for _ in 0..3 {
        assert_eq!(find(&resolver, "db.test").await, Ok(parsed("127.0.0.6")));
    }
    assert_eq!(first.asked(), [""; 0], "nobody waits for it");
    first.be_silent(false);
    second.be_silent(true);
    assert_eq!(find(&resolver, "db.test").await, Ok(parsed("127.0.0.5")), "it is back");
    second.asked();
    assert_eq!(find(&resolver, "db.test").await, Ok(parsed("127.0.0.5")));
    assert_eq!(second.asked(), [""; 0], "it has its place again");
    first.be_silent(true);
    assert_eq!(find(&resolver, "db.test").await, Err(NameError::TimedOut));
    second.be_silent(false);
    assert_eq!(find(&resolver, "db.test").await, Ok(parsed("127.0.0.6")));
}

#[tokio::test]
async fn answers_are_kept_within_the_configured_bounds() {
    let hour = Duration::from_secs(3600);
    let none = Duration::ZERO;
    #[rustfmt::skip]
    let table = [
        // what the server says                                   min   max   negative  kept
        (Says::Addresses(parsed("127.0.0.5"), 60),                none, hour, hour,     true),
        (Says::Addresses(parsed("127.0.0.5"), 0),                 none, hour, hour,     false),
        (Says::Addresses(parsed("127.0.0.5"), 0),                 hour, hour, none,     true),
        (Says::Addresses(parsed("127.0.0.5"), 60),                none, none, hour,     false),
        (Says::Alias("other.test", 60),                           none, hour, hour,     true),
        (Says::Alias("other.test", 0),                            none, hour, hour,     false),
        (Says::NoSuchName(60),                                    none, hour, hour,     true),
        (Says::NoSuchName(60),                                    none, hour, none,     false),
        (Says::NoSuchName(0),                                     hour, hour, hour,     false),
        (Says::NoAddress,                                         none, hour, hour,     true),
        // Half of an answer and no answer are asked for again.
        (Says::HalfFails(parsed("127.0.0.5")),                    hour, hour, hour,     false),
        (Says::Fails(ResponseCode::ServFail),                     hour, hour, hour,     false),
    ];
    for (says, min_ttl, max_ttl, max_negative_ttl, kept) in table {
        let server = Server::start(&[("db.test", says.clone()), ("other.test", addresses("127.0.0.5"))]);
        let config = Naming {
            cache: crate::config::NameCache {
                entries: 10,
                min_ttl,
                max_ttl,
                max_negative_ttl,
            },
            ..asking(&[&server])
        };
        let resolver = Resolver::new(&config).unwrap();
        let first = find(&resolver, "db.test").await;
        assert!(!server.asked().is_empty(), "{says:?}");
        assert_eq!(find(&resolver, "db.test").await, first, "{says:?}");
        assert_eq!(
            server.asked().is_empty(),
            kept,
            "{says:?}: min {min_ttl:?}, max {max_ttl:?}"
        );
    }
}

#[tokio::test]
async fn what_was_found_in_a_search_holds_no_longer_than_that_the_names_before_it_are_absent() {
    let server = Server::start(&[
        ("db.one.test", Says::NoSuchName(0)),
        ("db.two.test", addresses("127.0.0.2")),
    ]);
    let config = Naming {
        search: vec!["one.test".to_owned(), "two.test".to_owned()],
        ..asking(&[&server])
    };
    let resolver = Resolver::new(&config).unwrap();
    assert_eq!(find(&resolver, "db").await, Ok(parsed("127.0.0.2")));
    server.says("db.one.test", addresses("127.0.0.1"));
    assert_eq!(find(&resolver, "db").await, Ok(parsed("127.0.0.1")));
}

#[tokio::test]
async fn unanswered_names_of_one_user_hold_up_no_other_and_end_with_their_decisions() {
    let server = Server::start(&[
        ("db.test", Says::Addresses(parsed("127.0.0.5"), 0)),
        ("kept.test", addresses("127.0.0.6")),
    ]);
    let resolver = Resolver::new(&Naming {
        timeout: Duration::from_secs(30),
        ..asking(&[&server])
    })
    .unwrap();
    assert_eq!(find(&resolver, "kept.test").await, Ok(parsed("127.0.0.6")));
    let mut unanswered = Vec::new();
    for number in 0..200 {
        let name = format!("n{number}.test");
        server.says(&name, Says::Silent);
        unanswered.push(tokio::spawn(find_for(&resolver, "hostile", &name)));
    }
    // Each of them has begun, and as many are asked for as one user may ask at once.
    let mut asked = Vec::new();
    while asked.len() < MAX_AT_ONCE {
        tokio::task::yield_now().await;
        asked.extend(server.asked());
    }
    for _ in &unanswered {
        tokio::task::yield_now().await;
    }
    for other in ["honest", "another"] {
        let answer = find_for(&resolver, other, "db.test").await;
        assert_eq!(answer, Ok(parsed("127.0.0.5")), "{other}");
    }
    let own = find_for(&resolver, "hostile", "kept.test").await;
    assert_eq!(own, Ok(parsed("127.0.0.6")), "what is kept takes no place");
    for asked in &unanswered {
        asked.abort();
    }
    let own = find_for(&resolver, "hostile", "db.test").await;
    assert_eq!(
        own,
        Ok(parsed("127.0.0.5")),
        "the places of look-ups that nobody waits for are free"
    );
}

#[tokio::test]
async fn a_resolver_with_the_same_servers_keeps_what_it_knows_and_another_does_not() {
    let server = Server::start(&[("db.test", addresses("127.0.0.5"))]);
    let config = asking(&[&server]);
    let before = Resolver::new(&config).unwrap();
    assert_eq!(find(&before, "db.test").await, Ok(parsed("127.0.0.5")));
    server.says("db.test", addresses("127.0.0.6"));
    let same = Resolver::new(&config).unwrap().after(&before);
    assert_eq!(find(&same, "db.test").await, Ok(parsed("127.0.0.5")));
    let other = Naming { ndots: 2, ..config };
    let other = Resolver::new(&other).unwrap().after(&same);
    assert_eq!(find(&other, "db.test").await, Ok(parsed("127.0.0.6")));
    assert!(
        Arc::ptr_eq(&other.places, &before.places),
        "a reload gives no user more places"
    );
}

/// Over TLS to a server with this certificate, trusting that one.
async fn over_tls(certificate: &Certificate, trusted: &Certificate, name: &str) -> (Answer, Vec<String>) {
    let server = Server::with_tls(certificate, &[("db.test", addresses("127.0.0.5"))]);
    let config = Naming {
        servers: vec![NameServer {
            address: server.address,
            transport: NameTransport::Tls(name.to_owned()),
        }],
        timeout: Duration::from_secs(10),
        ..asking(&[])
    };
    let trusted = CertificateDer::pem_file_iter(trusted.path()).unwrap();
    let tls = trusting(trusted.map(Result::unwrap)).unwrap();
    let servers = Servers::trusting(&config, Some(&tls)).unwrap();
    let resolver = Resolver::with(super::super::Source::Servers(Arc::new(servers)));
    let answer = find(&resolver, "db.test").await;
    (answer, server.asked())
}

#[tokio::test]
async fn a_server_over_tls_must_have_the_certificate_of_its_name() {
    let certificate = Certificate::of("DNS:dns.test,IP:127.0.0.1");
    for name in ["dns.test", "127.0.0.1"] {
        let (answer, asked) = over_tls(&certificate, &certificate, name).await;
        assert_eq!(answer, Ok(parsed("127.0.0.5")), "{name}");
        assert_eq!(asked, ["db.test A", "db.test AAAA"]);
    }
    let other = Certificate::of("DNS:dns.test");
    for (trusted, name) in [
        (&certificate, "other.test"),
        (&certificate, "127.0.0.2"),
        (&other, "dns.test"),
    ] {
        let (answer, asked) = over_tls(&certificate, trusted, name).await;
        let words = answer.unwrap_err().to_string();
        assert!(words.contains("certificate"), "{name}: {words}");
        assert_eq!(asked, [""; 0], "no name is told to a stranger");
    }
}
