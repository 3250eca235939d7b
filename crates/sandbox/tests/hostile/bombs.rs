//! Modules that keep every rule and take the compiler more time, memory or machine code than
//! their size lets one expect.

use super::generate::{functions, leb, repeat};
use super::guest::{Handler, wat};

/// Name, module, and the limit that must end it.
type Bomb = (&'static str, fn() -> Vec<u8>, End);

/// How the compilation of a bomb must end, under limits far below what it would take on any machine.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// After so many seconds of processor time.
    Time(u64),
    /// When it wants more than so many bytes of memory.
    Memory(u64),
    /// With more than so many bytes of machine code.
    Code(u64),
    /// By itself, well within the limits: the rules of the scan had made it small.
    Compiled,
}

pub const BOMBS: &[Bomb] = &[
    // Over a minute.
    ("locals that move through loops", slow, End::Time(1)),
    // Half a gigabyte and more, after half a minute.
    ("br_tables over locals", tables, End::Memory(96 << 20)),
    // Some 300 MB for 16 MB of machine code.
    ("calls with every parameter", calls, End::Memory(96 << 20)),
    // 8.6 MB of it.
    ("functions with one instruction", || functions(&vec![(0, vec![0x01]); 29_999]), End::Code(4 << 20)),
    (
        "blocks and locals as many as there may be",
        || functions(&vec![(2_000, [0x02, 0x40, 0x0b].repeat(200)); 100]),
        End::Compiled,
    ),
];

/// Compiles for many seconds although the scan lets it in: loops inside each other, each of which
/// moves every local on, in as many functions as the rules allow.
pub fn slow() -> Vec<u8> {
    const LOOPS: usize = 80;
    const LOCALS: u16 = 1000;
    let number = |local: u16| [(local & 0x7f) as u8 | 0x80, (local >> 7) as u8];
    let mut body = Vec::new();
    for local in 0..LOCALS {
        // Values that the compiler cannot know.
        body.extend([0x41, 0, 0x28, 2]);
        body.extend(number(4 * local));
        body.push(0x21);
        body.extend(number(local));
    }
    for _ in 0..LOOPS {
        body.extend([0x03, 0x40]);
        for local in 0..LOCALS {
            body.push(0x20);
            body.extend(number(local));
        }
        for local in (0..LOCALS).rev() {
            body.push(0x21);
            body.extend(number((local + 1) % LOCALS));
        }
        body.extend([0x20, 0, 0x0d, 0]);
    }
    body.extend([0x0b; LOOPS]);
    for local in 0..LOCALS {
        // And each is used.
        body.extend([0x41, 0, 0x20]);
        body.extend(number(local));
        body.extend([0x36, 2]);
        body.extend(number(4 * local));
    }
    functions(&vec![(usize::from(LOCALS), body); 30])
}

/// As many as the rules allow: branches from one place to every block around it, over and over, where every local has another
/// value on each way: every edge carries all locals.
fn tables() -> Vec<u8> {
    const BLOCKS: usize = 390;
    const LOCALS: u16 = 990;
    let mut body = Vec::new();
    let assign = |body: &mut Vec<u8>, from: u16| {
        for local in 0..LOCALS {
            body.extend([0x41, 0, 0x28, 2]);
            body.extend(leb(usize::from(from) + 4 * usize::from(local)));
            body.push(0x21);
            body.extend(leb(usize::from(local)));
        }
    };
    assign(&mut body, 0);
    body.extend([0x02, 0x40].repeat(BLOCKS));
    for table in 0..2 {
        // Not taken for some value, so that the next table is reached with other locals.
        body.extend([0x02, 0x40, 0x41, 0, 0x28, 2, 0, 0x0d, 0]);
        body.extend([0x41, 0, 0x28, 2, 4, 0x0e]);
        body.extend(leb(1_000));
        (0..=1_000).for_each(|target| body.extend(leb(1 + target % BLOCKS)));
        body.push(0x0b);
        assign(&mut body, 1 + table);
    }
    for block in 0..BLOCKS {
        body.push(0x0b);
        body.extend([0x41, 0, 0x28, 2, 8, 0x21]);
        body.extend(leb(block));
    }
    for local in 0..LOCALS {
        body.extend([0x41, 0, 0x20]);
        body.extend(leb(usize::from(local)));
        body.extend([0x36, 2]);
        body.extend(leb(4 * usize::from(local)));
    }
    functions(&vec![(usize::from(LOCALS), body); 10])
}

/// Calls of a function with all parameters that there may be, as many as fit.
fn calls() -> Vec<u8> {
    let arguments = repeat(32, "(i64.load (i32.const #))");
    let call = format!("(call $f {arguments})").repeat(2_500);
    let functions = format!("(func {call})").repeat(8);
    wat(&format!(
        r#"(module (memory 1) (func $f (param {})) {functions} (func (export "_start")))"#,
        "i64 ".repeat(32)
    ))
}

/// Components that hand a value of thousands of parts to each other, for which the engine writes code.
pub fn adapters() -> Vec<u8> {
    let types: String =
        (1..=11).map(|level| format!("(type $t{level} (tuple $t{} $t{}))", level - 1, level - 1)).collect();
    let types = format!("(type $t0 (tuple u8 (option u8))) {types}");
    let component = |number: usize| {
        let below = number - 1;
        format!(
            r#"(component $c{number} {types}
                (import "f" (func $f (param "x" $t11)))
                (core module $libc (memory (export "m") 1)
                    (func (export "r") (param i32 i32 i32 i32) (result i32) i32.const 0))
                (core instance $libc (instantiate $libc))
                (core func $f (canon lower (func $f) (memory $libc "m") (realloc (func $libc "r"))))
                (core module $m (import "" "f" (func $f (param i32)))
                    (func (export "g") (param i32) (call $f (local.get 0))))
                (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
                (func (export "f") (param "x" $t11) (canon lift (core func $i "g")
                    (memory $libc "m") (realloc (func $libc "r")))))
            (instance $i{number} (instantiate $c{number} (with "f" (func $i{below} "f"))))"#
        )
    };
    let chain: String = (1..=6).map(component).collect();
    let first = format!(
        r#"(component $c0 {types}
            (core module $m (memory (export "m") 1)
                (func (export "r") (param i32 i32 i32 i32) (result i32) i32.const 0)
                (func (export "g") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" $t11) (canon lift (core func $i "g")
                (memory $i "m") (realloc (func $i "r")))))
        (instance $i0 (instantiate $c0))"#
    );
    Handler { more: &format!("{first} {chain}"), ..Handler::default() }.build()
}
