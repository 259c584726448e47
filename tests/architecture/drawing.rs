//! The drawing of the rooms, `docs/rooms.md`.

use std::fmt::Write;

use crate::imports::{Imports, direct};

/// The whole page.
pub fn page(top: &Imports, policy: &Imports) -> String {
    let mut page = String::from(
        "# The rooms, drawn from the code\n\
         \n\
         Each room is a file or folder of `src/`; the map in `src/lib.rs` says what each is for. `cargo test --test architecture` makes\n\
         this page from the imports in the code and fails if it is out of date. To write it anew, run\n\
         `RENEW=1 cargo test --test architecture`.\n\
         \n\
         An arrow points from a room to one that it imports. An arrow that follows from two others is left out of the drawing: the\n\
         tables have all of them. Nothing goes in a circle.\n",
    );
    section(&mut page, "All rooms", top);
    section(&mut page, "Within `policy`", policy);
    page
}

fn section(page: &mut String, title: &str, imports: &Imports) {
    let _ = write!(page, "\n## {title}\n\n```mermaid\nflowchart TD\n");
    for room in imports.keys() {
        let arrows = direct(imports, room);
        if arrows.is_empty() {
            let _ = writeln!(page, "    {room}");
        }
        for other in arrows {
            let _ = writeln!(page, "    {room} --> {other}");
        }
    }
    page.push_str("```\n\n| room | imports |\n|---|---|\n");
    for (room, others) in imports {
        let others: Vec<_> = others.keys().map(String::as_str).collect();
        let others = if others.is_empty() {
            "nothing".to_owned()
        } else {
            others.join(", ")
        };
        let _ = writeln!(page, "| `{room}` | {others} |");
    }
}
