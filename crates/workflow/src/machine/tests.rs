//! What the machine promises, by example.
