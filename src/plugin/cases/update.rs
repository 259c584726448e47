//! `--update`: writes into a case file what the policy answered, and leaves all else as it is.
//!
//! The file is changed as a document, and not as text: see [`written`](super::written).

use serde_json::Value as Json;
use toml_edit::{DocumentMut, InlineTable, Item, TableLike, Value};

use super::super::answer::{Answer, Word};
use super::written::{Written, merge};

/// A request of a file, by the number of its case and of its step, and what was answered.
pub(super) struct Recorded<'a> {
    pub(super) case: usize,
    pub(super) step: usize,
    /// What the case is called.
    pub(super) name: &'a str,
    pub(super) answer: &'a Answer,
}

/// The text of a case file with these answers as what is expected.
///
/// # Errors
/// If the text is not what was read before, or an answer has what no TOML file can hold.
pub(super) fn text(text: &str, recorded: &[Recorded<'_>]) -> Result<String, String> {
    // The library writes lines as Unix has them, and no mark.
    let (mark, unmarked) = match text.strip_prefix(MARK) {
        Some(rest) => (MARK, rest),
        None => ("", text),
    };
    let dos = matches!(unmarked.split_once('\n'), Some((first, _)) if first.ends_with('\r'));
    let lines = if dos {
        unmarked.replace("\r\n", "\n")
    } else {
        unmarked.to_owned()
    };
    let mut document: DocumentMut = lines
        .parse()
        .map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
    for one in recorded {
        let step = find(document.as_item_mut(), one).ok_or(CHANGED)?;
        record(step, one.answer).map_err(|words| format!("case `{}`: {words}", one.name))?;
    }
    let lines = document.to_string();
    Ok(mark.to_owned() + &if dos { lines.replace('\n', "\r\n") } else { lines })
}

fn find<'a>(root: &'a mut Item, one: &Recorded<'_>) -> Option<Written<'a>> {
    let case = nth(root.get_mut("case")?, one.case)?;
    match one.step.checked_sub(1) {
        None => Some(case),
        Some(index) => nth(case.into_item("then")?, index),
    }
}

fn nth(list: &mut Item, index: usize) -> Option<Written<'_>> {
    match list {
        Item::ArrayOfTables(tables) => tables.get_mut(index).map(Written::Lines),
        Item::Value(Value::Array(tables)) => {
            let table = tables.get_mut(index)?.as_inline_table_mut();
            table.map(Written::Inline)
        }
        _ => None,
    }
}

fn record(mut step: Written<'_>, answer: &Answer) -> Result<(), String> {
    let ended = step.table().contains_key("ended");
    let Some(expect) = step.table().get_mut("expect") else {
        let mut expect = InlineTable::new();
        merge(Written::Inline(&mut expect), &by_reference(&wanted(None, answer)))?;
        let one_line = step.is_on_one_line();
        step.append("expect", Value::InlineTable(expect));
        step.tidy(one_line);
        return Ok(());
    };
    let known = expect.as_table_like().ok_or(CHANGED)?;
    // That an end is taken need not be said; that it is not, must.
    let unsaid = ended && !known.contains_key("verdict") && answer.verdict != Word::Told;
    let mut wanted = wanted(Some(known), answer);
    if unsaid {
        wanted.retain(|(key, _)| *key != "verdict");
        wanted.insert(0, ("verdict", Json::from(answer.verdict.as_str())));
    }
    let expect = Written::of(expect).ok_or(CHANGED)?;
    merge(expect, &by_reference(&wanted)).map(drop)
}

fn by_reference<'a>(wanted: &'a [(&'static str, Json)]) -> Vec<(&'a str, &'a Json)> {
    wanted.iter().map(|(key, value)| (*key, value)).collect()
}

/// What is written: the keys that were compared before, as far as the verdict has them, or those
/// that tell the verdict from others.
///
/// There is always one: a request of which nothing is compared would pass unasked.
fn wanted(known: Option<&dyn TableLike>, answer: &Answer) -> Vec<(&'static str, Json)> {
    let same = known.and_then(|known| known.get("verdict")?.as_str()) == Some(answer.verdict.as_str());
    let fresh = known.is_none_or(|known| known.contains_key("verdict") && !same);
    let told = keys(known, answer, fresh);
    if told.is_empty() {
        keys(known, answer, true)
    } else {
        told
    }
}

fn keys(known: Option<&dyn TableLike>, answer: &Answer, fresh: bool) -> Vec<(&'static str, Json)> {
    let had = |name: &str| known.is_some_and(|known| known.contains_key(name));
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
    let tags = known.and_then(|known| known.get("tags")?.as_table_like());
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

const CHANGED: &str = "the file changed while its cases ran";
/// With which some editors begin a file.
const MARK: &str = "\u{feff}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Line, LogLevel};
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
            name: "a",
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

    #[test]
    fn comments_stay_where_their_keys_go() {
        let mut moved = Answer::blank(Word::Rewrite);
        moved.to = Some("db:2".to_owned());
        #[rustfmt::skip]
        let table = [
            // a table over several lines
            ("expect = {\n  verdict = \"deny\", # keep\n  code = \"old\", # this goes\n}\n",
             "expect = {\n  verdict = \"rewrite\", # keep # this goes\n  to = \"db:2\",\n}\n"),
            ("expect = {\n  verdict = \"deny\" # keep\n}\n",
             "expect = {\n  verdict = \"rewrite\", # keep\n  to = \"db:2\"\n}\n"),
            // a table with a header
            ("[case.expect]\nverdict = \"deny\"\n# why\ncode = \"old\" # so\n",
             "[case.expect]\nverdict = \"rewrite\"\n# why\nto = \"db:2\"\n"),
            ("[case.expect]\n# why\ncode = \"old\"\nverdict = \"deny\"\n",
             "[case.expect]\n# why\nverdict = \"rewrite\"\nto = \"db:2\"\n"),
            // dotted keys
            ("expect.verdict = \"deny\" # keep\nfuel = 1\n",
             "expect.verdict = \"rewrite\" # keep\nexpect.to = \"db:2\"\nfuel = 1\n"),
        ];
        for (before, after) in table {
            let case = "[[case]]\nname = \"a\" # so\n";
            assert_eq!(updated(&format!("{case}{before}"), &moved), format!("{case}{after}"));
        }
    }

    #[test]
    fn what_is_said_already_stays_as_it_is_written() {
        let mut allow = Answer::blank(Word::Allow);
        allow.terms = Map::from_iter([
            ("max-seconds".to_owned(), json!(5)),
            ("tags".to_owned(), json!({ "rule": "r" })),
        ]);
        #[rustfmt::skip]
        let table = [
            ("expect = {verdict='allow',terms={ max-seconds=0x5, idle-seconds=1,tags.rule = 'x' }}\n",
             "expect = {verdict='allow',terms={ max-seconds = 0x5, tags.rule = \"r\" }}\n"),
            ("[case.expect.terms]\nmax-seconds = 0x5 # keep\n[case.expect.terms.tags]\n# it was x\nrule = \"x\"\n",
             "[case.expect.terms]\nmax-seconds = 0x5 # keep\n[case.expect.terms.tags]\n# it was x\nrule = \"r\"\n"),
            ("[case.expect]\nterms.max-seconds = 4\n", "[case.expect]\nterms.max-seconds = 5\nterms.tags = { rule = \"r\" }\n"),
        ];
        for (before, after) in table {
            let case = "\u{feff}[[case]]\nname = \"a\"\n";
            assert_eq!(updated(&format!("{case}{before}"), &allow), format!("{case}{after}"));
        }
    }

    #[test]
    fn a_list_keeps_its_lines() {
        let mut logged = Answer::blank(Word::Told);
        let line = |text: &str| Line {
            level: LogLevel::Info,
            message: text.to_owned(),
        };
        logged.log = ["a", "b", "c"].map(line).to_vec();
        let before = "[[case]]\nname = \"a\"\n[case.expect]\nlog = [\n  \"info: x\", # first\n  \"info: b\",\n]\n";
        let after = "[[case]]\nname = \"a\"\n[case.expect]\nlog = [\n  \"info: a\", # first\n  \"info: b\",\n  \"info: c\",\n]\n";
        assert_eq!(updated(before, &logged), after);
        logged.log.truncate(1);
        let after = "[[case]]\nname = \"a\"\n[case.expect]\nlog = [\n  \"info: a\", # first\n]\n";
        assert_eq!(updated(before, &logged), after);
    }

    #[test]
    fn a_number_that_no_file_can_hold_is_named() {
        let mut allow = Answer::blank(Word::Allow);
        allow.terms = Map::from_iter([("max-bytes".to_owned(), json!(u64::MAX))]);
        let recorded = [Recorded {
            case: 0,
            step: 0,
            name: "a",
            answer: &allow,
        }];
        let words = text("[[case]]\nname = \"a\"\n", &recorded).unwrap_err();
        assert_eq!(
            words,
            "case `a`: the answer has max-bytes = 18446744073709551615, but a case file can hold at most 9223372036854775807: write this `expect` by hand, without `max-bytes`"
        );
    }

    #[test]
    fn something_is_always_compared() {
        let before = "[[case]]\nname = \"a\"\nexpect = { tags = { rule = \"r\" } }\n";
        let after =
            "[[case]]\nname = \"a\"\nexpect = { verdict = \"deny\", code = \"closed\", tell-user = 'come \"back\"' }\n";
        assert_eq!(updated(before, &answer(Word::Deny)), after);
    }
}
