//! Text patterns with `*` and `?`, and lists of them with `!` exceptions, as in OpenSSH pattern lists.

/// What a wildcard may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Names: `*` stands for any text.
    Name,
    /// Paths: `*` and `?` stop at a slash, `**` does not.
    Path,
}

/// One pattern, taken apart for a quick comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Every text.
    Any,
    /// This text.
    Exact(Box<str>),
    /// Every text with this beginning.
    Prefix(Box<str>),
    /// Every text with this end.
    Suffix(Box<str>),
    /// Anything else.
    Glob(Style, Box<str>),
}

impl Pattern {
    /// Takes a pattern apart.
    pub fn new(text: &str, style: Style) -> Self {
        let wild = |text: &str| text.contains(['*', '?']);
        if !wild(text) {
            return Self::Exact(text.into());
        }
        if style == Style::Name {
            if text == "*" {
                return Self::Any;
            }
            match (text.strip_prefix('*'), text.strip_suffix('*')) {
                (Some(end), _) if !wild(end) => return Self::Suffix(end.into()),
                (_, Some(start)) if !wild(start) => return Self::Prefix(start.into()),
                _ => {}
            }
        }
        Self::Glob(style, text.into())
    }

    /// Whether the pattern stands for the text.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *text,
            Self::Prefix(start) => text.starts_with(&**start),
            Self::Suffix(end) => text.ends_with(&**end),
            Self::Glob(style, pattern) => glob(pattern.as_bytes(), text.as_bytes(), *style),
        }
    }
}

/// A list of patterns: one must match, and none of the exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternList {
    exact: Box<[Box<str>]>,
    wild: Box<[Pattern]>,
    exceptions: Box<[Pattern]>,
}

impl PatternList {
    /// A list of patterns and the exceptions from it.
    pub fn new(patterns: Vec<Pattern>, exceptions: Vec<Pattern>) -> Self {
        let mut exact = Vec::new();
        let mut wild = Vec::new();
        for pattern in patterns {
            match pattern {
                Pattern::Exact(text) => exact.push(text),
                other => wild.push(other),
            }
        }
        exact.sort_unstable();
        exact.dedup();
        Self {
            exact: exact.into(),
            wild: wild.into(),
            exceptions: exceptions.into(),
        }
    }

    /// Whether one of the values is in the list and none of them is an exception.
    pub fn matches<'a>(&self, values: impl Iterator<Item = &'a str> + Clone) -> bool {
        !values
            .clone()
            .any(|value| self.exceptions.iter().any(|pattern| pattern.matches(value)))
            && values.into_iter().any(|value| {
                self.exact.binary_search_by(|exact| (**exact).cmp(value)).is_ok()
                    || self.wild.iter().any(|pattern| pattern.matches(value))
            })
    }

    /// Whether every value is in the list.
    pub fn is_everything(&self) -> bool {
        self.exceptions.is_empty() && self.wild.contains(&Pattern::Any)
    }

    /// The texts that are listed without a wildcard, in ascending order.
    pub fn exact(&self) -> &[Box<str>] {
        &self.exact
    }

    /// The patterns with a wildcard, exceptions left out.
    pub fn wild(&self) -> &[Pattern] {
        &self.wild
    }
}

/// Matches without recursion: on a mismatch only the last `*`, then the last `**`, can take in more text. An earlier one
/// never has to, because the later one could take in the same text; and a `*` that stops at a slash cannot move the slash.
fn glob(pattern: &[u8], text: &[u8], style: Style) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(here)) {
            (Some(b'*'), _) => {
                let stars = pattern
                    .get(at..)
                    .map_or(0, |rest| rest.iter().take_while(|&&byte| byte == b'*').count());
                at += stars;
                if style == Style::Name || stars > 1 {
                    (star, double) = (None, Some((at, here)));
                } else {
                    star = Some((at, here));
                }
                continue;
            }
            (None, None) => return true,
            (Some(b'?'), Some(&byte)) if style == Style::Name || byte != b'/' => {
                at += 1;
                here += width(byte);
                continue;
            }
            (Some(wanted), Some(byte)) if wanted == byte => {
                at += 1;
                here += 1;
                continue;
            }
            _ => {}
        }
        if let Some((after, from)) = star {
            if text.get(from).is_some_and(|&byte| byte != b'/') {
                star = Some((after, from + 1));
                (at, here) = (after, from + 1);
                continue;
            }
            star = None;
        }
        match double {
            Some((after, from)) if from < text.len() => {
                double = Some((after, from + 1));
                (at, here) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// How many bytes the UTF-8 character has that begins with this byte.
fn width(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_stands_for_exactly_its_texts() {
        use Style::{Name, Path};
        let table = [
            (Name, "db", "db", true),
            (Name, "db", "db1", false),
            (Name, "*", "", true),
            (Name, "*.db.internal", "a.db.internal", true),
            (Name, "*.db.internal", "a.b.db.internal", true),
            (Name, "*.db.internal", "db.internal", false),
            (Name, "b*", "bob", true),
            (Name, "b*", "alice", false),
            (Name, "db?", "db1", true),
            (Name, "db?", "db", false),
            (Name, "db?", "dbé", true),
            (Name, "*a*b", "xaxbxb", true),
            (Name, "*a*b", "xaxbx", false),
            (Name, "a**b", "a/b", true),
            (Path, "/run/*.sock", "/run/a.sock", true),
            (Path, "/run/*.sock", "/run/a/b.sock", false),
            (Path, "/run/**.sock", "/run/a/b.sock", true),
            (Path, "/run/**/*.sock", "/run/a/b/c.sock", true),
            (Path, "/run/**/*.sock", "/run/c.sock", false),
            (Path, "/run/*/x", "/run/a/x", true),
            (Path, "/run/*/x", "/run/a/b/x", false),
            (Path, "/run/?", "/run/a", true),
            (Path, "/a?b", "/a/b", false),
            (Path, "/**/a*/z", "/q/ab/a/ac/z", true),
            (Path, "*", "/a", false),
            (Path, "**", "/a", true),
        ];
        for (style, pattern, text, expected) in table {
            assert_eq!(
                Pattern::new(pattern, style).matches(text),
                expected,
                "{pattern} on {text}"
            );
        }
    }

    #[test]
    fn glob_agrees_with_trying_everything() {
        fn slow(pattern: &[u8], text: &[u8], style: Style) -> bool {
            match pattern {
                [] => text.is_empty(),
                [b'*', b'*', rest @ ..] => (0..=text.len()).any(|at| slow(rest, &text[at..], style)),
                [b'*', rest @ ..] => {
                    let until = if style == Style::Path {
                        text.iter().take_while(|&&byte| byte != b'/').count()
                    } else {
                        text.len()
                    };
                    (0..=until).any(|at| slow(rest, &text[at..], style))
                }
                [b'?', rest @ ..] => {
                    text.first().is_some_and(|&byte| style == Style::Name || byte != b'/')
                        && slow(rest, &text[1..], style)
                }
                [byte, rest @ ..] => text.first() == Some(byte) && slow(rest, &text[1..], style),
            }
        }
        let words = |letters: &[u8], length: usize| {
            (0..letters.len().pow(length as u32))
                .map(|mut number| {
                    (0..length)
                        .map(|_| {
                            let letter = letters[number % letters.len()];
                            number /= letters.len();
                            letter
                        })
                        .collect::<Vec<u8>>()
                })
                .collect::<Vec<_>>()
        };
        for pattern in (0..=5).flat_map(|length| words(b"a/*?", length)) {
            // Three and more stars are read as two; the slow matcher reads them as two and one.
            if pattern.windows(3).any(|three| three == b"***") {
                continue;
            }
            for text in (0..=5).flat_map(|length| words(b"ab/", length)) {
                for style in [Style::Name, Style::Path] {
                    let show = || {
                        format!(
                            "{style:?} {} {}",
                            String::from_utf8_lossy(&pattern),
                            String::from_utf8_lossy(&text)
                        )
                    };
                    assert_eq!(glob(&pattern, &text, style), slow(&pattern, &text, style), "{}", show());
                }
            }
        }
    }

    #[test]
    fn exception_outweighs_every_other_pattern() {
        let list = PatternList::new(
            vec![Pattern::new("dba", Style::Name), Pattern::new("ops-*", Style::Name)],
            vec![Pattern::new("*-guest", Style::Name)],
        );
        let table: &[(&[&str], bool)] = &[
            (&["dba"], true),
            (&["x", "ops-a"], true),
            (&["x"], false),
            (&[], false),
            (&["ops-guest"], false),
            (&["dba", "web-guest"], false),
        ];
        for (groups, expected) in table {
            assert_eq!(list.matches(groups.iter().copied()), *expected, "{groups:?}");
        }
    }
}
