//! Where everything is, for each size of the terminal.

use ratatui::layout::{Constraint, Layout, Rect, Size};

use crate::top::state::State;

/// The parts of the screen, from the top to the bottom.
pub(super) struct Areas {
    pub(super) head: Rect,
    /// Of the table.
    pub(super) title: Rect,
    /// Of the columns.
    pub(super) columns: Rect,
    pub(super) rows: Rect,
    /// All of the selected row.
    pub(super) detail: Rect,
    /// With their title.
    pub(super) decisions: Rect,
    pub(super) footer: Rect,
}

impl Areas {
    /// None if the terminal is too small.
    pub(super) fn of(size: Size, state: &State) -> Option<Self> {
        if size.width < MIN_WIDTH || size.height < MIN_HEIGHT {
            return None;
        }
        let [head, title, columns, rows, detail, decisions, footer] = Layout::vertical([
            Constraint::Length(FACTS + policies(size.height, state)),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(2),
            Constraint::Length(1 + size.height / 4),
            Constraint::Length(1),
        ])
        .areas(Rect::new(0, 0, size.width, size.height));
        Some(Self {
            head,
            title,
            columns,
            rows,
            detail,
            decisions,
            footer,
        })
    }
}

/// Lines for policies: few policies have one each, more share what there is.
fn policies(height: u16, state: &State) -> u16 {
    let most = height / 10;
    let count = u16::try_from(state.status.policies.len()).unwrap_or(most);
    count.clamp(1, most.max(1))
}

/// Lines of the header above the policies.
pub(super) const FACTS: u16 = 3;
pub(super) const MIN_WIDTH: u16 = 60;
pub(super) const MIN_HEIGHT: u16 = 16;
