//! One line of `sshd_config` as words: `process_server_config_line_depth` in OpenSSH's `servconf.c`, with `strdelim` and
//! `argv_split` of its `misc.c`.

/// A keyword as it was typed, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// In the case in which it was typed.
    pub(super) keyword: String,
    /// Without quotes.
    pub(super) arguments: Vec<String>,
}

/// Splits a line; `None` for a blank line or a comment.
///
/// # Errors
/// A keyword without an argument, or a quote that is not closed.
pub(super) fn split(line: &str) -> Result<Option<Words>, String> {
    let line = line
        .trim_end_matches([' ', '\t', '\r', '\n', '\x0c'])
        .trim_start_matches(BLANKS);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (keyword, rest) = keyword(line)?;
    let arguments = arguments(rest)?;
    if rest.is_empty() {
        return Err(format!("`{keyword}` needs an argument"));
    }
    Ok(Some(Words {
        keyword: keyword.to_owned(),
        arguments,
    }))
}

/// `strdelim`: the keyword ends at white space or at one `=`, which may have white space around it.
fn keyword(line: &str) -> Result<(&str, &str), String> {
    let (keyword, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted
            .split_once('"')
            .ok_or_else(|| "a quote is not closed".to_owned())?,
        None => line.split_at(line.find([' ', '\t', '\r', '"', '=']).unwrap_or(line.len())),
    };
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Ok((keyword, rest.trim_start_matches(BLANKS)))
}

/// `argv_split`: both quotes, backslashes before quotes, spaces and backslashes, and a comment at the end.
fn arguments(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(&first) = characters.peek() {
        match first {
            ' ' | '\t' => {
                characters.next();
            }
            '#' => break,
            _ => found.push(argument(&mut characters)?),
        }
    }
    Ok(found)
}

fn argument(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let mut word = String::new();
    let mut quote = None;
    while let Some(&here) = characters.peek() {
        if quote.is_none() && matches!(here, ' ' | '\t') {
            break;
        }
        characters.next();
        match (here, quote) {
            ('\\', _) => {
                let escaped =
                    characters.next_if(|next| matches!(next, '\'' | '"' | '\\') || (quote.is_none() && *next == ' '));
                word.push(escaped.unwrap_or('\\'));
            }
            ('"' | '\'', None) => quote = Some(here),
            (_, Some(open)) if open == here => quote = None,
            _ => word.push(here),
        }
    }
    match quote {
        Some(quote) => Err(format!("a {quote} is not closed")),
        None => Ok(word),
    }
}

const BLANKS: [char; 3] = [' ', '\t', '\r'];

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, its keyword and its arguments.
    type Row = (&'static str, Option<(&'static str, &'static [&'static str])>);

    #[test]
    fn a_line_is_split_as_openssh_splits_it() {
        #[rustfmt::skip]
        let table: [Row; 16] = [
            ("",                               None),
            ("   \t",                          None),
            ("# Port 22",                      None),
            ("  # Port 22",                    None),
            ("Port 22",                        Some(("Port", &["22"]))),
            ("\tPort=22",                      Some(("Port", &["22"]))),
            ("Port = 22 \x0c\r",               Some(("Port", &["22"]))),
            ("\"Port\" 22",                    Some(("Port", &["22"]))),
            ("Port 22 # the usual one",        Some(("Port", &["22"]))),
            ("AllowUsers a  b\tc",             Some(("AllowUsers", &["a", "b", "c"]))),
            ("AllowUsers \"a b\" 'c d'",       Some(("AllowUsers", &["a b", "c d"]))),
            ("AllowUsers a\\ b \\\"c \\x",     Some(("AllowUsers", &["a b", "\"c", "\\x"]))),
            ("AllowUsers 'it\"s' \"o'k\"",     Some(("AllowUsers", &["it\"s", "o'k"]))),
            ("AllowUsers a#b #c",              Some(("AllowUsers", &["a#b"]))),
            ("AllowUsers \"\"",                Some(("AllowUsers", &[""]))),
            ("Match User=a Group b",           Some(("Match", &["User=a", "Group", "b"]))),
        ];
        for (line, expected) in table {
            let found = split(line).expect(line);
            let found = found.as_ref().map(|words| {
                let arguments: Vec<_> = words.arguments.iter().map(String::as_str).collect();
                (words.keyword.clone(), arguments)
            });
            let expected = expected.map(|(keyword, arguments)| (keyword.to_owned(), arguments.to_vec()));
            assert_eq!(found, expected, "{line:?}");
        }
        for line in ["Port", "Port =", "AllowUsers \"a", "AllowUsers 'a\"", "\"Port 22"] {
            assert!(split(line).is_err(), "{line:?}");
        }
    }
}
