//! What a key asks for. It depends on the mode: a text that is typed may have any letter.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::list::Move;
use super::state::Mode;

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Select(Move),
    /// Show the other table.
    Switch,
    /// Sort by the next column.
    Sort,
    Reverse,
    Help,
    /// Begin to type a filter.
    Filter,
    /// Ask whether the selected row is to be closed.
    Close,
    Pause,
    Type(char),
    Erase,
    EraseAll,
    Accept,
    Cancel,
}

/// None if the key means nothing here.
pub(super) fn action(mode: &Mode, key: KeyEvent) -> Option<Action> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match (mode, key.code) {
        (_, KeyCode::Char('c')) if control => Some(Action::Quit),
        (Mode::Watch, code) if !control => watched(code),
        (Mode::Help, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?')) => Some(Action::Cancel),
        (Mode::Filter | Mode::Confirm(_), KeyCode::Char('u')) if control => Some(Action::EraseAll),
        (Mode::Filter | Mode::Confirm(_), code) if !control => typed(code),
        _ => None,
    }
}

fn watched(code: KeyCode) -> Option<Action> {
    let action = match code {
        KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
        KeyCode::Up => Action::Select(Move::Up),
        KeyCode::Down => Action::Select(Move::Down),
        KeyCode::PageUp => Action::Select(Move::PageUp),
        KeyCode::PageDown => Action::Select(Move::PageDown),
        KeyCode::Home => Action::Select(Move::First),
        KeyCode::End => Action::Select(Move::Last),
        KeyCode::Tab | KeyCode::BackTab => Action::Switch,
        KeyCode::Char('s') => Action::Sort,
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('?') => Action::Help,
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char('k') => Action::Close,
        KeyCode::Char('p') => Action::Pause,
        _ => return None,
    };
    Some(action)
}

fn typed(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char(character) => Some(Action::Type(character)),
        KeyCode::Backspace => Some(Action::Erase),
        KeyCode::Enter => Some(Action::Accept),
        KeyCode::Esc => Some(Action::Cancel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::Kind;
    use super::super::state::Confirm;
    use super::*;

    #[test]
    fn a_key_means_what_the_mode_makes_of_it() {
        let confirm = Mode::Confirm(Confirm {
            kind: Kind::Tunnels,
            id: "f-1".to_owned(),
            what: String::new(),
            reason: String::new(),
        });
        let plain = |code| KeyEvent::new(code, KeyModifiers::NONE);
        let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        let letter = |letter| plain(KeyCode::Char(letter));
        let typed = |letter| Some(Action::Type(letter));
        #[rustfmt::skip]
        let table = [
            // key                        watching                              help                  typing
            (control('c'),                Some(Action::Quit),                   Some(Action::Quit),   Some(Action::Quit)),
            (letter('q'),                 Some(Action::Quit),                   Some(Action::Cancel), typed('q')),
            (plain(KeyCode::Esc),         Some(Action::Quit),                   Some(Action::Cancel), Some(Action::Cancel)),
            (plain(KeyCode::Enter),       None,                                 Some(Action::Cancel), Some(Action::Accept)),
            (letter('k'),                 Some(Action::Close),                  None,                 typed('k')),
            (letter('?'),                 Some(Action::Help),                   Some(Action::Cancel), typed('?')),
            (letter('/'),                 Some(Action::Filter),                 None,                 typed('/')),
            (letter('s'),                 Some(Action::Sort),                   None,                 typed('s')),
            (letter('r'),                 Some(Action::Reverse),                None,                 typed('r')),
            (letter('p'),                 Some(Action::Pause),                  None,                 typed('p')),
            (letter('x'),                 None,                                 None,                 typed('x')),
            (control('k'),                None,                                 None,                 None),
            (control('u'),                None,                                 None,                 Some(Action::EraseAll)),
            (plain(KeyCode::Backspace),   None,                                 None,                 Some(Action::Erase)),
            (plain(KeyCode::Tab),         Some(Action::Switch),                 None,                 None),
            (plain(KeyCode::Up),          Some(Action::Select(Move::Up)),       None,                 None),
            (plain(KeyCode::Down),        Some(Action::Select(Move::Down)),     None,                 None),
            (plain(KeyCode::PageUp),      Some(Action::Select(Move::PageUp)),   None,                 None),
            (plain(KeyCode::PageDown),    Some(Action::Select(Move::PageDown)), None,                 None),
            (plain(KeyCode::Home),        Some(Action::Select(Move::First)),    None,                 None),
            (plain(KeyCode::End),         Some(Action::Select(Move::Last)),     None,                 None),
        ];
        for (key, watching, help, typing) in table {
            assert_eq!(action(&Mode::Watch, key), watching, "{key:?}");
            assert_eq!(action(&Mode::Help, key), help, "{key:?} in help");
            assert_eq!(action(&Mode::Filter, key), typing, "{key:?} in a filter");
            assert_eq!(action(&confirm, key), typing, "{key:?} in a reason");
        }
    }
}
