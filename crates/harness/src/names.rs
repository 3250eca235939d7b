//! Function names in a Rust module, as short as they can be and still be read in a trap.
//!
//! The compiler writes them mangled, with hashes and the types of every parameter: a tenth of a small module. Here they
//! are demangled, without hashes and cut, in the same section.

use stepwell_sandbox::admit::{Strip, append_custom, strip};
use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::HarnessError;

const SECTION: &str = "name";
/// Of its subsections, the one with functions.
const FUNCTIONS: u8 = 1;
/// Longer names are cut: where a function stands is said first.
const LENGTH: usize = 56;

/// The core module with its names shortened; other binaries as they are.
pub(crate) fn shorten(module: Vec<u8>) -> Result<Vec<u8>, HarnessError> {
    let Some(names) = names(&module) else { return Ok(module) };
    let mut functions = Vec::new();
    leb(&mut functions, names.len());
    for (index, name) in &names {
        leb(&mut functions, *index as usize);
        leb(&mut functions, name.len());
        functions.extend_from_slice(name.as_bytes());
    }
    let mut section = vec![FUNCTIONS];
    leb(&mut section, functions.len());
    section.append(&mut functions);
    let mut short = strip(&module, &Strip { custom: &|name| name == SECTION, exports: &[] })?;
    append_custom(&mut short, SECTION, &section);
    Ok(short)
}

/// The names of its functions, if it is a core module that has any.
fn names(module: &[u8]) -> Option<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        // What is no module is refused by the scan, in its own words.
        match payload.ok()? {
            Payload::Version { encoding: wasmparser::Encoding::Component, .. } => return None,
            Payload::CustomSection(section) => {
                let KnownCustom::Name(names) = section.as_known() else { continue };
                for name in names {
                    let Name::Function(functions) = name.ok()? else { continue };
                    for naming in functions {
                        let naming = naming.ok()?;
                        found.push((naming.index, readable(naming.name)));
                    }
                }
            }
            _ => {}
        }
    }
    (!found.is_empty()).then_some(found)
}

fn readable(mangled: &str) -> String {
    // `#` leaves the hash out.
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    match name.char_indices().nth(LENGTH) {
        None => name,
        Some((at, _)) => format!("{}…", &name[..at]),
    }
}

fn leb(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_people_and_are_short() {
        assert_eq!(
            readable("_ZN10serde_json4read9SliceRead14skip_to_escape17h1f9b5c9656a3d00dE"),
            "serde_json::read::SliceRead::skip_to_escape"
        );
        assert_eq!(readable("stepwell:action/handler@1.0.0#run"), "stepwell:action/handler@1.0.0#run");
        let long = readable(
            "_ZN102_$LT$core..iter..adapters..map..Map$LT$I$C$F$GT$$u20$as$u20$core..iter..traits..iterator..Iterator$GT$4next17h04ba734ce51ed47dE",
        );
        assert_eq!(long, "<core::iter::adapters::map::Map<I,F> as core::iter::trai…");
    }

    #[test]
    fn what_is_no_core_module_with_names_stays_as_it_is() {
        for bytes in [&b"nothing"[..], b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
            assert_eq!(shorten(bytes.to_vec()).unwrap(), bytes);
        }
    }

    #[test]
    fn functions_keep_their_names_and_nothing_else_changes() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        let name = "_ZN1a1b17h04ba734ce51ed47dE";
        let mut section = vec![FUNCTIONS, name.len() as u8 + 3, 1, 0, name.len() as u8];
        section.extend_from_slice(name.as_bytes());
        append_custom(&mut module, SECTION, &section);
        append_custom(&mut module, "other", b"kept");
        let short = shorten(module.clone()).unwrap();
        assert_eq!(names(&short), Some(vec![(0, "a::b".to_owned())]));
        assert!(short.len() < module.len() && short.windows(4).any(|w| w == b"kept"));
        assert_eq!(shorten(short.clone()).unwrap(), short, "once is enough");
    }
}
