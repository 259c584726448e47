//! The guest's allocator.
//!
//! A decision starts from the snapshot of a configured instance, and every memory page that it touches has to be mapped, or
//! copied if it is written. A general allocator would spread a decision's few dozen small blocks over the holes that
//! `configure` left behind, one page each. This one only ever appends, so that a decision writes to the one or two pages
//! at the end. It takes memory back when the last block is freed or shrunk, and, so that an instance may serve many
//! decisions, whenever everything that was allocated since [`keep`] is free again.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;

struct Heap {
    /// The first free byte; 0 before the first use.
    next: Cell<usize>,
    /// The end of the memory.
    end: Cell<usize>,
    /// Where the heap begins for a decision: what lies before is kept.
    floor: Cell<usize>,
    /// How many blocks above the floor are in use.
    live: Cell<usize>,
}

// SAFETY: the target has no threads.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap {
    next: Cell::new(0),
    end: Cell::new(0),
    floor: Cell::new(0),
    live: Cell::new(0),
};

/// Keeps everything that is allocated now for the life of the instance.
pub fn keep() {
    HEAP.floor.set(HEAP.next.get());
    HEAP.live.set(0);
}

const PAGE: usize = 65_536;

unsafe extern "C" {
    /// Set by the linker to the first byte behind the static data.
    static __heap_base: u8;
}

impl Heap {
    /// Makes sure that the memory reaches to `until`.
    fn reach(&self, until: usize) -> bool {
        if until <= self.end.get() {
            return true;
        }
        let pages = (until - self.end.get()).div_ceil(PAGE);
        if core::arch::wasm32::memory_grow(0, pages) == usize::MAX {
            return false;
        }
        self.end.set(self.end.get() + pages * PAGE);
        true
    }
}

// SAFETY: a block lies between `next` as it was and `next` as it becomes, inside the memory, and `next` only goes back over
// blocks that are free: over the last one, or over all above the floor when `live` says that none of them is in use.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.end.get() == 0 {
            let base = &raw const __heap_base as usize;
            self.next.set(base);
            self.floor.set(base);
            self.end.set(core::arch::wasm32::memory_size(0) * PAGE);
        }
        let Some(start) = self.next.get().checked_next_multiple_of(layout.align()) else {
            return ptr::null_mut();
        };
        match start.checked_add(layout.size()) {
            Some(until) if self.reach(until) => {
                self.next.set(until);
                self.live.set(self.live.get() + 1);
                ptr::with_exposed_provenance_mut(start)
            }
            _ => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let start = block.addr();
        if start < self.floor.get() {
            return;
        }
        self.live.set(self.live.get().saturating_sub(1));
        if self.live.get() == 0 {
            self.next.set(self.floor.get());
        } else if start + layout.size() == self.next.get() {
            self.next.set(start);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let start = block.addr();
        if start + layout.size() == self.next.get() && start >= self.floor.get() {
            return match start.checked_add(size) {
                Some(until) if self.reach(until) => {
                    self.next.set(until);
                    block
                }
                _ => ptr::null_mut(),
            };
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the caller guarantees that the size, rounded up to the alignment, does not overflow.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least as long as the old one, and they do not overlap.
            unsafe {
                ptr::copy_nonoverlapping(block, moved, layout.size());
                self.dealloc(block, layout);
            }
        }
        moved
    }
}
