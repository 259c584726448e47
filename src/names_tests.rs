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
