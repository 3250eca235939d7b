//! The small runtime that the generated bindings expect: memory for the caller's strings, and
//! static constructors.

use std::alloc::{Layout, alloc, realloc};

/// Gives the host memory for a string that it passes in.
///
/// # Safety
/// As the canonical ABI has it: `old_ptr` came from here with `old_len` and `align`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cabi_realloc(
    old_ptr: *mut u8,
    old_len: usize,
    align: usize,
    new_len: usize,
) -> *mut u8 {
    if new_len == 0 {
        return align as *mut u8;
    }
    // SAFETY: the ABI promises a power of two as `align` and sizes that fit the address space.
    let pointer = unsafe {
        if old_len == 0 {
            alloc(Layout::from_size_align_unchecked(new_len, align))
        } else {
            realloc(old_ptr, Layout::from_size_align_unchecked(old_len, align), new_len)
        }
    };
    if pointer.is_null() {
        core::arch::wasm32::unreachable();
    }
    pointer
}

/// Called by the bindings so that the linker keeps `cabi_realloc`; rustc exports it anyway.
pub fn maybe_link_cabi_realloc() {}

/// Runs static constructors at the first call. Referring to `__wasm_call_ctors` also keeps the
/// linker from wrapping every export, `cabi_realloc` included, with a call of its own.
pub fn run_ctors_once() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    if !DONE.swap(true, Ordering::Relaxed) {
        // SAFETY: the linker makes this function; it takes and returns nothing.
        unsafe { __wasm_call_ctors() };
    }
}
