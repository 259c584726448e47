//! The history itself, apart from clocks and locks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Moment;
use super::cell::{Cell, Open, Point};
use super::codes::{self, OTHER};
use super::marks::{InForce, Mark, Marks};
use super::outcomes::{Outcome, Outcomes};
use super::ring::Ring;
use crate::events::{Decided, Event, Subject};
use crate::request::{By, VerdictWord};
use crate::sessions::Totals;

/// How much of the past is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// By the second.
    Minutes,
    /// By ten seconds.
    Hour,
}

/// What there is to see.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// Of which span.
    pub span: Span,
    /// Its steps, the oldest first. A step in which no sample was taken is missing.
    pub points: Vec<Point>,
    /// Two neighbours that are further apart than this have a gap between them.
    pub reach: f64,
    /// The last ten seconds.
    pub present: Point,
    /// The last five minutes.
    pub recent: Point,
    /// Shadow policies that would have decided otherwise, since the start.
    pub differences: u64,
    /// What became of requests, the most frequent first.
    pub outcomes: Vec<Outcome>,
    /// The last changes, the newest first.
    pub marks: Vec<Mark>,
    /// How each configured policy came to be in force, by its configured name.
    pub policies: BTreeMap<String, InForce>,
}

/// What is kept. Its size has a bound.
pub(super) struct Kept {
    /// Since the last sample.
    counting: Cell,
    sampled: Duration,
    bytes: (u64, u64),
    minutes: Ring,
    hour: Ring,
    outcomes: Outcomes,
    marks: Marks,
    differences: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            counting: Cell::default(),
            sampled: Duration::ZERO,
            bytes: (0, 0),
            minutes: Ring::new(1, MINUTES),
            hour: Ring::new(10, HOUR),
            outcomes: Outcomes::default(),
            marks: Marks::default(),
            differences: 0,
        }
    }
}

impl Kept {
    /// Whether an event is kept: what is not takes no lock.
    pub(super) fn wants(event: &Event) -> bool {
        let name = event.name();
        let others = [
            "connect-failed",
            "gateway-started",
            "policy-differs",
            "policy-swapped",
            "policy-rejected",
            "config-reloaded",
        ];
        name == "forward-decided" || others.contains(&name)
    }

    pub(super) fn hear(&mut self, now: Moment, subject: &Subject, event: &Event) {
        let second = now.since.as_secs();
        match event {
            Event::ForwardDecided(decided) => self.decided(second, subject, decided),
            Event::ConnectFailed(failed) => {
                let why = failed.why.map_or(OTHER, |why| why.as_str());
                self.outcomes.count(second, "unreached", "target", why, 1);
            }
            Event::PolicyDiffers(differs) => {
                self.counting.differences += 1 + differs.unlisted;
                self.differences += 1 + differs.unlisted;
            }
            event => self.marks.hear(now, event),
        }
    }

    /// A line that stands for equal refusals counts as all of them; it has the times of the last one only.
    fn decided(&mut self, second: u64, subject: &Subject, decided: &Decided) {
        let count = decided.repeated.unwrap_or(1);
        let (what, counted) = match decided.verdict {
            VerdictWord::Allow => ("allowed", &mut self.counting.allowed),
            VerdictWord::Rewrite => ("rewritten", &mut self.counting.allowed),
            VerdictWord::Deny => ("denied", &mut self.counting.refused),
            VerdictWord::Failed => ("failed", &mut self.counting.failed),
        };
        *counted += count;
        let code = match (decided.verdict, decided.by) {
            (VerdictWord::Allow | VerdictWord::Rewrite, _) => "",
            (VerdictWord::Deny, By::Policy) => {
                let code = decided.code.as_deref().unwrap_or(OTHER);
                codes::shown(code, subject, &decided.requested)
            }
            _ => decided.code.as_deref().unwrap_or(OTHER),
        };
        self.outcomes.count(second, what, decided.by.as_str(), code, count);
        if !decided.times.is_empty() {
            self.counting.times.observe(Duration::from_micros(decided.micros));
        }
    }

    /// Ends a step.
    pub(super) fn sample(&mut self, now: Duration, totals: Totals) {
        let mut cell = std::mem::take(&mut self.counting);
        cell.lasted = now.saturating_sub(self.sampled);
        // Bytes that did not arrive are taken back: a count may be less than before.
        cell.up = totals.bytes_up.saturating_sub(self.bytes.0);
        cell.down = totals.bytes_down.saturating_sub(self.bytes.1);
        cell.open = Open::from(&totals);
        self.bytes = (totals.bytes_up, totals.bytes_down);
        self.sampled = now;
        self.minutes.add(now.as_secs(), &cell);
        self.hour.add(now.as_secs(), &cell);
    }

    pub(super) fn look(&self, now: Duration, span: Span) -> Picture {
        let ring = match span {
            Span::Minutes => &self.minutes,
            Span::Hour => &self.hour,
        };
        let (second, exact) = (now.as_secs(), now.as_secs_f64());
        Picture {
            span,
            points: ring.points(exact),
            reach: ring.reach(),
            present: self.minutes.sum(second, PRESENT).point(1.0),
            recent: self.minutes.sum(second, MINUTES).point(1.0),
            differences: self.differences,
            outcomes: self.outcomes.all(second),
            marks: self
                .marks
                .all(|since| 1.0 - (exact - since.as_secs_f64()) / ring.seconds() as f64),
            policies: self.marks.policies.clone(),
        }
    }
}

/// Steps of a second: five minutes.
pub(super) const MINUTES: u64 = 300;
/// Steps of ten seconds: an hour.
const HOUR: u64 = 360;
/// Seconds that count as the present: one alone would flicker.
const PRESENT: u64 = 10;
