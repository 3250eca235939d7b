//! The scan: one linear pass over a module's bytes that checks every bound, tells the kind of
//! guest and reads the metadata. It runs in the server on anybody's bytes, so it neither recurses
//! without a bound nor allocates by a count that the bytes merely claim.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wasmparser::{BinaryReader, Encoding, Parser, Payload};

use super::component_scan::ComponentScan;
use super::core_scan::CoreScan;
use super::kind::{self, Shape};
use super::rules::{self, Rule};
use super::{Admitted, Refusal, metadata, name_scan};

/// What instantiating a module or component once takes, with everything inside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) core_instances: u64,
    pub(super) component_instances: u64,
    pub(super) memories: u64,
    pub(super) tables: u64,
    pub(super) memory_bytes: u64,
}

impl Cost {
    /// Adds `other` and refuses what is too much: a nested component whose own cost is too much
    /// cannot be worth letting in either, and so no sum here can overflow unnoticed.
    pub(super) fn add(&mut self, other: Cost) -> Result<(), Refusal> {
        let parts: [(&mut u64, u64, &Rule); 5] = [
            (&mut self.core_instances, other.core_instances, &rules::CORE_INSTANCES),
            (&mut self.component_instances, other.component_instances, &rules::COMPONENT_INSTANCES),
            (&mut self.memories, other.memories, &rules::TOTAL_MEMORIES),
            (&mut self.tables, other.tables, &rules::TOTAL_TABLES),
            (&mut self.memory_bytes, other.memory_bytes, &rules::TOTAL_MEMORY_BYTES),
        ];
        for (sum, more, rule) in parts {
            *sum = sum.saturating_add(more);
            rule.check(*sum, String::new)?;
        }
        Ok(())
    }
}

/// Where the pass is: inside a core module, or inside a component.
enum Frame<'a> {
    Core(Box<CoreScan<'a>>),
    Component(Box<ComponentScan<'a>>),
}

/// What a component keeps a count of over all that is inside it.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) core_modules: u64,
    pub(super) components: u64,
    pub(super) component_types: u64,
    pub(super) type_declarations: u64,
    custom_sections: u64,
    /// Bytes of the names of functions and modules.
    names: u64,
}

/// Lets a module in, or says which rule it breaks.
///
/// What is let in keeps every bound and looks like a guest; whether it is *valid* only the
/// compilation shows, which starts with the validation.
pub fn scan(module: &Bytes) -> Result<Admitted, Refusal> {
    rules::FILE_BYTES.check(module.len() as u64, String::new)?;
    check_header(module)?;
    let mut found = Found::default();
    let mut stack: Vec<Frame<'_>> = Vec::new();
    let mut totals = Totals::default();
    let mut shape = None;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(malformed)?;
        if let Payload::Version { encoding, .. } = payload {
            stack.push(open(encoding, &stack, &mut totals)?);
            continue;
        }
        if let Payload::End(_) = payload {
            let Some(frame) = stack.pop() else { continue };
            shape = close(frame, &mut stack)?.or(shape);
            continue;
        }
        if let Payload::CustomSection(section) = &payload {
            totals.custom_sections += 1;
            rules::CUSTOM_SECTIONS.check(totals.custom_sections, String::new)?;
            if let Some(Frame::Core(core)) = stack.last() {
                name_scan::names(section, &mut totals.names, || core.place())?;
            }
            if stack.len() == 1 {
                found.custom_section(section.name(), section.data())?;
            }
            continue;
        }
        // A component inside may name what the components around it define.
        let (inner, outer) = match stack.split_last_mut() {
            Some(split) => split,
            None => continue,
        };
        match inner {
            Frame::Core(core) => core.payload(module, payload)?,
            Frame::Component(component) => {
                let outer = |count: u32| outer_component(outer, count);
                component.payload(module, payload, &mut totals, outer)?;
            }
        }
    }
    let mut shape: Shape =
        shape.ok_or_else(|| Refusal::new("not_wasm", "the file ends before its module does"))?;
    shape.component_types = found.component_types;
    Ok(Admitted {
        kind: kind::tell(&shape)?,
        sha256: Sha256::digest(module).into(),
        size: module.len() as u64,
        metadata: found.metadata,
        imports: shape.import_names(),
        exports: shape.export_names(),
        module: module.clone(),
    })
}

/// What the custom sections of the whole file say.
#[derive(Default)]
struct Found {
    metadata: Option<super::Metadata>,
    component_types: bool,
}

impl Found {
    fn custom_section(&mut self, name: &str, data: &[u8]) -> Result<(), Refusal> {
        if name == metadata::SECTION {
            if self.metadata.is_some() {
                let message = "the module has the custom section `stepwell:action` twice";
                return Err(Refusal::new("metadata", message));
            }
            self.metadata = Some(metadata::parse(data)?);
        }
        // `component-type`, or with a suffix that keeps the linker from merging several.
        self.component_types |= name.starts_with("component-type");
        Ok(())
    }
}

fn open<'a>(encoding: Encoding, outer: &[Frame<'a>], totals: &mut Totals) -> Result<Frame<'a>, Refusal> {
    rules::COMPONENT_NESTING.check(outer.len() as u64, String::new)?;
    Ok(match encoding {
        Encoding::Module => {
            if !outer.is_empty() {
                totals.core_modules += 1;
                rules::CORE_MODULES.check(totals.core_modules, String::new)?;
            }
            Frame::Core(Box::new(CoreScan::new((!outer.is_empty()).then_some(totals.core_modules))))
        }
        Encoding::Component => {
            if !outer.is_empty() {
                totals.components += 1;
                rules::COMPONENTS.check(totals.components, String::new)?;
            }
            Frame::Component(Box::default())
        }
    })
}

/// Ends a module or component: the shape of the outermost one, else a definition in the one
/// around it.
fn close<'a>(frame: Frame<'a>, stack: &mut [Frame<'a>]) -> Result<Option<Shape>, Refusal> {
    match (frame, stack.last_mut()) {
        (Frame::Core(core), None) => core.shape().map(Some),
        (Frame::Component(component), None) => Ok(Some(component.shape())),
        (Frame::Core(core), Some(Frame::Component(around))) => {
            around.modules.push(core.part()?);
            Ok(None)
        }
        (Frame::Component(component), Some(Frame::Component(around))) => {
            around.components.push(component.part());
            Ok(None)
        }
        // The parser yields nested binaries only for components.
        (_, Some(Frame::Core(_))) => Err(Refusal::new("invalid", "a module inside a core module")),
    }
}

/// The component `count` levels out: 1 is the one around the innermost.
fn outer_component<'s, 'a>(outer: &'s [Frame<'a>], count: u32) -> Option<&'s ComponentScan<'a>> {
    let at = outer.len().checked_sub(usize::try_from(count).ok()?)?;
    match outer.get(at)? {
        Frame::Component(component) => Some(component),
        Frame::Core(_) => None,
    }
}

fn check_header(module: &[u8]) -> Result<(), Refusal> {
    const MAGIC: &[u8] = b"\0asm";
    if module.is_empty() {
        return Err(Refusal::new("not_wasm", "the file is empty").hint("send the bytes of a .wasm file"));
    }
    if !module.starts_with(MAGIC) {
        let start: String =
            module.iter().take(8).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
        let refusal =
            Refusal::new("not_wasm", format!("this is not WebAssembly: the file starts with \"{start}\""));
        let text = module.trim_ascii_start();
        return Err(if text.starts_with(b"(module") || text.starts_with(b"(component") {
            refusal.hint("this is the text format: make a binary of it with `wasm-tools parse`")
        } else {
            refusal.hint("a WebAssembly file starts with \"\\x00asm\"; send the .wasm that the build wrote")
        });
    }
    match module.get(4..8) {
        Some([1, 0, 0, 0] | [0x0d, 0, 1, 0]) => Ok(()),
        Some(version) => Err(Refusal::new(
            "not_wasm",
            format!("this is WebAssembly of a version that is not supported: {version:02x?}"),
        )
        .hint("a core module has version 1 (01 00 00 00), a component version 13 layer 1 (0d 00 01 00)")),
        None => Err(Refusal::new("not_wasm", "the file ends in the middle of its header")),
    }
}

/// The refusal for bytes that cannot be read.
pub(super) fn malformed(error: wasmparser::Error) -> Refusal {
    let refusal =
        Refusal::new("not_wasm", format!("the module cannot be read: {}", crate::names::said(error)));
    refusal.hint("the file is damaged or cut off: build it again or compare its size with the original")
}

/// Raw access to a section's content, for what must be looked at before it is decoded.
pub(super) fn raw<'a>(module: &'a [u8], range: std::ops::Range<usize>) -> BinaryReader<'a> {
    let start = range.start;
    BinaryReader::new(module.get(range).unwrap_or_default(), start)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{CORE_HANDLER, echo, wat, with_component_types};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_nested_component_takes_counts_wherever_it_is_instantiated() {
        let memories = |times: usize| {
            let instances = "(instance (instantiate $c))".repeat(times);
            let text = format!(
                "(component (component $c (core module $m (memory 1)) (core instance (instantiate $m)) \
                 (core instance (instantiate $m))) {instances})"
            );
            scan(&wat(&text)).unwrap_err().rule
        };
        // Eight memories are let in, so it is only no guest; ten are too many.
        assert_eq!(memories(4), "kind");
        assert_eq!(memories(5), "total_memories");
    }

    #[test]
    fn an_alias_of_a_module_around_a_component_counts_too() {
        let instances = "(core instance (instantiate $m))".repeat(33);
        let text = format!(
            "(component $o (core module $real) \
             (component $c (alias outer $o $real (core module $m)) {instances}) \
             (instance (instantiate $c)) (instance (instantiate $c)))"
        );
        assert_eq!(scan(&wat(&text)).unwrap_err().rule, "core_instances");
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(
            component in any::<bool>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let module = if component { wat(&echo()) } else { with_component_types(CORE_HANDLER) };
            let mut module = module.to_vec();
            for (at, byte) in changes {
                let at = at.index(module.len());
                module[at] = byte;
            }
            if let Ok(admitted) = scan(&module.into()) {
                prop_assert!(admitted.size > 0);
            }
        }

        #[test]
        fn nor_do_bytes_after_a_header(component in any::<bool>(), rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let header: &[u8] = if component { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" };
            let _ = scan(&Bytes::from([header, &rest].concat()));
        }
    }
}
