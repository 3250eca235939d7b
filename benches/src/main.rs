//! Benchmarks of Stepwell against bare lower bounds.
fn main() {}
