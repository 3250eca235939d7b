//! What a search has done: it lets others go on every so often, and gives up when it has compared too much.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What one search may compare, in bytes looked at: a text counts for each test that goes through it. It is about what
/// the most records that a search looks at come to with a kilobyte of text and ten tests each.
pub const MAX_COMPARED: u64 = 1 << 30;
/// After so many bytes, read or compared, others have their turn: a millisecond or so.
const TURN: u64 = 1 << 20;

/// Bytes that are read at once, about: rows are read before anybody knows how large they are.
const READ_BYTES: usize = 2 << 20;
/// Rows read at once first, and after that if they are small.
const FIRST_ROWS: usize = 32;
const SOME_ROWS: usize = 64;
const MOST_ROWS: usize = 128;

/// How many rows to read at once: few at first, and more while all of them are small.
pub(super) struct Chunks {
    rows: usize,
    largest: usize,
}

impl Chunks {
    /// Of which the first has no more than are wanted.
    pub fn first(wanted: usize) -> Chunks {
        Chunks { rows: wanted.clamp(1, FIRST_ROWS), largest: 0 }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The next chunk, after one whose largest row had so many bytes.
    pub fn go_on(&mut self, largest: usize) {
        self.largest = self.largest.max(largest).max(1);
        let fit = READ_BYTES / self.largest;
        self.rows = (2 * self.rows).clamp(SOME_ROWS, MOST_ROWS).min(fit).max(1);
    }
}

#[derive(Debug)]
pub(super) struct Work {
    most: u64,
    compared: AtomicU64,
    /// Since others had their turn.
    turn: AtomicU64,
}

impl Work {
    pub fn of_at_most(most: u64) -> Work {
        Work { most, compared: AtomicU64::new(0), turn: AtomicU64::new(0) }
    }

    /// What was compared.
    pub fn compared(&self, bytes: usize) {
        self.compared.fetch_add(bytes as u64, Relaxed);
        self.turn.fetch_add(bytes as u64, Relaxed);
    }

    /// What was read.
    pub fn read(&self, bytes: usize) {
        self.turn.fetch_add(bytes as u64, Relaxed);
    }

    pub fn most(&self) -> u64 {
        self.most
    }

    pub fn is_used_up(&self) -> bool {
        self.compared.load(Relaxed) >= self.most
    }

    /// What may be done yet before others have their turn.
    pub fn left_of_turn(&self) -> usize {
        TURN.saturating_sub(self.turn.load(Relaxed)) as usize
    }

    /// Gives others their turn if it is due.
    pub async fn take_turns(&self) {
        if self.left_of_turn() == 0 {
            self.turn.store(0, Relaxed);
            tokio::task::yield_now().await;
        }
    }
}
