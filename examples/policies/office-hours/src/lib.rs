//! Each group of users connects in its own hours, and what is open is closed when they end.

use portreeve_policy::settings::problem;
use portreeve_policy::time::{TimeOfDay, UtcOffset, Weekday};
use portreeve_policy::{Problem, Request, Verdict, policy};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// How far the clock of the office is ahead of UTC.
    #[serde(default)]
    offset: UtcOffset,
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
    let now = request.moment(settings.offset);
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

/// What the types cannot say.
fn check(settings: &Settings) -> Vec<Problem> {
    let hours = settings.hours.iter().enumerate();
    let backwards = hours.filter(|(_, hours)| hours.from >= hours.to);
    backwards
        .map(|(index, hours)| {
            let at = format!("/hours/{index}/to");
            problem(at, format!("{} is not after {}", hours.to, hours.from))
        })
        .collect()
}

policy!(
    name: "office-hours",
    summary: "each group of users connects in its own hours",
    settings: Settings,
    schema: include_str!("../settings.schema.json"),
    check: check,
    decide: decide,
);

#[cfg(test)]
mod tests {
    use super::{Settings, check, decide};
    use portreeve_policy::{settings, testing};

    fn office() -> Settings {
        let text = r#"{ "offset": "+01:00", "hours": [
            { "name": "databases", "groups": ["dba"], "days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:00" }
        ] }"#;
        settings::read(text).expect("settings")
    }

    #[test]
    fn a_tunnel_lasts_until_the_hours_end() {
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
        let verdict = decide(&testing::connect("db.internal:5432").build(), &office());
        assert_eq!(verdict.code(), Some("no-hours"));
    }

    #[test]
    fn hours_end_after_they_begin() {
        let mut settings = office();
        assert!(check(&settings).is_empty());
        settings.hours[0].to = settings.hours[0].from;
        assert_eq!(check(&settings)[0].at, "/hours/0/to");
    }
}
