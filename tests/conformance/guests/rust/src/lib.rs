//! The conformance guest in Rust. What it answers: tests/conformance/README.md.

wit_bindgen::generate!({ world: "observing-policy", path: "../../../../wit" });

mod render;

use std::cell::RefCell;

use exports::portreeve::policy::{decision, lifecycle, observer};
use portreeve::policy::types::{
    AddressRule, Denial, Description, Effect, Ended, Endpoint, HostPort, Problem, Redirect, Request, Terms, Value,
    Verdict,
};
use portreeve::policy::{calendar, log, names, state, view};
use render::Render;

struct Conformance;

thread_local! {
    static GREETING: RefCell<String> = RefCell::new("-".to_owned());
}

impl lifecycle::Guest for Conformance {
    fn describe() -> Description {
        Description {
            name: "conformance".into(),
            version: "0.1.0".into(),
            summary: "answers what the suite expects: ключ 日本語 🚪".into(),
            settings_schema: Some(r#"{"type":"object"}"#.into()),
        }
    }

    fn configure(settings: String) -> Result<(), Vec<Problem>> {
        if settings.contains(r#""refuse""#) {
            let problem = |at: &str, message: &str| Problem {
                at: at.into(),
                message: message.into(),
            };
            return Err(vec![problem("/refuse", "refused"), problem("/ключ", "日本語 🚪")]);
        }
        if let Some((_, rest)) = settings.split_once(r#""greeting":""#) {
            let greeting = rest.split('"').next().unwrap_or_default().to_owned();
            GREETING.set(greeting);
        }
        Ok(())
    }
}

impl decision::Guest for Conformance {
    fn decide(request: Request) -> Verdict {
        let label = label(&request.target).to_owned();
        let (word, number) = match label.rsplit_once('-') {
            Some((word, digits)) if digits.parse::<usize>().is_ok() => (word, digits.parse().unwrap_or(0)),
            _ => (label.as_str(), 0),
        };
        match word {
            "allow" => Verdict::Allow,
            "nothing" => Verdict::AllowWith(no_terms()),
            "terms" => Verdict::AllowWith(full_terms()),
            "largest" => Verdict::AllowWith(Terms {
                max_seconds: Some(u32::MAX),
                max_bytes: Some(u64::MAX),
                hints: vec![
                    ("least".into(), Value::Number(i64::MIN)),
                    ("most".into(), Value::Number(i64::MAX)),
                ],
                ..no_terms()
            }),
            "rules" => Verdict::AllowWith(Terms {
                address_rules: rules(number),
                ..no_terms()
            }),
            "tags" => Verdict::AllowWith(Terms {
                tags: (0..number)
                    .map(|index| (format!("tag-{index}"), index.to_string()))
                    .collect(),
                ..no_terms()
            }),
            "badcidr" => Verdict::AllowWith(Terms {
                address_rules: vec![AddressRule {
                    cidr: "10.0.0.0/33".into(),
                    effect: Effect::Permit,
                }],
                ..no_terms()
            }),
            "obligation" => Verdict::AllowWith(Terms {
                obligations: vec![("launch".into(), Value::Number(1))],
                ..no_terms()
            }),
            "deny" => deny("conformance", "denied", None),
            "tell" => deny("conformance", "told", Some("ключ 日本語 🚪")),
            "empty" => deny("conformance", "", Some("")),
            "badcode" => deny("not a word", "", None),
            "words" => deny("words", &"x".repeat(number), None),
            "rewrite" => rewrite(
                Endpoint::Tcp(HostPort {
                    host: "elsewhere.internal".into(),
                    port: 8443,
                }),
                None,
            ),
            "rewriteterms" => rewrite(
                Endpoint::Tcp(HostPort {
                    host: "elsewhere.internal".into(),
                    port: 8443,
                }),
                Some(full_terms()),
            ),
            "rewritesocket" => rewrite(Endpoint::Socket("/run/elsewhere.sock".into()), None),
            "panic" => panic!("asked to"),
            "spin" => loop {
                std::hint::spin_loop();
            },
            "settings" => deny("settings", &GREETING.with_borrow(Clone::clone), None),
            "log" => {
                log::write(log::Level::Debug, "debug line");
                log::write(log::Level::Info, "info line");
                log::write(log::Level::Warn, "warn line");
                log::write(log::Level::Error, "error line: ключ 日本語 🚪");
                Verdict::Allow
            }
            "lines" => {
                for index in 1..=number {
                    log::write(log::Level::Info, &format!("line {index}"));
                }
                Verdict::Allow
            }
            "names" => deny("names", &asked_names(&request.target, number), None),
            "state" => deny("state", &asked_state(number), None),
            "large" => {
                let put = state::put("big", &vec![0; 65537], 60);
                deny("large", &format!("put={}", render::put(&put)), None)
            }
            "calendar" => deny("calendar", &asked_calendar(request.now, number), None),
            "methods" => deny("methods", &request.principal.credential.methods.render(), None),
            "view" => deny("view", &asked_view(&request.principal.user), None),
            "digest" => deny("digest", &render::digest(&request.render()), None),
            _ => deny("echo", &request.render(), None),
        }
    }
}

impl observer::Guest for Conformance {
    fn on_ended(event: Ended) {
        log::write(log::Level::Info, &format!("ended {}", event.render()));
    }
}

/// The first label of the host, or of the name of the socket.
fn label(target: &Endpoint) -> &str {
    let name = match target {
        Endpoint::Tcp(place) => &place.host,
        Endpoint::Socket(path) => path.rsplit('/').next().unwrap_or_default(),
    };
    name.split('.').next().unwrap_or_default()
}

fn deny(code: &str, reason: &str, tell_user: Option<&str>) -> Verdict {
    Verdict::Deny(Denial {
        code: code.into(),
        reason: reason.into(),
        tell_user: tell_user.map(Into::into),
    })
}

fn rewrite(to: Endpoint, terms: Option<Terms>) -> Verdict {
    Verdict::Rewrite(Redirect {
        to,
        reason: "moved".into(),
        terms,
    })
}

fn no_terms() -> Terms {
    Terms {
        max_seconds: None,
        idle_seconds: None,
        max_bytes: None,
        bytes_per_second: None,
        address_rules: vec![],
        recheck_seconds: None,
        reuse_seconds: None,
        tags: vec![],
        obligations: vec![],
        hints: vec![],
    }
}

fn full_terms() -> Terms {
    let rule = |cidr: &str, effect| AddressRule {
        cidr: cidr.into(),
        effect,
    };
    Terms {
        max_seconds: Some(60),
        idle_seconds: Some(30),
        max_bytes: Some(9_007_199_254_740_991),
        bytes_per_second: Some(65_536),
        address_rules: vec![rule("10.0.0.0/8", Effect::Permit), rule("::/0", Effect::Refuse)],
        recheck_seconds: Some(15),
        reuse_seconds: Some(5),
        tags: vec![("rule".into(), "terms".into()), ("ключ".into(), "日本語 🚪".into())],
        obligations: vec![("replace-socket".into(), Value::Flag(true))],
        hints: vec![
            ("text".into(), Value::Text("words".into())),
            ("texts".into(), Value::Texts(vec!["one".into(), "two".into()])),
            ("number".into(), Value::Number(-7)),
            ("flag".into(), Value::Flag(false)),
        ],
    }
}

fn rules(count: usize) -> Vec<AddressRule> {
    let rule = |index| AddressRule {
        cidr: format!("10.{}.{}.0/24", index / 256, index % 256),
        effect: if index % 2 == 0 { Effect::Permit } else { Effect::Refuse },
    };
    (0..count).map(rule).collect()
}

fn asked_names(target: &Endpoint, number: usize) -> String {
    if number > 0 {
        let answers = (1..=number).map(|index| names::resolve(&format!("n{index}.internal")));
        // All of them are asked for.
        return answers
            .reduce(|_, last| last)
            .map(|answer| render::resolved(&answer))
            .unwrap_or_default();
    }
    let Endpoint::Tcp(place) = target else {
        return String::new();
    };
    let (_, host) = place.host.split_once('.').unwrap_or_default();
    render::resolved(&names::resolve(host))
}

fn asked_state(number: usize) -> String {
    if number > 0 {
        let answers = (0..number).map(|_| state::add("n", 1, 60));
        return answers
            .reduce(|_, last| last)
            .map(|answer| render::added(&answer))
            .unwrap_or_default();
    }
    let text = render::got(&state::get("text"));
    let put = render::put(&state::put("key", &[0, 1, 255], 60));
    let key = render::got(&state::get("key"));
    let (up, down) = (state::add("counter", 2, 60), state::add("counter", -5, 60));
    format!(
        "text={text} put={put} key={key} add={} add={}",
        render::added(&up),
        render::added(&down)
    )
}

fn asked_calendar(now: u64, number: usize) -> String {
    let zone = if number > 0 { "Mars/Olympus" } else { "Asia/Kathmandu" };
    match calendar::local(now, zone) {
        Ok(at) => format!(
            "{}-{}-{} {}:{}:{} {} {}",
            at.year, at.month, at.day, at.hour, at.minute, at.second, at.weekday, at.utc_offset
        ),
        Err(calendar::CalendarError::UnknownZone) => "err(unknown-zone)".to_owned(),
        Err(calendar::CalendarError::OutOfRange) => "err(out-of-range)".to_owned(),
        Err(calendar::CalendarError::OverBudget) => "err(over-budget)".to_owned(),
    }
}

fn asked_view(user: &str) -> String {
    let mut text = format!("open={}", view::open_forwards(user));
    for name in ["text", "texts", "number", "flag", "absent"] {
        let fact = view::fact(name).map_or_else(|| "-".to_owned(), |fact| fact.render());
        text.push_str(&format!(" {name}={fact}"));
    }
    text
}

export!(Conformance);
