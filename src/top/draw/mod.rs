//! From the state to a frame. Nothing here changes the state or looks at a clock.

mod footer;
mod head;
mod layout;
mod lists;

use ratatui::Frame;
use ratatui::layout::{Alignment, Rect, Size};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Paragraph, Wrap};

use self::layout::Areas;
use super::state::{Mode, State};

/// Styles, with or without colour. What matters is bold or reversed as well, so nothing is lost without colours.
#[derive(Clone, Copy)]
pub(super) struct Colours(bool);

impl Colours {
    pub(super) fn new(coloured: bool) -> Self {
        Self(coloured)
    }

    fn of(self, colour: Color) -> Style {
        if self.0 { Style::new().fg(colour) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.of(Color::Green)
    }

    fn bad(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn head(self) -> Style {
        self.of(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn aside(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame, state: &State, paint: Colours) {
    let Some(areas) = Areas::of(frame.area().as_size(), state) else {
        return too_small(frame);
    };
    head::draw(frame, areas.head, state, paint);
    if state.mode == Mode::Help {
        let body = areas.title.union(areas.decisions);
        footer::help(frame, body, paint);
    } else {
        lists::table(frame, &areas, state, paint);
        lists::decisions(frame, areas.decisions, state, paint);
    }
    footer::draw(frame, areas.footer, state, paint);
}

/// How many rows the table has room for.
pub(super) fn page(size: Size, state: &State) -> usize {
    Areas::of(size, state).map_or(1, |areas| usize::from(areas.rows.height).max(1))
}

fn too_small(frame: &mut Frame) {
    let Size { width, height } = frame.area().as_size();
    let words = format!(
        "{width}x{height} is too small: portreeve top needs {}x{} (q quits)",
        layout::MIN_WIDTH,
        layout::MIN_HEIGHT
    );
    let words = Paragraph::new(words)
        .wrap(Wrap { trim: true })
        .alignment(Alignment::Left);
    frame.render_widget(words, frame.area());
}

/// One line of an area; an empty area if there is no such line.
fn line(area: Rect, index: u16) -> Rect {
    let height = area.height.saturating_sub(index).min(1);
    Rect {
        y: area.y.saturating_add(index),
        height,
        ..area
    }
}

#[cfg(test)]
#[path = "../draw_tests.rs"]
mod tests;
