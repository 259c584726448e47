//! Which known word a mistyped one stands for.

/// The known word that a mistyped one most likely stands for: at most a third of its letters differ, or only their order, or
/// the plural.
pub(crate) fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    let typed = typed.to_lowercase().replace('_', "-");
    let ranked = known.iter().map(|word| (distance(&typed, word), *word));
    let (steps, word) = ranked.min_by_key(|(steps, _)| *steps)?;
    let close = steps <= word.chars().count().max(3) / 3;
    let shuffled = letters(&typed) == letters(word);
    let plural = typed.trim_end_matches('s') == word.trim_end_matches('s');
    (close || shuffled || plural).then_some(word)
}

fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// Levenshtein distance: letters to insert, drop or replace.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (b, above) in to.chars().zip(row.iter_mut().skip(1)) {
            let here = (diagonal + usize::from(a != b)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters_to_change() {
        for (from, to, steps) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("listen", "lisen", 1),
        ] {
            assert_eq!(distance(from, to), steps, "{from} {to}");
        }
    }

    #[test]
    fn only_a_likely_word_is_suggested() {
        let known = ["listen", "host-keys", "user"];
        for (typed, suggestion) in [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("host_keys", Some("host-keys")),
            ("host-key", Some("host-keys")),
            ("users", Some("user")),
            ("uesr", Some("user")),
            ("colour", None),
        ] {
            assert_eq!(nearest(typed, &known), suggestion, "{typed}");
        }
    }
}
