//! Functions with hostile names: a trap shows them, outside of the call's fuel, memory and time.

use stepwell_sandbox::Outcome;

use super::check::{call, limits, load};
use super::guest::command;
use super::runner::{Test, add};

/// The longest name that is let in.
const LONGEST: usize = 64 << 10;

/// A command that traps in a function of that name.
fn trapping(name: &str) -> Vec<u8> {
    command(&[], &format!(r#"(func $f (@name "{name}") unreachable) (func (export "_start") (call $f))"#))
}

/// C++'s form of a template, each level of which is made of the one before, twice.
fn cpp(levels: usize) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut name = "_Z1f1AIiiE".to_owned();
    for level in 1..levels {
        let before = match level.checked_sub(2) {
            None => "S_".to_owned(),
            Some(number) => format!("S{}_", char::from(DIGITS[number])),
        };
        name.push_str(&format!("S_I{before}{before}E"));
    }
    name
}

/// Rust's form of a tuple, each level of which is the one before, twice.
fn rust(levels: usize) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut name = "_RINvC1a1bTllE".to_owned();
    let mut at = "INvC1a1b".len();
    for _ in 1..levels {
        let next = name.len() - "_R".len();
        let number = at - 1;
        let digits: String = [number / 62, number % 62]
            .into_iter()
            .skip_while(|digit| *digit == 0)
            .map(|digit| char::from(DIGITS[digit]))
            .collect();
        name.push_str(&format!("TB{digits}_B{digits}_E"));
        at = next;
    }
    name + "E"
}

pub fn deep() -> Vec<u8> {
    trapping(&cpp(30))
}

pub fn broad() -> Vec<u8> {
    trapping(&(cpp(20) + &"SJ_".repeat(200)))
}

pub fn of_rust() -> Vec<u8> {
    trapping(&rust(60))
}

/// The stack has the longest name as often as a backtrace has room for.
pub fn repeated() -> Vec<u8> {
    let name = "x".repeat(LONGEST);
    command(&[], &format!(r#"(func $f (@name "{name}") (call $f)) (func (export "_start") (call $f))"#))
}

pub fn unreadable() -> Vec<u8> {
    trapping(r"red\1b[31m\0a\e2\80\aetxt")
}

/// A name of one byte too many.
pub fn too_long() -> Vec<u8> {
    trapping(&"x".repeat(LONGEST + 1))
}

/// Names that are too much together.
pub fn too_many() -> Vec<u8> {
    let name = "x".repeat(LONGEST - 10);
    let functions: String = (0..130).map(|number| format!(r#"(func (@name "{name}{number}"))"#)).collect();
    command(&[], &format!(r#"{functions} (func (export "_start"))"#))
}

fn backtrace(outcome: &Outcome) -> Vec<String> {
    let error = outcome.result.as_ref().expect_err("it traps");
    let details = error.details.as_ref().expect("a trap has details");
    serde_json::from_value(details["backtrace"].clone()).expect("a list of names")
}

pub fn tests(tests: &mut Vec<Test>) {
    type Case = (&'static str, fn() -> Vec<u8>, fn(&str) -> bool);
    let cases: [Case; 5] = [
        ("deep", deep, |name| name.starts_with("_Z1f1AIiiES_IS_S_ES_IS0_S0_E") && name.ends_with('…')),
        ("broad", broad, |name| name.starts_with("_Z1f1AIiiES_IS_S_E") && name.ends_with('…')),
        ("of_rust", of_rust, |name| {
            name.starts_with("a::b::<(i32, i32), ((i32, i32), (i32, i32)), (") && name.ends_with('…')
        }),
        ("repeated", repeated, |name| name == "x".repeat(200) + "…"),
        ("unreadable", unreadable, |name| name == r"red\u{1b}[31m\n\u{202e}txt"),
    ];
    for (name, module, right) in cases {
        add(tests, format!("names::{name}"), move || {
            let names = backtrace(&call(&load(module()), "{}", limits()));
            assert!(right(&names[0]), "{names:?}");
            assert!(names.len() <= 20 && names.iter().all(|name| name.chars().count() <= 201), "{names:?}");
        });
    }
}
