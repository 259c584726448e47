//! One chart: lines over time as SVG, with a text that says the same.

use std::fmt::{self, Write};

use super::text::Text;
use crate::history::{Change, Mark, Span};

/// What a chart shows.
pub(super) struct Chart<'a> {
    /// For the address of the part.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) span: Span,
    pub(super) lines: Vec<Line>,
    pub(super) marks: &'a [Mark],
    /// Neighbours that are further apart have a gap between them.
    pub(super) reach: f64,
    /// How a value is written.
    pub(super) write: fn(f64) -> String,
    /// The least value that the top stands for: below it, noise would look like much.
    pub(super) least: f64,
}

/// One line: where, and how much. There is nothing where nothing was measured.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

impl Line {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().filter_map(|(_, value)| *value)
    }

    fn highest(&self) -> f64 {
        self.values().fold(0.0, f64::max)
    }

    fn latest(&self) -> Option<f64> {
        self.points.last().and_then(|(_, value)| *value)
    }

    /// The line in pieces, between its gaps.
    fn pieces(&self, reach: f64) -> Vec<Vec<(f64, f64)>> {
        let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
        for (at, value) in &self.points {
            let Some(value) = value else { continue };
            match pieces.last_mut().map(|piece| (piece.last().copied(), piece)) {
                Some((Some((last, _)), piece)) if at - last <= reach => piece.push((*at, *value)),
                _ => pieces.push(vec![(*at, *value)]),
            }
        }
        pieces
    }
}

impl Chart<'_> {
    pub(super) fn draw(&self, out: &mut String) -> fmt::Result {
        let ago = match self.span {
            Span::Minutes => "5 minutes",
            Span::Hour => "1 hour",
        };
        let highest = self.lines.iter().map(Line::highest).fold(self.least, f64::max);
        let top = super::numbers::ceiling(highest);
        writeln!(
            out,
            "<figure id=\"chart-{}\">\n<figcaption>{}</figcaption>",
            self.id,
            Text(self.title)
        )?;
        self.legend(out)?;
        writeln!(
            out,
            "<svg class=\"chart\" role=\"img\" aria-label=\"{}\">",
            Text(self.told())
        )?;
        for fifth in 1..5 {
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{0}%\" x2=\"{0}%\" y1=\"0\" y2=\"100%\"/>",
                fifth * 20
            )?;
        }
        for part in [0, 50, 100] {
            writeln!(
                out,
                "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{part}%\" y2=\"{part}%\"/>"
            )?;
        }
        writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" width=\"100%\" height=\"100%\">"
        )?;
        for (number, line) in self.lines.iter().enumerate() {
            for piece in line.pieces(self.reach) {
                polyline(out, number, &piece, top)?;
            }
        }
        out.push_str("</svg>\n");
        self.draw_marks(out)?;
        for (y, value) in [("0", top), ("50%", top / 2.0)] {
            writeln!(
                out,
                "<text class=\"tick\" x=\"4\" y=\"{y}\" dy=\"1.1em\">{}</text>",
                Text((self.write)(value))
            )?;
        }
        writeln!(
            out,
            "</svg>\n<p class=\"axis\"><span>{ago} ago</span><span>now</span></p>\n</figure>"
        )
    }

    fn legend(&self, out: &mut String) -> fmt::Result {
        out.push_str("<ul class=\"legend\">");
        for (number, line) in self.lines.iter().enumerate() {
            write!(
                out,
                "<li><svg class=\"key\" aria-hidden=\"true\"><line class=\"line l{number}\" x1=\"0\" x2=\"100%\" y1=\"50%\" y2=\"50%\"/></svg>{} <b>{}</b></li>",
                Text(line.name),
                Text(self.value(line.latest()))
            )?;
        }
        out.push_str("</ul>\n");
        Ok(())
    }

    /// The chart in words.
    fn told(&self) -> String {
        let last = match self.span {
            Span::Minutes => "5 minutes",
            Span::Hour => "hour",
        };
        let mut told = format!("{} in the last {}.", self.title, last);
        for line in &self.lines {
            let highest = line.values().next().map(|_| line.highest());
            let (latest, highest) = (self.value(line.latest()), self.value(highest));
            let _ = write!(told, " {}: now {latest}, at most {highest}.", line.name);
        }
        let marks = self.marks.iter().filter(|mark| mark.at >= 0.0).count();
        match marks {
            0 => {}
            1 => told.push_str(" One change is marked."),
            more => {
                let _ = write!(told, " {more} changes are marked.");
            }
        }
        told
    }

    fn value(&self, value: Option<f64>) -> String {
        value.map_or_else(|| super::numbers::NONE.to_owned(), self.write)
    }

    /// Letters of neighbours are at different heights, and within the chart at its edges.
    fn draw_marks(&self, out: &mut String) -> fmt::Result {
        let marks = self.marks.iter().filter(|mark| mark.at >= 0.0);
        for (number, mark) in marks.enumerate() {
            let (letter, class, words) = told_of(&mark.change);
            let (at, height) = (mark.at * 100.0, 1.1 + (number % 3) as f64 * 1.1);
            let (anchor, aside) = if at > 95.0 { ("end", -3) } else { ("start", 3) };
            writeln!(
                out,
                "<g class=\"mark {class}\"><title>{}: {}</title><line x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"0\" y2=\"100%\"/>\
                 <text x=\"{at:.2}%\" y=\"0\" dx=\"{aside}\" dy=\"{height:.1}em\" text-anchor=\"{anchor}\">{letter}</text></g>",
                mark.time.strftime("%H:%M:%S"),
                Text(words)
            )?;
        }
        Ok(())
    }
}

/// A change: its letter in the charts, the class of its line, and its words.
pub(super) fn told_of(change: &Change) -> (char, &'static str, String) {
    match change {
        Change::Started => ('G', "good", "the gateway started".to_owned()),
        Change::Swapped { plugin, version, .. } => {
            ('S', "good", format!("{plugin} was swapped: now version {version}"))
        }
        Change::Rejected { plugin } => ('R', "bad", format!("a new version of {plugin} was rejected")),
        Change::Reloaded { ok: true } => ('C', "good", "the configuration was reloaded".to_owned()),
        Change::Reloaded { ok: false } => ('F', "bad", "a reload of the configuration failed".to_owned()),
    }
}

/// Of equal values in a row, the first and the last are drawn. A point alone is a dot: it would not be seen otherwise.
fn polyline(out: &mut String, number: usize, piece: &[(f64, f64)], top: f64) -> fmt::Result {
    let (x, y) = (|at: f64| at * WIDTH, |value: f64| HEIGHT * (1.0 - value / top));
    if let [(at, value)] = piece {
        let (x, y) = (x(*at), y(*value));
        return writeln!(
            out,
            "<polyline class=\"line dot l{number}\" points=\"{x:.1},{y:.1} {x:.1},{y:.1}\"/>"
        );
    }
    let is_within = |place: usize, value: f64| {
        let same = |other: Option<&(f64, f64)>| other.is_some_and(|other| other.1 == value);
        place > 0 && same(piece.get(place - 1)) && same(piece.get(place + 1))
    };
    write!(out, "<polyline class=\"line l{number}\" points=\"")?;
    for (place, (at, value)) in piece.iter().enumerate() {
        if !is_within(place, *value) {
            write!(out, "{:.1},{:.1} ", x(*at), y(*value))?;
        }
    }
    out.push_str("\"/>\n");
    Ok(())
}

/// The drawing is stretched to the width of the page; these are its own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;
