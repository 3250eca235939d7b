//! An ordered key space with atomic, conditional batches: the one place where Stepwell keeps things.
