//! Tells the kind of a guest from what it imports and exports, and refuses what is none, naming
//! what was expected and every import that nobody granted.

use semver::Version;

use super::{GuestKind, Refusal};

/// One import or export.
pub(super) struct Item {
    /// The module part of a core import's name.
    pub(super) module: Option<String>,
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// Numbers of parameters and results of a core function that is exported.
    pub(super) arity: Option<(u32, u32)>,
}

/// What a module looks like from outside.
pub(super) struct Shape {
    pub(super) component: bool,
    /// Whether a core module brings the component types it was written against.
    pub(super) component_types: bool,
    pub(super) imports: Vec<Item>,
    pub(super) exports: Vec<Item>,
}

const PREVIEW1: &str = "wasi_snapshot_preview1";
const HANDLER: &str = "stepwell:action/handler";
const CLI_RUN: &str = "wasi:cli/run";

const HANDLER_EXPECTED: &str = "a component that exports stepwell:action/handler@1.0.0 (what the SDKs build), \
     a component that exports wasi:cli/run@0.2, a WASI preview 1 command that exports _start, or a \
     core module with component types in it";

/// Every function of WASI preview 1.
pub(crate) const PREVIEW1_FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// The interfaces a component may import: those of the contract, and WASI 0.2 (most of which
/// refuses whatever is asked of it).
const GRANTED: &[(&str, &[&str])] = &[
    ("stepwell:action", &["log", "types"]),
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", &["types", "preopens"]),
    (
        "wasi:sockets",
        &[
            "network",
            "instance-network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
            "ip-name-lookup",
        ],
    ),
    ("wasi:http", &["types", "outgoing-handler"]),
];

impl Shape {
    /// The names of what is imported, each once, as they are shown to people.
    pub(super) fn import_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for item in &self.imports {
            let name = match &item.module {
                // With component types the module part is the name of an interface.
                Some(module) if self.component_types => module.clone(),
                Some(module) => format!("{module}.{}", item.name),
                None => item.name.clone(),
            };
            // Imports of one interface follow each other.
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The names of what is exported.
    pub(super) fn export_names(&self) -> Vec<String> {
        self.exports.iter().map(|item| item.name.clone()).collect()
    }

    fn export(&self, name: &str) -> Option<&Item> {
        self.exports.iter().find(|item| item.name == name)
    }
}

/// The kind of a guest, or why it is none.
pub(super) fn tell(shape: &Shape) -> Result<GuestKind, Refusal> {
    if shape.component {
        check_granted(shape)?;
        return component(shape);
    }
    if shape.component_types {
        if let Some(item) = shape.imports.iter().find(|item| is_preview1(item)) {
            let name = format!("{}.{}", item.module.as_deref().unwrap_or_default(), item.name);
            return Err(Refusal::new(
                "preview1_beside_wit",
                format!(
                    "the core module was written against component types and imports WASI \
                     preview 1 as well: {}",
                    shown(&name)
                ),
            )
            .hint("build for wasm32-unknown-unknown or wasm32-wasip2"));
        }
        let command = shape.exports.iter().any(|item| item.name.starts_with("wasi:cli/run@0.2"));
        return Ok(if command { GuestKind::WasiCommandP2 } else { GuestKind::Component });
    }
    match shape.export("_start") {
        Some(start) => preview1_command(shape, start),
        None => Err(no_kind(shape, "no _start and no component types")),
    }
}

fn component(shape: &Shape) -> Result<GuestKind, Refusal> {
    let mut other_version = None;
    for (interface, kind) in [(HANDLER, GuestKind::Component), (CLI_RUN, GuestKind::WasiCommandP2)] {
        for item in &shape.exports {
            let (name, version) = split(&item.name);
            if name != interface {
                continue;
            }
            let right = match (kind, version) {
                (GuestKind::Component, Some(version)) => version.major == 1 && version.pre.is_empty(),
                (_, version) => version.is_some_and(|version| is_wasi_02(&version)),
            };
            if right && item.kind == "instance" {
                return Ok(kind);
            }
            other_version.get_or_insert(item);
        }
    }
    match other_version {
        Some(item) => Err(Refusal::new(
            "contract",
            format!("the component exports {} ({})", shown(&item.name), item.kind),
        )
        .hint("this host speaks the interfaces stepwell:action/handler 1.x and wasi:cli/run 0.2.x; build with an SDK for one of them")),
        None => Err(no_kind(shape, "neither a handler nor a command")),
    }
}

fn preview1_command(shape: &Shape, start: &Item) -> Result<GuestKind, Refusal> {
    if start.kind != "func" || start.arity != Some((0, 0)) {
        let found = match start.arity {
            Some((params, results)) => {
                format!("a function of {params} parameters and {results} results")
            }
            None => format!("a {}", start.kind),
        };
        return Err(Refusal::new("kind", format!("_start is {found}"))
            .hint("a command's _start is a function without parameters and results"));
    }
    let granted = |item: &&Item| {
        item.module.as_deref() == Some(PREVIEW1)
            && item.kind == "func"
            && PREVIEW1_FUNCTIONS.contains(&item.name.as_str())
    };
    let others: Vec<_> = shape.imports.iter().filter(|item| !granted(item)).collect();
    if !others.is_empty() {
        let names = others.iter().map(|item| {
            format!("{}.{} ({})", item.module.as_deref().unwrap_or_default(), item.name, item.kind)
        });
        let old = others.iter().any(|item| item.module.as_deref() == Some("wasi_unstable"));
        let hint = if old {
            "this is an early version of WASI: build with a toolchain for wasi_snapshot_preview1"
        } else {
            "a WASI preview 1 command gets the functions of wasi_snapshot_preview1 and nothing else"
        };
        return Err(ungranted(names).hint(hint));
    }
    if !shape.imports.is_empty() && shape.export("memory").is_none_or(|item| item.kind != "memory") {
        return Err(Refusal::new("kind", "the command imports WASI and exports no memory")
            .hint("WASI reads and writes through the memory that the module exports as \"memory\""));
    }
    Ok(GuestKind::WasiCommandP1)
}

fn check_granted(shape: &Shape) -> Result<(), Refusal> {
    let others: Vec<_> = shape.imports.iter().filter(|item| !is_granted(item)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let names = others.iter().map(|item| format!("{} ({})", item.name, item.kind));
    Err(ungranted(names)
        .hint("a component gets stepwell:action/log 1.x and the interfaces of WASI 0.2; whatever else it needs comes through its input"))
}

fn is_granted(item: &Item) -> bool {
    if item.kind == "type" {
        return true;
    }
    let (name, Some(version)) = split(&item.name) else { return false };
    let Some((package, interface)) = name.split_once('/') else { return false };
    let known =
        GRANTED.iter().any(|(granted, interfaces)| *granted == package && interfaces.contains(&interface));
    let spoken = match package {
        "stepwell:action" => version.major == 1 && version.pre.is_empty(),
        _ => is_wasi_02(&version),
    };
    item.kind == "instance" && known && spoken
}

fn ungranted(names: impl ExactSizeIterator<Item = String>) -> Refusal {
    let names = list(names);
    Refusal::new("import", format!("the module imports what nobody granted: {names}"))
}

fn is_preview1(item: &Item) -> bool {
    matches!(item.module.as_deref(), Some("wasi_snapshot_preview1" | "wasi_unstable"))
}

fn is_wasm_bindgen(item: &Item) -> bool {
    item.name.starts_with("__wbg") || item.name.starts_with("__wbindgen")
}

fn is_wasi_02(version: &Version) -> bool {
    version.major == 0 && version.minor == 2 && version.pre.is_empty()
}

/// `package/interface@version` in its parts.
fn split(name: &str) -> (&str, Option<Version>) {
    match name.split_once('@') {
        Some((name, version)) => (name, Version::parse(version).ok()),
        None => (name, None),
    }
}

fn no_kind(shape: &Shape, lacks: &str) -> Refusal {
    let what = if shape.component { "component" } else { "core module" };
    let exports = match shape.exports.len() {
        0 => "exports nothing".to_owned(),
        _ => {
            let names = shape.exports.iter().map(|item| format!("{} ({})", item.name, item.kind));
            format!("exports {}", list(names))
        }
    };
    let hint = if shape.export("_initialize").is_some() {
        "this is a library (a reactor): build a command, whose main reads stdin and writes stdout, or use an SDK"
    } else if !shape.component && shape.imports.iter().any(is_wasm_bindgen) {
        "this was built for browsers by wasm-bindgen: build it with the SDK"
    } else {
        "see the guide on writing actions"
    };
    Refusal::new(
        "kind",
        format!("this {what} is no guest: it {exports}, so there is {lacks}; expected {HANDLER_EXPECTED}"),
    )
    .hint(hint)
}

/// At most a dozen names, safe to show.
fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let mut text = names.take(SHOWN).map(|name| shown(&name)).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// A name out of somebody's bytes, short and without control characters.
pub(super) fn shown(name: &str) -> String {
    crate::names::shown(name, 100)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{component, echo, wat, with_component_types};
    use super::super::{Admitted, scan};
    use super::*;

    fn let_in(text: &str) -> Admitted {
        scan(&wat(text)).unwrap()
    }

    fn refuse(text: &str) -> String {
        let refusal = scan(&wat(text)).unwrap_err();
        format!("{}: {refusal}", refusal.rule)
    }

    #[test]
    fn each_kind_is_told_from_the_bytes() {
        let handler = let_in(&echo());
        assert_eq!(handler.kind, GuestKind::Component);
        assert_eq!(handler.imports, ["stepwell:action/types@1.0.0"]);
        assert_eq!(handler.exports, ["stepwell:action/handler@1.0.0"]);
        // A later minor version of the contract, and of WASI.
        let later = component("stepwell:action/handler@1.7.2", "", "string", "string");
        assert_eq!(let_in(&later).kind, GuestKind::Component);
        let run = component("wasi:cli/run@0.2.6", "", "string", "string");
        assert_eq!(let_in(&run).kind, GuestKind::WasiCommandP2);
        let core = scan(&with_component_types("")).unwrap();
        assert_eq!(core.kind, GuestKind::Component);

        let command = let_in(
            r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
                (memory (export "memory") 1) (func (export "_start")))"#,
        );
        assert_eq!(command.kind, GuestKind::WasiCommandP1);
        assert_eq!(command.imports, ["wasi_snapshot_preview1.sched_yield"]);
        assert_eq!(command.exports, ["memory", "_start"]);
    }

    #[test]
    fn what_is_no_guest_is_shown_with_what_was_expected() {
        insta::assert_snapshot!(refuse(r#"(module (memory (export "memory") 1) (func (export "handle")))"#), @"kind: this core module is no guest: it exports memory (memory), handle (func), so there is no _start and no component types; expected a component that exports stepwell:action/handler@1.0.0 (what the SDKs build), a component that exports wasi:cli/run@0.2, a WASI preview 1 command that exports _start, or a core module with component types in it (see the guide on writing actions)");
        insta::assert_snapshot!(refuse("(component)"), @"kind: this component is no guest: it exports nothing, so there is neither a handler nor a command; expected a component that exports stepwell:action/handler@1.0.0 (what the SDKs build), a component that exports wasi:cli/run@0.2, a WASI preview 1 command that exports _start, or a core module with component types in it (see the guide on writing actions)");
        insta::assert_snapshot!(refuse(r#"(module (func (export "_initialize")))"#), @"kind: this core module is no guest: it exports _initialize (func), so there is no _start and no component types; expected a component that exports stepwell:action/handler@1.0.0 (what the SDKs build), a component that exports wasi:cli/run@0.2, a WASI preview 1 command that exports _start, or a core module with component types in it (this is a library (a reactor): build a command, whose main reads stdin and writes stdout, or use an SDK)");
        insta::assert_snapshot!(refuse(r#"(module (func (export "_start") (param i32 i32) (result i32) i32.const 0))"#), @"kind: _start is a function of 2 parameters and 1 results (a command's _start is a function without parameters and results)");
        insta::assert_snapshot!(refuse(r#"(module (import "__wbindgen_placeholder__" "__wbindgen_describe" (func (param i32))))"#), @"kind: this core module is no guest: it exports nothing, so there is no _start and no component types; expected a component that exports stepwell:action/handler@1.0.0 (what the SDKs build), a component that exports wasi:cli/run@0.2, a WASI preview 1 command that exports _start, or a core module with component types in it (this was built for browsers by wasm-bindgen: build it with the SDK)");
        insta::assert_snapshot!(refuse(&component("stepwell:action/handler@2.0.0", "", "string", "string")), @"contract: the component exports stepwell:action/handler@2.0.0 (instance) (this host speaks the interfaces stepwell:action/handler 1.x and wasi:cli/run 0.2.x; build with an SDK for one of them)");
        let many: String = (0..20).map(|n| format!(r#"(func (export "f{n}"))"#)).collect();
        assert!(refuse(&format!("(module {many})")).contains("f11 (func) and 8 more"));
    }

    #[test]
    fn imports_that_nobody_granted_are_named() {
        let importing = |import: &str| component("stepwell:action/handler@1.0.0", import, "string", "string");
        insta::assert_snapshot!(refuse(&importing(r#"(import "acme:bank/transfer@1.0.0" (instance)) (import "wasi:keyvalue/store@0.2.0" (instance))"#)), @"import: the module imports what nobody granted: acme:bank/transfer@1.0.0 (instance), wasi:keyvalue/store@0.2.0 (instance) (a component gets stepwell:action/log 1.x and the interfaces of WASI 0.2; whatever else it needs comes through its input)");
        insta::assert_snapshot!(refuse(r#"(module (import "env" "memory" (memory 1)) (import "env" "abort" (func)) (func (export "_start")))"#), @"import: the module imports what nobody granted: env.memory (memory), env.abort (func) (a WASI preview 1 command gets the functions of wasi_snapshot_preview1 and nothing else)");
        insta::assert_snapshot!(refuse(r#"(module (import "wasi_unstable" "fd_write" (func)) (func (export "_start")))"#), @"import: the module imports what nobody granted: wasi_unstable.fd_write (func) (this is an early version of WASI: build with a toolchain for wasi_snapshot_preview1)");
        for granted in ["wasi:io/streams@0.2.6", "wasi:http/types@0.2.0", "stepwell:action/log@1.3.0"] {
            let_in(&importing(&format!(r#"(import "{granted}" (instance))"#)));
        }
        for not_granted in [
            "wasi:io/streams@0.3.0",
            "wasi:io/streams@0.2.0-rc.1",
            "wasi:io/streams",
            "stepwell:action/log@2.0.0",
        ] {
            assert!(
                refuse(&importing(&format!(r#"(import "{not_granted}" (instance))"#)))
                    .starts_with("import: ")
            );
        }
    }
}
