//! The charts of the page, all on the same axis of time.

use std::fmt;
use std::time::Duration;

use super::chart::{Chart, Line};
use super::numbers;
use crate::history::{Picture, Point};

pub(super) fn all(out: &mut String, picture: &Picture) -> fmt::Result {
    out.push_str("<section id=\"charts\" aria-label=\"Charts\">\n");
    for chart in charts(picture) {
        chart.draw(out)?;
    }
    out.push_str("</section>\n");
    Ok(())
}

fn charts(picture: &Picture) -> [Chart<'_>; 4] {
    let chart = |id, title, lines, write, least| Chart {
        id,
        title,
        span: picture.span,
        lines,
        marks: &picture.marks,
        reach: picture.reach,
        write,
        least,
    };
    let line = |name, value: fn(&Point) -> Option<f64>| Line {
        name,
        points: picture.points.iter().map(|point| (point.at, value(point))).collect(),
    };
    let decisions = vec![
        line("allowed", |point| Some(point.allowed)),
        line("refused", |point| Some(point.refused)),
        line("failed", |point| Some(point.failed)),
        line("shadow differs", |point| Some(point.differences)),
    ];
    let open = vec![
        line("tunnels", |point| Some(point.tunnels as f64)),
        line("sessions", |point| Some(point.sessions as f64)),
        line("listeners", |point| Some(point.listeners as f64)),
    ];
    let relayed = vec![
        line("up", |point| Some(point.up)),
        line("down", |point| Some(point.down)),
    ];
    let times = vec![
        line("median", |point| point.median.map(|time| time.as_secs_f64())),
        line("99 of 100", |point| point.slowest.map(|time| time.as_secs_f64())),
    ];
    [
        chart("decisions", "Decisions", decisions, numbers::rate, 1.0),
        chart("relayed", "Relayed bytes", relayed, numbers::bytes, 1000.0),
        chart("open", "Open now", open, numbers::count, 2.0),
        chart(
            "times",
            "Decision time",
            times,
            numbers::time,
            Duration::from_micros(100).as_secs_f64(),
        ),
    ]
}
