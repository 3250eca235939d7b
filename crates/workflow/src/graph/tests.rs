//! What compiling promises.
