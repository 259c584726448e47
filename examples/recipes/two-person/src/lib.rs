//! What is guarded is reached after somebody else has agreed.
//!
//! Alice asks for a guarded host and is told to find a second person. Bob, who is in the group of approvers, agrees with
//! `ssh -W alice.approve:1 …`: nothing is connected, but the answer says that it is noted. For some minutes Alice gets
//! through. Nobody agrees to what they ask for themselves.

use portreeve_policy::{Request, Verdict, log, policy, state};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    guarded: Vec<String>,
    approvers: String,
    #[serde(default = "quarter_of_an_hour")]
    seconds: u32,
}

fn quarter_of_an_hour() -> u32 {
    15 * 60
}

fn decide(request: &Request, settings: &Settings) -> Verdict {
    let Some(host) = request.host().filter(|_| request.is_connect()) else {
        return Verdict::deny("not-a-connection", "only connections to hosts are decided here");
    };
    if let Some(user) = host.strip_suffix(".approve") {
        return agree(user, request, settings);
    }
    if settings.guarded.iter().any(|guarded| guarded == host) {
        return guarded(request, settings);
    }
    Verdict::allow()
}

fn agree(user: &str, request: &Request, settings: &Settings) -> Verdict {
    let approver = request.user();
    if !request.in_group(&settings.approvers) {
        return Verdict::deny("no-approver", "who agrees is in no group of approvers")
            .tell_user("you cannot agree for others");
    }
    if approver == user {
        return Verdict::deny("own-request", "who asks has agreed").tell_user("somebody else has to agree");
    }
    if !request.dry_run && state::put(&key(user), approver, settings.seconds).is_err() {
        return Verdict::deny("not-noted", "state does not answer").tell_user("this could not be noted, try again");
    }
    log::info(format!("{approver} agrees to what {user} asks for"));
    let minutes = settings.seconds / 60;
    Verdict::deny("noted", format!("{approver} agrees for {user}"))
        .tell_user(format!("noted: {user} gets through for {minutes} minutes"))
}

fn guarded(request: &Request, settings: &Settings) -> Verdict {
    let user = request.user();
    // Who cannot be read has not agreed.
    let approver = state::get(&key(user)).ok().flatten();
    match approver.and_then(|name| String::from_utf8(name).ok()) {
        Some(approver) if approver != user => Verdict::allow().max_seconds(settings.seconds).tag("approver", approver),
        _ => Verdict::deny("second-person", "nobody has agreed").tell_user(format!(
            "a second person has to agree first, with: ssh -W {user}.approve:1 and the address of this gateway"
        )),
    }
}

fn key(user: &str) -> String {
    format!("approved/{user}")
}

policy!(
    name: "two-person",
    summary: "what is guarded is reached after somebody else has agreed",
    settings: Settings,
    decide: decide,
);

#[cfg(test)]
mod tests {
    use super::{Settings, decide};
    use portreeve_policy::state::StateError;
    use portreeve_policy::testing::{self, Host};

    fn settings() -> Settings {
        portreeve_policy::settings::read(r#"{ "guarded": ["vault.internal"], "approvers": "leads" }"#)
            .expect("settings")
    }

    fn code(target: &str, user: &str, group: &str) -> Option<String> {
        let request = testing::connect(target)
            .user(user)
            .group(group)
            .with(|request| request.dry_run = false);
        decide(&request.build(), &settings()).code().map(Into::into)
    }

    #[test]
    fn it_takes_two_and_ends_with_the_time() {
        let host = Host::new().install();
        assert_eq!(
            code("vault.internal:22", "alice", "dba").as_deref(),
            Some("second-person")
        );
        assert_eq!(code("alice.approve:1", "bob", "leads").as_deref(), Some("noted"));
        assert_eq!(host.logged(), ["info: bob agrees to what alice asks for"]);
        assert_eq!(code("vault.internal:22", "alice", "dba"), None);
        assert_eq!(
            code("vault.internal:22", "carol", "dba").as_deref(),
            Some("second-person")
        );
        host.pass(900);
        assert_eq!(
            code("vault.internal:22", "alice", "dba").as_deref(),
            Some("second-person")
        );
    }

    #[test]
    fn nobody_agrees_with_themselves_or_without_the_group() {
        let host = Host::new().install();
        assert_eq!(code("bob.approve:1", "bob", "leads").as_deref(), Some("own-request"));
        assert_eq!(code("alice.approve:1", "carol", "dba").as_deref(), Some("no-approver"));
        assert_eq!(host.value("approved/alice"), None);
    }

    #[test]
    fn a_dry_run_notes_nothing() {
        let host = Host::new().install();
        let request = testing::connect("alice.approve:1").user("bob").group("leads").build();
        assert_eq!(decide(&request, &settings()).code(), Some("noted"));
        assert_eq!(host.value("approved/alice"), None);
    }

    #[test]
    fn without_state_nobody_gets_through() {
        let _host = Host::new().failing_state(StateError::Unavailable).install();
        assert_eq!(
            code("vault.internal:22", "alice", "dba").as_deref(),
            Some("second-person")
        );
        assert_eq!(code("alice.approve:1", "bob", "leads").as_deref(), Some("not-noted"));
    }
}
