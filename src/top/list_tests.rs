//! Order, filter and selection of a table, as its rows come and go.

use serde_json::json;

use super::*;

/// A tunnel whose user is its id, too.
fn tunnel(id: &str, rate_down: u64) -> Row {
    let body = json!({
        "forward": id, "session": format!("s-{id}"), "user": format!("user-{id}"), "requested": format!("{id}.internal:22"),
        "effective": format!("{id}.internal:22"), "action": "connect", "rate_up": 1, "rate_down": rate_down,
    });
    Row::tunnel(&body).unwrap()
}

fn list(rows: &[(&str, u64)]) -> List {
    let mut list = List::new(Kind::Tunnels);
    replace(&mut list, rows);
    list
}

fn replace(list: &mut List, rows: &[(&str, u64)]) {
    list.replace(rows.iter().map(|(id, rate)| tunnel(id, *rate)).collect());
}

fn ids(list: &List) -> String {
    let ids: Vec<_> = list.rows().map(|row| row.id.as_str()).collect();
    ids.join(" ")
}

fn selected(list: &List) -> &str {
    list.selected().map_or("", |row| row.id.as_str())
}

#[test]
fn each_column_sorts_in_its_own_direction_and_can_be_reversed() {
    let mut list = list(&[("b", 5), ("c", 9), ("a", 7), ("d", 7)]);
    type Step = (&'static str, fn(&mut List), (&'static str, bool), &'static str);
    let steps: [Step; 6] = [
        ("at first", |_| {}, ("DOWN/S", true), "c a d b"),
        ("reversed", List::reverse, ("DOWN/S", false), "b a d c"),
        ("next", List::sort_by_next, ("UP", true), "a b c d"),
        ("next", List::sort_by_next, ("DOWN", true), "a b c d"),
        ("around", List::sort_by_next, ("USER", false), "a b c d"),
        ("reversed", List::reverse, ("USER", true), "d c b a"),
    ];
    for (step, change, sorted_by, order) in steps {
        change(&mut list);
        assert_eq!((list.sorted_by(), ids(&list).as_str()), (sorted_by, order), "{step}");
    }
}

#[test]
fn a_filter_hides_rows_and_forgets_none() {
    let mut list = list(&[("abc", 3), ("bcd", 2), ("xyz", 1)]);
    for (filter, order) in [
        ("", "abc bcd xyz"),
        ("bc", "abc bcd"),
        ("USER-X", "xyz"),
        ("s-bcd", "bcd"),
        ("bcd.internal", "bcd"),
        ("nothing", ""),
        ("", "abc bcd xyz"),
    ] {
        list.filter(filter);
        assert_eq!((ids(&list).as_str(), list.len()), (order, 3), "{filter}");
    }
}

#[test]
fn the_selection_stays_on_its_row_while_that_is_there() {
    let mut list = list(&[("a", 9), ("b", 8), ("c", 7)]);
    list.select(Move::Down, 10);
    type Step = (&'static str, &'static [(&'static str, u64)], &'static str);
    #[rustfmt::skip]
    let table: [Step; 6] = [
        ("it moves up",          &[("a", 1), ("b", 8), ("c", 7)], "b"),
        ("others come above it", &[("x", 90), ("y", 91), ("b", 8)], "b"),
        ("it becomes the last",  &[("x", 90), ("a", 9), ("b", 0)], "b"),
        ("it goes",              &[("x", 90), ("a", 9)], "a"),
        ("all go",               &[], ""),
        ("others come",          &[("q", 3), ("r", 2)], "q"),
    ];
    for (step, rows, row) in table {
        replace(&mut list, rows);
        assert_eq!(selected(&list), row, "{step}");
    }
}

#[test]
fn the_selection_moves_within_what_is_shown() {
    let rows: Vec<_> = (0..30).map(|number| (format!("t{number:02}"), 100 - number)).collect();
    let rows: Vec<_> = rows.iter().map(|(id, rate)| (id.as_str(), *rate)).collect();
    let mut list = list(&rows);
    for (step, row) in [
        (Move::Up, "t00"),
        (Move::Down, "t01"),
        (Move::PageDown, "t11"),
        (Move::PageDown, "t21"),
        (Move::PageDown, "t29"),
        (Move::Down, "t29"),
        (Move::PageUp, "t19"),
        (Move::First, "t00"),
        (Move::Last, "t29"),
    ] {
        list.select(step, 10);
        assert_eq!(selected(&list), row, "{step:?}");
    }
    list.filter("t0");
    assert_eq!(selected(&list), "t09", "the nearest row that is shown");
}

#[test]
fn nothing_is_selected_in_an_empty_table() {
    let mut list = list(&[]);
    for step in [Move::Up, Move::Down, Move::PageDown, Move::Last] {
        list.select(step, 10);
        assert_eq!(list.selected(), None, "{step:?}");
    }
}

#[test]
fn the_selected_row_is_in_the_window() {
    for (at, len, height, first) in [
        (0, 5, 10, 0),
        (4, 5, 10, 0),
        (0, 30, 10, 0),
        (4, 30, 10, 0),
        (15, 30, 10, 10),
        (29, 30, 10, 20),
        (3, 30, 0, 3),
    ] {
        assert_eq!(first_in_window(at, len, height), first, "{at} of {len} in {height}");
    }
}
