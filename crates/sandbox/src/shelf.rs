//! The actions that are kept loaded, within a budget of machine code: what was not asked for the longest goes, and
//! loads again from the cache when it is needed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Action;

/// What was asked for within this time stays, over the budget or not: somebody is about to call it.
const STAYS: Duration = Duration::from_secs(60);

/// Loaded actions by the SHA-256 of their modules.
#[derive(Debug)]
pub struct Shelf {
    kept: Mutex<HashMap<String, Kept>>,
    /// Bytes of machine code.
    budget: u64,
    stays: Duration,
}

#[derive(Debug)]
struct Kept {
    action: Action,
    asked: Instant,
    taken: bool,
}

impl Shelf {
    /// An empty one with room for so many bytes of machine code.
    pub fn new(budget: u64) -> Self {
        Self { kept: Mutex::default(), budget, stays: STAYS }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an action is here. If so, it stays for a while: whoever asks is about to call it.
    pub fn holds(&self, sha256: &str) -> bool {
        self.take(sha256).is_some()
    }

    /// An action, to be called.
    pub fn take(&self, sha256: &str) -> Option<Action> {
        let mut kept = self.kept();
        let kept = kept.get_mut(sha256)?;
        (kept.asked, kept.taken) = (Instant::now(), true);
        Some(kept.action.clone())
    }

    /// Keeps an action, and lets go what is over the budget. Calls under way hold on to what they call.
    pub fn keep(&self, action: Action) {
        let now = Instant::now();
        let mut kept = self.kept();
        let taken = kept.get(&action.info().sha256).is_some_and(|kept| kept.taken);
        let sha256 = action.info().sha256.clone();
        kept.insert(sha256.clone(), Kept { action, asked: now, taken });
        let mut bytes: u64 = kept.values().map(|kept| kept.action.code_bytes()).sum();
        while bytes > self.budget {
            let idle = kept.iter().filter(|(name, kept)| **name != sha256 && kept.asked + self.stays <= now);
            let Some(oldest) = idle.min_by_key(|(_, kept)| kept.asked).map(|(name, _)| name.clone()) else {
                return;
            };
            if let Some(gone) = kept.remove(&oldest) {
                bytes -= gone.action.code_bytes();
                tracing::debug!(module = &oldest[..16], "an action that nobody asked for was let go");
            }
        }
    }

    /// Lets an action go that was loaded only to be looked at. One that somebody took is theirs, and stays.
    pub fn drop_unused(&self, sha256: &str) {
        let mut kept = self.kept();
        if kept.get(sha256).is_some_and(|kept| !kept.taken) {
            kept.remove(sha256);
        }
    }

    /// How many actions are here, and the bytes of their machine code.
    pub fn size(&self) -> (usize, u64) {
        let kept = self.kept();
        (kept.len(), kept.values().map(|kept| kept.action.code_bytes()).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Host, HostConfig};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_nobody_asks_for_goes_when_there_is_no_room_and_what_was_only_looked_at_on_request() {
        let host = Host::new(HostConfig { max_concurrent_calls: 2, ..HostConfig::default() }).unwrap();
        let mut actions = Vec::new();
        for n in 0..4 {
            let module =
                wat::parse_str(format!(r#"(module (func (export "_start")) (global i32 (i32.const {n})))"#));
            actions.push(host.load(module.unwrap()).await.unwrap());
        }
        let name = |n: usize| actions[n].info().sha256.clone();
        let one = actions[0].code_bytes();
        assert!(one > 0);
        let mut shelf = Shelf { stays: Duration::ZERO, ..Shelf::new(3 * one + one / 2) };
        for action in &actions[..3] {
            shelf.keep(action.clone());
        }
        assert_eq!(shelf.size(), (3, 3 * one));
        assert!(shelf.take(&name(0)).is_some());
        shelf.keep(actions[3].clone());
        assert!(!shelf.holds(&name(1)), "it was not asked for the longest");

        shelf.drop_unused(&name(0));
        shelf.drop_unused(&name(2));
        assert!(shelf.holds(&name(0)) && shelf.holds(&name(3)) && !shelf.holds(&name(2)));

        (shelf.budget, shelf.stays) = (0, Duration::from_secs(3600));
        shelf.keep(actions[1].clone());
        assert_eq!(shelf.size().0, 3, "what was just asked for stays");
    }
}
