//! `action inspect`: what a module is, without running it.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use stepwell_sandbox::ActionInfo;
use stepwell_sandbox::admit::scan;

use crate::HarnessError;

/// What a module file is.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    #[serde(flatten)]
    pub info: ActionInfo,
}

/// Scans a module file by the rules of an upload.
pub fn inspect(path: &Path) -> Result<Inspection, HarnessError> {
    let bytes = std::fs::read(path).map_err(HarnessError::io(path))?;
    let admitted = scan(&bytes.into()).map_err(|refusal| HarnessError::Refused(refusal.to_string()))?;
    Ok(Inspection { info: (&admitted).into() })
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
        line("size", &format!("{} bytes", info.size));
        line("sha256", &info.sha256);
        line("imports", &list(&info.imports));
        line("exports", &list(&info.exports));
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
