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
