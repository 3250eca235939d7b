//! Which WebAssembly proposals are on, and for those that are off: what they are called and whose
//! compilers need them.

use wasmparser::{Validator, WasmFeatures};

use super::Refusal;
use crate::names;

/// What guests may use. The engine's settings switch on the same; a test holds them together.
pub(crate) const ENABLED: WasmFeatures = WasmFeatures::WASM2
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    // WASI adapters inside components need it; the rule `memories` keeps others from it.
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::COMPONENT_MODEL);

/// A proposal that is switched off.
pub(crate) struct Proposal {
    pub(crate) name: &'static str,
    pub(crate) hits: &'static str,
    features: WasmFeatures,
}

/// Every proposal that a module is likely to need and does not get.
pub(crate) static DISABLED: &[Proposal] = &[
    Proposal {
        name: "garbage collection (gc)",
        hits: "Kotlin, Java (TeaVM), Dart, OCaml (wasm_of_ocaml), Scheme; use a language that brings its own memory management, such as Rust, C, Go, AssemblyScript, JavaScript or Python",
        features: WasmFeatures::GC,
    },
    Proposal {
        name: "external references (externref)",
        hits: "wasm-bindgen and Emscripten builds for browsers; build for WASI or for wasm32-unknown-unknown with the SDK",
        features: WasmFeatures::GC_TYPES,
    },
    Proposal {
        name: "typed function references",
        hits: "Kotlin, Dart, OCaml, Scheme",
        features: WasmFeatures::FUNCTION_REFERENCES,
    },
    Proposal {
        name: "exceptions",
        hits: "C++ with -fwasm-exceptions, Kotlin, Dart, OCaml, Swift; for C++ build with -fno-exceptions",
        features: WasmFeatures::EXCEPTIONS,
    },
    Proposal {
        name: "legacy exceptions",
        hits: "C++ and Kotlin from older compilers; for C++ build with -fno-exceptions",
        features: WasmFeatures::LEGACY_EXCEPTIONS,
    },
    Proposal {
        name: "threads",
        hits: "C and C++ with -pthread, Rust with +atomics, wasm32-wasip1-threads; an action has one thread",
        features: WasmFeatures::THREADS,
    },
    Proposal {
        name: "memory64",
        hits: "C, C++ and Rust built for wasm64; build for wasm32",
        features: WasmFeatures::MEMORY64,
    },
    Proposal {
        name: "relaxed SIMD",
        hits: "C, C++ and Rust with +relaxed-simd; its results differ between processors, so build without it",
        features: WasmFeatures::RELAXED_SIMD,
    },
    Proposal {
        name: "stack switching",
        hits: "experimental builds of OCaml and Kotlin",
        features: WasmFeatures::STACK_SWITCHING,
    },
    Proposal {
        name: "shared-everything threads",
        hits: "experimental builds only",
        features: WasmFeatures::SHARED_EVERYTHING_THREADS,
    },
    Proposal {
        name: "custom page sizes",
        hits: "C for embedded systems; build with the usual page of 64 KiB",
        features: WasmFeatures::CUSTOM_PAGE_SIZES,
    },
    Proposal {
        name: "wide arithmetic",
        hits: "Rust, C and Zig with +wide-arithmetic; build without it",
        features: WasmFeatures::WIDE_ARITHMETIC,
    },
    Proposal {
        name: "async components",
        hits: "WASI 0.3 toolchains; build for WASI 0.2",
        features: WasmFeatures::CM_ASYNC
            .union(WasmFeatures::CM_ASYNC_STACKFUL)
            .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS),
    },
    Proposal {
        name: "newer parts of the component model (threading, error contexts, values, fixed-length lists, maps, 64 bit, gc)",
        hits: "toolchains ahead of WASI 0.2; build for WASI 0.2",
        features: WasmFeatures::CM_THREADING
            .union(WasmFeatures::CM_ERROR_CONTEXT)
            .union(WasmFeatures::CM_VALUES)
            .union(WasmFeatures::CM_NESTED_NAMES)
            .union(WasmFeatures::CM_FIXED_LENGTH_LISTS)
            .union(WasmFeatures::CM_MAP)
            .union(WasmFeatures::CM64)
            .union(WasmFeatures::CM_IMPLEMENTS)
            .union(WasmFeatures::CM_CANON_NAMES)
            .union(WasmFeatures::CM_GC),
    },
    Proposal {
        name: "compact imports, memory control or custom descriptors",
        hits: "experimental builds only",
        features: WasmFeatures::COMPACT_IMPORTS
            .union(WasmFeatures::MEMORY_CONTROL)
            .union(WasmFeatures::CUSTOM_DESCRIPTORS),
    },
];

/// Explains why `module`, which does not validate, does not: a proposal that is off, or plain
/// invalidity as `error` says it.
pub(super) fn explain(module: &[u8], error: &wasmparser::Error) -> Refusal {
    let needed = needed(module);
    let error = names::said(error);
    if needed.is_empty() {
        let message = format!("the module is not valid WebAssembly: {error}");
        return Refusal::new("invalid", message)
            .hint("build it again; if it came through a download, compare sizes");
    }
    let names: Vec<_> = needed.iter().map(|proposal| proposal.name).collect();
    let hits: Vec<_> =
        needed.iter().map(|proposal| format!("{}: {}", proposal.name, proposal.hits)).collect();
    Refusal::new(
        "proposal",
        format!(
            "the module uses {}, which {} switched off here: {error}",
            names.join(" and "),
            if names.len() == 1 { "is" } else { "are" },
        ),
    )
    .hint(hits.join("; "))
}

/// The proposals without which the module is invalid; none if it is invalid with all of them.
fn needed(module: &[u8]) -> Vec<&'static Proposal> {
    let valid = |features| {
        // Some features are refused in combination with others by the validator itself.
        Validator::new_with_features(features).validate_all(module).is_ok()
    };
    let all = DISABLED.iter().fold(ENABLED, |all, proposal| all | proposal.features);
    if !valid(all) {
        return Vec::new();
    }
    let mut kept = all;
    let mut needed = Vec::new();
    for proposal in DISABLED {
        let without = kept - (proposal.features - ENABLED);
        if valid(without) {
            kept = without;
        } else {
            needed.push(proposal);
        }
    }
    // These two are parts of larger proposals as well, which then say it all.
    const PARTS: WasmFeatures = WasmFeatures::GC_TYPES.union(WasmFeatures::FUNCTION_REFERENCES);
    if needed.iter().any(|proposal| !PARTS.contains(proposal.features)) {
        needed.retain(|proposal| !PARTS.contains(proposal.features));
    }
    needed
}
