//! The status page: HTML and SVG of what the history has, complete without JavaScript and without anything from elsewhere.
//!
//! [`whole`] is the page, [`live`] the part that the script fetches again and puts in place. The room must not know HTTP, nor
//! where its facts come from. Invariant: every text goes through [`Text`], which escapes it.

mod chart;
mod charts;
mod numbers;
mod parts;
#[cfg(test)]
mod tests;
mod text;

use std::fmt::{self, Write};

use jiff::Timestamp;

use crate::history::{Picture, Span};
use text::Text;

/// What the page says besides the history.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The program's version.
    pub version: String,
    /// Since when it serves.
    pub started: Timestamp,
    /// The present.
    pub now: Timestamp,
    /// Why it should get no new clients; empty while it is ready.
    pub unready: Vec<String>,
    /// What is open now.
    pub open: Open,
    /// The policies in force, in the order in which they are asked.
    pub policies: Vec<Policy>,
}

/// What is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// Sessions whose user is logged in.
    pub sessions: usize,
    /// Tunnels.
    pub tunnels: usize,
    /// Listeners.
    pub listeners: usize,
}

/// A policy in force.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The name under which it is configured.
    pub plugin: String,
    /// What the component states.
    pub version: String,
    /// Of the component, hexadecimal.
    pub sha256: String,
    /// Of its settings, hexadecimal.
    pub settings_sha256: String,
}

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("style.css");
/// The script.
pub(crate) const SCRIPT: &str = include_str!("script.js");
/// The icon, an SVG image.
pub(crate) const ICON: &str = include_str!("icon.svg");

/// The part that changes.
#[must_use]
pub(crate) fn live(facts: &Facts, picture: &Picture) -> String {
    written(|out| {
        parts::state(out, facts)?;
        parts::figures(out, facts, picture)?;
        charts::all(out, picture)?;
        parts::outcomes(out, picture)?;
        parts::policies(out, facts, picture)?;
        parts::changes(out, picture)?;
        parts::about(out, facts)
    })
}

/// The whole page around the part that changes.
#[must_use]
pub(crate) fn whole(span: Span, live: &str) -> String {
    let (minutes, hour, query) = match span {
        Span::Minutes => (CURRENT, "", ""),
        Span::Hour => ("", CURRENT, "?span=hour"),
    };
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>portreeve status</title>
<link rel="icon" href="page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="page/style.css">
<script src="page/script.js" defer></script>
<noscript><meta http-equiv="refresh" content="5"></noscript>
</head>
<body>
<header>
<h1>portreeve</h1>
<nav aria-label="Time span"><a href="./"{minutes}>5 minutes</a><a href="./?span=hour"{hour}>1 hour</a></nav>
</header>
<p id="notice" role="alert" hidden></p>
<main id="live" data-source="page/live{query}">
{live}</main>
</body>
</html>
"#
    )
}

const CURRENT: &str = r#" aria-current="page""#;

/// Writing to a string does not fail.
fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    if let Err(error @ fmt::Error) = write(&mut out) {
        tracing::error!(%error, "the status page cannot be written");
    }
    out
}

/// A table with a caption. The first cell of a row is its heading, and cells of a column whose heading begins with `#` are numbers.
fn table(out: &mut String, caption: &str, head: &[&str], rows: &[Vec<String>]) -> fmt::Result {
    let number = |heading: &&str| heading.starts_with('#');
    write!(
        out,
        "<div class=\"scroll\" role=\"region\" aria-label=\"{0}\" tabindex=\"0\">\n<table>\n<caption>{0}</caption>\n<thead><tr>",
        Text(caption)
    )?;
    for heading in head {
        let class = if number(heading) { " class=\"number\"" } else { "" };
        write!(
            out,
            "<th scope=\"col\"{class}>{}</th>",
            Text(heading.trim_start_matches('#'))
        )?;
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (place, (cell, heading)) in row.iter().zip(head).enumerate() {
            let class = if number(heading) { " class=\"number\"" } else { "" };
            match place {
                0 => write!(out, "<th scope=\"row\">{}</th>", Text(cell))?,
                _ => write!(out, "<td{class}>{}</td>", Text(cell))?,
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    Ok(())
}
