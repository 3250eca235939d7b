//! One limit on all memories and tables of a call together.

use wasmtime::{Error, ResourceLimiter, Result};

use crate::config::TABLE_ELEMENTS;

/// What one element of a table takes.
const ELEMENT_BYTES: u64 = 8;

/// Counts what a call's memories and tables hold, and denies growth past the limit. WebAssembly
/// sees a denial as -1, so a guest can go on; what it denied last explains a trap right after.
pub(crate) struct Limiter {
    limit: u64,
    used: u64,
    denied: Option<u64>,
}

impl Limiter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, denied: None }
    }

    /// What all held together at the end. Nothing shrinks, so it is the peak.
    pub(crate) fn peak(&self) -> u64 {
        self.used
    }

    /// What all would have held after the last growth that was denied.
    pub(crate) fn denied(&self) -> Option<u64> {
        self.denied
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.limit {
            self.denied = Some(wanted);
            return false;
        }
        self.used = wanted;
        true
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // Past the module's own maximum it fails anyway: not to be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow((desired - current) as u64))
    }

    fn memory_grow_failed(&mut self, _: Error) -> Result<()> {
        // Past 4 GiB. What failed after it was let through stays counted, on the safe side: the
        // engine does not say which growth that was.
        self.denied.get_or_insert(1 << 32);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) || desired > TABLE_ELEMENTS as usize {
            return Ok(false);
        }
        Ok(self.grow((desired - current) as u64 * ELEMENT_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut limiter = Limiter::new(1_000);
        assert!(limiter.memory_growing(0, 500, None).unwrap());
        assert!(limiter.table_growing(0, 50, None).unwrap());
        assert!(!limiter.memory_growing(0, 101, None).unwrap());
        assert_eq!((limiter.peak(), limiter.denied()), (900, Some(1_001)));
        assert!(limiter.memory_growing(500, 600, None).unwrap());
        // What the module's own maximum forbids is no matter of the limit.
        let mut limiter = Limiter::new(1_000);
        assert!(!limiter.memory_growing(0, 500, Some(400)).unwrap());
        assert_eq!((limiter.peak(), limiter.denied()), (0, None));
    }
}
