//! Fuzzing that every `cargo test` does: seeded mutations of real inputs, a bounded number of them.
//!
//! `PORTREEVE_FUZZ_SEED` repeats a run, `PORTREEVE_FUZZ_ROUNDS` makes it longer. `tests/fuzz/` has the same functions for
//! libFuzzer.
// The lints spare tests, but not what they call: a panic is how these fail, and the seed is printed for whoever repeats it.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "fuzz/dice.rs"]
mod dice;
#[path = "fuzz/parsers.rs"]
mod parsers;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use dice::Dice;

#[test]
fn endpoints_are_canonical_or_refused() {
    run(parsers::endpoint, parsers::ENDPOINTS, 20_000);
}

#[test]
fn key_lines_never_permit_more_than_they_say() {
    run(parsers::key_lines, parsers::KEY_LINES, 20_000);
}

#[test]
fn configurations_are_meant_or_have_faults_in_their_text() {
    run(parsers::configuration, parsers::CONFIGURATIONS, 2_000);
}

/// Tries every seed and `rounds` mutations of seeds, and says how to repeat the one that fails.
fn run(check: fn(&str), seeds: &[&str], rounds: u64) {
    let rounds = variable("PORTREEVE_FUZZ_ROUNDS").unwrap_or(rounds);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |time| time.as_secs());
    let seed = variable("PORTREEVE_FUZZ_SEED").unwrap_or(now);
    println!("PORTREEVE_FUZZ_SEED={seed}, {rounds} rounds");
    let words: Vec<&str> = seeds.iter().flat_map(|seed| seed.split_inclusive(SEPARATORS)).collect();
    let mut dice = Dice(seed);
    let fixed = seeds.iter().map(|seed| (*seed).to_owned());
    let mut texts = fixed.collect::<Vec<_>>();
    texts.extend((0..rounds).map(|_| mutated(dice.one_of(seeds), &words, &mut dice)));
    for text in texts {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&text))) {
            println!("PORTREEVE_FUZZ_SEED={seed} fails with {text:?}");
            resume_unwind(panic);
        }
    }
}

/// A seed with one to four parts cut, doubled, moved, replaced or spoilt.
fn mutated(seed: &str, words: &[&str], dice: &mut Dice) -> String {
    let mut text: Vec<char> = seed.chars().collect();
    for _ in 0..=dice.below(4) {
        let (from, to) = (dice.below(text.len() + 1), dice.below(text.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        match dice.below(6) {
            0 => drop(text.drain(from..to.min(from + 20))),
            1 => text.truncate(to),
            2 => {
                let part = text[from..to.min(from + 40)].to_vec();
                text.splice(to..to, part);
            }
            3 => drop(text.splice(from..to.min(from + 8), dice.one_of(words).chars())),
            4 => text.insert(from, dice.one_of(ODD)),
            _ => {
                if let Some(place) = text.get_mut(from) {
                    *place = dice.one_of(ODD);
                }
            }
        }
    }
    text.into_iter().collect()
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, found {text:?}")),
    )
}

const SEPARATORS: &[char] = &[' ', '.', ':', ',', '=', '"', '\n', '/'];

/// What parsers stumble over.
const ODD: &[char] = &[
    '\0', '\t', '\n', '\r', ' ', '"', '#', '%', '*', ',', '-', '.', '/', '0', '9', ':', '=', '@', '[', '\\', ']', '_',
    'x', '{', '}', '\u{7f}', '\u{ad}', 'ß', 'İ', '。', '１', '\u{202e}', '\u{feff}', '😀',
];
