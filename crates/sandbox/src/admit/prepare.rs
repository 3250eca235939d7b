//! From scanned bytes to what the compiler is given: validates them, makes a component of a core
//! module with component types, and checks the type of the entry point. How long that takes is
//! not bounded by the rules, so it happens where the compiler runs.

use bytes::Bytes;
use wasmparser::Validator;
use wasmparser::types::Types;
use wit_component::ComponentEncoder;

use super::{Admitted, GuestKind, Refusal, features, scan, signature};
use crate::names;

/// The component or command module to compile.
pub(super) fn prepare(admitted: &Admitted) -> Result<Bytes, Refusal> {
    let types = validate(&admitted.module)?;
    if wasmparser::Parser::is_component(&admitted.module) {
        signature::check(types.as_ref(), admitted.kind, &admitted.exports)?;
        return Ok(admitted.module.clone());
    }
    if admitted.kind == GuestKind::WasiCommandP1 {
        return Ok(admitted.module.clone());
    }
    let component = componentize(&admitted.module)?;
    // What came of it must keep the rules like any other component, its imports above all.
    let made = scan(&component)?;
    if made.kind != admitted.kind {
        let message = "the component types are not those of the functions that the module exports";
        return Err(Refusal::new("componentize", message));
    }
    signature::check(validate(&component)?.as_ref(), made.kind, &made.exports)?;
    Ok(component)
}

fn validate(module: &[u8]) -> Result<Types, Refusal> {
    Validator::new_with_features(features::ENABLED)
        .validate_all(module)
        .map_err(|error| features::explain(module, &error))
}

fn componentize(module: &[u8]) -> Result<Bytes, Refusal> {
    let encoded = ComponentEncoder::default().module(module).and_then(|mut encoder| encoder.encode());
    encoded.map(Bytes::from).map_err(|error| {
        let message = format!("the core module does not become a component: {}", names::said(error));
        Refusal::new("componentize", message)
            .hint("build with an SDK, or with wit-bindgen for the world stepwell:action/action@1.0.0")
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{CORE_HANDLER, component, echo, handler, wat, with_component_types};
    use super::*;

    fn check(text: &str) -> Result<Bytes, Refusal> {
        prepare(&scan(&wat(text))?)
    }

    fn refuse(text: &str) -> String {
        let refusal = check(text).unwrap_err();
        format!("{}: {refusal}", refusal.rule)
    }

    #[test]
    fn a_component_is_compiled_as_it_is() {
        let module = wat(&echo());
        assert_eq!(prepare(&scan(&module).unwrap()), Ok(module));
    }

    #[test]
    fn a_handler_of_another_type_is_shown_beside_the_right_one() {
        insta::assert_snapshot!(refuse(&handler("string", "string")), @"handler_type: `run` of stepwell:action/handler@1.0.0 is func(string) -> string (expected: run: func(string) -> result<string, record { code: string, message: string, retryable: bool, retry-after-ms: option<u64>, details: option<string> }>)");
        insta::assert_snapshot!(refuse(&handler("(list u8)", "(result string (error string))")), @"handler_type: `run` of stepwell:action/handler@1.0.0 is func(list<u8>) -> result<string, string> (expected: run: func(string) -> result<string, record { code: string, message: string, retryable: bool, retry-after-ms: option<u64>, details: option<string> }>)");
        let wide = format!("(tuple {})", "u8 ".repeat(400));
        assert!(refuse(&handler("string", &wide)).len() < 2000);
    }

    #[test]
    fn a_command_component_has_a_run_without_parameters() {
        let text = component("wasi:cli/run@0.2.0", "", "string", "string");
        insta::assert_snapshot!(refuse(&text), @"handler_type: `run` of wasi:cli/run@0.2.0 is func(string) -> string (expected: run: func() -> result)");
    }

    #[test]
    fn proposals_that_are_off_are_named_with_whom_they_hit() {
        let module = |body: &str| format!(r#"(module {body} (func (export "_start")))"#);
        let named = |body: &str| {
            let refusal = check(&module(body)).unwrap_err();
            assert_eq!(refusal.rule, "proposal", "{refusal}");
            refusal.message.split(", which").next().unwrap().to_owned()
        };
        insta::assert_snapshot!(named("(type (struct (field i32)))"), @"the module uses garbage collection (gc)");
        insta::assert_snapshot!(named("(func (param externref))"), @"the module uses external references (externref)");
        insta::assert_snapshot!(named("(type $t (func)) (func (param (ref $t)) local.get 0 call_ref $t)"), @"the module uses typed function references");
        insta::assert_snapshot!(named("(tag (param i32))"), @"the module uses exceptions");
        insta::assert_snapshot!(named("(func try catch_all end)"), @"the module uses legacy exceptions");
        insta::assert_snapshot!(named("(memory 1 1 shared)"), @"the module uses threads");
        insta::assert_snapshot!(named("(memory i64 1)"), @"the module uses memory64");
        insta::assert_snapshot!(named("(memory 1 (pagesize 1))"), @"the module uses custom page sizes");
        insta::assert_snapshot!(named("(func (result i64 i64) i64.const 1 i64.const 2 i64.mul_wide_u)"), @"the module uses wide arithmetic");
        insta::assert_snapshot!(
            named("(func (param v128) local.get 0 local.get 0 i8x16.relaxed_swizzle drop)"), @"the module uses relaxed SIMD");
        let both = "(tag (param i32)) (memory i64 1)";
        insta::assert_snapshot!(check(&module(both)).unwrap_err(), @"the module uses exceptions and memory64, which are switched off here: memory64 must be enabled for 64-bit memories (at offset 0x19) (exceptions: C++ with -fwasm-exceptions, Kotlin, Dart, OCaml, Swift; for C++ build with -fno-exceptions; memory64: C, C++ and Rust built for wasm64; build for wasm32)");
    }

    #[test]
    fn a_core_module_with_component_types_becomes_a_component() {
        let module = with_component_types(CORE_HANDLER);
        let admitted = scan(&module).unwrap();
        assert_eq!(admitted.kind, GuestKind::Component);
        let component = prepare(&admitted).unwrap();
        let made = scan(&component).unwrap();
        assert_eq!(made.exports, ["stepwell:action/handler@1.0.0"]);
        assert_eq!(made.imports, ["stepwell:action/types@1.0.0"]);
    }

    #[test]
    fn component_types_that_do_not_fit_the_module_are_refused() {
        let refuse = |module: Bytes| {
            let refusal = scan(&module).and_then(|admitted| prepare(&admitted)).unwrap_err();
            format!("{}: {}", refusal.rule, refusal.message)
        };
        let no_export = CORE_HANDLER.replace("handler@1.0.0#run", "handler@1.0.0#walk");
        insta::assert_snapshot!(refuse(with_component_types(&no_export)), @"componentize: the core module does not become a component: failed to decode world from module: module was not valid: failed to find export of interface `stepwell:action/handler@1.0.0` function `run`");
        let other_type = CORE_HANDLER.replace("#run\") (param i32 i32)", "#run\") (param i64)");
        insta::assert_snapshot!(refuse(with_component_types(&other_type)), @"componentize: the core module does not become a component: failed to decode world from module: module was not valid: failed to classify export `stepwell:action/handler@1.0.0#run`: failed to validate export for `stepwell:action/handler@1.0.0`: type mismatch for function `run`: expected `[I32, I32] -> [I32]` but found `[I64] -> [I32]`");
        let more = format!(r#"(import "acme:bank/transfer" "send" (func)) {CORE_HANDLER}"#);
        insta::assert_snapshot!(refuse(with_component_types(&more)), @"componentize: the core module does not become a component: failed to decode world from module: module was not valid: failed to resolve import `acme:bank/transfer::send`: module requires an import interface named `acme:bank/transfer`");
    }

    #[test]
    fn what_no_proposal_makes_valid_is_invalid() {
        insta::assert_snapshot!(refuse(r#"(module (func (export "_start") i32.const 1))"#), @"invalid: the module is not valid WebAssembly: type mismatch: values remaining on stack at end of block (at offset 0x25) (build it again; if it came through a download, compare sizes)");
    }

    #[test]
    fn the_engine_takes_exactly_what_the_validation_takes() {
        use crate::config::{Allocation, settings};
        let engine = wasmtime::Engine::new(&settings(Allocation::OnDemand)).unwrap();
        for body in [
            "(func (param v128) local.get 0 local.get 0 i8x16.swizzle drop)",
            "(func (result i32 i32) i32.const 1 i32.const 2)",
            "(func $f return_call $f)",
            "(func (param funcref))",
            "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
            "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
            "(type (struct (field i32)))",
            "(func (param externref))",
            "(type $t (func)) (func (param (ref $t)) local.get 0 call_ref $t)",
            "(tag (param i32))",
            "(memory 1 1 shared)",
            "(memory i64 1)",
            "(memory 1 (pagesize 1))",
            "(func (result i64 i64) i64.const 1 i64.const 2 i64.mul_wide_u)",
            "(func (param v128) local.get 0 local.get 0 i8x16.relaxed_swizzle drop)",
        ] {
            let module = wat(&format!("(module {body})"));
            let engine = wasmtime::Module::validate(&engine, &module);
            assert_eq!(validate(&module).is_ok(), engine.is_ok(), "{body}: {engine:?}");
        }
    }
}
