//! What waits for a target.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::iter;

use bytes::{Buf, Bytes, BytesMut};

/// What the client sent and the target has not taken.
///
/// Pieces are kept as they came. Small ones that have to wait are joined, so that a queue of single bytes costs little
/// more memory than it has bytes.
#[derive(Default)]
pub(super) struct Backlog {
    pieces: VecDeque<Bytes>,
    /// Small pieces, after all others.
    joined: BytesMut,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.joined.is_empty()
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if piece.len() < SMALL && !self.is_empty() {
            self.joined.extend_from_slice(&piece);
            if self.joined.len() >= JOINED {
                self.seal();
            }
        } else {
            self.seal();
            self.pieces.push_back(piece);
        }
    }

    /// The first bytes, at most `limit`; answers how many slices they are in.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>], limit: usize) -> usize {
        let pieces = self.pieces.iter().map(|piece| &**piece);
        let pieces = pieces.chain(iter::once(&*self.joined));
        let (mut left, mut count) = (limit, 0);
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            let part = piece.get(..left.min(piece.len())).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            left -= part.len();
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// The first bytes were taken.
    pub(super) fn advance(&mut self, taken: usize) {
        let mut left = taken;
        while let Some(front) = self.pieces.front_mut() {
            let part = left.min(front.len());
            front.advance(part);
            left -= part;
            if !front.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.joined.advance(left.min(self.joined.len()));
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn seal(&mut self) {
        if !self.joined.is_empty() {
            self.pieces.push_back(self.joined.split().freeze());
        }
    }
}

const SMALL: usize = 4 << 10;
const JOINED: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_out_in_order_whatever_its_size() {
        let mut backlog = Backlog::default();
        let (mut expected, mut heard) = (Vec::new(), Vec::new());
        for length in [1, 2, 5000, 3, 1, 30_000, 4095, 4096, 17, 0, 9000] {
            for _ in 0..7 {
                let piece: Vec<u8> = (0..length).map(|place| (place * 7 + expected.len()) as u8).collect();
                expected.extend_from_slice(&piece);
                backlog.push(piece.into());
            }
            hear(&mut backlog, 3 * length / 2 + 1, &mut heard);
        }
        while !backlog.is_empty() {
            hear(&mut backlog, 10_000, &mut heard);
        }
        assert!(heard == expected);
    }

    fn hear(backlog: &mut Backlog, limit: usize, heard: &mut Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = backlog.slices(&mut slices, limit);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        assert!(bytes.len() <= limit);
        heard.extend_from_slice(&bytes);
        let taken = bytes.len();
        backlog.advance(taken);
    }

    #[test]
    fn single_bytes_are_joined() {
        let mut backlog = Backlog::default();
        for _ in 0..1 << 20 {
            backlog.push(Bytes::from_static(b"x"));
        }
        assert!(
            backlog.pieces.len() <= (1 << 20) / JOINED + 2,
            "{} pieces",
            backlog.pieces.len()
        );
    }
}
