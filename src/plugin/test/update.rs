//! `--update`: writes into a case file what the policy answered, and leaves all else as it is.
//!
//! The file is changed as a document, key by key: comments, order and layout stay, however its tables are written. Only
//! dotted keys of one table that stood apart are brought together.

use serde_json::Value as Json;
use toml_edit::{Decor, DocumentMut, InlineTable, Item, RawString, Table, TableLike, Value};

use super::super::answer::{Answer, Word};

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
/// Where the text is not what was read before, or an answer has what no TOML file can hold.
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

/// Makes a table say what is wanted and no more; what it says already stays as it is written. Whether keys came or went.
fn merge(mut written: Written<'_>, wanted: &[(&str, &Json)]) -> Result<bool, String> {
    let one_line = written.is_on_one_line();
    let there = written.keys();
    let gone = there.iter().filter(|key| wanted.iter().all(|(name, _)| name != key));
    let mut moved = false;
    let mut left_over = String::new();
    for key in gone {
        left_over += &written.remove(key);
        moved = true;
    }
    for (key, json) in wanted {
        if let Some(item) = written.table().get_mut(key) {
            moved |= set(key, item, json)?;
            continue;
        }
        written.append(key, value(key, json)?);
        if let Some(mut key) = written.table().key_mut(key)
            && !left_over.is_empty()
        {
            key.leaf_decor_mut().set_prefix(std::mem::take(&mut left_over));
        }
        if *key == "verdict" {
            written.bring_to_front(key);
        }
        moved = true;
    }
    if moved {
        written.tidy(one_line);
    }
    Ok(moved)
}

/// Makes an item say this. Whether that changes how the table around it has to be written.
fn set(key: &str, item: &mut Item, wanted: &Json) -> Result<bool, String> {
    if json(item) == *wanted {
        return Ok(false);
    }
    if let (Json::Object(entries), Some(table)) = (wanted, Written::of(item)) {
        let dotted = table.is_dotted();
        let entries: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value)).collect();
        return merge(table, &entries).map(|moved| moved && dotted);
    }
    if let (Item::ArrayOfTables(tables), Json::Array(objects)) = (&mut *item, wanted)
        && !objects.is_empty()
        && objects.iter().all(Json::is_object)
    {
        while tables.len() > objects.len() {
            tables.remove(tables.len() - 1);
        }
        for (index, object) in objects.iter().enumerate() {
            if index == tables.len() {
                tables.push(Table::new());
            }
            let entries = object.as_object().into_iter().flatten();
            let entries: Vec<_> = entries.map(|(key, value)| (key.as_str(), value)).collect();
            if let Some(table) = tables.get_mut(index) {
                merge(Written::Lines(table), &entries)?;
            }
        }
        return Ok(false);
    }
    let mut new = value(key, wanted)?;
    if let Item::Value(old) = item {
        if let (Value::Array(old), Value::Array(new)) = (&mut *old, &mut new) {
            lay_out(old, new);
        }
        *new.decor_mut() = old.decor().clone();
    }
    *item = Item::Value(new);
    Ok(false)
}

/// A list that was written over several lines still is, and its comments stay: those of a place belong to what is there now.
fn lay_out(old: &toml_edit::Array, new: &mut toml_edit::Array) {
    let decors: Vec<_> = old.iter().map(|item| item.decor().clone()).collect();
    for (index, item) in new.iter_mut().enumerate() {
        if let Some(decor) = decors.get(index) {
            *item.decor_mut() = decor.clone();
        } else if let Some(last) = decors.last() {
            let prefix = told(last.prefix());
            let from = prefix.rfind('\n').unwrap_or(0);
            let prefix = prefix.get(from..).filter(|prefix| prefix.contains('\n')).unwrap_or(" ");
            item.decor_mut().set_prefix(prefix);
        }
    }
    let lost = decors.iter().skip(new.len());
    let lost: String = lost
        .flat_map(|decor| [comment(&told(decor.prefix())), comment(&told(decor.suffix()))])
        .collect();
    new.set_trailing(joined(lost, &told(Some(old.trailing()))));
    new.set_trailing_comma(old.trailing_comma());
}

/// A table as its file writes it.
enum Written<'a> {
    /// Below a header, or as dotted keys.
    Lines(&'a mut Table),
    /// In braces, on one line or on several.
    Inline(&'a mut InlineTable),
}

impl<'a> Written<'a> {
    fn of(item: &'a mut Item) -> Option<Self> {
        match item {
            Item::Table(table) => Some(Self::Lines(table)),
            Item::Value(Value::InlineTable(table)) => Some(Self::Inline(table)),
            _ => None,
        }
    }

    fn into_item(self, key: &str) -> Option<&'a mut Item> {
        match self {
            Self::Lines(table) => table.get_mut(key),
            Self::Inline(table) => TableLike::get_mut(table, key),
        }
    }

    fn table(&mut self) -> &mut dyn TableLike {
        match self {
            Self::Lines(table) => *table,
            Self::Inline(table) => *table,
        }
    }

    fn keys(&mut self) -> Vec<String> {
        self.table().iter().map(|(key, _)| key.to_owned()).collect()
    }

    fn is_dotted(&self) -> bool {
        match self {
            Self::Lines(table) => table.is_dotted(),
            Self::Inline(table) => table.is_dotted(),
        }
    }

    /// In braces without a line break, and so without a comment.
    fn is_on_one_line(&self) -> bool {
        let Self::Inline(table) = self else { return false };
        let mut bare = InlineTable::clone(table);
        bare.decor_mut().clear();
        !bare.is_dotted() && !bare.to_string().contains('\n')
    }

    /// What is on one line has one space between its parts.
    fn tidy(&mut self, one_line: bool) {
        if let Self::Inline(table) = self
            && one_line
        {
            spaced(table);
            table.set_trailing("");
            table.set_trailing_comma(false);
        }
    }

    /// Takes a key away; a comment that stands before it stays, or is handed back where nothing is left to hold it.
    fn remove(&mut self, key: &str) -> String {
        let table = self.table();
        let prefix = table.key(key).map(|key| told(key.leaf_decor().prefix()));
        let mut kept = comment(&prefix.unwrap_or_default());
        let values = |table: &mut dyn TableLike| -> Vec<String> {
            let values = table.iter().filter(|(_, item)| item.is_value());
            values.map(|(key, _)| key.to_owned()).collect()
        };
        let before = values(table);
        let removed = table.remove(key);
        let suffix = removed.as_ref().and_then(Item::as_value);
        let suffix = suffix.map(|value| told(value.decor().suffix())).unwrap_or_default();
        let mut after = before.iter().skip_while(|name| *name != key).skip(1);
        let next = after.next();
        if next.is_none()
            && let Self::Inline(table) = self
            && !table.is_dotted()
        {
            let rest = suffix + &told(Some(table.trailing()));
            table.set_trailing(joined(kept, &rest));
            return String::new();
        }
        if kept.is_empty() {
            return kept;
        }
        let table = self.table();
        if let Some(mut next) = next.and_then(|next| table.key_mut(next)) {
            let prefix = told(next.leaf_decor().prefix());
            next.leaf_decor_mut().set_prefix(joined(kept, &prefix));
        } else if let Some(last) = values(table)
            .last()
            .and_then(|last| table.get_mut(last)?.as_value_mut())
        {
            let suffix = told(last.decor().suffix());
            last.decor_mut().set_suffix(format!("{suffix}\n{kept}"));
        } else {
            kept.push('\n');
            return kept;
        }
        String::new()
    }

    /// Adds a key behind all others.
    fn append(&mut self, key: &str, mut value: Value) {
        let Self::Inline(table) = self else {
            self.table().insert(key, Item::Value(value));
            return;
        };
        let indents: Vec<_> = table
            .iter()
            .filter_map(|(key, _)| Some(told(table.key(key)?.leaf_decor().prefix())))
            .collect();
        let indent = indents.iter().rev().find_map(|prefix| prefix.rsplit_once('\n'));
        let mut tail = String::new();
        if let Some((_, last)) = table.iter_mut().last()
            && !table_is_dotted(last)
        {
            tail = told(last.decor().suffix());
            last.decor_mut().set_suffix("");
        }
        tail += &told(Some(table.trailing()));
        let prefix = match (comment(&tail), indent) {
            (kept, Some((_, indent))) => format!("{kept}\n{indent}"),
            (kept, None) if kept.is_empty() => " ".to_owned(),
            (kept, None) => kept + "\n ",
        };
        let end = tail.rfind('\n').unwrap_or(0);
        let end = tail.get(end..).unwrap_or_default().to_owned();
        *value.decor_mut() = Decor::new(" ", "");
        table.insert(key, value);
        if let Some(mut key) = table.key_mut(key) {
            *key.leaf_decor_mut() = Decor::new(prefix, " ");
        }
        table.set_trailing(end);
    }

    fn bring_to_front(&mut self, first: &str) {
        for name in self.keys().iter().filter(|name| *name != first) {
            let table = self.table();
            let key = table.key(name).cloned();
            if let (Some(key), Some(item)) = (key, table.remove(name)) {
                table.entry_format(&key).or_insert(item);
            }
        }
    }
}

fn table_is_dotted(value: &Value) -> bool {
    value.as_inline_table().is_some_and(InlineTable::is_dotted)
}

/// Its own keys, and those of what it writes with dots.
fn spaced(table: &mut InlineTable) {
    table.fmt();
    for (_, value) in table.iter_mut() {
        if let Value::InlineTable(inner) = value
            && inner.is_dotted()
        {
            spaced(inner);
        }
    }
}

/// What is written before or behind a part.
fn told(text: Option<&RawString>) -> String {
    text.and_then(RawString::as_str).unwrap_or_default().to_owned()
}

/// The comments in what stands between two parts, without the space behind them.
fn comment(between: &str) -> String {
    if between.contains('#') {
        between.trim_end().to_owned()
    } else {
        String::new()
    }
}

/// A comment and what follows it, which does not become a part of it.
fn joined(comment: String, rest: &str) -> String {
    if comment.is_empty() || rest.contains('\n') {
        comment + rest
    } else {
        comment + "\n" + rest
    }
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

/// What an item says, however it is written.
fn json(item: &Item) -> Json {
    let object = |table: &dyn TableLike| table.iter().map(|(key, item)| (key.to_owned(), json(item))).collect();
    match item {
        Item::None => Json::Null,
        Item::Value(value) => json_value(value),
        Item::Table(table) => Json::Object(object(table)),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| Json::Object(object(table))).collect(),
    }
}

fn json_value(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::from(text.value().as_str()),
        Value::Integer(number) => Json::from(*number.value()),
        Value::Float(number) => Json::from(*number.value()),
        Value::Boolean(flag) => Json::from(*flag.value()),
        Value::Datetime(time) => Json::from(time.value().to_string()),
        Value::Array(items) => items.iter().map(json_value).collect(),
        Value::InlineTable(table) => {
            let entries = table.iter();
            Json::Object(
                entries
                    .map(|(key, value)| (key.to_owned(), json_value(value)))
                    .collect(),
            )
        }
    }
}

/// A JSON value as TOML has it on one line; `key` names it where there is none.
fn value(key: &str, json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => return Err(format!("its answer has nothing for `{key}`, and TOML cannot say so")),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => Value::from(number),
            (None, None, Some(number)) => Value::from(number),
            _ => {
                return Err(format!(
                    "the answer has {key} = {number}, and the most that a case file can hold is {}: write this `expect` by hand, without `{key}`",
                    i64::MAX
                ));
            }
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            let items = items.iter().map(|item| value(key, item));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, json)| Ok((key.as_str(), value(key, json)?)));
            Value::InlineTable(entries.collect::<Result<_, String>>()?)
        }
    })
}

const CHANGED: &str = "the file has changed while its cases ran";
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
            "case `a`: the answer has max-bytes = 18446744073709551615, and the most that a case file can hold is 9223372036854775807: write this `expect` by hand, without `max-bytes`"
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
