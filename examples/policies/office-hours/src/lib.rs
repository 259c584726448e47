//! Each group of users connects in its own hours, and what is open is closed when they end.

use portreeve_policy::settings::problem;
use portreeve_policy::time::{TimeOfDay, Weekday};
use portreeve_policy::{Ended, Problem, Request, Verdict, calendar, log, policy};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// Where the office is, as in `Europe/Vienna`: its clocks count, in summer and in winter.
    zone: String,
    hours: Vec<Hours>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Hours {
    name: String,
    groups: Vec<String>,
    days: Vec<Weekday>,
    from: TimeOfDay,
    to: TimeOfDay,
}

fn decide(request: &Request, settings: &Settings) -> Verdict {
    if !request.is_connect() {
        return Verdict::deny("not-a-connection", "only connections have hours")
            .tell_user("only -L, -D, -W and -J here");
    }
    let Ok(now) = request.moment_in(&settings.zone) else {
        return Verdict::deny(
            "no-clock",
            format!("the gateway has no time for the zone {}", settings.zone),
        );
    };
    let mut theirs = settings
        .hours
        .iter()
        .filter(|hours| request.in_any_group(&hours.groups))
        .peekable();
    let Some(first) = theirs.peek() else {
        return Verdict::deny("no-hours", "no hours name a group of the user")
            .tell_user("you have no hours here: ask operations");
    };
    let (name, from, to) = (&first.name, first.from, first.to);
    match theirs.find(|hours| hours.days.contains(&now.weekday) && hours.from <= now.time && now.time < hours.to) {
        Some(open) => Verdict::allow()
            .max_seconds(now.time.seconds_until(open.to))
            .tag("rule", &open.name),
        None => Verdict::deny("closed", format!("{name} is open from {from} to {to}"))
            .tell_user(format!("closed at this hour: {name} is open from {from} to {to}")),
    }
}

/// Whoever asks why a tunnel closed finds it in the gateway's log.
fn on_ended(ended: &Ended, _: &Settings) {
    if ended.cause == "expired" {
        log::info(format!("{} was closed with the hours", ended.id));
    }
}

/// What the types cannot say.
fn check(settings: &Settings) -> Vec<Problem> {
    let unknown = !calendar::knows(&settings.zone);
    let zone = unknown.then(|| {
        problem(
            "/zone",
            format!("`{}` is no time zone: write it as `Europe/Vienna`", settings.zone),
        )
    });
    let hours = settings.hours.iter().enumerate();
    let backwards = hours.filter(|(_, hours)| hours.from >= hours.to);
    let backwards = backwards.map(|(index, hours)| {
        let at = format!("/hours/{index}/to");
        problem(at, format!("{} is not after {}", hours.to, hours.from))
    });
    zone.into_iter().chain(backwards).collect()
}

policy!(
    name: "office-hours",
    summary: "each group of users connects in its own hours",
    settings: Settings,
    schema: include_str!("../settings.schema.json"),
    check: check,
    decide: decide,
    on_ended: on_ended,
);

#[cfg(test)]
mod tests {
    use super::{Settings, check, decide, on_ended};
    use portreeve_policy::{Ended, settings, testing};

    fn office() -> Settings {
        let text = r#"{ "zone": "Europe/Vienna", "hours": [
            { "name": "databases", "groups": ["dba"], "days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:00" }
        ] }"#;
        settings::read(text).expect("settings")
    }

    #[test]
    fn a_tunnel_lasts_until_the_hours_end() {
        let _host = testing::Host::new().zone("Europe/Vienna", 3600).install();
        let asked = testing::connect("db.internal:5432").group("dba");
        let verdict = decide(&asked.clone().at("2026-11-24T16:30:00Z").build(), &office());
        assert_eq!(verdict.terms().and_then(|terms| terms.max_seconds), Some(1800));
        for closed in ["2026-11-24T06:59:00Z", "2026-11-24T17:00:00Z", "2026-11-28T12:00:00Z"] {
            let verdict = decide(&asked.clone().at(closed).build(), &office());
            assert_eq!(verdict.code(), Some("closed"), "{closed}");
        }
    }

    #[test]
    fn who_is_in_no_group_has_no_hours() {
        let _host = testing::Host::new().zone("Europe/Vienna", 3600).install();
        let verdict = decide(&testing::connect("db.internal:5432").build(), &office());
        assert_eq!(verdict.code(), Some("no-hours"));
    }

    #[test]
    fn what_the_hours_have_closed_is_in_the_log() {
        let host = testing::Host::new().install();
        for cause in ["expired", "closed"] {
            let ended = Ended {
                id: "f-1".into(),
                cause: cause.into(),
                milliseconds: 1_800_000,
                bytes_up: 1,
                bytes_down: 1,
                dialled: None,
            };
            on_ended(&ended, &office());
        }
        assert_eq!(host.logged(), ["info: f-1 was closed with the hours"]);
    }

    #[test]
    fn a_zone_that_does_not_exist_is_a_problem() {
        assert_eq!(check(&office())[0].at, "/zone");
        let verdict = decide(&testing::connect("db.internal:5432").group("dba").build(), &office());
        assert_eq!(verdict.code(), Some("no-clock"));
    }

    #[test]
    fn hours_end_after_they_begin() {
        let _host = testing::Host::new().zone("Europe/Vienna", 3600).install();
        let mut settings = office();
        assert!(check(&settings).is_empty());
        settings.hours[0].to = settings.hours[0].from;
        assert_eq!(check(&settings)[0].at, "/hours/0/to");
    }
}
