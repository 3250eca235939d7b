//! The guest's randomness: xoshiro256++, started from the call's seed. Written here because its
//! numbers are part of what a replay has to reproduce, whatever libraries do in later versions.

pub(crate) struct Rng([u64; 4]);

impl Rng {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        // All zeros would stay zeros, and a seed with few bits set starts poorly: mix each word.
        let mut counter = 0_u64;
        for word in &mut state {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *word ^ counter;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            *word = mixed ^ mixed >> 31;
        }
        Self(state)
    }

    pub(crate) fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut rng = Rng::new(&[0; 32]);
        let zeros: [u64; 3] = std::array::from_fn(|_| rng.next());
        insta::assert_snapshot!(format!("{zeros:x?}"));
        let mut other = [0; 32];
        other[31] = 1;
        assert_ne!(Rng::new(&other).next(), zeros[0]);

        let mut bytes = [0; 11];
        Rng::new(&[0; 32]).fill(&mut bytes);
        assert_eq!(bytes[..8], zeros[0].to_le_bytes());
        assert_eq!(bytes[8..], zeros[1].to_le_bytes()[..3]);
    }
}
