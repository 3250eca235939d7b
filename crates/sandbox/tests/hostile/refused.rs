//! Modules that are not let in, with the rule that each breaks.

use bytes::Bytes;
use std::collections::BTreeSet;
use stepwell_sandbox::Refusal;
use stepwell_sandbox::admit::{OTHER_REFUSALS, RULES, append_custom, scan};

use super::bombs;
use super::child::{self, Compiled};
use super::generate::{COMPONENT, CORE, functions, leb, repeat, section};
use super::guest::{Handler, command, handler, wat};
use super::names;
use super::runner::{Test, add};

/// Name, module, and the rule it breaks.
type Case = (&'static str, fn() -> Vec<u8>, &'static str);

/// Refused by the scan, in the server itself.
const SCAN: &[Case] = &[
    // Not WebAssembly.
    ("empty", Vec::new, "not_wasm"),
    ("text", || b"(module)".to_vec(), "not_wasm"),
    ("a picture", || b"\x89PNG\r\n\x1a\n0000".to_vec(), "not_wasm"),
    ("four bytes", || CORE[..4].to_vec(), "not_wasm"),
    ("wrong version", || b"\0asm\x02\0\0\0".to_vec(), "not_wasm"),
    ("wrong layer", || b"\0asm\x0d\0\x02\0".to_vec(), "not_wasm"),
    (
        "truncated",
        || {
            let mut module = started("");
            module.pop();
            module
        },
        "not_wasm",
    ),
    ("a section longer than the file", || [CORE, &[1, 0xff, 0xff, 0xff, 0x7f]].concat(), "not_wasm"),
    ("an endless number", || [CORE, &[1], &[0x80; 64]].concat(), "not_wasm"),
    ("more bodies than functions", || [CORE, &section(10, &[1, 2, 0, 0x0b])].concat(), "not_wasm"),
    ("a module after the module", || [started(""), started("")].concat(), "not_wasm"),
    // Too much of something.
    (
        "file",
        || {
            let mut module = started("");
            append_custom(&mut module, "x", &vec![0; 32 << 20]);
            module
        },
        "file_bytes",
    ),
    (
        "custom sections",
        || {
            let mut module = started("");
            (0..1001).for_each(|_| append_custom(&mut module, "", b""));
            module
        },
        "custom_sections",
    ),
    (
        "metadata",
        || {
            let mut module = started("");
            append_custom(&mut module, "stepwell:action", &vec![b' '; 300 << 10]);
            module
        },
        "metadata_bytes",
    ),
    ("a long name", names::too_long, "name_bytes"),
    ("many names", names::too_many, "names_bytes"),
    ("function body", || functions(&[(0, vec![1; 600 << 10])]), "function_bytes"),
    ("code", || functions(&vec![(0, vec![1; 500 << 10]); 33]), "code_bytes"),
    ("functions", || functions(&vec![(0, vec![]); 30_000]), "functions"),
    ("parameters", || started(&format!("(func (param {}))", "i32 ".repeat(33))), "params"),
    ("results", || started(&format!("(func (result {}) unreachable)", "i32 ".repeat(9))), "results"),
    ("locals", || functions(&[(2_001, vec![])]), "locals"),
    ("four thousand million locals", || functions(&[(u32::MAX as usize, vec![])]), "locals"),
    ("nesting", || functions(&[(0, nested(1_501))]), "nesting"),
    ("blocks times locals", || functions(&[(2_000, flat(201))]), "blocks_times_locals"),
    ("br_table", || started(&format!("(func (br_table {} (i32.const 0)))", "0 ".repeat(20_002))), "br_table"),
    (
        "many br_tables",
        || {
            started(&format!(
                "(func {})",
                format!("block (br_table {} (i32.const 0)) end ", "0 ".repeat(20_001)).repeat(6)
            ))
        },
        "br_table_total",
    ),
    ("br_tables times locals", || functions(&[(2_000, branching(1_001))]), "br_table_times_locals"),
    (
        "br_tables times locals of many functions",
        || functions(&vec![(2_000, branching(1_000)); 11]),
        "br_table_times_locals_total",
    ),
    ("types", || started(&repeat(4_001, "(type (func (param i64)))")), "types"),
    (
        "a group that claims a million types",
        || [CORE, &section(1, &[&[1, 0x4e][..], &leb(1_000_000)].concat())].concat(),
        "types",
    ),
    ("imports", || wat(&format!("(module {})", repeat(5_001, r##"(import "m" "#" (func))"##))), "imports"),
    (
        "exports",
        || started(&format!("(func $f) {}", repeat(10_001, r##"(export "#" (func $f))"##))),
        "exports",
    ),
    ("globals", || started(&repeat(4_001, "(global i32 (i32.const 0))")), "globals"),
    ("tables", || started(&repeat(5, "(table 0 funcref)")), "tables"),
    ("table elements", || started("(table 20001 funcref)"), "table_elements"),
    ("two memories", || started("(memory 0) (memory 0)"), "memories"),
    (
        "element segments",
        || started(&format!("(table 1 funcref) {}", repeat(10_001, "(elem (i32.const 0) func)"))),
        "element_segments",
    ),
    (
        "element items",
        || {
            started(&format!(
                "(table 1 funcref) (func $f) (elem (i32.const 0) func {})",
                "$f ".repeat(100_001)
            ))
        },
        "element_items",
    ),
    ("data segments", || started(&format!("(memory 1) {}", repeat(50_001, r#"(data "")"#))), "data_segments"),
    (
        "data far apart",
        || started(r#"(memory 1024) (data (i32.const 0) "a") (data (i32.const 33554432) "b")"#),
        "data_image_bytes",
    ),
    ("memory to start with", || started("(memory 4097)"), "total_memory_bytes"),
    ("all memory there is", || started("(memory 65536)"), "total_memory_bytes"),
    // Components that expand.
    ("a bomb of components", || wat(&bomb(20)), "core_instances"),
    ("a bomb without core modules", || wat(&hollow_bomb(20)), "component_instances"),
    (
        "one module 65 times",
        || wat(&format!("(component (core module $m) {})", repeat(65, "(core instance (instantiate $m))"))),
        "core_instances",
    ),
    (
        "memories in all instances",
        || {
            wat(&format!(
                "(component (core module $m (memory 1)) {})",
                repeat(9, "(core instance (instantiate $m))")
            ))
        },
        "total_memories",
    ),
    (
        "memory in all instances",
        || {
            wat(&format!(
                "(component (core module $m (memory 800)) {})",
                repeat(8, "(core instance (instantiate $m))")
            ))
        },
        "total_memory_bytes",
    ),
    (
        "tables in all instances",
        || {
            wat(&format!(
                "(component (core module $m (table 1 funcref) (table 1 funcref)) {})",
                repeat(30, "(core instance (instantiate $m))")
            ))
        },
        "total_tables",
    ),
    ("core modules", || wat(&format!("(component {})", "(core module)".repeat(65))), "core_modules"),
    ("components", || wat(&format!("(component {})", "(component)".repeat(101))), "components"),
    (
        "components inside each other",
        || wat(&format!("{}{}", "(component ".repeat(18), ")".repeat(18))),
        "component_nesting",
    ),
    (
        "component types",
        || wat(&format!("(component {})", repeat(1_001, "(type (list u8))"))),
        "component_types",
    ),
    (
        "fields of component types",
        || {
            wat(&format!(
                "(component {})",
                format!("(type (record {}))", repeat(5_000, r#"(field "a#" u8)"#)).repeat(5)
            ))
        },
        "type_declarations",
    ),
    (
        "component types inside each other",
        || {
            [COMPONENT, &section(7, &[&[1][..], &[0x41, 1, 1].repeat(1_000_000), &[0x41, 0]].concat())]
                .concat()
        },
        "invalid",
    ),
    (
        "aliases",
        || {
            wat(&format!(
                r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)) {})"#,
                repeat(20_001, r#"(alias core export $i "f" (core func))"#)
            ))
        },
        "component_items",
    ),
    (
        "a component that imports a component",
        || wat(r#"(component (import "c" (component $c)) (instance (instantiate $c)))"#),
        "nested_import",
    ),
    (
        "a component inside that imports a core module",
        || wat(r#"(component (component (import "m" (core module $m)) (core instance (instantiate $m))))"#),
        "nested_import",
    ),
    (
        "a component taken out of an instance",
        || {
            wat(
                r#"(component (component $c (component $d) (export "d" (component $d))) (instance $i (instantiate $c)) (alias export $i "d" (component)))"#,
            )
        },
        "nested_import",
    ),
    // Work that costs no fuel.
    ("strings between components inside", || wat(STRINGS_INSIDE), "inner_call"),
    ("values of thousands of parts between components inside", bombs::adapters, "inner_call"),
    (
        "resources of its own in a loop",
        || {
            Handler {
                more: r#"(type $resource (resource (rep i32)))
                    (core func $new (canon resource.new $resource)) (core func $drop (canon resource.drop $resource))"#,
                host: r#"(export "new" (func $new)) (export "drop" (func $drop))"#,
                imports: r#"(import "host" "new" (func $new (param i32) (result i32)))
                    (import "host" "drop" (func $drop (param i32)))"#,
                main: r#"(func (export "run") (param i32 i32) (result i32)
                    (loop (call $drop (call $new (i32.const 1))) (br 0)) (call $null))"#,
                ..Handler::default()
            }
            .build()
        },
        "own_resources",
    ),
    ("an instance of what is not there", || [COMPONENT, &section(2, &[1, 0, 7, 0])].concat(), "invalid"),
    // No guest.
    ("nothing in it", || wat("(module)"), "kind"),
    ("a component with nothing in it", || wat("(component)"), "kind"),
    ("a library", || wat(r#"(module (func (export "_initialize")) (func (export "handle")))"#), "kind"),
    ("_start of another type", || wat(r#"(module (func (export "_start") (param i32)))"#), "kind"),
    ("_start that is a memory", || wat(r#"(module (memory (export "_start") 1))"#), "kind"),
    (
        "a command without a memory",
        || {
            wat(
                r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) (func (export "_start")))"#,
            )
        },
        "kind",
    ),
    (
        "component types beside preview 1",
        || {
            let mut module = command(&["sched_yield"], r#"(func (export "_start"))"#);
            append_custom(&mut module, "component-type:action", b"");
            module
        },
        "preview1_beside_wit",
    ),
    // Not granted.
    (
        "an import of its own",
        || wat(r#"(module (import "env" "system" (func)) (func (export "_start")))"#),
        "import",
    ),
    (
        "a memory of the host's",
        || wat(r#"(module (import "wasi_snapshot_preview1" "memory" (memory 1)) (func (export "_start")))"#),
        "import",
    ),
    (
        "a call that preview 1 does not have",
        || {
            wat(
                r#"(module (import "wasi_snapshot_preview1" "fork" (func (result i32))) (memory (export "memory") 1) (func (export "_start")))"#,
            )
        },
        "import",
    ),
    (
        "the first WASI",
        || wat(r#"(module (import "wasi_unstable" "fd_write" (func)) (func (export "_start")))"#),
        "import",
    ),
    (
        "an interface nobody granted",
        || {
            Handler { more: r#"(import "acme:bank/transfer@1.0.0" (instance))"#, ..Handler::default() }
                .build()
        },
        "import",
    ),
    (
        "a WASI that is not there yet",
        || {
            Handler {
                more: r#"(import "wasi:clocks/monotonic-clock@0.3.0" (instance))"#,
                ..Handler::default()
            }
            .build()
        },
        "import",
    ),
    (
        "a function granted by nobody",
        || {
            Handler { more: r#"(import "run-shell" (func (param "line" string)))"#, ..Handler::default() }
                .build()
        },
        "import",
    ),
    (
        "another contract",
        || wat(r#"(component (instance $i) (export "stepwell:action/handler@2.0.0" (instance $i)))"#),
        "contract",
    ),
    (
        "a handler that is a function",
        || {
            wat(&Handler::default()
                .text()
                .replace(r#"(instance $handler (export "run" (func $run)))"#, "")
                .replace("(instance $handler)", "(func $run)"))
        },
        "contract",
    ),
    (
        "metadata that are none",
        || {
            let mut module = started("");
            append_custom(&mut module, "stepwell:action", b"{");
            module
        },
        "metadata",
    ),
    (
        "metadata twice",
        || {
            let mut module = started("");
            (0..2).for_each(|_| append_custom(&mut module, "stepwell:action", b"{}"));
            module
        },
        "metadata",
    ),
];

/// One component inside gives thirty megabytes to another, which has them put to one place again and again. The engine copies and
/// checks them for the fuel of a call: 20,000 units took half a second.
const STRINGS_INSIDE: &str = r#"(component
    (component $callee
        (core module $m (memory (export "memory") 500)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func (export "take") (param i32 i32)))
        (core instance $m (instantiate $m))
        (func (export "take") (param "text" string)
            (canon lift (core func $m "take") (memory $m "memory") (realloc (func $m "realloc")))))
    (instance $callee (instantiate $callee))
    (component $caller
        (import "take" (func $take (param "text" string)))
        (core module $memory (memory (export "memory") 500))
        (core instance $memory (instantiate $memory))
        (core func $take (canon lower (func $take) (memory $memory "memory")))
        (core module $m (import "" "take" (func $take (param i32 i32)))
            (func (export "run") (result i32)
                (loop (call $take (i32.const 65536) (i32.const 30000000)) (br 0)) i32.const 0))
        (core instance $m (instantiate $m (with "" (instance (export "take" (func $take))))))
        (func (export "run") (result (result)) (canon lift (core func $m "run"))))
    (instance $caller (instantiate $caller (with "take" (func $callee "take"))))
    (instance $run (export "run" (func $caller "run")))
    (export "wasi:cli/run@0.2.0" (instance $run)))"#;

/// Let in by the scan and refused by what the compile child does first.
const CHILD: &[Case] = &[
    ("invalid", || started("(func (result i32))"), "invalid"),
    ("an index out of bounds", || functions(&[(0, vec![0x10, 0x7f])]), "invalid"),
    ("gc", || started("(type (struct (field i32)))"), "proposal"),
    ("exceptions", || started("(tag (param i32))"), "proposal"),
    ("threads", || started("(memory 1 1 shared)"), "proposal"),
    ("memory64", || started("(memory i64 1)"), "proposal"),
    ("external references", || started("(func (param externref))"), "proposal"),
    (
        "relaxed SIMD",
        || started("(func (param v128) local.get 0 local.get 0 i8x16.relaxed_swizzle drop)"),
        "proposal",
    ),
    ("custom page sizes", || started("(memory 1 (pagesize 1))"), "proposal"),
    (
        "a handler of another type",
        || {
            wat(&Handler::default()
                .text()
                .replace("(result (result string (error $failure)))", "(result string)"))
        },
        "handler_type",
    ),
    (
        "component types that are none",
        || {
            let mut module = started("");
            append_custom(&mut module, "component-type", b"junk");
            module
        },
        "componentize",
    ),
    ("a type of enormous size", || wat(&doubling(40)), "invalid"),
];

/// What the rules and the validation let in and the engine refuses after all: no module is known for which that is so.
const WITHOUT_A_MODULE: &[&str] = &["compile_refused"];

/// A command that does nothing, with more in it.
fn started(more: &str) -> Vec<u8> {
    wat(&format!(r#"(module {more} (func (export "_start")))"#))
}

/// Blocks inside each other.
fn nested(depth: usize) -> Vec<u8> {
    [[0x02, 0x40].repeat(depth), vec![0x0b; depth]].concat()
}

/// One `br_table` with so many targets.
fn branching(targets: usize) -> Vec<u8> {
    [&[0x41, 0, 0x0e][..], &leb(targets), &vec![0; targets + 1]].concat()
}

/// Blocks one after the other.
fn flat(count: usize) -> Vec<u8> {
    [0x02, 0x40, 0x0b].repeat(count)
}

/// Components that each instantiate the one before twice: 2 to the power of `depth` instances.
fn bomb(depth: usize) -> String {
    let levels: String = (1..=depth)
        .map(|level| {
            let below = level - 1;
            format!(
                "(component $c{level} (alias outer 1 $c{below} (component $c)) \
                 (instance (instantiate $c)) (instance (instantiate $c)))"
            )
        })
        .collect();
    format!(
        "(component (component $c0 (core module $m) (core instance (instantiate $m))) {levels} \
         (instance (instantiate $c{depth})))"
    )
}

fn hollow_bomb(depth: usize) -> String {
    bomb(depth).replace("(core module $m) (core instance (instantiate $m))", "")
}

/// Types that each hold the one before twice.
fn doubling(depth: usize) -> String {
    let types: String = (1..=depth)
        .map(|level| format!("(type $t{level} (tuple $t{} $t{}))", level - 1, level - 1))
        .collect();
    Handler { more: &format!("(type $t0 (tuple u64 u64)) {types}"), ..Handler::default() }.text()
}

pub fn tests(tests: &mut Vec<Test>) {
    for (name, module, rule) in SCAN {
        add(tests, format!("refused_by_the_scan::{}", name.replace(' ', "_")), move || {
            let refusal = scan(&Bytes::from(module())).expect_err("the scan let it in");
            check(&refusal, rule);
        });
    }
    for (name, module, rule) in CHILD {
        add(
            tests,
            format!("refused_by_the_child::{}", name.replace(' ', "_")),
            move || match child::compile(module(), child::usual_limits()) {
                Compiled::Refused(refusal) => check(&refusal, rule),
                other => panic!("{other:?}"),
            },
        );
    }
    add(tests, "refused::every_rule_has_a_case", || {
        let tables = SCAN.iter().chain(CHILD).map(|(_, _, rule)| *rule);
        let met: BTreeSet<&str> =
            tables.chain(child::REFUSALS.iter().copied()).chain(WITHOUT_A_MODULE.iter().copied()).collect();
        let rules = RULES.iter().map(|rule| rule.id);
        let all: BTreeSet<&str> = rules.chain(OTHER_REFUSALS.iter().map(|(name, _)| *name)).collect();
        assert_eq!(met, all);
    });
    add(tests, "refused::messages_are_short_and_without_control_characters", || {
        let name = "\\1b[31mred\\07\\e2\\80\\ae".repeat(1000);
        let module = wat(&format!(r#"(module (import "env" "{name}" (func)) (func (export "_start")))"#));
        check_text(&scan(&module.into()).expect_err("the scan let it in"));
        // Here the validation says it.
        let exports = format!(r#"(export "{name}" (func 0))"#).repeat(2);
        match child::compile(started(&exports), child::usual_limits()) {
            Compiled::Refused(refusal) => check(&refusal, "invalid"),
            other => panic!("{other:?}"),
        }
    });
    add(tests, "refused::every_prefix_of_a_module_is_read_without_harm", || {
        for module in [handler(Handler::default().main), started("(memory 1)")] {
            for end in 0..module.len() {
                let _ = scan(&Bytes::copy_from_slice(&module[..end]));
            }
        }
    });
}

pub fn check_text(refusal: &Refusal) {
    let shown = refusal.to_string();
    assert!(!shown.is_empty() && shown.len() < 2_500, "{shown}");
    assert!(!shown.contains(|char: char| char.is_control() || char == '\u{202e}'), "{shown}");
}

fn check(refusal: &Refusal, rule: &str) {
    assert_eq!(refusal.rule, rule, "{refusal}");
    check_text(refusal);
    assert_eq!(refusal.limit.is_some(), refusal.found.is_some(), "{refusal:?}");
}
