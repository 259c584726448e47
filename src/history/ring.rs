//! The steps of a span: a fixed number of them, the oldest replaced by the newest.

use std::collections::VecDeque;

use super::cell::{Cell, Point};

/// Steps with their numbers. A step in which no sample was taken is not there: a gap is a jump of the number.
pub(super) struct Ring {
    /// Seconds in a step.
    step: u64,
    /// Steps in the span.
    most: u64,
    cells: VecDeque<(u64, Cell)>,
}

impl Ring {
    pub(super) fn new(step: u64, most: u64) -> Self {
        Self {
            step,
            most,
            cells: VecDeque::new(),
        }
    }

    /// Adds what was counted until this second, which is not before the last one.
    pub(super) fn add(&mut self, second: u64, cell: &Cell) {
        let number = second / self.step;
        match self.cells.back_mut() {
            Some((last, there)) if *last >= number => there.add(cell),
            _ => self.cells.push_back((number, cell.clone())),
        }
        self.forget(number);
    }

    fn forget(&mut self, newest: u64) {
        while self
            .cells
            .front()
            .is_some_and(|(number, _)| number + self.most <= newest)
        {
            self.cells.pop_front();
        }
    }

    /// All of the last steps together.
    pub(super) fn sum(&self, now: u64, steps: u64) -> Cell {
        let mut sum = Cell::default();
        let recent = self.cells.iter().filter(|(number, _)| number + steps > now / self.step);
        recent.for_each(|(_, cell)| sum.add(cell));
        sum
    }

    /// The steps of the span that ends now, the oldest first.
    pub(super) fn points(&self, now: f64) -> Vec<Point> {
        let points = self.cells.iter().map(|(number, cell)| {
            // A sample counts what was before it.
            let end = number * self.step + self.step - 1;
            cell.point(self.place(end as f64, now))
        });
        points.filter(|point| point.at >= 0.0).collect()
    }

    /// Where a second is in the span that ends now. What is still to come is now.
    pub(super) fn place(&self, second: f64, now: f64) -> f64 {
        1.0 - ((now - second) / self.seconds() as f64).max(0.0)
    }

    /// How long the span is.
    pub(super) fn seconds(&self) -> u64 {
        self.step * self.most
    }

    /// The longest distance of two points between which there is no gap: a sample may be a few seconds late on a busy machine.
    pub(super) fn reach(&self) -> f64 {
        (self.step + LATE) as f64 / self.seconds() as f64
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }
}

/// Seconds.
const LATE: u64 = 4;
