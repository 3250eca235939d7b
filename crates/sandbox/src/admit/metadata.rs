//! What a module says about itself: the custom section `stepwell:action`, read without running
//! anything, and the writer that a build uses.

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::rules;
use super::sections::{self, Strip};
use super::{Metadata, Refusal};

/// The name of the custom section.
pub const SECTION: &str = "stepwell:action";

/// Reads the content of the section.
pub fn parse(data: &[u8]) -> Result<Metadata, Refusal> {
    rules::METADATA_BYTES.check(data.len() as u64, String::new)?;
    let metadata: Metadata = serde_json::from_slice(data).map_err(|error| {
        let fault = crate::names::said(error);
        Refusal::new("metadata", format!("the custom section `{SECTION}` is not metadata: {fault}"))
            .hint("let `stepwell action build` write it; it is a JSON object")
    })?;
    check(&metadata)?;
    Ok(metadata)
}

/// `module` with `metadata` in the place of whatever it said about itself.
pub fn write(module: &[u8], metadata: &Metadata) -> Result<Vec<u8>, Refusal> {
    check(metadata)?;
    let data = serde_json::to_vec(metadata)
        .map_err(|error| Refusal::new("metadata", format!("the metadata are not JSON: {error}")))?;
    rules::METADATA_BYTES.check(data.len() as u64, String::new)?;
    let mut written = sections::strip(module, &Strip { custom: &|name| name == SECTION, exports: &[] })?;
    sections::append_custom(&mut written, SECTION, &data);
    Ok(written)
}

fn check(metadata: &Metadata) -> Result<(), Refusal> {
    if let Some(name) = &metadata.name
        && !is_action_name(name)
    {
        return Err(wrong("name", &format!("\"{}\"", super::kind::shown(name))).hint(
            "lower-case letters, digits and hyphens, a letter first, at most 64, such as normalize-lead",
        ));
    }
    if let Some(contract) = &metadata.contract
        && contract.major != 1
    {
        let message = format!("the module was built for contract {contract}");
        return Err(
            Refusal::new("contract", message).hint("this host speaks contract 1.x; build with an SDK for it")
        );
    }
    for (field, schema) in
        [("input_schema", &metadata.input_schema), ("output_schema", &metadata.output_schema)]
    {
        if let Some(schema) = schema
            && !schema.is_object()
            && !schema.is_boolean()
        {
            return Err(wrong(field, &super::kind::shown(&schema.to_string()))
                .hint("a JSON Schema is an object, or true or false"));
        }
        if let Some(schema) = schema {
            check_schema(field, schema)?;
        }
    }
    if let Some(grant) = metadata.grants.first() {
        return Err(wrong("grants", &format!("\"{}\"", super::kind::shown(grant)))
            .hint("contract 1.0 has no grants; leave the list empty"));
    }
    for (field, text) in [("description", &metadata.description), ("sdk", &metadata.sdk)] {
        if text.as_ref().is_some_and(|text| text.len() > 4096) {
            return Err(wrong(field, "longer than 4,096 bytes").hint("say it in fewer words"));
        }
    }
    Ok(())
}

/// How deep a schema may nest; whoever uses it recurses, and stores it inside other JSON.
const SCHEMA_DEPTH: usize = 64;

/// Whether `schema` is one, for its shape: whether what it refers to is there, whoever compiles it says.
fn check_schema(field: &str, schema: &Value) -> Result<(), Refusal> {
    if is_deeper(schema, SCHEMA_DEPTH) {
        return Err(wrong(field, &format!("nested deeper than {SCHEMA_DEPTH} levels"))
            .hint("put inner schemas under `$defs` and refer to them with `#/$defs/NAME`"));
    }
    const HINT: &str = "write JSON Schema, draft 2020-12 or earlier";
    jsonschema::meta::validate(schema).map_err(|error| {
        if let ValidationErrorKind::Referencing(_) = error.kind() {
            let draft = super::kind::shown(schema["$schema"].as_str().unwrap_or_default());
            return wrong(field, &format!("of `$schema` \"{draft}\", no draft that is known here"))
                .hint(HINT);
        }
        let place = match error.instance_path().as_str() {
            "" => String::new(),
            place => format!(", at `{}`", super::kind::shown(place)),
        };
        // It quotes the schema.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let why: String = error.to_string().chars().take(200).map(plain).collect();
        wrong(field, &format!("no JSON Schema{place}: {why}")).hint(HINT)
    })
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |item: &Value| levels == 0 || is_deeper(item, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(inner),
        Value::Object(object) => levels == 0 || object.values().any(inner),
        _ => false,
    }
}

fn wrong(field: &str, found: &str) -> Refusal {
    Refusal::new("metadata", format!("the custom section `{SECTION}`: {field} is {found}"))
}

/// Whether `name` can be the name of an action.
pub fn is_action_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(rest)
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LimitsPatch;
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    fn sample() -> Metadata {
        Metadata {
            name: Some("normalize-lead".into()),
            version: Some(semver::Version::new(1, 2, 0)),
            description: Some("Cleans a lead".into()),
            sdk: Some("rust 0.1.0".into()),
            contract: Some(semver::Version::new(1, 0, 0)),
            input_schema: Some(json!({"type": "object"})),
            output_schema: Some(json!(true)),
            limits: LimitsPatch { fuel: Some(5), ..LimitsPatch::default() },
            grants: Vec::new(),
        }
    }

    fn command() -> Vec<u8> {
        wat::parse_str(r#"(module (func (export "_start")) (@custom "other" "kept"))"#).unwrap()
    }

    #[test]
    fn what_is_written_is_what_the_scan_reads() {
        let module = Bytes::from(write(&command(), &sample()).unwrap());
        assert_eq!(super::super::scan(&module).unwrap().metadata, Some(sample()));
    }

    #[test]
    fn writing_again_replaces_and_touches_nothing_else() {
        let old = Metadata { name: Some("old".into()), ..Metadata::default() };
        let once = write(&command(), &sample()).unwrap();
        let twice = write(&write(&command(), &old).unwrap(), &sample()).unwrap();
        assert_eq!(once, twice);
        assert!(once.starts_with(&command()));
    }

    #[test]
    fn wrong_metadata_are_refused_with_what_would_be_right() {
        let refuse = |json: &str| parse(json.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(refuse("[1"), @"the custom section `stepwell:action` is not metadata: invalid type: integer `1`, expected a string at line 1 column 2 (let `stepwell action build` write it; it is a JSON object)");
        insta::assert_snapshot!(refuse(r#"{"name": 5}"#), @"the custom section `stepwell:action` is not metadata: invalid type: integer `5`, expected a string at line 1 column 10 (let `stepwell action build` write it; it is a JSON object)");
        insta::assert_snapshot!(refuse(r#"{"name": "Not\u0007Good"}"#), @r#"the custom section `stepwell:action`: name is "Not\u{7}Good" (lower-case letters, digits and hyphens, a letter first, at most 64, such as normalize-lead)"#);
        insta::assert_snapshot!(refuse(r#"{"version": "1.x"}"#), @"the custom section `stepwell:action` is not metadata: unexpected character 'x' while parsing minor version number at line 1 column 17 (let `stepwell action build` write it; it is a JSON object)");
        insta::assert_snapshot!(refuse(r#"{"contract": "2.0.0"}"#), @"the module was built for contract 2.0.0 (this host speaks contract 1.x; build with an SDK for it)");
        insta::assert_snapshot!(refuse(r#"{"grants": ["http"]}"#), @r#"the custom section `stepwell:action`: grants is "http" (contract 1.0 has no grants; leave the list empty)"#);
        insta::assert_snapshot!(refuse(r#"{"input_schema": 7}"#), @"the custom section `stepwell:action`: input_schema is 7 (a JSON Schema is an object, or true or false)");
        insta::assert_snapshot!(refuse(r#"{"input_schema": {"properties": {"age": {"type": "int"}}}}"#), @r#"the custom section `stepwell:action`: input_schema is no JSON Schema, at `/properties/age/type`: "int" is not valid under any of the schemas listed in the 'anyOf' keyword (write JSON Schema, draft 2020-12 or earlier)"#);
        insta::assert_snapshot!(refuse(r#"{"output_schema": {"$schema": "https://example.com/mine"}}"#), @r#"the custom section `stepwell:action`: output_schema is of `$schema` "https://example.com/mine", no draft that is known here (write JSON Schema, draft 2020-12 or earlier)"#);
        let deep = r#"{"items":"#.repeat(100) + "{}" + &"}".repeat(100);
        insta::assert_snapshot!(refuse(&format!(r#"{{"input_schema": {deep}}}"#)), @"the custom section `stepwell:action`: input_schema is nested deeper than 64 levels (put inner schemas under `$defs` and refer to them with `#/$defs/NAME`)");
        insta::assert_snapshot!(refuse(r#"{"name": "a", "name": "b"}"#), @"the custom section `stepwell:action` is not metadata: duplicate field `name` at line 1 column 20 (let `stepwell action build` write it; it is a JSON object)");
        assert_eq!(parse(&vec![b' '; 300 << 10]).unwrap_err().rule, "metadata_bytes");
        assert_eq!(parse(br#"{"from_a_newer_sdk": 1}"#), Ok(Metadata::default()));
    }

    #[test]
    fn two_sections_are_refused() {
        let module = wat::parse_str(
            r#"(module (func (export "_start"))
                (@custom "stepwell:action" "{}") (@custom "stepwell:action" "{}"))"#,
        );
        let refusal = super::super::scan(&module.unwrap().into()).unwrap_err();
        assert!(refusal.message.contains("twice"), "{refusal}");
    }

    proptest! {
        #[test]
        fn any_content_is_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&data);
        }
    }
}
