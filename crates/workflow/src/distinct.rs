//! Members that are there twice: most readers of JSON keep the last and say nothing, so a filter would lose a condition
//! (RFC 8259, 4, leaves open what such an object means).

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// As serde_json reads it, and an error of the category `Data`, with its place, if an object in it has two members of
/// one name.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    check(json)?;
    serde_json::from_slice(json)
}

/// An error, with its place, if an object somewhere in this JSON has two members of one name.
fn check(json: &[u8]) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Distinct.deserialize(&mut deserializer)?;
    deserializer.end()
}

struct Distinct;

impl<'de> DeserializeSeed<'de> for Distinct {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Distinct)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::<String>::new();
        while let Some(name) = members.next_key::<String>()? {
            if names.contains(&name) {
                let shown: String = name.chars().take(60).collect();
                return Err(Error::custom(format!("the member {shown:?} is there twice")));
            }
            names.insert(name);
            members.next_value_seed(Distinct)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn one_name_may_stand_in_several_objects_and_once_in_each() {
        check(br#"{"a": {"a": 1, "b": [{"a": 1.5}, {"a": null}, "a", true, -1]}, "b": {"a": ""}}"#).unwrap();
        for (text, column) in [
            (r#"{"a": 1, "a": 1}"#, 12),
            (r#"[{"x": {"a": 1, "\u0061": 2}}]"#, 24),
            (r#"{"": 1, "": 2}"#, 10),
        ] {
            let error = check(text.as_bytes()).unwrap_err();
            assert!(error.is_data() && error.to_string().contains("is there twice at line 1"), "{error}");
            assert_eq!(error.column(), column, "{text}");
        }
        assert!(check(b"{\"a\": }").unwrap_err().is_syntax());
        assert!(check(b"{} {}").is_err());
    }
}
