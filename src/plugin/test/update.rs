//! `--update`: writes into a case file what the policy answered, and leaves all else as it is.
//!
//! The text is changed at the places where the parser found the values, from the last to the first,
//! so that comments, order and layout stay.

use std::fmt::Write;
use std::ops::Range;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::answer::{Answer, Word};

/// A request of a file, by the number of its case and of its step, and what was answered.
pub(super) struct Recorded<'a> {
    pub(super) case: usize,
    pub(super) step: usize,
    pub(super) answer: &'a Answer,
}

/// The text of a case file with these answers as what is expected.
///
/// # Errors
/// Where the text is not what was read before.
pub(super) fn text(text: &str, recorded: &[Recorded<'_>]) -> Result<String, String> {
    let root = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    for one in recorded {
        let table = find(root.get_ref(), one).ok_or("the file has changed while its cases ran")?;
        changes.extend(change(text, table, one.answer));
    }
    changes.sort_by_key(|(place, _)| std::cmp::Reverse((place.start, place.end)));
    let mut out = text.to_owned();
    for (place, words) in changes {
        out.replace_range(place, &words);
    }
    Ok(out)
}

fn find<'a, 'b>(root: &'b DeTable<'a>, one: &Recorded<'_>) -> Option<&'b Spanned<DeValue<'a>>> {
    let case = root.get("case")?.get_ref().as_array()?.get(one.case)?;
    match one.step.checked_sub(1) {
        None => Some(case),
        Some(index) => case.get_ref().as_table()?.get("then")?.get_ref().as_array()?.get(index),
    }
}

fn change(text: &str, table: &Spanned<DeValue<'_>>, answer: &Answer) -> Vec<(Range<usize>, String)> {
    let Some(entries) = table.get_ref().as_table() else {
        return Vec::new();
    };
    let Some(expect) = entries.get("expect") else {
        return vec![added(
            text,
            table.span(),
            entries,
            &inline(pairs(&wanted(None, answer))),
        )];
    };
    let Some(known) = expect.get_ref().as_table() else {
        return Vec::new();
    };
    // That an end is taken need not be said; that it is not, must.
    let unsaid = entries.contains_key("ended") && !known.contains_key("verdict") && answer.verdict != Word::Told;
    let mut wanted = wanted(Some(known), answer);
    if unsaid {
        wanted.insert(0, ("verdict", Json::from(answer.verdict.as_str())));
    }
    if text.get(expect.span()).is_some_and(|text| text.starts_with('{')) {
        return vec![(expect.span(), inline(pairs(&wanted)))];
    }
    let mut changes = Vec::new();
    for (key, value) in known {
        match wanted.iter().find(|(name, _)| *name == key.get_ref().as_ref()) {
            Some((_, new)) => changes.push((value.span(), toml(new))),
            None => changes.push((key.span().start..line_end(text, value.span().end), String::new())),
        }
    }
    let missing = wanted.iter().filter(|(name, _)| !known.contains_key(*name));
    let newline = newline(text);
    let missing = missing.fold(String::new(), |mut lines, (name, value)| {
        let _ = write!(lines, "{newline}{name} = {}", toml(value));
        lines
    });
    let last = known.values().map(|value| value.span().end).max();
    let at = last.unwrap_or(expect.span().end);
    changes.push((at..at, missing));
    changes
}

/// Where a table has no `expect` yet: behind the last of its own values.
fn added(text: &str, table: Range<usize>, entries: &DeTable<'_>, value: &str) -> (Range<usize>, String) {
    let own = entries.iter().filter(|(key, value)| {
        let between = text.get(key.span().end..value.span().start);
        between.is_some_and(|between| between.contains('=') && !between.contains('\n'))
    });
    let last = own.map(|(_, value)| value.span().end).max();
    if text.get(table.clone()).is_some_and(|text| text.starts_with('{')) {
        let at = last.unwrap_or(table.start + 1);
        return (at..at, format!(", expect = {value}"));
    }
    // Behind a comment that belongs to that line.
    let at = line_end(text, last.unwrap_or(table.end));
    let newline = newline(text);
    let before = match text.get(..at) {
        Some(before) if before.ends_with('\n') => "",
        _ => newline,
    };
    (at..at, format!("{before}expect = {value}{newline}"))
}

/// How the lines of this file end.
fn newline(text: &str) -> &'static str {
    match text.split_once('\n') {
        Some((first, _)) if first.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The end of the line of a place, with its line feed.
fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find('\n').map_or(text.len(), |found| at + found + 1)
}

/// What is written: the keys that were compared before, as far as the verdict has them, or those
/// that tell the verdict from others.
fn wanted(known: Option<&DeTable<'_>>, answer: &Answer) -> Vec<(&'static str, Json)> {
    let had = |name: &str| known.is_some_and(|known| known.contains_key(name));
    let same = known.and_then(|known| known.get("verdict")?.get_ref().as_str()) == Some(answer.verdict.as_str());
    let fresh = known.is_none() || (had("verdict") && !same);
    let mut out = Vec::new();
    let mut put = |name: &'static str, wanted: bool, value: Option<Json>| {
        out.extend(value.filter(|_| wanted).map(|value| (name, value)));
    };
    let word = answer.verdict;
    let text = |text: &Option<String>| text.clone().map(Json::String);
    put("verdict", fresh || had("verdict"), Some(Json::from(word.as_str())));
    let coded = matches!(word, Word::Deny | Word::Failed);
    put("code", (fresh && coded) || had("code"), text(&answer.code));
    put("reason", had("reason"), text(&answer.reason));
    let told = match (word, &answer.tell_user) {
        (Word::Deny, None) if had("tell-user") => Some(Json::from("")),
        (_, told) => told.clone().map(Json::String),
    };
    put("tell-user", (fresh && word == Word::Deny) || had("tell-user"), told);
    put("to", (fresh && word == Word::Rewrite) || had("to"), text(&answer.to));
    let allowed = matches!(word, Word::Allow | Word::Rewrite);
    let terms = Json::Object(answer.terms.clone());
    let telling = known.is_none() && !answer.terms.is_empty();
    put("terms", allowed && (telling || had("terms")), Some(terms));
    let tags = known.and_then(|known| known.get("tags")?.get_ref().as_table());
    let tags = tags.map(|tags| {
        let kept = answer.tags.iter().filter(|(name, _)| tags.contains_key(name.as_str()));
        Json::Object(
            kept.map(|(name, value)| (name.clone(), Json::from(value.as_str())))
                .collect(),
        )
    });
    put("tags", allowed, tags);
    let log = answer.log.iter().map(|line| Json::from(line.to_string())).collect();
    put("log", had("log"), Some(Json::Array(log)));
    let calls = answer.calls.iter().map(|call| Json::from(call.call.as_str())).collect();
    put("calls", had("calls"), Some(Json::Array(calls)));
    let rejected = word == Word::Rejected;
    let problems = serde_json::to_value(&answer.problems).ok();
    put("problems", rejected && (fresh || had("problems")), problems);
    out
}

fn inline<'a>(entries: impl IntoIterator<Item = (&'a str, &'a Json)>) -> String {
    let entries: Vec<_> = entries
        .into_iter()
        .map(|(name, value)| format!("{} = {}", key(name), toml(value)))
        .collect();
    if entries.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {} }}", entries.join(", "))
    }
}

/// A JSON value as TOML has it on one line.
fn toml(value: &Json) -> String {
    match value {
        Json::Object(entries) => inline(entries.iter().map(|(name, value)| (name.as_str(), value))),
        Json::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Json::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

fn pairs<'a>(entries: &'a [(&'static str, Json)]) -> impl Iterator<Item = (&'a str, &'a Json)> {
    entries.iter().map(|(name, value)| (*name, value))
}

fn key(name: &str) -> String {
    let bare = |one: char| one.is_ascii_alphanumeric() || one == '-' || one == '_';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn answer(word: Word) -> Answer {
        let mut answer = Answer::blank(word);
        answer.code = Some("closed".to_owned());
        answer.tell_user = Some("come \"back\"".to_owned());
        answer
    }

    fn updated(before: &str, answer: &Answer) -> String {
        let recorded = [Recorded {
            case: 0,
            step: 0,
            answer,
        }];
        text(before, &recorded).unwrap()
    }

    #[test]
    fn what_was_answered_takes_the_place_of_what_was_expected() {
        let before = "# top\n[[case]] # one\nname = \"a\"\nexpect = { verdict = \"deny\", code = \"old\" } # why\n";
        let after = "# top\n[[case]] # one\nname = \"a\"\nexpect = { verdict = \"deny\", code = \"closed\" } # why\n";
        assert_eq!(updated(before, &answer(Word::Deny)), after);
    }

    #[test]
    fn a_table_keeps_its_comments() {
        let before = "[[case]]\nname = \"a\"\n[case.expect]\n# first\nverdict = \"deny\" # yes\ncode = \"old\"\n\n[[case]]\nname = \"b\"\n";
        let after = "[[case]]\nname = \"a\"\n[case.expect]\n# first\nverdict = \"deny\" # yes\ncode = \"closed\"\n\n[[case]]\nname = \"b\"\n";
        assert_eq!(updated(before, &answer(Word::Deny)), after);
    }

    #[test]
    fn what_was_never_expected_is_added_behind_the_values() {
        let before = "[[case]]\nname = \"a\" # so\n\n[case.request]\ntarget = \"db:1\"\n";
        let after = "[[case]]\nname = \"a\" # so\nexpect = { verdict = \"deny\", code = \"closed\", tell-user = 'come \"back\"' }\n\n[case.request]\ntarget = \"db:1\"\n";
        assert_eq!(updated(before, &answer(Word::Deny)), after);
        let mut allow = Answer::blank(Word::Allow);
        allow.terms = Map::from_iter([("max-seconds".to_owned(), json!(5))]);
        let inline = "case = [{ name = \"a\" }]\n";
        let after = "case = [{ name = \"a\", expect = { verdict = \"allow\", terms = { max-seconds = 5 } } }]\n";
        assert_eq!(updated(inline, &allow), after);
    }

    #[test]
    fn an_end_that_is_not_taken_is_said_and_one_that_is_need_not_be() {
        let before = "[[case]]\nname = \"a\"\nended = {}\nexpect = { log = [\"info: a\"] }\n";
        let failed = before.replace("log = [\"info: a\"]", "verdict = \"failed\", log = []");
        assert_eq!(updated(before, &answer(Word::Failed)), failed);
        let told = before.replace("\"info: a\"", "");
        assert_eq!(updated(before, &answer(Word::Told)), told);
        let said = failed.replace("failed", "told");
        assert_eq!(updated(&failed, &answer(Word::Told)), said);
    }

    #[test]
    fn another_verdict_takes_its_own_keys_with_it() {
        let before = "[[case]]\nname = \"a\"\nexpect = { verdict = \"deny\", code = \"old\" }\n";
        let mut moved = Answer::blank(Word::Rewrite);
        moved.to = Some("db:2".to_owned());
        let after = "[[case]]\nname = \"a\"\nexpect = { verdict = \"rewrite\", to = \"db:2\" }\n";
        assert_eq!(updated(before, &moved), after);
    }
}
