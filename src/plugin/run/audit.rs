//! A request out of the audit log: a line of a decision, and the login of its session if the
//! log has it.

use std::path::Path;

use super::super::wrong::Wrong;
use crate::files;
use crate::names::Names;
use crate::replay::{Kind, Line, Lines, Sessions, Text};
use crate::request::ForwardRequest;

/// What a log says of one request.
pub(super) struct Recorded {
    pub(super) request: ForwardRequest,
    pub(super) names: Names,
    /// What was decided then, in a few words.
    pub(super) decided: String,
}

/// Finds the decision: `source` is a line, or the path of a log in which `forward` is looked for.
///
/// # Errors
/// What cannot be read, and where.
pub(super) fn read(source: &str, forward: Option<&str>) -> Result<Recorded, Wrong> {
    let mut sessions = Sessions::new(|_| {});
    if source.trim_start().starts_with('{') {
        let read = Text::alone(source).line();
        let read = read.and_then(|line| recorded(line, &mut sessions));
        return read.map_err(|words| Wrong::from(format!("the audit line: {words}")));
    }
    let path = Path::new(source);
    let failed = |error| Wrong::file(path, error);
    let file = files::open(path).map_err(failed)?;
    let Some(forward) = forward else {
        return Err(Wrong::file(path, "choose a decision of the log with --forward f-…"));
    };
    // One that is still being written has an end, too.
    let length = file.metadata().map_err(failed)?.len();
    let mut lines = Lines::of(file, length);
    while let Some(text) = lines.read().map_err(failed)? {
        if !text.has_any(&["\"auth-succeeded\"", "\"auth-renewed\"", "\"session-closed\"", forward]) {
            continue;
        }
        let told = |words: String| Wrong::line(path, usize::try_from(text.number).unwrap_or(usize::MAX), words);
        let line = text.line().map_err(told)?;
        if line.event == Kind::ForwardDecided && line.forward.as_deref() == Some(forward) {
            return recorded(line, &mut sessions).map_err(told);
        }
        sessions.follow(line).map_err(told)?;
    }
    Err(Wrong::file(
        path,
        format_args!("it contains no decision about {forward}"),
    ))
}

fn recorded(mut line: Line, sessions: &mut Sessions) -> Result<Recorded, String> {
    if line.event != Kind::ForwardDecided {
        return Err("it is not a decision: expected a line with \"event\":\"forward-decided\"".to_owned());
    }
    let session = sessions.of(&line)?;
    let names = line.names();
    let request = line.request(session)?;
    let verdict = line.verdict.ok_or("a decision without `verdict`")?.as_str();
    let decided = match line.code {
        Some(code) => format!("{verdict} ({code})"),
        None => verdict.to_owned(),
    };
    Ok(Recorded {
        request,
        names,
        decided,
    })
}
