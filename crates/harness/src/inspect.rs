//! `action inspect`: what a module is, without running it.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use stepwell_sandbox::ActionInfo;
use stepwell_sandbox::admit::scan;

use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

use crate::HarnessError;
use crate::report::thousands;

/// How many of the biggest functions are shown.
const BIGGEST: usize = 10;

/// What a module file is.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    #[serde(flatten)]
    pub info: ActionInfo,
    /// Its custom sections.
    pub custom_sections: Vec<Section>,
    /// Its biggest functions, biggest first.
    pub biggest_functions: Vec<Function>,
}

/// A custom section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    pub name: String,
    pub size: u64,
}

/// A function of a core module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Function {
    /// Its name, if the module keeps names.
    pub name: Option<String>,
    /// Its index in its core module.
    pub index: u32,
    /// Size of its body.
    pub size: u64,
}

/// Scans a module file by the rules of an upload.
pub fn inspect(path: &Path) -> Result<Inspection, HarnessError> {
    let bytes = std::fs::read(path).map_err(HarnessError::io(path))?;
    let admitted = scan(&bytes.into())?;
    let (custom_sections, biggest_functions) = contents(&admitted.module);
    Ok(Inspection { info: (&admitted).into(), custom_sections, biggest_functions })
}

fn contents(module: &[u8]) -> (Vec<Section>, Vec<Function>) {
    let (mut sections, mut functions) = (Vec::new(), Vec::<Function>::new());
    // Where the functions of the core module at hand begin in the list, and its next index.
    let (mut start, mut next) = (0, 0);
    // The scan has read it all before: nothing is malformed here.
    for payload in Parser::new(0).parse_all(module).map_while(Result::ok) {
        match payload {
            Payload::Version { .. } => (start, next) = (functions.len(), 0),
            Payload::ImportSection(imports) => {
                let imports = imports.into_imports().filter_map(Result::ok);
                next += imports.map(|import| u32::from(matches!(import.ty, TypeRef::Func(_)))).sum::<u32>();
            }
            Payload::CodeSectionEntry(body) => {
                functions.push(Function { name: None, index: next, size: body.range().len() as u64 });
                next += 1;
            }
            Payload::CustomSection(section) => {
                sections.push(Section { name: section.name().to_owned(), size: section.data().len() as u64 });
                if let KnownCustom::Name(names) = section.as_known() {
                    for names in names.into_iter().filter_map(Result::ok) {
                        name_functions(names, &mut functions[start..]);
                    }
                }
            }
            _ => {}
        }
    }
    functions.sort_by_key(|function| std::cmp::Reverse(function.size));
    functions.truncate(BIGGEST);
    (sections, functions)
}

fn name_functions(names: Name<'_>, functions: &mut [Function]) {
    let Name::Function(names) = names else { return };
    for naming in names.into_iter().filter_map(Result::ok) {
        if let Ok(at) = functions.binary_search_by_key(&naming.index, |function| function.index) {
            functions[at].name = Some(naming.name.to_owned());
        }
    }
}

impl Inspection {
    /// For people.
    pub fn text(&self) -> String {
        let info = &self.info;
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<12} {value}");
        };
        let kind = serde_json::to_value(info.kind)
            .ok()
            .and_then(|k| k.as_str().map(str::to_owned))
            .unwrap_or_default();
        if let Some(metadata) = &info.metadata {
            line("name", metadata.name.as_deref().unwrap_or("-"));
            line("version", &metadata.version.as_ref().map_or_else(|| "-".into(), ToString::to_string));
            line("description", metadata.description.as_deref().unwrap_or("-"));
            line("sdk", metadata.sdk.as_deref().unwrap_or("-"));
        } else {
            line("metadata", "none: `stepwell action build` writes them");
        }
        line("kind", &kind);
        line("size", &format!("{} bytes", thousands(info.size)));
        line("sha256", &info.sha256);
        line("imports", &list(&info.imports));
        line("exports", &list(&info.exports));
        let sections = self.custom_sections.iter();
        let sections =
            sections.map(|section| format!("{} ({} bytes)", section.name, thousands(section.size)));
        line("sections", &list(&sections.collect::<Vec<_>>()));
        if let Some(limits) = info.metadata.as_ref().and_then(|m| serde_json::to_value(m.limits).ok()) {
            let limits = limits.as_object().into_iter().flatten();
            let limits = limits
                .map(|(name, limit)| format!("{name} {}", thousands(limit.as_u64().unwrap_or_default())));
            line("limits", &list(&limits.collect::<Vec<_>>()));
        }
        for (index, function) in self.biggest_functions.iter().enumerate() {
            let name = function.name.clone().unwrap_or_else(|| format!("function {}", function.index));
            line(
                if index == 0 { "biggest" } else { "" },
                &format!("{:>9}  {name}", thousands(function.size)),
            );
        }
        for (name, schema) in [
            ("input", info.metadata.as_ref().and_then(|m| m.input_schema.as_ref())),
            ("output", info.metadata.as_ref().and_then(|m| m.output_schema.as_ref())),
        ] {
            if let Some(schema) = schema {
                let _ = writeln!(text, "{name} schema");
                for schema_line in serde_json::to_string_pretty(schema).unwrap_or_default().lines() {
                    let _ = writeln!(text, "  {schema_line}");
                }
            }
        }
        text
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
