//! The README commands.
fn main() {}
