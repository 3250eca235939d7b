//! Lines of those who lost a key: whoever tries again holds the key's place, first come, first served, so that
//! a hot key does not livelock.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::types::Key;

/// The lines of an owner. tokio's mutex is fair: it serves in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>>);

/// A place at the head of some lines; dropping it lets the next in.
#[derive(Debug)]
pub struct Turn {
    held: Vec<(Key, Option<OwnedMutexGuard<()>>)>,
    lines: Arc<Lines>,
}

impl Lines {
    /// Waits for all of the keys. They are taken in ascending order by everyone, so nobody waits in a circle.
    pub(crate) async fn turn(self: &Arc<Self>, mut keys: Vec<Key>) -> Turn {
        keys.sort_unstable();
        keys.dedup();
        let mut turn = Turn { held: Vec::with_capacity(keys.len()), lines: self.clone() };
        for key in keys {
            let line = self.map().entry(key.clone()).or_default().clone();
            // Noted before the wait, so that a wait given up cleans up like a turn that ends.
            turn.held.push((key, None));
            let guard = line.lock_owned().await;
            if let Some(last) = turn.held.last_mut() {
                last.1 = Some(guard);
            }
        }
        turn
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.map().is_empty()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        for (key, guard) in self.held.drain(..) {
            drop(guard);
            if let Entry::Occupied(line) = self.lines.map().entry(key)
                && Arc::strong_count(line.get()) == 1
            {
                line.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_served_in_the_order_of_arrival_and_leave_nothing() {
        let lines = Arc::new(Lines::default());
        let key = Key::from(b"k".as_slice());
        let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
        let first = lines.turn(vec![key.clone()]).await;
        let mut waiting = Vec::new();
        for n in 0..5 {
            let (lines, key, sender) = (lines.clone(), key.clone(), sender.clone());
            waiting.push(tokio::spawn(async move {
                let _turn = lines.turn(vec![key]).await;
                sender.send(n).unwrap();
            }));
            tokio::task::yield_now().await;
        }
        // One that gives up while waiting must not block the others.
        waiting.remove(2).abort();
        drop(first);
        for task in waiting {
            task.await.unwrap();
        }
        drop(sender);
        let mut order = Vec::new();
        while let Some(n) = served.recv().await {
            order.push(n);
        }
        assert_eq!(order, [0, 1, 3, 4]);
        assert!(lines.is_empty());
    }

    #[tokio::test]
    async fn two_that_want_the_same_keys_in_other_order_do_not_wait_in_a_circle() {
        let lines = Arc::new(Lines::default());
        let (a, b) = (Key::from(b"a".as_slice()), Key::from(b"b".as_slice()));
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (lines, a, b) = (lines.clone(), a.clone(), b.clone());
                tokio::spawn(async move {
                    let turn = lines.turn(if n % 2 == 0 { vec![a, b] } else { vec![b, a] }).await;
                    tokio::task::yield_now().await;
                    drop(turn);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(lines.is_empty());
    }
}
