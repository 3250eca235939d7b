//! Rewrites a binary section by section: adds custom sections and strips those and exports that a
//! build leaves behind. What is kept is kept byte for byte.

use wasmparser::{BinaryReader, Export, SectionLimited};

use super::Refusal;
use super::scan::malformed;

const CUSTOM: u8 = 0;
const CORE_EXPORTS: u8 = 7;
/// In a component: a core module, and a component.
const NESTED: [u8; 2] = [1, 4];
const CORE_HEADER: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const NESTING: u32 = 16;

/// What to leave out.
#[derive(Clone, Copy)]
pub struct Strip<'a> {
    /// Custom sections by name, in the modules inside a component too.
    pub custom: &'a dyn Fn(&str) -> bool,
    /// Exports of core modules by name.
    pub exports: &'a [&'a str],
}

/// Whether a custom section is of use only to debuggers and linkers. Function names stay: traps
/// show them.
pub fn is_debug_section(name: &str) -> bool {
    name.starts_with(".debug_")
        || name.starts_with("reloc.")
        || matches!(name, "linking" | "sourceMappingURL" | "external_debug_info" | "target_features")
}

/// `module` without what `strip` names.
pub fn strip(module: &[u8], strip: &Strip<'_>) -> Result<Vec<u8>, Refusal> {
    let mut stripped = Vec::with_capacity(module.len());
    rewrite(module, 0, strip, 0, &mut stripped)?;
    Ok(stripped)
}

/// Puts a custom section at the end of a binary.
pub fn append_custom(module: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut content = Vec::with_capacity(name.len() + data.len() + 5);
    leb(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    section(module, CUSTOM, &content);
}

fn rewrite(
    module: &[u8],
    offset: usize,
    strip: &Strip<'_>,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let component = module.starts_with(COMPONENT_HEADER);
    if !component && !module.starts_with(CORE_HEADER) {
        return Err(Refusal::new("not_wasm", "this is neither a core module nor a component"));
    }
    if depth > NESTING {
        return Err(Refusal::new("component_nesting", "components nest too deep"));
    }
    let (header, rest) = module.split_at(CORE_HEADER.len());
    out.extend_from_slice(header);
    let mut reader = BinaryReader::new(rest, offset + header.len());
    while !reader.eof() {
        let start = reader.current_position();
        let id = reader.read_u8().map_err(malformed)?;
        let size = reader.read_var_u32().map_err(malformed)? as usize;
        let at = reader.original_position();
        let content = reader.read_bytes(size).map_err(malformed)?;
        let whole = &rest[start..reader.current_position()];
        match id {
            CUSTOM => {
                let name = BinaryReader::new(content, at).read_string().map_err(malformed)?;
                if !(strip.custom)(name) {
                    out.extend_from_slice(whole);
                }
            }
            CORE_EXPORTS if !component && !strip.exports.is_empty() => {
                section(out, id, &exports(content, at, strip)?);
            }
            id if component && NESTED.contains(&id) => {
                let mut nested = Vec::with_capacity(content.len());
                rewrite(content, at, strip, depth + 1, &mut nested)?;
                section(out, id, &nested);
            }
            _ => out.extend_from_slice(whole),
        }
    }
    Ok(())
}

fn exports(content: &[u8], at: usize, strip: &Strip<'_>) -> Result<Vec<u8>, Refusal> {
    let reader = SectionLimited::<Export<'_>>::new(BinaryReader::new(content, at)).map_err(malformed)?;
    let mut items = reader.into_iter();
    let (mut kept, mut bytes) = (0, Vec::with_capacity(content.len()));
    loop {
        let start = items.original_position() - at;
        let Some(export) = items.next() else { break };
        let export = export.map_err(malformed)?;
        if !strip.exports.contains(&export.name) {
            kept += 1;
            bytes.extend_from_slice(&content[start..items.original_position() - at]);
        }
    }
    let mut rewritten = Vec::with_capacity(bytes.len() + 5);
    leb(&mut rewritten, kept);
    rewritten.extend_from_slice(&bytes);
    Ok(rewritten)
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    leb(out, content.len());
    out.extend_from_slice(content);
}

fn leb(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::Validator;

    #[test]
    fn stripping_nothing_keeps_every_byte() {
        let module = wat::parse_str(
            r#"(component
                (core module $m (func (export "f")) (@custom "linking" "x"))
                (component (core module (memory 1)))
                (core instance (instantiate $m)))"#,
        );
        let module = module.unwrap();
        assert_eq!(strip(&module, &Strip { custom: &|_| false, exports: &["other"] }).unwrap(), module);
    }

    #[test]
    fn exports_and_debug_sections_go_in_nested_modules_too() {
        let module = wat::parse_str(
            r#"(component
                (core module $m (func (export "f")) (func (export "hidden")) (@custom ".debug_info" "x") (@custom "name2" "y"))
                (core instance (instantiate $m)))"#,
        )
        .unwrap();
        let strip = Strip { custom: &is_debug_section, exports: &["hidden"] };
        let stripped = super::strip(&module, &strip).unwrap();
        Validator::new().validate_all(&stripped).unwrap();
        let has = |name: &str| stripped.windows(name.len()).any(|bytes| bytes == name.as_bytes());
        assert!(!has("hidden") && !has(".debug_info") && has("name2"));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let module = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
        for end in 0..module.len() {
            let cut = strip(&module[..end], &Strip { custom: &|_| true, exports: &["f"] });
            // Between two sections there is nothing to notice.
            if let Ok(stripped) = cut {
                assert!(stripped.len() <= end);
            }
        }
        assert!(strip(b"not wasm", &Strip { custom: &|_| true, exports: &[] }).is_err());
    }
}
