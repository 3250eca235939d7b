//! The modules that are let in, and what must happen to each when it is called.

use stepwell_sandbox::{Limits, code};

use super::generate::repeat;
use super::guest::{Handler, answering, command, doing, handler, starting};
use super::{names, world};

/// A module and what must come of calling it.
pub struct Case {
    pub name: &'static str,
    pub module: fn() -> Vec<u8>,
    pub limits: fn(&mut Limits),
    pub input: fn() -> String,
    pub expect: Expect,
}

/// What must come of it.
#[derive(Debug)]
pub enum Expect {
    /// That output.
    Output(&'static str),
    /// An error with that code.
    Error(&'static str),
    /// An error with that code, which is never retried and says that limit was hit.
    Limit(&'static str, u64),
}
use Expect::{Error, Limit, Output};

const fn case(name: &'static str, module: fn() -> Vec<u8>, expect: Expect) -> Case {
    Case { name, module, limits: |_| {}, input: || "{}".to_owned(), expect }
}

impl Case {
    const fn input(self, input: fn() -> String) -> Self {
        Self { input, ..self }
    }

    const fn limits(self, limits: fn(&mut Limits)) -> Self {
        Self { limits, ..self }
    }
}

/// The limits of `check::limits`.
const FUEL: Expect = Limit(code::FUEL_EXHAUSTED, 5_000_000);
const MEMORY: Expect = Limit(code::MEMORY_LIMIT, 16 << 20);
const OUTPUT: Expect = Limit(code::OUTPUT_TOO_LARGE, 64 << 10);
const SLEEP: Expect = Limit(code::SLEEP_LIMIT, 30_000);
const ARGUMENT: Expect = Limit(code::ARGUMENT_TOO_LARGE, 128 << 10);
const HANDLES: Expect = Limit(code::HANDLE_LIMIT, 1_000);
const START_FUEL: Expect = Limit(code::START_FUEL_EXHAUSTED, 1_000_000_000);
const START_EXIT: Expect = Error(code::START_EXIT);
const TRAP: Expect = Error(code::TRAP);
const BAD_JSON: Expect = Error(code::INVALID_OUTPUT);
const NULL: Expect = Output("null");

/// A failure whose parts are pointers and lengths of the guest's choice.
const FAILURE: &str = r#"
    (func $failure (param $code i32) (param $code_size i32) (param $message i32) (param $message_size i32)
        (result i32)
        (i32.store8 (i32.const 256) (i32.const 1))
        (i32.store (i32.const 264) (local.get $code)) (i32.store (i32.const 268) (local.get $code_size))
        (i32.store (i32.const 272) (local.get $message)) (i32.store (i32.const 276) (local.get $message_size))
        (i32.const 256))"#;

fn failing(code: &str, message: (i32, i32)) -> Vec<u8> {
    let (at, size) = message;
    handler(&format!(
        r#"{FAILURE} (data (i32.const 1024) "{code}")
        (func (export "run") (param i32 i32) (result i32)
            (drop (memory.grow (i32.const 8)))
            (call $failure (i32.const 1024) (i32.const 4) (i32.const {at}) (i32.const {size})))"#
    ))
}

fn failing_with(code: (i32, i32), message: (i32, i32)) -> Vec<u8> {
    handler(&format!(
        r#"{FAILURE} (func (export "run") (param i32 i32) (result i32)
            (call $failure (i32.const {}) (i32.const {}) (i32.const {}) (i32.const {})))"#,
        code.0, code.1, message.0, message.1
    ))
}

fn returning(pointer: i64) -> Vec<u8> {
    handler(&format!(r#"(func (export "run") (param i32 i32) (result i32) (i32.const {pointer}))"#))
}

fn realloc(body: &str) -> Vec<u8> {
    Handler { realloc: body, ..Handler::default() }.build()
}

fn after_return(body: &str) -> Vec<u8> {
    let main = format!(
        r#"(func (export "run") (param i32 i32) (result i32) (call $null))
        (func (export "post") (param i32) {body})"#
    );
    Handler { main: &main, options: r#"(post-return (func $main "post"))"#, ..Handler::default() }.build()
}

fn started_with(body: &str) -> Vec<u8> {
    handler(&format!(
        r#"(func $start {body}) (start $start)
        (func (export "run") (param i32 i32) (result i32) (call $null))"#
    ))
}

/// A function that keeps five hundred values while it calls itself.
fn large_frames() -> String {
    let load = repeat(500, "(local.set # (i64.load (i32.const #)))");
    let keep = repeat(500, "(i64.store (i32.const #) (local.get #))");
    format!(
        r#"(func $f (local {}) {load} (call $f) {keep})
        (func (export "run") (param i32 i32) (result i32) (call $f) (call $null))"#,
        "i64 ".repeat(500)
    )
}

/// Waits once for that many nanoseconds, then answers.
fn sleeping(nanoseconds: u64, times: usize) -> Vec<u8> {
    let wait = "(drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 2048)))";
    let body = format!(
        "(i32.store (i32.const 528) (i32.const 1)) (i64.store (i32.const 536) (i64.const {nanoseconds})) {} (call $null)",
        wait.repeat(times)
    );
    starting(&["poll_oneoff"], &body)
}

/// Prints the number that a call of preview 1 gives back.
fn asking(function: &str, arguments: &str) -> Vec<u8> {
    starting(&[function], &format!("(call $number (call ${function} {arguments}))"))
}

pub static CASES: &[Case] = &[
    // Loops, recursion, traps.
    case("honest", || Handler::default().build(), NULL),
    case("endless loop", || doing("(loop (br 0))"), FUEL),
    case("endless tail calls", || handler(r#"(func $f (export "run") (param i32 i32) (result i32) (return_call $f (i32.const 1) (i32.const 1)))"#), FUEL),
    case("recursion", || handler(r#"(func $f (export "run") (param i32 i32) (result i32) (i32.add (call $f (i32.const 1) (i32.const 1)) (i32.const 1)))"#), TRAP),
    case("recursion with large frames", || handler(&large_frames()), TRAP),
    case("recursion through a table", || handler(r#"(type $t (func)) (table funcref (elem $a $b)) (func $a (call_indirect (type $t) (i32.const 1))) (func $b (call_indirect (type $t) (i32.const 0))) (func (export "run") (param i32 i32) (result i32) (call $a) (call $null))"#), TRAP),
    case("unreachable", || doing("unreachable"), TRAP),
    case("division by zero", || doing("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), TRAP),
    case("a float that is no integer", || doing("(drop (i32.trunc_f64_s (f64.const nan)))"), TRAP),
    case("out of bounds", || doing("(drop (i64.load (i32.const -8)))"), TRAP),
    case("just out of bounds", || doing("(drop (i64.load (i32.const 65529)))"), TRAP),
    case("call of nothing", || handler(r#"(table 1 funcref) (func (export "run") (param i32 i32) (result i32) (call_indirect (i32.const 0)) (call $null))"#), TRAP),
    case("call of another type", || handler(r#"(table funcref (elem $f)) (func $f (param i64)) (func (export "run") (param i32 i32) (result i32) (call_indirect (i32.const 0)) (call $null))"#), TRAP),
    case("a C++ name of many levels", names::deep, TRAP),
    case("a C++ name of many parts", names::broad, TRAP),
    case("a Rust name of many levels", names::of_rust, TRAP),
    case("a long name again and again", names::repeated, TRAP),
    case("a name of control characters", names::unreadable, TRAP),
    // Memory and tables.
    case("memory by the page until it is denied", || doing("(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable"), MEMORY),
    case("memory by the page and then an answer", || doing("(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"), NULL),
    case("all memory at once", || doing("(drop (memory.grow (i32.const 65535)))"), NULL)
        .limits(|limits| limits.fuel = 20_000_000),
    case("all memory at once, and used", || doing("(drop (memory.grow (i32.const 65535))) (i32.store (i32.const 0x7fffffff) (i32.const 1))"), MEMORY)
        .limits(|limits| limits.fuel = 20_000_000),
    case("denied again and again", || doing("(loop (drop (memory.grow (i32.const 65535))) (br 0))"), FUEL),
    case("memory to start with above the limit", || Handler { memory: "257", ..Handler::default() }.build(), MEMORY),
    case("every byte of the memory", || doing("(drop (memory.grow (i32.const 200))) (memory.fill (i32.const 65536) (i32.const 7) (i32.const 13107200))"), FUEL),
    case("a table by the element", || handler(r#"(table $t 0 funcref) (func (export "run") (param i32 i32) (result i32) (loop (drop (table.grow $t (ref.null func) (i32.const 1))) (br 0)) (call $null))"#), FUEL),
    case("a table at once", || handler(r#"(table $t 0 funcref) (func (export "run") (param i32 i32) (result i32) (drop (table.grow $t (ref.null func) (i32.const -2))) (call $null))"#), FUEL),
    case("tables past the limit", || handler(r#"(table $t 0 funcref) (func (export "run") (param i32 i32) (result i32) (if (i32.eq (table.grow $t (ref.null func) (i32.const 19000)) (i32.const -1)) (then unreachable)) (call $null))"#), Limit(code::MEMORY_LIMIT, 100_000)).limits(|limits| limits.memory_bytes = 100_000),
    // Calls into the host.
    case("a flood of empty log lines", || doing("(loop (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (br 0))"), FUEL),
    case("a flood of long log lines", || doing("(loop (call $log (i32.const 2) (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 0)) (br 0))"), FUEL),
    case("a log line of eight megabytes", || doing("(drop (memory.grow (i32.const 200))) (call $log (i32.const 2) (i32.const 0) (i32.const 8388608) (i32.const 0) (i32.const 0))"), ARGUMENT),
    case("a log line out of bounds", || doing("(call $log (i32.const 2) (i32.const 60000) (i32.const 60000) (i32.const 0) (i32.const 0))"), TRAP),
    case("a log line around the end of memory", || doing("(call $log (i32.const 2) (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1))"), TRAP),
    case("a log line that is not UTF-8", || doing("(i32.store8 (i32.const 0) (i32.const 255)) (call $log (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0))"), TRAP),
    case("a log line of unknown level with broken fields", || doing("(i32.store8 (i32.const 0) (i32.const 123)) (call $log (i32.const 77) (i32.const 64) (i32.const 4) (i32.const 0) (i32.const 1))"), NULL),
    case("a flood of panics", || doing("(loop (call $panic (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 60000)) (br 0))"), FUEL),
    case("a panic with a message of sixty kilobytes", || doing("(call $panic (i32.const 0) (i32.const 60000) (i32.const 64) (i32.const 4)) unreachable"), Error(code::PANIC)),
    case("a panic and then an answer", || doing("(call $panic (i32.const 64) (i32.const 4) (i32.const 64) (i32.const 4))"), NULL),
    // What comes back.
    case("output above the limit", || handler(r#"(func (export "run") (param i32 i32) (result i32) (drop (memory.grow (i32.const 8))) (call $answer (i32.const 65536) (i32.const 100000)))"#), OUTPUT),
    case("output of megabytes", || handler(r#"(func (export "run") (param i32 i32) (result i32) (drop (memory.grow (i32.const 200))) (call $answer (i32.const 0) (i32.const 12000000)))"#), OUTPUT),
    case("output out of bounds", || handler(r#"(func (export "run") (param i32 i32) (result i32) (call $answer (i32.const 65000) (i32.const 10000)))"#), TRAP),
    case("output around the end of memory", || handler(r#"(func (export "run") (param i32 i32) (result i32) (call $answer (i32.const -1) (i32.const -1)))"#), TRAP),
    case("a result that is not aligned", || returning(17), TRAP),
    case("a result out of bounds", || returning(65528), TRAP),
    case("a result at the end of the address space", || returning(0xffff_fff8), TRAP),
    case("a result that is neither", || handler(r#"(func (export "run") (param i32 i32) (result i32) (i32.store8 (i32.const 16) (i32.const 2)) (i32.const 16))"#), TRAP),
    case("broken UTF-8", || answering(b"\"\xff\""), BAD_JSON),
    case("UTF-8 of a surrogate", || answering(b"\"\xed\xa0\x80\""), BAD_JSON),
    case("nothing", || answering(b""), BAD_JSON),
    case("white space", || answering(b" \n\t "), BAD_JSON),
    case("broken JSON", || answering(b"{\"a\":"), BAD_JSON),
    case("a comma too many", || answering(b"[1,]"), BAD_JSON),
    case("two JSON values", || answering(b"{}{}"), BAD_JSON),
    case("two numbers", || answering(b"1 2"), BAD_JSON),
    case("a key twice", || answering(br#"{"a":1,"a":2}"#), BAD_JSON),
    case("a key twice, once escaped", || answering(br#"{"a":1,"\u0061":2}"#), BAD_JSON),
    case("depth 64", || answering(&[[b'['; 64], [b']'; 64]].concat()), Output("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]")),
    case("depth 65", || answering(&[[b'['; 65], [b']'; 65]].concat()), BAD_JSON),
    case("depth thirty thousand", || answering(&[b'['; 30_000]), BAD_JSON),
    case("NaN", || answering(b"NaN"), BAD_JSON),
    case("Infinity", || answering(b"[-Infinity]"), BAD_JSON),
    case("a number that no float holds", || answering(b"1e999"), BAD_JSON),
    case("an integer of thirty digits", || answering(b"123456789012345678901234567890"), BAD_JSON),
    case("a number of thirty thousand digits", || answering(&[b'9'; 30_000]), BAD_JSON),
    case("a leading zero", || answering(b"007"), BAD_JSON),
    case("half a surrogate pair", || answering(br#""\ud800""#), BAD_JSON),
    case("a control character", || answering(b"\"\x01\""), BAD_JSON),
    case("a byte order mark", || answering(b"\xef\xbb\xbf{}"), BAD_JSON),
    case("a zero at the end", || answering(b"{}\0"), BAD_JSON),
    case("a failure", || failing("oops", (64, 4)), Error("oops")),
    case("a failure that is not UTF-8", || failing("\\ff\\ff\\ff\\ff", (64, 4)), BAD_JSON),
    case("a failure out of bounds", || failing("oops", (0x7fff_0000, 0xffff)), TRAP),
    case("a failure whose code is none", || failing("a b!", (64, 4)), Error(code::GUEST_ERROR)),
    case("a failure with a code of sixty kilobytes", || failing_with((2048, 60_000), (64, 4)), Error(code::GUEST_ERROR)),
    case("a failure with a message of sixty kilobytes", || failing("oops", (2048, 60_000)), Error("oops")),
    case("a command's failure with a code that is none", || command(&["proc_exit"], r#"(data (i32.const 100) "{\"error\": {\"code\": \"o o\", \"message\": \"m\"}}") (func (export "_start") (call $print (i32.const 100) (i32.const 42)) (call $proc_exit (i32.const 1)))"#), Error(code::GUEST_ERROR)),
    case("a failure above the limit of outputs", || failing("oops", (0, 300_000)), OUTPUT),
    // Allocation for the host.
    case("realloc that traps", || realloc("unreachable"), TRAP),
    case("realloc out of bounds", || realloc("(i32.const 0x7fffffff)"), TRAP),
    case("realloc at the end of the address space", || realloc("(i32.const -1)"), TRAP),
    case("realloc over the guest's own data", || realloc("(i32.const 0)"), NULL),
    case("realloc without an end", || realloc("(loop (br 0)) unreachable"), FUEL),
    case("realloc that grows for ever", || realloc("(loop (drop (memory.grow (i32.const 1))) (br 0)) unreachable"), FUEL),
    case("an input that the memory cannot hold", || Handler::default().build(), Limit(code::MEMORY_LIMIT, 1 << 20)).limits(|limits| limits.memory_bytes = 1 << 20).input(|| format!("\"{}\"", "x".repeat(3 << 20))),
    case("an input that the module's own maximum cannot hold", || Handler { memory: "1 2", ..Handler::default() }.build(), TRAP).input(|| format!("\"{}\"", "x".repeat(1 << 20))),
    case("an input above the limit", || Handler::default().build(), Limit(code::INPUT_TOO_LARGE, 10)).limits(|limits| limits.input_bytes = 10).input(|| "\"0123456789\"".to_owned()),
    // After the return.
    case("a trap after the return", || after_return("unreachable"), TRAP),
    case("a loop after the return", || after_return("(loop (br 0))"), FUEL),
    case("a host call after the return", || after_return("(call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"), TRAP),
    case("memory after the return", || after_return("(drop (memory.grow (i32.const 65535)))"), NULL)
        .limits(|limits| limits.fuel = 20_000_000),
    // Before the start.
    case("a trap in start", || started_with("unreachable"), TRAP),
    case("a loop in start", || started_with("(loop (br 0))"), START_FUEL),
    case("recursion in start", || started_with("(call $start)"), TRAP),
    case("memory in start", || started_with("(drop (memory.grow (i32.const 10)))"), NULL),
    case("too much memory in start", || started_with("(drop (memory.grow (i32.const 1000))) unreachable"), MEMORY),
    case("a log line in start", || started_with("(call $log (i32.const 2) (i32.const 64) (i32.const 4) (i32.const 0) (i32.const 0))"), NULL),
    case("data out of bounds", || handler(r#"(data (i32.const 65535) "xx") (func (export "run") (param i32 i32) (result i32) (call $null))"#), TRAP),
    case("an element out of bounds", || handler(r#"(table 1 funcref) (elem (i32.const 1) func $null) (func (export "run") (param i32 i32) (result i32) (call $null))"#), TRAP),
    // Commands.
    case("a command", || starting(&[], "(call $null)"), NULL),
    case("a command without output", || starting(&[], ""), BAD_JSON),
    case("a command with two outputs", || starting(&[], "(call $null) (call $null)"), BAD_JSON),
    case("a command that traps after its output", || starting(&[], "(call $null) unreachable"), TRAP),
    case("exit 0 before any output", || starting(&["proc_exit"], "(call $proc_exit (i32.const 0))"), BAD_JSON),
    case("exit 0 after the output", || starting(&["proc_exit"], "(call $null) (call $proc_exit (i32.const 0)) unreachable"), NULL),
    case("exit 3", || starting(&["proc_exit"], "(call $null) (call $proc_exit (i32.const 3))"), Error(code::EXIT)),
    case("exit -1", || starting(&["proc_exit"], "(call $proc_exit (i32.const -1))"), Error(code::EXIT)),
    case("exit with a failure", || command(&["proc_exit"], r#"(data (i32.const 100) "{\"error\": {\"code\": \"oops\", \"message\": \"m\", \"retryable\": true}}") (func (export "_start") (call $print (i32.const 100) (i32.const 62)) (call $proc_exit (i32.const 1)))"#), Error("oops")),
    case("a flood of output", || starting(&[], "(loop (call $print (i32.const 0) (i32.const 60000)) (br 0))"), OUTPUT),
    case("exit 0 after output that was cut", || starting(&["proc_exit"], "(call $null) (call $print (i32.const 1000) (i32.const 65536)) (call $proc_exit (i32.const 0))"), OUTPUT),
    case("a flood of stderr", || starting(&[], "(i32.store (i32.const 0) (i32.const 1000)) (i32.store (i32.const 4) (i32.const 60000)) (loop (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))"), FUEL),
    case("stderr without a line's end", || starting(&[], "(memory.fill (i32.const 1000) (i32.const 120) (i32.const 60000)) (i32.store (i32.const 0) (i32.const 1000)) (i32.store (i32.const 4) (i32.const 60000)) (loop (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))"), FUEL),
    case("a write of two thousand million pieces", || asking("fd_read", "(i32.const 0) (i32.const 0) (i32.const 0x7fffffff) (i32.const 0)"), Output("\"28\"")),
    case("a write out of bounds", || starting(&[], "(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const -1)) (call $number (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"), Output("\"21\"")),
    case("pieces at the end of the address space", || starting(&[], "(call $number (call $fd_write (i32.const 1) (i32.const -4) (i32.const 2) (i32.const 8)))"), Output("\"21\"")),
    case("a write to descriptor 3", || starting(&[], "(call $number (call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8)))"), Output("\"08\"")),
    case("a file", || asking("path_open", "(i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 8)"), Output("\"08\"")),
    case("a folder", || asking("fd_prestat_get", "(i32.const 3) (i32.const 8)"), Output("\"08\"")),
    case("a socket", || asking("sock_accept", "(i32.const 3) (i32.const 0) (i32.const 8)"), Output("\"08\"")),
    case("a signal", || asking("proc_raise", "(i32.const 9)"), Output("\"08\"")),
    case("the environment", || starting(&["environ_sizes_get"], "(i32.store (i32.const 512) (i32.const 7)) (drop (call $environ_sizes_get (i32.const 512) (i32.const 516))) (call $number (i32.load (i32.const 512)))"), Output("\"00\"")),
    case("arguments", || starting(&["args_sizes_get"], "(i32.store (i32.const 512) (i32.const 7)) (drop (call $args_sizes_get (i32.const 512) (i32.const 516))) (call $number (i32.load (i32.const 512)))"), Output("\"00\"")),
    case("a flood of randomness", || starting(&["random_get"], "(loop (drop (call $random_get (i32.const 1000) (i32.const 65536))) (br 0))"), FUEL),
    case("a gigabyte of randomness", || asking("random_get", "(i32.const 0) (i32.const 0x40000000)"), Limit(code::ARGUMENT_TOO_LARGE, 64 << 10)),
    case("randomness out of bounds", || asking("random_get", "(i32.const -16) (i32.const 32)"), Output("\"21\"")),
    case("randomness printed", || starting(&["random_get"], "(drop (call $random_get (i32.const 512) (i32.const 1))) (call $number (i32.rem_u (i32.load8_u (i32.const 512)) (i32.const 100)))"), Output("\"23\"")),
    case("a flood of clock reads", || starting(&["clock_time_get"], "(loop (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 512))) (br 0))"), FUEL),
    case("a clock out of bounds", || asking("clock_time_get", "(i32.const 1) (i64.const 0) (i32.const -4)"), Output("\"21\"")),
    case("a flood of yields", || starting(&["sched_yield"], "(loop (drop (call $sched_yield)) (br 0))"), FUEL),
    case("an hour of sleep", || sleeping(3_600_000_000_000, 1), SLEEP),
    case("sleep for ever", || sleeping(u64::MAX, 1), SLEEP),
    case("twenty seconds twice", || sleeping(20_000_000_000, 2), SLEEP),
    case("ten seconds", || sleeping(10_000_000_000, 1), NULL),
    case("naps without an end", || starting(&["poll_oneoff"], "(i32.store (i32.const 528) (i32.const 1)) (loop (drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 2048))) (br 0))"), FUEL),
    case("a wait for nothing", || asking("poll_oneoff", "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"), Output("\"28\"")),
    case("a wait for four thousand million things", || asking("poll_oneoff", "(i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0)"), Output("\"28\"")),
    case("a thousand waits again and again", || starting(&["poll_oneoff"], "(loop (drop (call $poll_oneoff (i32.const 4096) (i32.const 65536) (i32.const 1024) (i32.const 2048))) (br 0))"), FUEL),
    // Commands that do more in `start` than to get ready. Nothing is asked of them then.
    case("exit 0 in start", || command(&["proc_exit"], r#"(func $s (call $proc_exit (i32.const 0))) (start $s) (func (export "_start") (call $null))"#), START_EXIT),
    case("exit 3 in start", || command(&["proc_exit"], r#"(func $s (call $proc_exit (i32.const 3))) (start $s) (func (export "_start") (call $null))"#), START_EXIT),
    case("more work than the limit in start, an output and exit 0", || command(&["proc_exit"], r#"(func $s (local i32) (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 3000000)))) (call $null) (call $proc_exit (i32.const 0))) (start $s) (func (export "_start"))"#), START_EXIT),
    case("the input read in start", || command(&["fd_read"], r#"(func $read (param $total i32) (i32.store (i32.const 512) (i32.const 1024)) (i32.store (i32.const 516) (i32.const 64)) (drop (call $fd_read (i32.const 0) (i32.const 512) (i32.const 1) (local.get $total)))) (func $s (call $read (i32.const 520))) (start $s) (func (export "_start") (call $read (i32.const 524)) (call $number (i32.add (i32.mul (i32.load (i32.const 520)) (i32.const 10)) (i32.load (i32.const 524)))))"#), Output("\"02\"")),
    case("host calls without an end in start", || command(&["poll_oneoff"], r#"(func $s (loop (drop (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0))) (br 0))) (start $s) (func (export "_start"))"#), START_FUEL),
    // Components that use WASI 0.2.
    case("0.2: an hour of sleep", world::sleep, SLEEP),
    case("0.2: timers without an end", world::timers, HANDLES),
    case("0.2: a wait for thousands of timers", world::long_wait, HANDLES),
    case("0.2: a wait for hundreds of timers again and again", world::many_waits, FUEL),
    case("0.2: a terabyte of randomness", world::much_random, Limit(code::ARGUMENT_TOO_LARGE, 64 << 10)),
    case("0.2: a flood of randomness", world::random_flood, FUEL),
    case("0.2: a flood of clock reads", world::clock_flood, FUEL),
    case("0.2: folders", world::folders, NULL),
    case("0.2: a socket", world::socket, NULL),
    case("0.2: exit in the middle of a handler", world::exit, BAD_JSON),
    case("0.2: exit in start", world::exit_in_start, START_EXIT),
    case("0.2: a refused call with an enormous argument", world::enormous_argument, ARGUMENT),
    case("0.2: a refused call with a large argument again and again", world::large_argument, FUEL),
];
