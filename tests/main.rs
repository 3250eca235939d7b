//! Black-box tests: through the binary and HTTP.
