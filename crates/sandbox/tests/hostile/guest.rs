//! Makes whole guests of the parts that differ between hostile modules.

/// The parts of a component that exports the handler. `Default` is one that answers `null`.
pub struct Handler<'a> {
    /// Fields of the main core module: exports `run` (pointer and length of the input to a
    /// pointer to the result); may use `$log`, `$panic`, `$answer` and the imported memory.
    pub main: &'a str,
    /// The body of `realloc` (old pointer, old size, alignment, new size to a pointer).
    pub realloc: &'a str,
    /// The memory's type.
    pub memory: &'a str,
    /// More options of the lifted function.
    pub options: &'a str,
    /// More fields of the component, before the main module.
    pub more: &'a str,
    /// More functions for the main module to import from `host`, as exports of an instance.
    pub host: &'a str,
    /// Those imports.
    pub imports: &'a str,
}

impl Default for Handler<'_> {
    fn default() -> Self {
        Self {
            main: r#"(func (export "run") (param i32 i32) (result i32) (call $null))"#,
            realloc: BUMP,
            memory: "1",
            options: "",
            more: "",
            host: "",
            imports: "",
        }
    }
}

/// Takes from the end of what was taken, growing the memory as needed.
const BUMP: &str = r#"
    (local $at i32)
    (local.set $at (i32.and
        (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.const 1)
            (i32.shr_u (local.get $size) (i32.const 16)))))))
    (local.get $at)"#;

impl Handler<'_> {
    /// The text of the component.
    pub fn text(&self) -> String {
        let Self { main, realloc, memory, options, more, host, imports } = self;
        format!(
            r#"(component
(import "stepwell:action/types@1.0.0" (instance $types
    (type $record (record (field "code" string) (field "message" string)
        (field "retryable" bool) (field "retry-after-ms" (option u64))
        (field "details" (option string))))
    (export "failure" (type (eq $record)))))
(alias export $types "failure" (type $failure))
(import "stepwell:action/log@1.0.0" (instance $log
    (export "log" (func (param "level" u8) (param "message" string) (param "fields" string)))
    (export "panic" (func (param "message" string) (param "location" string)))))
(core module $libc
    (memory (export "memory") {memory})
    (global $top (mut i32) (i32.const 32768))
    (func (export "realloc") (param $old i32) (param $was i32) (param $align i32) (param $size i32)
        (result i32)
        {realloc}))
(core instance $libc (instantiate $libc))
(core func $log (canon lower (func $log "log") (memory $libc "memory")))
(core func $panic (canon lower (func $log "panic") (memory $libc "memory")))
{more}
(core module $main
    (import "libc" "memory" (memory 0))
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "host" "panic" (func $panic (param i32 i32 i32 i32)))
    {imports}
    (data (i32.const 64) "null")
    (func $answer (param $at i32) (param $size i32) (result i32)
        (i32.store8 (i32.const 16) (i32.const 0))
        (i32.store (i32.const 24) (local.get $at))
        (i32.store (i32.const 28) (local.get $size))
        (i32.const 16))
    (func $null (result i32) (call $answer (i32.const 64) (i32.const 4)))
    {main})
(core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance (export "log" (func $log)) (export "panic" (func $panic)) {host}))))
(func $run (param "input" string) (result (result string (error $failure)))
    (canon lift (core func $main "run") (memory $libc "memory")
        (realloc (func $libc "realloc")) {options}))
(instance $handler (export "run" (func $run)))
(export "stepwell:action/handler@1.0.0" (instance $handler)))"#
        )
    }

    /// The binary.
    pub fn build(&self) -> Vec<u8> {
        wat(&self.text())
    }
}

/// A handler whose main module is `main`.
pub fn handler(main: &str) -> Vec<u8> {
    Handler { main, ..Handler::default() }.build()
}

/// A handler that does `body` and then answers `null`.
pub fn doing(body: &str) -> Vec<u8> {
    handler(&format!(r#"(func (export "run") (param i32 i32) (result i32) {body} (call $null))"#))
}

/// A handler that answers with these bytes.
pub fn answering(output: &[u8]) -> Vec<u8> {
    let data: String = output.iter().map(|byte| format!("\\{byte:02x}")).collect();
    handler(&format!(
        r#"(data (i32.const 1024) "{data}")
        (func (export "run") (param i32 i32) (result i32)
            (call $answer (i32.const 1024) (i32.const {})))"#,
        output.len()
    ))
}

/// A preview 1 command that imports these functions and `fd_write`, and has `$print` (pointer and
/// length), `$null` (which prints `null`) and `$number` (which prints two digits as a string).
pub fn command(imports: &[&str], fields: &str) -> Vec<u8> {
    let imports: String = imports.iter().map(|import| preview1(import)).collect();
    wat(&format!(
        r#"(module {imports} {write} (memory (export "memory") 2)
        (data (i32.const 64) "null")
        (func $print (param $at i32) (param $size i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $size))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func $null (call $print (i32.const 64) (i32.const 4)))
        (func $number (param $number i32)
            (i32.store8 (i32.const 16) (i32.const 34))
            (i32.store8 (i32.const 17) (i32.add (i32.const 48) (i32.div_u (local.get $number) (i32.const 10))))
            (i32.store8 (i32.const 18) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
            (i32.store8 (i32.const 19) (i32.const 34))
            (call $print (i32.const 16) (i32.const 4)))
        {fields})"#,
        write = preview1("fd_write"),
    ))
}

/// A preview 1 command whose `_start` does this.
pub fn starting(imports: &[&str], body: &str) -> Vec<u8> {
    command(imports, &format!(r#"(func (export "_start") {body})"#))
}

/// The import of one function of preview 1, under its own name.
fn preview1(name: &str) -> String {
    let ty = match name {
        "args_sizes_get" | "environ_sizes_get" | "environ_get" | "random_get" | "fd_prestat_get" => {
            "(param i32 i32) (result i32)"
        }
        "clock_time_get" => "(param i32 i64 i32) (result i32)",
        "fd_read" | "fd_write" | "poll_oneoff" => "(param i32 i32 i32 i32) (result i32)",
        "path_open" => "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)",
        "proc_exit" => "(param i32)",
        "proc_raise" => "(param i32) (result i32)",
        "sched_yield" => "(result i32)",
        "sock_accept" => "(param i32 i32 i32) (result i32)",
        other => panic!("no type for {other}"),
    };
    format!(r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} {ty}))"#)
}

/// The binary of a text.
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
