//! The parts of the page besides its charts.

use std::fmt::{self, Write};

use jiff::Timestamp;

use super::chart::told_of;
use super::numbers::{NONE, age, bytes, count, maybe, rate};
use super::text::Text;
use super::{Facts, table};
use crate::history::{Change, Outcome, Picture};

/// Whether it is ready, and why not.
pub(super) fn state(out: &mut String, facts: &Facts) -> fmt::Result {
    out.push_str("<section id=\"state\" role=\"status\">\n");
    if facts.unready.is_empty() {
        out.push_str("<p class=\"ready\">Ready for new clients</p>\n");
    } else {
        out.push_str("<div class=\"unready\"><p>Not ready for new clients</p>\n<ul>");
        for reason in &facts.unready {
            write!(out, "<li>{}</li>", Text(reason))?;
        }
        out.push_str("</ul></div>\n");
    }
    out.push_str("</section>\n");
    Ok(())
}

/// The numbers of the present.
pub(super) fn figures(out: &mut String, facts: &Facts, picture: &Picture) -> fmt::Result {
    let (present, recent) = (&picture.present, &picture.recent);
    let sum = |what: &[&str]| -> u64 {
        let outcomes = picture.outcomes.iter().filter(|one| what.contains(&one.what));
        outcomes.map(|one| one.total).sum()
    };
    let figures = [
        ("sessions", "Sessions", count(facts.open.sessions as f64), "open now"),
        ("tunnels", "Tunnels", count(facts.open.tunnels as f64), "open now"),
        ("listeners", "Listeners", count(facts.open.listeners as f64), "open now"),
        (
            "allowed",
            "Allowed",
            rate(present.allowed),
            &*format!("{} since the start", sum(&["allowed", "rewritten"])),
        ),
        (
            "refused",
            "Refused",
            rate(present.refused + present.failed),
            &*format!("{} since the start", sum(&["denied", "failed"])),
        ),
        ("up", "Relayed up", bytes(present.up), "clients to targets"),
        ("down", "Relayed down", bytes(present.down), "targets to clients"),
        ("median", "Decision time", maybe(recent.median), "median of 5 minutes"),
        (
            "slowest",
            "Slow decisions",
            maybe(recent.slowest),
            "99 of 100 are faster",
        ),
        (
            "differences",
            "Shadow differences",
            count(picture.differences as f64),
            "since the start",
        ),
    ];
    out.push_str("<section id=\"figures\" aria-label=\"Numbers\">\n<dl>\n");
    for (id, name, value, about) in figures {
        writeln!(
            out,
            "<div id=\"figure-{id}\"><dt>{name}</dt><dd class=\"value\">{}</dd><dd class=\"about\">{}</dd></div>",
            Text(value),
            Text(about)
        )?;
    }
    out.push_str("</dl>\n</section>\n");
    Ok(())
}

/// What became of requests, by code.
pub(super) fn outcomes(out: &mut String, picture: &Picture) -> fmt::Result {
    let row = |one: &Outcome| {
        let code = if one.code.is_empty() { NONE } else { &one.code };
        vec![
            worded(one.what).to_owned(),
            code.to_owned(),
            worded(one.by).to_owned(),
            one.recent.to_string(),
            one.total.to_string(),
        ]
    };
    let rows: Vec<_> = picture.outcomes.iter().map(row).collect();
    out.push_str("<section id=\"outcomes\">\n");
    let head = ["Outcome", "Code", "By", "#5 minutes", "#Since start"];
    table(out, "Requests by outcome and code", &head, &rows)?;
    empty(out, rows.is_empty(), "No request to forward so far.");
    out.push_str("</section>\n");
    Ok(())
}

fn worded(word: &'static str) -> &'static str {
    match word {
        "unreached" => "allowed, not connected",
        "failed" => "no decision",
        other => other,
    }
}

/// The policies in force.
pub(super) fn policies(out: &mut String, facts: &Facts, picture: &Picture) -> fmt::Result {
    let rows: Vec<_> = facts
        .policies
        .iter()
        .map(|policy| {
            let known = picture.policies.get(&policy.plugin);
            let since = known.map_or_else(|| NONE.to_owned(), |known| clock(known.since));
            let counted = |count: Option<u64>| count.unwrap_or_default().to_string();
            vec![
                policy.plugin.clone(),
                policy.version.clone(),
                digest(&policy.sha256),
                digest(&policy.settings_sha256),
                since,
                counted(known.map(|known| known.swaps)),
                counted(known.map(|known| known.rejected)),
            ]
        })
        .collect();
    out.push_str("<section id=\"policies\">\n");
    let head = [
        "Policy",
        "Version",
        "Component",
        "Settings",
        "In force since",
        "#Swaps",
        "#Rejected",
    ];
    table(out, "Policies in force, in their order", &head, &rows)?;
    empty(out, rows.is_empty(), "No policy is loaded: every request is refused.");
    out.push_str("</section>\n");
    Ok(())
}

/// What changed, the newest first.
pub(super) fn changes(out: &mut String, picture: &Picture) -> fmt::Result {
    let rows: Vec<_> = picture
        .marks
        .iter()
        .map(|mark| {
            let (letter, _, words) = told_of(&mark.change);
            let (component, settings) = match &mark.change {
                Change::Swapped {
                    sha256,
                    settings_sha256,
                    ..
                } => (digest(sha256), digest(settings_sha256)),
                _ => (NONE.to_owned(), NONE.to_owned()),
            };
            vec![clock(mark.time), letter.to_string(), words, component, settings]
        })
        .collect();
    out.push_str("<section id=\"changes\">\n");
    table(
        out,
        "Changes, newest first",
        &["Time (UTC)", "Mark", "Change", "Component", "Settings"],
        &rows,
    )?;
    empty(out, rows.is_empty(), "Nothing has changed.");
    out.push_str("</section>\n");
    Ok(())
}

/// When this was, and which program it is.
pub(super) fn about(out: &mut String, facts: &Facts) -> fmt::Result {
    let age = age(facts.now.as_second() - facts.started.as_second());
    writeln!(
        out,
        "<section id=\"about\"><p>As of {} UTC. portreeve {} has run for {age}, since {} UTC. Times are UTC.</p></section>",
        clock(facts.now),
        Text(&facts.version),
        clock(facts.started)
    )
}

fn empty(out: &mut String, is_empty: bool, words: &str) {
    if is_empty {
        out.push_str(&format!("<p class=\"empty\">{}</p>\n", Text(words)));
    }
}

fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The start of a SHA-256: enough to tell versions apart.
fn digest(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}
