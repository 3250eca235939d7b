//! Modules for tests: an example action, built once by `stepwell action build`, and small ones in text.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use super::run;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An example action's module.
pub fn example(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<std::sync::Mutex<std::collections::HashMap<String, Vec<u8>>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Default::default).lock().expect("no build panicked");
    built
        .entry(name.to_owned())
        .or_insert_with(|| {
            let folder = root().join("examples/actions").join(name);
            let done = run(&["action", "build", folder.to_str().expect("a UTF-8 path"), "--json"]);
            assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
            let report: Value = serde_json::from_str(&done.stdout).expect("the report is JSON");
            std::fs::read(report["module"].as_str().expect("names the module")).expect("the module is there")
        })
        .clone()
}

/// A command that prints this text and ends well.
pub fn prints(text: &str) -> Vec<u8> {
    let data: String = text.bytes().map(|b| format!("\\{b:02x}")).collect();
    module(&format!(
        r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
           (memory (export "memory") 1)
           (data (i32.const 16) "{data}")
           (func (export "_start")
             (i32.store (i32.const 0) (i32.const 16))
             (i32.store (i32.const 4) (i32.const {}))
             (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#,
        text.len()
    ))
}

/// A command that never ends by itself.
pub fn endless() -> Vec<u8> {
    module(r#"(memory (export "memory") 1) (func (export "_start") (loop $again (br $again)))"#)
}

pub fn module(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {body})")).expect("the text is a module")
}

/// A command that calls these functions of preview 1 ; it has two pages of memory, and `null` at 64.
pub fn calling(functions: &[&str], start: &str) -> Vec<u8> {
    let imports: String = functions
        .iter()
        .map(|name| {
            let parameters = match *name {
                "fd_write" | "poll_oneoff" => "i32 i32 i32 i32",
                other => panic!("{other} is not known here"),
            };
            format!(r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {parameters}) (result i32)))"#)
        })
        .collect();
    module(&format!(
        r#"{imports} (memory (export "memory") 2) (data (i32.const 64) "null") (func (export "_start") {start})"#
    ))
}

/// Keeps every rule, and takes the compiler some hundreds of megabytes: calls with as many parameters as there may be, in
/// functions as long as they may be.
pub fn compile_bomb() -> Vec<u8> {
    fn leb(mut number: usize, to: &mut Vec<u8>) {
        while number > 0x7f {
            to.push(number as u8 & 0x7f | 0x80);
            number >>= 7;
        }
        to.push(number as u8);
    }
    fn sized(bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        leb(bytes.len(), &mut all);
        all.extend(bytes);
        all
    }
    const FUNCTIONS: u8 = 16;
    let mut call = Vec::new();
    for parameter in 0..32 {
        // i64.load, from a place of its own.
        call.extend([0x41, 0, 0x29, 3]);
        leb(8 * parameter, &mut call);
    }
    call.extend([0x10, 0]);
    let body = [&[0][..], &call.repeat(2_500), &[0x0b]].concat();
    let types = [&[2, 0x60, 32][..], &[0x7e; 32], &[0, 0x60, 0, 0]].concat();
    let functions = [&[FUNCTIONS + 2, 0][..], &[1; FUNCTIONS as usize + 1]].concat();
    let export = [&[1, 6][..], b"_start", &[0, FUNCTIONS + 1]].concat();
    let mut code = vec![FUNCTIONS + 2, 2, 0, 0x0b];
    (0..FUNCTIONS).for_each(|_| code.extend(sized(&body)));
    code.extend([2, 0, 0x0b]);
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    for (id, section) in [(1, types), (3, functions), (5, vec![1, 0, 1]), (7, export), (10, code)] {
        bytes.push(id);
        bytes.extend(sized(&section));
    }
    bytes
}
