//! Small guests in the text format, for the tests of admission.

use bytes::Bytes;

/// A component that exports the handler and answers with its own input.
pub(super) fn echo() -> String {
    handler("string", "(result string (error $failure))")
}

/// The same with other types for the handler's parameter and result.
pub(super) fn handler(param: &str, result: &str) -> String {
    component("stepwell:action/handler@1.0.0", "", param, result)
}

/// The same under another name, and with more in it.
pub(super) fn component(export: &str, more: &str, param: &str, result: &str) -> String {
    format!(
        r#"(component
            (import "stepwell:action/types@1.0.0" (instance $types
                (type $record (record (field "code" string) (field "message" string)
                    (field "retryable" bool) (field "retry-after-ms" (option u64))
                    (field "details" (option string))))
                (export "failure" (type (eq $record)))))
            (alias export $types "failure" (type $failure))
            {more}
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "run") (param i32 i32) (result i32)
                    (i32.store8 (i32.const 16) (i32.const 0))
                    (i32.store (i32.const 24) (local.get 0))
                    (i32.store (i32.const 28) (local.get 1))
                    i32.const 16))
            (core instance $i (instantiate $m))
            (func $run (param "input" {param}) (result {result})
                (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc"))))
            (instance $handler (export "run" (func $run)))
            (export "{export}" (instance $handler)))"#
    )
}

/// A core module with these fields, written against the world of [`echo`].
pub(super) fn with_component_types(fields: &str) -> Bytes {
    with_types_of(&echo(), fields)
}

/// The same, against the world of this component.
pub(super) fn with_types_of(component: &str, fields: &str) -> Bytes {
    let decoded = wit_component::decode(&wat(component)).unwrap();
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        panic!("a component is no package")
    };
    let mut module = wat(&format!("(module {fields})")).to_vec();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    module.into()
}

/// The fields of a core module that exports the handler.
pub(super) const CORE_HANDLER: &str = r#"
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
    (func (export "stepwell:action/handler@1.0.0#run") (param i32 i32) (result i32) unreachable)"#;

pub(super) fn wat(text: &str) -> Bytes {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")).into()
}
