//! One of the two tables: its columns, what of it is shown in which order, and which row is selected.

use std::cmp::Ordering;

use super::row::Row;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tunnels,
    Sessions,
}

/// A column of a table.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    /// In cells of the terminal; 0 takes what is left.
    pub(super) width: u16,
    /// It is shown in terminals of this width and wider.
    pub(super) from: u16,
    /// Sorted by it, the largest is first.
    largest_first: bool,
}

const fn column(head: &'static str, width: u16, from: u16, largest_first: bool) -> Column {
    Column {
        head,
        width,
        from,
        largest_first,
    }
}

#[rustfmt::skip]
const TUNNELS: &[Column] = &[
    column("USER",   14, 0,   false),
    column("TARGET", 0,  0,   false),
    column("ACTION", 7,  100, false),
    column("AGE",    7,  0,   false),
    column("UP/S",   10, 0,   true),
    column("DOWN/S", 10, 0,   true),
    column("UP",     10, 110, true),
    column("DOWN",   10, 110, true),
];

#[rustfmt::skip]
const SESSIONS: &[Column] = &[
    column("USER",    14, 0,   false),
    column("CLIENT",  0,  0,   false),
    column("METHOD",  11, 110, false),
    column("AGE",     7,  0,   false),
    column("TUNNELS", 7,  0,   true),
    column("LISTEN",  6,  100, true),
    column("UP/S",    10, 0,   true),
    column("DOWN/S",  10, 0,   true),
    column("UP",      10, 120, true),
    column("DOWN",    10, 120, true),
];

impl Kind {
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Tunnels => TUNNELS,
            Self::Sessions => SESSIONS,
        }
    }

    /// One of them.
    pub(super) fn one(self) -> &'static str {
        match self {
            Self::Tunnels => "tunnel",
            Self::Sessions => "session",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Tunnels => Self::Sessions,
            Self::Sessions => Self::Tunnels,
        }
    }

    /// By what it is sorted at first: the rate down.
    fn busiest(self) -> usize {
        let position = self.columns().iter().position(|column| column.head == "DOWN/S");
        position.unwrap_or(0)
    }
}

/// How the selection moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

/// A table.
#[derive(Debug)]
pub(super) struct List {
    pub(super) kind: Kind,
    /// All of it, also what the filter hides.
    all: Vec<Row>,
    /// Those of `all` that are shown, in their order.
    shown: Vec<usize>,
    filter: String,
    sort: usize,
    reversed: bool,
    /// The id of the selected row.
    selected: Option<String>,
    /// Where it was shown.
    at: usize,
}

impl List {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            all: Vec::new(),
            shown: Vec::new(),
            filter: String::new(),
            sort: kind.busiest(),
            reversed: false,
            selected: None,
            at: 0,
        }
    }

    /// Takes what is open now.
    pub(super) fn replace(&mut self, rows: Vec<Row>) {
        self.all = rows;
        self.arrange();
    }

    /// Shows only rows that contain this.
    pub(super) fn filter(&mut self, words: &str) {
        self.filter = words.to_lowercase();
        self.arrange();
    }

    pub(super) fn sort_by_next(&mut self) {
        self.sort = (self.sort + 1) % self.kind.columns().len();
        self.reversed = false;
        self.arrange();
    }

    pub(super) fn reverse(&mut self) {
        self.reversed = !self.reversed;
        self.arrange();
    }

    pub(super) fn select(&mut self, step: Move, page: usize) {
        let last = self.shown.len().saturating_sub(1);
        let at = match step {
            Move::Up => self.at.saturating_sub(1),
            Move::Down => self.at + 1,
            Move::PageUp => self.at.saturating_sub(page),
            Move::PageDown => self.at + page,
            Move::First => 0,
            Move::Last => last,
        };
        self.select_at(at.min(last));
    }

    /// What is shown, in its order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.shown.iter().filter_map(|index| self.all.get(*index))
    }

    /// How many are shown.
    pub(super) fn count(&self) -> usize {
        self.shown.len()
    }

    pub(super) fn selected(&self) -> Option<&Row> {
        self.shown.get(self.at).and_then(|index| self.all.get(*index))
    }

    /// The place of the selected row.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many there are, also those that the filter hides.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The head of the column by which it is sorted, and whether its largest is first.
    pub(super) fn sorted_by(&self) -> (&'static str, bool) {
        let column = self.kind.columns().get(self.sort);
        column.map_or(("", false), |column| {
            (column.head, column.largest_first != self.reversed)
        })
    }

    fn arrange(&mut self) {
        let (sort, largest_first) = (self.sort, self.sorted_by().1);
        self.all.sort_by(|one, other| {
            let order = one.cells.get(sort).cmp(&other.cells.get(sort));
            let order = if largest_first { order.reverse() } else { order };
            // Equal rows keep their places from one second to the next.
            order.then_with(|| one.id.cmp(&other.id))
        });
        let shown = self.all.iter().enumerate().filter(|(_, row)| row.matches(&self.filter));
        self.shown = shown.map(|(index, _)| index).collect();
        self.find_selected();
    }

    /// The selection stays on its row. If that is gone, it stays in its place.
    fn find_selected(&mut self) {
        let selected = self.selected.as_deref();
        let found = self.rows().position(|row| Some(row.id.as_str()) == selected);
        let last = self.shown.len().saturating_sub(1);
        self.select_at(found.unwrap_or(self.at.min(last)));
    }

    fn select_at(&mut self, at: usize) {
        self.at = at;
        self.selected = self.selected().map(|row| row.id.clone());
    }
}

/// The first row of a window of `height` rows that has the selected row near its middle.
pub(super) fn first_in_window(at: usize, len: usize, height: usize) -> usize {
    match len.cmp(&height) {
        Ordering::Greater => at.saturating_sub(height / 2).min(len - height),
        _ => 0,
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
