//! Everything that must be new in every attempt and yet the same when it is computed again.

use sha2::{Digest, Sha256};

use super::path::StepPath;

/// The digest of its parts; no two different lists of parts give the same bytes.
fn digest(purpose: &str, run: &str, path: &StepPath, numbers: &[u64]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [purpose, run, path.as_str()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    for number in numbers {
        hash.update(number.to_be_bytes());
    }
    hash.finalize().into()
}

fn first_u64(digest: &[u8; 32]) -> u64 {
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// For everything random in one attempt of code.
pub(super) fn seed(run: &str, path: &StepPath, generation: u32, attempt: u32) -> u64 {
    first_u64(&digest("seed", run, path, &[generation.into(), attempt.into()]))
}

/// The idempotency key of a step's call, the same in every attempt of a generation.
pub(super) fn key(run: &str, path: &StepPath, generation: u32) -> String {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digest = digest("key", run, path, &[generation.into()]);
    let mut key = String::with_capacity(32);
    for byte in &digest[..16] {
        key.push(HEX[usize::from(byte >> 4)]);
        key.push(HEX[usize::from(byte & 15)]);
    }
    key
}

/// A fifth more or less, so that runs that failed together do not all come back together.
pub(super) fn jittered(delay_ms: u64, run: &str, path: &StepPath, attempt: u32) -> u64 {
    let spread = delay_ms / 5;
    let offset = first_u64(&digest("jitter", run, path, &[attempt.into()])) % (2 * spread + 1);
    delay_ms - spread + offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_has_a_seed_and_every_generation_a_key_of_its_own() {
        let (a, b) = (StepPath::new("loop[1].get"), StepPath::new("loop[2].get"));
        assert_eq!(key("run", &a, 0), key("run", &a, 0));
        assert_eq!(key("run", &a, 0), "ecf12bfc1ace104ab8f2cd8698f4697a");
        assert_ne!(key("run", &a, 0), key("run", &a, 1));
        assert_ne!(key("run", &a, 0), key("run", &b, 0));
        assert_ne!(key("run", &a, 0), key("other", &a, 0));
        assert_ne!(seed("run", &a, 0, 1), seed("run", &a, 0, 2));
        assert_ne!(seed("run", &a, 0, 1), seed("run", &a, 1, 1));
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let path = StepPath::new("get");
        for attempt in 1..200 {
            let delay = jittered(1000, "run", &path, attempt);
            assert!((800..=1200).contains(&delay), "{delay}");
        }
        assert_eq!(jittered(0, "run", &path, 1), 0);
    }
}
