//! Brings into memory, ahead of a decision, the pages that it is going to touch.
//!
//! The memory of an instance is a copy of a snapshot that the system makes page by page, each at the first touch. A Python
//! policy writes some 140 pages in a hundred places for each decision, and most of the time of that decision went into the
//! page faults. So the thread that makes instances ahead looks at what the first decisions touched (`/proc/self/pagemap`),
//! and asks the system for the same pages (`MADV_POPULATE_WRITE`, `MADV_POPULATE_READ`) if the pool gave them back.
//!
//! This is only a hint. A requested page is the same private copy that the fault would have made, so nothing that a guest or this
//! program can read depends on it, even if the address is in use by something else by then: a wrong guess wastes one page.
//! wasmtime has no interface for it, so the copies are found by the name of their mapping; if there are none, or no `/proc`,
//! nothing is warmed.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use std::{mem, ptr};

use rustix::mm::{Advice, madvise};

/// What is known of the snapshots that instances are copies of.
pub(super) struct Prefault {
    pagemap: Option<File>,
    snapshots: Vec<Snapshot>,
    looked: Option<Instant>,
    /// How long it is until the next look.
    pause: Duration,
}

#[derive(Default)]
struct Snapshot {
    /// Tells it from others: the inode of its file, and where it begins there.
    place: (u64, u64),
    /// The addresses at which copies of it begin.
    copies: Vec<usize>,
    touched: Touched,
    /// How often was looked at what decisions touch.
    looks: u32,
}

/// Pages that decisions touch, counted from the beginning of the snapshot, in order.
#[derive(Default)]
struct Touched {
    /// The copy has its own.
    written: Vec<usize>,
    /// Still the snapshot's: the first of each [`AROUND`].
    read: Vec<usize>,
}

impl Prefault {
    pub(super) fn new() -> Self {
        Self {
            pagemap: File::open("/proc/self/pagemap").ok(),
            snapshots: Vec::new(),
            looked: None,
            pause: LOOK,
        }
    }

    /// Looks sooner: there is a policy that was not known.
    pub(super) fn look_again(&mut self) {
        self.looked = None;
        self.pause = LOOK;
    }

    /// Finds the copies, and what was touched in them: to be called while one that a decision has used is there.
    pub(super) fn look(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < self.pause) {
            return;
        }
        self.looked = Some(Instant::now());
        let (Some(pagemap), Ok(maps)) = (&self.pagemap, fs::read_to_string("/proc/self/maps")) else {
            return;
        };
        let mut known = mem::take(&mut self.snapshots);
        for (place, copies) in copies(&maps) {
            let found = known.iter().position(|snapshot| snapshot.place == place);
            let mut snapshot = found.map_or_else(Snapshot::default, |found| known.swap_remove(found));
            if snapshot.looks < LOOKS {
                let touched = copies.iter().map(|copy| Touched::of(pagemap, copy));
                let most = touched.max_by_key(|touched| touched.written.len());
                snapshot.touched.add(most.unwrap_or_default());
                snapshot.looks += 1;
            }
            snapshot.place = place;
            snapshot.copies = copies.into_iter().map(|copy| copy.start).collect();
            self.snapshots.push(snapshot);
        }
        let is_settled = |snapshot: &Snapshot| snapshot.looks >= LOOKS && !snapshot.is_given_back();
        self.pause = match self.snapshots.iter().all(is_settled) {
            true => (self.pause * 2).min(SELDOM),
            false => LOOK,
        };
    }

    /// Fills up the copies whose pages were given back.
    pub(super) fn warm(&self) {
        let Some(pagemap) = &self.pagemap else {
            return;
        };
        for Snapshot { copies, touched, .. } in self.snapshots.iter().filter(|one| one.is_given_back()) {
            // wasmtime clears a copy from its beginning: as long as the last page stays, all of them do.
            let Some(last) = touched.written.last() else {
                continue;
            };
            for copy in copies {
                let last = copy + last * PAGE;
                if Touched::of(pagemap, &(last..last + PAGE)).written.is_empty() {
                    touched.populate(*copy);
                }
            }
        }
    }
}

impl Snapshot {
    /// Whether a copy that was used is not cleared in its place.
    fn is_given_back(&self) -> bool {
        self.touched.runs().nth(CLEARED_IN_PLACE).is_some()
    }
}

impl Touched {
    fn of(pagemap: &File, copy: &Range<usize>) -> Self {
        let mut touched = Self::default();
        let mut entries = vec![0; copy.len() / PAGE * ENTRY];
        let at = copy.start / PAGE * ENTRY;
        if pagemap.read_exact_at(&mut entries, at as u64).is_err() {
            return touched;
        }
        let (entries, _) = entries.as_chunks::<ENTRY>();
        for (page, entry) in entries.iter().map(|entry| u64::from_ne_bytes(*entry)).enumerate() {
            match (entry & PRESENT != 0, entry & SHARED != 0) {
                (true, false) => touched.written.push(page),
                (true, true) => touched.read.push(page),
                (false, _) => {}
            }
        }
        touched.read.dedup_by_key(|page| *page / AROUND);
        touched
    }

    fn add(&mut self, more: Self) {
        let join = |pages: &mut Vec<usize>, more| {
            pages.extend(more);
            pages.sort_unstable();
            pages.dedup();
            pages.truncate(MOST);
        };
        join(&mut self.written, more.written);
        join(&mut self.read, more.read);
    }

    /// What is written, pages side by side together.
    fn runs(&self) -> impl Iterator<Item = &[usize]> {
        self.written.chunk_by(|one, next| one + 1 == *next)
    }

    /// Written ones first: a page that is first mapped to be read must be mapped again to be written, which interrupts the
    /// other processors.
    fn populate(&self, copy: usize) {
        let written = self.runs().map(|run| (run, Advice::LinuxPopulateWrite));
        let read = self.read.chunks(1).map(|page| (page, Advice::LinuxPopulateRead));
        for (run, advice) in written.chain(read) {
            let Some(first) = run.first() else {
                continue;
            };
            let address = ptr::without_provenance_mut(copy + first * PAGE);
            // SAFETY: this advice changes no content of any memory, see the head of this file; where the addresses are no
            // longer mapped, or may not be touched, the system refuses it.
            let _ = unsafe { madvise(address, run.len() * PAGE, advice) };
        }
    }
}

/// The copies of each snapshot, by the inode of its file and where it begins there, from the text of `/proc/PID/maps`
/// (proc_pid_maps(5)).
fn copies(maps: &str) -> BTreeMap<(u64, u64), Vec<Range<usize>>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for (place, copy) in maps.lines().filter_map(copy) {
        found.entry(place).or_default().push(copy);
    }
    found
}

/// Compiled code is mapped from the same file, but never to be written.
fn copy(line: &str) -> Option<((u64, u64), Range<usize>)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let copy = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let writable = words.next()?.starts_with("rw");
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    (words.next()?.starts_with(NAME) && writable).then_some(((inode, offset), copy))
}

/// What wasmtime calls the mappings of its snapshots, and this program the files that it maps them from.
const NAME: &str = "/memfd:wasm-memory-image";
const PAGE: usize = 4096;
/// Pages that Linux maps together around one that is read (`fault_around_bytes`, as it is unless somebody changes it).
const AROUND: usize = 16;
/// Bytes in `/proc/PID/pagemap` for each page (proc_pid_pagemap(5)), and their bits.
const ENTRY: usize = 8;
const PRESENT: u64 = 1 << 63;
const SHARED: u64 = 1 << 61;
/// Runs of written pages that wasmtime clears and keeps; the rest of a copy it gives back.
const CLEARED_IN_PLACE: usize = 32;
const LOOK: Duration = Duration::from_secs(1);
/// Where nothing needs to be warmed, it costs a look at the whole address space to see that it is still so.
const SELDOM: Duration = Duration::from_secs(60);
/// How often is looked at what decisions on one snapshot touch: pages that are warm cannot be told from touched ones, so
/// it would only ever become more.
const LOOKS: u32 = 8;
/// Pages of one copy that are warmed.
const MOST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_from_code_and_by_where_their_snapshot_begins() {
        let maps = "\
7f0000000000-7f0000002000 rw-p 00001000 00:01 77 /memfd:wasm-memory-image (deleted)
7f0000010000-7f0000012000 rw-p 00001000 00:01 77 /memfd:wasm-memory-image (deleted)
7f0000020000-7f0000021000 rw-p 00009000 00:01 77 /memfd:wasm-memory-image (deleted)
7f0000030000-7f0000039000 r--p 00000000 00:01 77 /memfd:wasm-memory-image (deleted)
7f0000039000-7f000003a000 r-xp 00009000 00:01 77 /memfd:wasm-memory-image (deleted)
7f0000040000-7f0000041000 rw-p 00000000 00:01 78 /memfd:other (deleted)
7f0000050000-7f0000051000 rw-p 00000000 00:00 0
";
        let found = copies(maps);
        let places: Vec<_> = found.iter().map(|(place, copies)| (*place, copies.len())).collect();
        assert_eq!(places, [((77, 0x1000), 2), ((77, 0x9000), 1)]);
        let only = &found[&(77, 0x9000)][0];
        assert_eq!((only.start, only.end), (0x7f00_0002_0000, 0x7f00_0002_1000));
    }
}
