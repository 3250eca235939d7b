//! The code-action host: compiles strangers' WebAssembly, runs it under limits and meters it.
