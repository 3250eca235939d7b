//! The values of one record, under the numbers of its fields; nothing for empty ones.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::schema::FieldId;

/// In the order of the numbers: a record has few fields, and each is looked up several times a write.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values(Vec<(FieldId, Value)>);

impl Values {
    fn place(&self, field: FieldId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&field, |(field, _)| *field)
    }

    pub fn get(&self, field: FieldId) -> Option<&Value> {
        self.place(field).ok().map(|at| &self.0[at].1)
    }

    /// Null empties the field.
    pub fn set(&mut self, field: FieldId, value: Value) {
        match (self.place(field), value) {
            (Ok(at), Value::Null) => drop(self.0.remove(at)),
            (Ok(at), value) => self.0[at].1 = value,
            (Err(_), Value::Null) => {}
            (Err(at), value) => self.0.insert(at, (field, value)),
        }
    }

    /// The value, of which null is left.
    pub fn take(&mut self, field: FieldId) -> Option<Value> {
        self.place(field).ok().map(|at| self.0[at].1.take())
    }

    /// Lets go of all but these fields.
    pub fn retain(&mut self, fields: &[FieldId]) {
        self.0.retain(|(field, _)| fields.contains(field));
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl FromIterator<(FieldId, Value)> for Values {
    fn from_iter<I: IntoIterator<Item = (FieldId, Value)>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by_key(|(field, _)| *field);
        Values(values)
    }
}

/// Numbers in the order of their decimal digits, which is that of the keys of a JSON object: 1, 10, 2.
fn digits(FieldId(number): &FieldId) -> (u64, u32) {
    let more = number.checked_ilog10().unwrap_or(0);
    (u64::from(*number) * 10_u64.pow(9_u32.saturating_sub(more)), more)
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values: Vec<_> = self.0.iter().collect();
        values.sort_by_key(|(field, _)| digits(field));
        let mut map = serializer.serialize_map(Some(values.len()))?;
        for (field, value) in values {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values under the numbers of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                let mut values = Vec::with_capacity(8);
                while let Some(entry) = map.next_entry()? {
                    values.push(entry);
                }
                values.sort_by_key(|(field, _)| *field);
                Ok(Values(values))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_stored_as_a_map_of_texts_would_be(
            given in prop::collection::vec((prop_oneof![0..30_u32, any::<u32>()], 0..3_u8), 0..20),
        ) {
            let (mut values, mut map) = (Values::default(), BTreeMap::new());
            for (field, value) in given {
                // Of three values one is none.
                let value = if value == 0 { Value::Null } else { value.into() };
                values.set(FieldId(field), value.clone());
                match value {
                    Value::Null => map.remove(&field.to_string()),
                    value => map.insert(field.to_string(), value),
                };
            }
            let json = serde_json::to_string(&values).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&map).unwrap());
            prop_assert_eq!(serde_json::from_str::<Values>(&json).unwrap(), values);
        }
    }
}
