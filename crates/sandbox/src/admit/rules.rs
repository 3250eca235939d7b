//! The rules that a module's bytes must keep: one table of name, bound and reason. The scan reads
//! its bounds from here and `docs/reference/module-rules.md` is made from here.

use std::fmt::Write as _;

use super::Refusal;
use crate::{Limits, config};

/// One bound on a module.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as refusals carry it.
    pub id: &'static str,
    /// The most that is let in.
    pub limit: u64,
    /// What is counted, as the subject of a sentence.
    pub counts: &'static str,
    /// Why there is a bound, and what real guests need.
    pub reason: &'static str,
}

impl Rule {
    /// Refuses `found` if it is above the bound; `place` says where, and may be empty.
    pub(super) fn check(&self, found: u64, place: impl FnOnce() -> String) -> Result<(), Refusal> {
        if found <= self.limit {
            return Ok(());
        }
        let place = place();
        let (open, close) = if place.is_empty() { ("", "") } else { (" (", ")") };
        Err(Refusal {
            rule: self.id.to_owned(),
            message: format!(
                "{}{open}{place}{close}: {found}, and at most {} is let in",
                self.counts, self.limit
            ),
            hint: None,
            limit: Some(self.limit),
            found: Some(found),
        })
    }
}

macro_rules! rules {
    ($($name:ident: $id:literal, $limit:expr, $counts:literal, $reason:literal;)*) => {
        $(pub(crate) static $name: Rule =
            Rule { id: $id, limit: $limit, counts: $counts, reason: $reason };)*
        /// Every bound, in the order in which the documentation shows them.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

const MIB: u64 = 1 << 20;

rules! {
    FILE_BYTES: "file_bytes", 32 * MIB, "bytes in the file",
        "The module is held in memory while it is scanned and compiled. A Python guest, interpreter included, has 18 MB.";
    METADATA_BYTES: "metadata_bytes", 256 << 10, "bytes in the custom section `stepwell:action`",
        "Metadata are parsed at every upload and kept in memory for every action.";
    CUSTOM_SECTIONS: "custom_sections", 1_000, "custom sections",
        "A section costs a name and an entry each; compilers write fewer than thirty.";
    NAME_BYTES: "name_bytes", 64 << 10, "bytes in the name of a function or module, in the section `name`",
        "Every trap copies the names of twenty functions. Rust guests have up to 333; C++ linkers write the types of templates out, which may take thousands.";
    NAMES_BYTES: "names_bytes", 8 * MIB, "bytes in all names of functions and modules",
        "They are kept with the machine code. As many functions as there may be, with 279 bytes each.";
    CODE_BYTES: "code_bytes", 16 * MIB, "bytes of code in all functions",
        "Compile time and the size of the machine code grow with it.";
    FUNCTION_BYTES: "function_bytes", 512 << 10, "bytes in one function body",
        "Parts of the compiler take more than linear time in the size of one function. An interpreter's main loop has up to 427 KiB.";
    FUNCTIONS: "functions", 30_000, "functions with a body",
        "Each costs tables in the compiler and in every instance. A large guest has 13,351.";
    PARAMS: "params", 32, "parameters of one function type",
        "Parameters past the registers go through the stack at every call; no compiler writes more.";
    RESULTS: "results", 8, "results of one function type",
        "As for parameters.";
    LOCALS: "locals", 2_000, "locals of one function, parameters included",
        "Every local is tracked through every block. Real guests have up to 271.";
    NESTING: "nesting", 1_500, "blocks inside each other in one function",
        "The compiler keeps a frame for each. Real guests have up to 781.";
    BLOCKS_TIMES_LOCALS: "blocks_times_locals", 400_000, "blocks times locals of one function",
        "Bounds the work of turning locals into values: twelve kilobytes without this bound took 38 s and 2 GB. Real guests have up to 194,228.";
    BR_TABLE: "br_table", 20_000, "targets of one `br_table`",
        "Every target is an edge of the control flow.";
    BR_TABLE_TOTAL: "br_table_total", 100_000, "targets of all `br_table` in one function",
        "As for one table: many tables over the same blocks multiply the edges.";
    BR_TABLE_TIMES_LOCALS: "br_table_times_locals", 2_000_000, "targets of all `br_table` times locals of one function",
        "Every target is an edge that carries the locals: 232 kilobytes without this bound took 60 s. Real guests have up to 47,547.";
    BR_TABLE_TIMES_LOCALS_TOTAL: "br_table_times_locals_total", 20_000_000, "the same of all functions of one core module",
        "As for one function. A Go guest, every function of which is one `br_table`, has 949,534.";
    TYPES: "types", 4_000, "types of one core module",
        "Each is registered with the engine at every load.";
    IMPORTS: "imports", 5_000, "imports of one core module or component",
        "Each is resolved at every load and copied into every instance. A large guest has 2,251.";
    EXPORTS: "exports", 10_000, "exports of one core module or component",
        "Each is an entry in a table of names.";
    GLOBALS: "globals", 4_000, "globals of one core module",
        "Each is initialised in every instance.";
    MEMORIES: "memories", 1, "memories of one core module, imported ones included",
        "Several memories in one module are used by no compiler of a language that is supported, and each takes address space.";
    TABLES: "tables", config::TABLES_PER_MODULE as u64, "tables of one core module, imported ones included",
        "Each is allocated for every instance.";
    TABLE_ELEMENTS: "table_elements", config::TABLE_ELEMENTS as u64, "elements that one table starts with",
        "A table is filled for every instance. Large guests have one entry for each function whose address is taken.";
    ELEMENT_SEGMENTS: "element_segments", 10_000, "element segments of one core module",
        "Each is evaluated in every instance.";
    ELEMENT_ITEMS: "element_items", 100_000, "items in all element segments of one core module",
        "Each is evaluated in every instance, outside of fuel.";
    DATA_SEGMENTS: "data_segments", 50_000, "data segments of one core module",
        "Each is checked and copied in every instance where it cannot be mapped.";
    DATA_IMAGE_BYTES: "data_image_bytes", 32 * MIB, "bytes from the first to the last byte that data segments set",
        "The image is part of the machine code and mapped into every instance. The largest real one has 12 MiB.";
    CORE_MODULES: "core_modules", 64, "core modules inside one component",
        "Each is compiled and loaded for itself. A Python guest has 38.";
    COMPONENTS: "components", 100, "components inside one component",
        "Each is translated for itself, and expanded wherever it is instantiated.";
    COMPONENT_NESTING: "component_nesting", 16, "components inside each other",
        "Real components have two levels.";
    COMPONENT_TYPES: "component_types", 1_000, "types that the component and the components inside it define",
        "A few bytes can describe a type of enormous size; all of WASI needs a few hundred.";
    TYPE_DECLARATIONS: "type_declarations", 20_000, "declarations, fields and cases in all component types",
        "Each is checked and kept.";
    COMPONENT_ITEMS: "component_items", 20_000, "aliases, canonical functions and instance exports of one component",
        "Each is translated, and lowered functions get machine code of their own.";
    CORE_INSTANCES: "core_instances", config::CORE_INSTANCES_PER_CALL as u64, "core instances after expansion",
        "Components inside components expand: 627 bytes became 9 MB of machine code. A Python guest has up to 40.";
    COMPONENT_INSTANCES: "component_instances", 400, "component instances after expansion",
        "As for core instances.";
    TOTAL_MEMORIES: "total_memories", config::MEMORIES_PER_CALL as u64, "memories after expansion",
        "What all core instances of one call hold must fit the slot that a call gets from the pool.";
    TOTAL_TABLES: "total_tables", config::TABLES_PER_CALL as u64, "tables after expansion",
        "As for memories.";
    TOTAL_MEMORY_BYTES: "total_memory_bytes", Limits::HOST_MAXIMA.memory_bytes, "bytes that all memories start with, after expansion",
        "No call may use more, so a module that needs more to start can never run.";
}

/// Refusals that are not a matter of a bound: their names and what they mean.
pub static OTHER_REFUSALS: &[(&str, &str)] = &[
    ("not_wasm", "The file is not WebAssembly, is of another version, or ends too early."),
    ("invalid", "The file is WebAssembly and breaks the specification."),
    (
        "proposal",
        "The module needs a proposal that is switched off; it is named, with the languages that hit it.",
    ),
    ("kind", "The module is none of the kinds of guest; what it exports is listed, with what was expected."),
    ("handler_type", "The handler has another type than the contract's; both are shown."),
    ("contract", "The module was built for a version of the contract that this host does not speak."),
    ("import", "The module imports something that nobody granted; it is named."),
    ("preview1_beside_wit", "A core module with component types imports WASI preview 1 as well."),
    ("link", "The imports have the right names and other types than the host offers."),
    ("componentize", "The component types inside the core module do not fit its imports and exports."),
    ("metadata", "The custom section `stepwell:action` does not hold what it should."),
    (
        "nested_import",
        "A component inside the component imports or exports a core module or a component, so that its expansion cannot be bounded.",
    ),
    (
        "inner_call",
        "A part of the component calls a function that another part makes and that could answer. Passing strings there takes time that fuel does not count: 20,000 units took half a second.",
    ),
    (
        "own_resources",
        "The component makes resources of its own, and has code that could do so in a loop. Each takes as long as hundreds of instructions and costs the fuel of one call.",
    ),
    ("compile_time", "The compiler took more processor or real time than it may."),
    ("compile_memory", "The compiler took more memory than it may."),
    ("artifact_bytes", "The machine code is larger than it may be."),
    ("compile_crash", "The compiler broke down on the module."),
    ("compile_refused", "The compiler refused the module."),
];

/// The table as a page of the documentation.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Rules for modules\n\n\
         What an uploaded module must keep, checked before any of it is compiled or run. A module\n\
         that breaks a rule is refused with the rule's name, what was found, where, and the bound.\n\
         This page is made from `crates/sandbox/src/admit/rules.rs`; a test keeps both equal.\n\n\
         | rule | at most | what is counted | why |\n|---|---:|---|---|\n",
    );
    for rule in RULES {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{}` | {} | {} | {} |", rule.id, amount(rule), rule.counts, rule.reason);
    }
    page.push_str("\n## Other reasons to be refused\n\n| rule | meaning |\n|---|---|\n");
    for (id, meaning) in OTHER_REFUSALS {
        let _ = writeln!(page, "| `{id}` | {meaning} |");
    }
    page.push_str("\n## Proposals that are switched off\n\n| proposal | who meets it |\n|---|---|\n");
    for proposal in super::features::DISABLED {
        let _ = writeln!(page, "| {} | {} |", proposal.name, proposal.hits);
    }
    page
}

fn amount(rule: &Rule) -> String {
    let bytes = rule.id.ends_with("bytes");
    match rule.limit {
        limit if bytes && limit % MIB == 0 => format!("{} MiB", limit / MIB),
        limit if bytes && limit % 1024 == 0 => format!("{} KiB", limit / 1024),
        limit => thousands(limit),
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_page_in_the_documentation_is_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/module-rules.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == markdown(), "run this test with UPDATE_DOCS=1 to write {path}");
    }

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names = RULES.iter().map(|rule| rule.id).chain(OTHER_REFUSALS.iter().map(|(id, _)| *id));
        let all: Vec<_> = names.collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn a_bound_lets_in_what_it_names_and_refuses_one_more() {
        assert_eq!(PARAMS.check(32, String::new), Ok(()));
        let refusal = PARAMS.check(33, || "type 4".to_owned()).unwrap_err();
        insta::assert_snapshot!(refusal, @"parameters of one function type (type 4): 33, and at most 32 is let in");
        assert_eq!((refusal.limit, refusal.found), (Some(32), Some(33)));
    }
}
