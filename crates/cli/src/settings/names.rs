//! The names of all settings, and what is said of a name that is none.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::bail;
use stepwell_records::nearest;

use super::{PREFIX, Settings};

/// Every setting, as a file in sections names it with dots: `limits.head_ms`.
pub fn all() -> BTreeSet<String> {
    // What may be left out is given something, so that its name is there.
    let mut every = Settings { public_url: Some(String::new()), ..Settings::default() };
    every.limits.cache_bytes = Some(0);
    every.limits.connections = Some(0);
    every.secrets.key_file = Some("".into());
    let mut names = toml::to_string(&every).map(|text| in_text(&text)).unwrap_or_default();
    let smtp = ["host", "port", "tls", "username", "password", "from", "ca_file", "timeout_ms"];
    names.extend(smtp.map(|name| format!("smtp.{name}")));
    names
}

/// The names that a TOML text gives a value; none when it is no TOML, which is told elsewhere.
pub fn in_text(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Ok(table) = toml::from_str::<toml::Table>(text) {
        collect("", &table, &mut names);
    }
    names
}

fn collect(before: &str, table: &toml::Table, names: &mut BTreeSet<String>) {
    for (name, value) in table {
        match value {
            toml::Value::Table(inside) => collect(&format!("{before}{name}."), inside, names),
            _ => _ = names.insert(format!("{before}{name}")),
        }
    }
}

/// Refuses a file that names what is no setting.
pub fn check_file(file: &Path) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(()) };
    let known = all();
    if let Some(name) = in_text(&text).difference(&known).next() {
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => every(&known),
        };
        bail!("{}: `{name}` is no setting; {hint}", file.display());
    }
    Ok(())
}

/// Refuses variables that have the prefix and name what is no setting.
pub fn check_variables<'a>(variables: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
    let known = all();
    for variable in variables {
        let name = variable.trim_start_matches(PREFIX).replace("__", ".").to_lowercase();
        if known.contains(&name) {
            continue;
        }
        let hint = match nearest(&name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {PREFIX}{}?", near.replace('.', "__").to_uppercase()),
            None => every(&known),
        };
        bail!("the variable {variable} names no setting; {hint}");
    }
    Ok(())
}

fn every(known: &BTreeSet<String>) -> String {
    format!("there are {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_name_and_no_name_is_made_up() {
        let names = all();
        for name in ["public_url", "limits.cache_bytes", "secrets.key_file", "outbound.allow_private_hosts"] {
            assert!(names.contains(name), "{name}: {names:?}");
        }
        // Each can be given; what is wrong then is its value, if anything.
        for name in &names {
            let (section, key) = name.rsplit_once('.').map_or(("", name.as_str()), |(s, key)| (s, key));
            let section = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), format!("{section}{key} = []\n")).unwrap();
            let flags = super::super::Flags { config: Some(file.path().into()), ..Default::default() };
            let told = Settings::load(&flags, std::iter::empty()).map(|_| String::new());
            let told = told.unwrap_or_else(|error| error.to_string());
            assert!(!told.contains("unknown field") && !told.contains("is no setting"), "{name}: {told}");
        }
    }
}
