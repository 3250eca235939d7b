//! Randomness as the engine sees it; used for ids and keys only, never inside a run.
use std::sync::Mutex;

pub trait Random: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's randomness, read in larger pieces than an id needs.
#[derive(Default)]
pub struct SystemRandom {
    pool: Mutex<Pool>,
}

struct Pool {
    bytes: [u8; 512],
    used: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { bytes: [0; 512], used: 512 }
    }
}

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) {
        let mut pool = self.pool.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for byte in out {
            if pool.used == pool.bytes.len() {
                // Without randomness an id could repeat and a key be guessed: nothing may go on.
                getrandom::fill(&mut pool.bytes).expect("the operating system gives randomness");
                pool.used = 0;
            }
            let used = pool.used;
            *byte = std::mem::take(&mut pool.bytes[used]);
            pool.used += 1;
        }
    }
}
