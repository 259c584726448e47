//! Tables of a case file, changed key by key: comments, order and layout stay, however they are written. Only dotted keys of
//! one table that stood apart are brought together.

use serde_json::Value as Json;
use toml_edit::{Decor, InlineTable, Item, RawString, Table, TableLike, Value};

/// Makes a table say what is wanted and no more; what it says already stays as it is written. Whether keys came or went.
pub(super) fn merge(mut written: Written<'_>, wanted: &[(&str, &Json)]) -> Result<bool, String> {
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
pub(super) enum Written<'a> {
    /// Below a header, or as dotted keys.
    Lines(&'a mut Table),
    /// In braces, on one line or on several.
    Inline(&'a mut InlineTable),
}

impl<'a> Written<'a> {
    pub(super) fn of(item: &'a mut Item) -> Option<Self> {
        match item {
            Item::Table(table) => Some(Self::Lines(table)),
            Item::Value(Value::InlineTable(table)) => Some(Self::Inline(table)),
            _ => None,
        }
    }

    pub(super) fn into_item(self, key: &str) -> Option<&'a mut Item> {
        match self {
            Self::Lines(table) => table.get_mut(key),
            Self::Inline(table) => TableLike::get_mut(table, key),
        }
    }

    pub(super) fn table(&mut self) -> &mut dyn TableLike {
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
    pub(super) fn is_on_one_line(&self) -> bool {
        let Self::Inline(table) = self else { return false };
        let mut bare = InlineTable::clone(table);
        bare.decor_mut().clear();
        !bare.is_dotted() && !bare.to_string().contains('\n')
    }

    /// What is on one line has one space between its parts.
    pub(super) fn tidy(&mut self, one_line: bool) {
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
    pub(super) fn append(&mut self, key: &str, mut value: Value) {
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
        Json::Null => return Err(format!("its answer has an empty `{key}`, which TOML cannot express")),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => Value::from(number),
            (None, None, Some(number)) => Value::from(number),
            _ => {
                return Err(format!(
                    "the answer has {key} = {number}, but a case file can hold at most {}: write this `expect` by hand, without `{key}`",
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
