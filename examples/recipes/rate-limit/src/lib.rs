//! So many connections of each user in a time; everything else is for the next policy of the chain.

use portreeve_policy::{Request, Verdict, policy, state};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    connections: i64,
    seconds: u32,
}

fn decide(request: &Request, settings: &Settings) -> Verdict {
    // What is open already is decided again after a swap, and has been counted.
    if !request.is_connect() || request.extra("again").is_some() {
        return Verdict::allow();
    }
    let Settings { connections, seconds } = *settings;
    match count(request, seconds) {
        Some(count) if count <= connections => Verdict::allow(),
        Some(count) => Verdict::deny("too-many", format!("connection {count} in {seconds} seconds")).tell_user(
            format!("more than {connections} connections in {seconds} seconds: try again later"),
        ),
        None => Verdict::deny("not-counted", "state does not answer").tell_user("try again later"),
    }
}

/// Which connection of the user this is. A dry run looks and does not count.
fn count(request: &Request, seconds: u32) -> Option<i64> {
    let key = format!("user/{}", request.user());
    match request.dry_run {
        true => state::add(&key, 0, seconds).ok().map(|count| count + 1),
        false => state::add(&key, 1, seconds).ok(),
    }
}

policy!(
    name: "rate-limit",
    summary: "so many connections of each user in a time",
    settings: Settings,
    decide: decide,
);

#[cfg(test)]
mod tests {
    use super::{Settings, decide};
    use portreeve_policy::state::StateError;
    use portreeve_policy::testing::{self, Host, RequestBuilder};

    const TWO: Settings = Settings {
        connections: 2,
        seconds: 60,
    };

    fn asked() -> RequestBuilder {
        testing::connect("db.internal:5432").with(|request| request.dry_run = false)
    }

    #[test]
    fn the_third_connection_of_a_minute_waits_for_the_next() {
        let host = Host::new().install();
        let code = || decide(&asked().build(), &TWO).code().map(str::to_owned);
        assert_eq!((code(), code(), code().as_deref()), (None, None, Some("too-many")));
        assert!(decide(&asked().user("bob").build(), &TWO).is_allow());
        host.pass(60);
        assert_eq!(code(), None);
    }

    #[test]
    fn what_is_open_and_what_is_not_meant_are_not_counted() {
        let _host = Host::new().install();
        let again = || asked().with(|request| request.extra.push(("again".into(), "swap".into())));
        let dry = || asked().with(|request| request.dry_run = true);
        for request in [again(), dry(), again(), dry(), asked(), asked(), again()] {
            assert!(decide(&request.build(), &TWO).is_allow());
        }
        assert!(decide(&dry().build(), &TWO).is_deny());
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let _host = Host::new().failing_state(StateError::OverBudget).install();
        assert_eq!(decide(&asked().build(), &TWO).code(), Some("not-counted"));
    }
}
