//! Guests that use WASI 0.2.

use super::guest::Handler;

const CLOCK: &str = r#"
    (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
        (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $pollable (eq $outer)))
        (export "now" (func (result u64)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
    (core func $now (canon lower (func $clock "now")))
    (core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core func $drop (canon resource.drop $pollable))
    (core func $wait (canon lower (func $poll "poll")
        (memory $libc "memory") (realloc (func $libc "realloc"))))"#;
const CLOCK_HOST: &str = r#"(export "now" (func $now)) (export "subscribe" (func $subscribe))
    (export "block" (func $block)) (export "wait" (func $wait)) (export "drop" (func $drop))"#;
const CLOCK_MAIN: &str = r#"
    (import "host" "now" (func $now (result i64)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "wait" (func $wait (param i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32)))"#;

/// A handler that imports `interfaces`, whose main module imports what `host` exports, and which
/// does `body` before it answers. What the host gives goes to one place again and again.
fn with(interfaces: &str, host: &str, imports: &str, body: &str) -> Vec<u8> {
    let main =
        format!(r#"(func (export "run") (param i32 i32) (result i32) (local i32) {body} (call $null))"#);
    Handler {
        main: &main,
        realloc: "(i32.const 65536)",
        memory: "4",
        more: interfaces,
        host,
        imports,
        ..Handler::default()
    }
    .build()
}

fn clock(body: &str) -> Vec<u8> {
    with(CLOCK, CLOCK_HOST, CLOCK_MAIN, body)
}

pub fn sleep() -> Vec<u8> {
    clock("(call $block (call $subscribe (i64.const 3600000000000)))")
}

pub fn timers() -> Vec<u8> {
    clock("(loop (drop (call $subscribe (i64.const 1))) (br 0))")
}

pub fn dropped_timers() -> Vec<u8> {
    clock("(loop (call $drop (call $subscribe (i64.const 1))) (br 0))")
}

/// One timer, waited for more often at once than there can be handles.
pub fn long_wait() -> Vec<u8> {
    waiting(10_000)
}

/// The same, as often as there can be handles.
pub fn many_waits() -> Vec<u8> {
    waiting(900)
}

fn waiting(times: u32) -> Vec<u8> {
    clock(&format!(
        "(local.set 2 (call $subscribe (i64.const 0)))
        (local.set 0 (i32.const 0))
        (loop
            (i32.store (i32.add (i32.const 131072) (local.get 0)) (local.get 2))
            (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 4))) (i32.const {}))))
        (loop (call $wait (i32.const 131072) (i32.const {times}) (i32.const 512)) (br 0))",
        4 * times
    ))
}

pub fn clock_flood() -> Vec<u8> {
    clock("(loop (drop (call $now)) (br 0))")
}

fn random(body: &str) -> Vec<u8> {
    with(
        r#"(import "wasi:random/random@0.2.0" (instance $random
            (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
        (core func $random (canon lower (func $random "get-random-bytes")
            (memory $libc "memory") (realloc (func $libc "realloc"))))"#,
        r#"(export "random" (func $random))"#,
        r#"(import "host" "random" (func $random (param i64 i32)))"#,
        body,
    )
}

pub fn much_random() -> Vec<u8> {
    random("(call $random (i64.const 1099511627776) (i32.const 512))")
}

pub fn random_flood() -> Vec<u8> {
    random("(loop (call $random (i64.const 65536) (i32.const 512)) (br 0))")
}

/// Lists the folders that are open from the start and traps if there is one.
pub fn folders() -> Vec<u8> {
    with(
        r#"(import "wasi:filesystem/types@0.2.0" (instance $files
            (export "descriptor" (type (sub resource)))))
        (alias export $files "descriptor" (type $descriptor))
        (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
            (alias outer 1 $descriptor (type $outer))
            (export "descriptor" (type $descriptor (eq $outer)))
            (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
        (core func $list (canon lower (func $preopens "get-directories")
            (memory $libc "memory") (realloc (func $libc "realloc"))))"#,
        r#"(export "list" (func $list))"#,
        r#"(import "host" "list" (func $list (param i32)))"#,
        "(i32.store (i32.const 516) (i32.const 9)) (call $list (i32.const 512))
        (if (i32.load (i32.const 516)) (then unreachable))",
    )
}

/// Asks for a socket and traps if it gets one.
pub fn socket() -> Vec<u8> {
    with(
        r#"(import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
        (alias export $tcp "tcp-socket" (type $socket))
        (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
            (alias outer 1 $socket (type $outer))
            (export "tcp-socket" (type $socket (eq $outer)))
            (type $family (enum "ipv4" "ipv6"))
            (export "ip-address-family" (type $a (eq $family)))
            (type $code (enum "unknown" "access-denied" "not-supported"))
            (export "error-code" (type $b (eq $code)))
            (export "create-tcp-socket"
                (func (param "address-family" $a) (result (result (own $socket) (error $b)))))))
        (core func $create (canon lower (func $create "create-tcp-socket") (memory $libc "memory")))"#,
        r#"(export "create" (func $create))"#,
        r#"(import "host" "create" (func $create (param i32 i32)))"#,
        "(call $create (i32.const 0) (i32.const 512))
        (if (i32.eqz (i32.load8_u (i32.const 512))) (then unreachable))",
    )
}

const EXIT: &str = r#"(import "wasi:cli/exit@0.2.0" (instance $exit
        (export "exit" (func (param "status" (result))))))
    (core func $exit (canon lower (func $exit "exit")))"#;
const EXIT_HOST: &str = r#"(export "exit" (func $exit))"#;
const EXIT_MAIN: &str = r#"(import "host" "exit" (func $exit (param i32)))"#;

pub fn exit() -> Vec<u8> {
    with(EXIT, EXIT_HOST, EXIT_MAIN, "(call $exit (i32.const 0))")
}

pub fn exit_in_start() -> Vec<u8> {
    let main = r#"(func $s (call $exit (i32.const 0))) (start $s)
        (func (export "run") (param i32 i32) (result i32) (call $null))"#;
    Handler { main, more: EXIT, host: EXIT_HOST, imports: EXIT_MAIN, ..Handler::default() }.build()
}

/// Calls what is refused anyway with more than a call may take.
pub fn enormous_argument() -> Vec<u8> {
    refused(13)
}

/// The same with an argument that a call may take.
pub fn large_argument() -> Vec<u8> {
    refused(8)
}

fn refused(doublings: u32) -> Vec<u8> {
    let types: String = (1..=doublings)
        .map(|level| format!("(type $t{level} (tuple $t{} $t{}))", level - 1, level - 1))
        .collect();
    with(
        &format!(
            r#"(import "wasi:http/types@0.2.0" (instance $http (type $t0 (tuple u8 u8)) {types}
                (export "send" (func (param "body" $t{doublings})))))
            (core func $send (canon lower (func $http "send") (memory $libc "memory")))"#
        ),
        r#"(export "send" (func $send))"#,
        r#"(import "host" "send" (func $send (param i32)))"#,
        "(loop (call $send (i32.const 1024)) (br 0))",
    )
}
