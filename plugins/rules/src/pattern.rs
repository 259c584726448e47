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

impl Pattern {
    /// Whether this pattern matches every text that the other one matches. May say no where the truth is yes, never the
    /// other way round.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Exact(text)) => self.matches(text),
            (Self::Exact(_), _) => false,
            _ => glob_covers(&self.parts(), &other.parts(), self.style()),
        }
    }

    /// Whether one text could match both patterns. May say yes where the truth is no, never the other way round.
    pub fn may_meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(text), pattern) | (pattern, Self::Exact(text)) => pattern.matches(text),
            (Self::Prefix(one), Self::Prefix(other)) => one.starts_with(&**other) || other.starts_with(&**one),
            (Self::Suffix(one), Self::Suffix(other)) => one.ends_with(&**other) || other.ends_with(&**one),
            _ => true,
        }
    }

    fn style(&self) -> Style {
        match self {
            Self::Glob(style, _) => *style,
            _ => Style::Name,
        }
    }

    fn parts(&self) -> Vec<Part> {
        let (before, text, after) = match self {
            Self::Any => ("*", "", ""),
            Self::Exact(text) => ("", &**text, ""),
            Self::Prefix(text) => ("", &**text, "*"),
            Self::Suffix(text) => ("*", &**text, ""),
            Self::Glob(_, text) => ("", &**text, ""),
        };
        let mut parts: Vec<Part> = Vec::new();
        for letter in before.chars().chain(text.chars()).chain(after.chars()) {
            match (letter, parts.last()) {
                ('*', Some(Part::Star | Part::Stars)) => {
                    parts.pop();
                    parts.push(Part::Stars);
                }
                ('*', _) => parts.push(Part::Star),
                ('?', _) => parts.push(Part::One),
                (letter, _) => parts.push(Part::Letter(letter)),
            }
        }
        parts
    }
}

/// An element of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Letter(char),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**` and more
    Stars,
}

/// Matches one pattern against another as if that were a text: a wildcard of the text can only be taken in by one that stands
/// for at least as much. `row[n]` says whether the pattern so far takes in the first `n` elements of the text.
fn glob_covers(pattern: &[Part], text: &[Part], style: Style) -> bool {
    let mut row = vec![false; text.len() + 1];
    if let Some(start) = row.first_mut() {
        *start = true;
    }
    for part in pattern {
        let takes = |element: &Part| match (part, element) {
            (Part::Letter(wanted), Part::Letter(found)) => wanted == found,
            (Part::One, Part::Letter(found)) => style == Style::Name || *found != '/',
            (Part::One, Part::One) | (Part::Stars, _) => true,
            (Part::Star, _) if style == Style::Name => true,
            (Part::Star, Part::Letter(found)) => *found != '/',
            (Part::Star, Part::One | Part::Star) => true,
            _ => false,
        };
        let repeats = matches!(part, Part::Star | Part::Stars);
        let mut next = Vec::with_capacity(row.len());
        let mut before = false;
        for (at, reached) in row.iter().enumerate() {
            let element = at.checked_sub(1).and_then(|at| text.get(at));
            let here = match repeats {
                // It takes in nothing, or one element more than it did.
                true => *reached || (next.last() == Some(&true) && element.is_some_and(takes)),
                false => before && element.is_some_and(takes),
            };
            before = *reached;
            next.push(here);
        }
        row = next;
    }
    row.last() == Some(&true)
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

    /// Whether this list matches every one text that the other list matches.
    pub fn covers(&self, other: &Self) -> bool {
        self.takes_in(other)
            && self.exceptions.iter().all(|exception| {
                other.is_exception(exception) || !other.patterns().any(|pattern| exception.may_meet(&pattern))
            })
    }

    /// Whether this list matches all sets of texts that the other list matches, where one text is enough to match and one
    /// to be an exception.
    pub fn covers_sets(&self, other: &Self) -> bool {
        self.takes_in(other) && self.exceptions.iter().all(|exception| other.is_exception(exception))
    }

    /// Whether the exceptions leave nothing of the list.
    pub fn is_empty(&self) -> bool {
        self.patterns().all(|pattern| self.is_exception(&pattern))
    }

    /// All patterns, exceptions left out.
    pub fn patterns(&self) -> impl Iterator<Item = Pattern> + '_ {
        let exact = self.exact.iter().map(|text| Pattern::Exact(text.clone()));
        exact.chain(self.wild.iter().cloned())
    }

    fn takes_in(&self, other: &Self) -> bool {
        other.patterns().all(|wanted| self.matches_without_exceptions(&wanted))
    }

    fn matches_without_exceptions(&self, wanted: &Pattern) -> bool {
        let listed = match wanted {
            Pattern::Exact(text) => self.exact.binary_search(text).is_ok(),
            _ => false,
        };
        listed || self.wild.iter().any(|pattern| pattern.covers(wanted))
    }

    fn is_exception(&self, wanted: &Pattern) -> bool {
        self.exceptions.iter().any(|exception| exception.covers(wanted))
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
    fn pattern_covers_another_only_where_it_matches_all_its_texts() {
        use Style::{Name, Path};
        let table = [
            (Name, "*", "db", true),
            (Name, "*", "*", true),
            (Name, "db", "*", false),
            (Name, "*.internal", "*.db.internal", true),
            (Name, "*.db.internal", "*.internal", false),
            (Name, "*.internal", "db.internal", true),
            (Name, "d*", "db*", true),
            (Name, "db*", "d*", false),
            (Name, "d?", "db", true),
            (Name, "d?", "d*", false),
            (Name, "d*", "d?", true),
            (Name, "?*", "*", false),
            (Name, "?*", "a*", true),
            // True, and not seen.
            (Name, "*?", "a*", false),
            (Name, "*a*", "*ba*", true),
            (Path, "/run/*", "/run/a", true),
            (Path, "/run/*", "/run/*.sock", true),
            (Path, "/run/*", "/run/a/b", false),
            (Path, "/run/*", "/run/**", false),
            (Path, "/run/**", "/run/*/x", true),
            (Path, "/**", "/run/**.sock", true),
            (Path, "/run/?", "/run/*", false),
        ];
        for (style, one, other, expected) in table {
            let (pattern, text) = (Pattern::new(one, style), Pattern::new(other, style));
            assert_eq!(pattern.covers(&text), expected, "{one} covers {other}");
        }
    }

    #[test]
    fn a_pattern_that_covers_another_matches_whatever_that_matches() {
        let letters = [b'a', b'/', b'*', b'?'];
        let words = |letters: &[u8], most: usize| -> Vec<String> {
            (0..=most)
                .flat_map(|length| {
                    (0..letters.len().pow(length as u32)).map(move |mut number| {
                        (0..length)
                            .map(|_| {
                                let letter = letters[number % letters.len()];
                                number /= letters.len();
                                letter as char
                            })
                            .collect()
                    })
                })
                .collect()
        };
        let texts = words(b"a/b", 5);
        let patterns = words(&letters, 3);
        for style in [Style::Name, Style::Path] {
            for one in &patterns {
                for other in &patterns {
                    let (wide, narrow) = (Pattern::new(one, style), Pattern::new(other, style));
                    if wide.covers(&narrow) {
                        let lost = texts.iter().find(|text| narrow.matches(text) && !wide.matches(text));
                        assert_eq!(lost, None, "{style:?} {one} covers {other}");
                    }
                    if !wide.may_meet(&narrow) {
                        let both = texts.iter().find(|text| narrow.matches(text) && wide.matches(text));
                        assert_eq!(both, None, "{style:?} {one} meets {other}");
                    }
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
