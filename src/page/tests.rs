//! The status page as it is written.

use std::time::Duration;

use super::chart::{Chart, Line};
use super::*;
use crate::history::{Change, History, Mark, Outcome, Point};

fn picture() -> Picture {
    History::default().look(Span::Minutes)
}

fn facts() -> Facts {
    Facts {
        version: "1.2.3".to_owned(),
        started: Timestamp::UNIX_EPOCH,
        now: Timestamp::from_second(90).unwrap(),
        unready: Vec::new(),
        open: Open {
            sessions: 1,
            tunnels: 2,
            listeners: 3,
        },
        policies: Vec::new(),
    }
}

fn point(at: f64, allowed: f64) -> Point {
    Point {
        at,
        allowed,
        ..picture().present
    }
}

#[test]
fn text_is_escaped_wherever_it_stands() {
    #[rustfmt::skip]
    let table = [
        ("plain",                   "plain"),
        ("",                        ""),
        ("a & b",                   "a &amp; b"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (r#""'><img src=x>"#,       "&quot;&#39;&gt;&lt;img src=x&gt;"),
        ("&amp;",                   "&amp;amp;"),
        ("größer > µ",              "größer &gt; µ"),
    ];
    for (text, escaped) in table {
        assert_eq!(Text(text).to_string(), escaped);
    }
}

/// Every text that comes from outside this room.
#[test]
fn nothing_from_outside_becomes_an_element() {
    let evil = || "\"'><b onload=x>".to_owned();
    let mut facts = facts();
    facts.version = evil();
    facts.unready = vec![evil()];
    facts.policies = vec![Policy {
        plugin: evil(),
        version: evil(),
        sha256: evil(),
        settings_sha256: evil(),
    }];
    let mut picture = picture();
    picture.points = vec![point(0.5, 1.0)];
    picture.outcomes = vec![Outcome {
        what: "denied",
        by: "policy",
        code: evil(),
        recent: 1,
        total: 1,
    }];
    let change = Change::Swapped {
        plugin: evil(),
        version: evil(),
        sha256: evil(),
        settings_sha256: evil(),
    };
    let mark = |change| Mark {
        at: 0.5,
        time: Timestamp::UNIX_EPOCH,
        change,
    };
    picture.marks = vec![mark(change), mark(Change::Rejected { plugin: evil() })];
    let live = live(&facts, &picture);
    assert!(!live.contains("<b onload"), "{live}");
    assert!(live.contains("&lt;b onload"));
}

#[test]
fn the_page_is_complete_and_has_nothing_inline_or_from_elsewhere() {
    let page = whole(Span::Hour, &live(&facts(), &picture()));
    for part in [
        "<!DOCTYPE html>",
        "lang=\"en\"",
        "Ready for new clients",
        "</html>",
        "1.2.3",
        "1 min 30 s",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("<a href=\"./?span=hour\" aria-current=\"page\">"));
    assert!(page.contains("page/live?span=hour"));
    for part in [" style=", "<style", "://", " onload", " onclick", "javascript:"] {
        assert!(!page.contains(part), "{part}");
    }
    let script = page.split("<script").nth(1).unwrap();
    assert!(
        script.starts_with(" src=\"page/script.js\" defer></script>"),
        "{script}"
    );
    for part in [STYLE, SCRIPT] {
        assert!(!part.contains("://") && !part.contains("@import"), "{part}");
    }
}

#[test]
fn it_says_why_it_is_not_ready() {
    let mut facts = facts();
    facts.unready = vec!["no policy is loaded".to_owned(), "draining".to_owned()];
    let live = live(&facts, &picture());
    assert!(live.contains("Not ready for new clients"));
    assert!(live.contains("<li>no policy is loaded</li><li>draining</li>"), "{live}");
    assert!(live.contains("No policy is loaded: every request is refused."));
}

#[test]
fn numbers_have_three_digits_and_a_unit() {
    #[rustfmt::skip]
    let counts = [
        (0.0, "0"), (1.0, "1"), (0.25, "0.25"), (12.34, "12.3"), (100.0, "100"), (999.0, "999"), (1000.0, "1k"),
        (999.7, "1k"), (54_321.0, "54.3k"), (2_500_000.0, "2.5M"), (3e15, "3000T"),
    ];
    for (value, text) in counts {
        assert_eq!(numbers::count(value), text, "{value}");
    }
    #[rustfmt::skip]
    let bytes = [(0.0, "0 B/s"), (0.1, "0 B/s"), (12.6, "13 B/s"), (1500.0, "1.5 kB/s"), (2e9, "2 GB/s")];
    for (value, text) in bytes {
        assert_eq!(numbers::bytes(value).replace('\u{a0}', " "), text, "{value}");
    }
    #[rustfmt::skip]
    let times = [(0.0, "0"), (35e-6, "35 µs"), (0.0015, "1.5 ms"), (0.9999, "1 s"), (12.0, "12 s")];
    for (value, text) in times {
        assert_eq!(numbers::time(value).replace('\u{a0}', " "), text, "{value}");
    }
    assert_eq!(numbers::maybe(None), "–");
    assert_eq!(
        numbers::maybe(Some(Duration::from_millis(3))).replace('\u{a0}', " "),
        "3 ms"
    );
    #[rustfmt::skip]
    let ages = [(-3, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7300, "2 h 1 min"), (90_000, "1 d 1 h")];
    for (seconds, text) in ages {
        assert_eq!(numbers::age(seconds), text);
    }
}

#[test]
fn the_top_of_a_chart_is_a_round_number_that_is_not_below() {
    let table = [
        (0.0, 1.0),
        (0.3, 0.5),
        (1.0, 1.0),
        (1.1, 2.0),
        (4.0, 5.0),
        (6.0, 10.0),
        (1000.0, 1000.0),
        (f64::NAN, 1.0),
        (f64::INFINITY, 1.0),
    ];
    for (value, top) in table {
        assert!(
            (numbers::ceiling(value) - top).abs() < 1e-9,
            "{value}: {}",
            numbers::ceiling(value)
        );
    }
}

fn drawn(points: &[(f64, Option<f64>)], marks: &[Mark]) -> String {
    let chart = Chart {
        id: "x",
        title: "Things",
        span: Span::Minutes,
        lines: vec![Line {
            name: "some",
            points: points.to_vec(),
        }],
        marks,
        reach: 0.15,
        write: numbers::count,
        least: 1.0,
    };
    let mut out = String::new();
    chart.draw(&mut out).unwrap();
    out
}

/// The points of a line, and the pieces that are drawn.
type Drawn<'a> = (&'a [(f64, Option<f64>)], &'a [&'a str]);

#[test]
fn a_line_has_a_piece_between_gaps_and_no_points_within_a_level() {
    #[rustfmt::skip]
    let table: [Drawn<'_>; 6] = [
        (&[],                                                                       &[]),
        (&[(0.5, None)],                                                            &[]),
        (&[(0.5, Some(1.0))],                                                       &["300.0,0.0 300.0,0.0"]),
        (&[(0.5, Some(0.0)), (0.6, Some(1.0))],                                     &["300.0,100.0 360.0,0.0 "]),
        (&[(0.1, Some(1.0)), (0.2, Some(1.0)), (0.3, Some(1.0)), (0.4, Some(0.5))], &["60.0,0.0 180.0,0.0 240.0,50.0 "]),
        (&[(0.1, Some(1.0)), (0.2, Some(0.0)), (0.5, Some(0.0)), (0.6, Some(1.0))], &["60.0,0.0 120.0,100.0 ", "300.0,100.0 360.0,0.0 "]),
    ];
    for (points, expected) in table {
        let out = drawn(points, &[]);
        let lines = out
            .split("points=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap());
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{points:?}");
    }
}

#[test]
fn a_chart_says_in_words_what_it_shows() {
    let mark = |at| Mark {
        at,
        time: Timestamp::UNIX_EPOCH,
        change: Change::Started,
    };
    let out = drawn(&[(0.5, Some(7.0)), (1.0, Some(3.0))], &[mark(0.5), mark(-0.5)]);
    let words = "aria-label=\"Things in the last 5 minutes. some: now 3, at most 7. One change is marked.\"";
    assert!(out.contains(words), "{out}");
    assert_eq!(out.matches("class=\"mark").count(), 1);
    assert!(drawn(&[], &[]).contains("some: now –, at most –.\""));
}
