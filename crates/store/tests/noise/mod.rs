//! Bytes that nothing makes smaller (SplitMix64), the same for the same seed.

pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let byte = |i: u64| {
        let mut z = (i ^ (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u8
    };
    (0..size as u64).map(byte).collect()
}
