//! Components that compilers do not make: deep, wide, odd and spoilt ones.
//!
//! Deep ones are written byte by byte, because the parser of the text format has bounds of its own.

mod deep;
pub mod text;
mod wide;

use crate::dice::Dice;

/// A component, and how it was made.
pub struct Odd {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Odd {
    fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            bytes,
        }
    }
}

/// Those that were once too much for a gateway, or are the largest of their kind.
pub fn worst(policy: &[u8]) -> Vec<Odd> {
    let mut all = vec![
        deep::nested("instance types", 550),
        deep::nested("instance types", 1_000_000),
        deep::nested("component types", 20_000),
        deep::nested("components", 5_000),
        deep::nested("defined types", 5_000),
        deep::nested("blocks", 20_000),
        deep::nested("operands", 100_000),
        wide::many("component types", 900_000, policy),
        wide::many("core types", 900_000, policy),
        wide::many("producers", 400_000, policy),
        wide::many("core instances", 900, policy),
        wide::many("globals", 900_000, policy),
        wide::many("memories of noise", 700, policy),
    ];
    let mutable = text::modules().iter().filter(|module| module.contains("mut"));
    all.extend(mutable.filter_map(|module| {
        let bytes = text::exporting(policy, module)?;
        Some(Odd::new(format!("a policy beside {module}"), bytes))
    }));
    all
}

/// One by chance, with no more than `most` of a thing.
pub fn any(policy: &[u8], most: usize, dice: &mut Dice) -> Odd {
    match dice.below(10) {
        0 | 1 => deep::nested(
            dice.one_of(deep::KINDS),
            dice.one_of(&[1, 50, 98, 102, 300, 600, 2_000, 8_000, 60_000]).min(most),
        ),
        2 | 3 => wide::many(
            dice.one_of(wide::KINDS),
            dice.one_of(&[1, 10, 60, 500, 900, 5_000, 60_000, 900_000]).min(most),
            policy,
        ),
        4..=6 => text::any(policy, dice),
        7 => {
            let other = any_whole(policy, dice);
            spoilt(other, dice)
        }
        _ => spoilt(Odd::new("a policy", policy.to_vec()), dice),
    }
}

fn any_whole(policy: &[u8], dice: &mut Dice) -> Odd {
    match dice.below(3) {
        0 => deep::nested(dice.one_of(deep::KINDS), dice.one_of(&[3, 90, 300])),
        1 => wide::many(dice.one_of(wide::KINDS), dice.one_of(&[3, 100, 2_000]), policy),
        _ => text::any(policy, dice),
    }
}

/// With one to four bytes or stretches changed, cut or doubled, behind the first eight bytes.
fn spoilt(odd: Odd, dice: &mut Dice) -> Odd {
    let mut bytes = odd.bytes;
    let mut how = String::new();
    for _ in 0..=dice.below(4) {
        let place = 8 + dice.below(bytes.len().saturating_sub(8));
        if place >= bytes.len() {
            break;
        }
        let end = (place + 1 + dice.below(64)).min(bytes.len());
        match dice.below(5) {
            0 => bytes[place] = dice.below(256) as u8,
            1 => bytes[place] ^= 1 << dice.below(8),
            2 => drop(bytes.drain(place..end)),
            3 => {
                let part = bytes[place..end].to_vec();
                bytes.splice(place..place, part);
            }
            _ => {
                let numbers: &[u8] = &[0x00, 0x7f, 0x80, 0xff, 0xff, 0xff, 0xff, 0x0f];
                let length = dice.below(numbers.len());
                bytes.splice(place..end, numbers[..length].iter().copied());
            }
        }
        how.push_str(&format!(" at {place}"));
    }
    Odd::new(format!("{}, spoilt{how}", odd.name), bytes)
}

/// LEB128, unsigned.
fn number(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

fn section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    number(content.len(), out);
    out.extend_from_slice(content);
}

const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
