//! Choosing how to search: by id, by a unique set, by an index, else by looking at every record.

use std::ops::Range;

use serde_json::Value;
use stepwell_store::Key;
use stepwell_store::keys::KeyBuilder;
use uuid::Uuid;

use super::bounds::{created_between, points, stretch};
use super::sort::What;
use super::{Order, Search};
use crate::filter::{Condition, Filter, Operand, Subject, Test};
use crate::index::{empties_key, put, set_prefix, unique_key_of, values_key};
use crate::row::{self, Life};
use crate::schema::{Index, IndexState, Kind, Path, System, Target, Unique};

pub(super) struct Plan {
    pub source: Source,
    /// What it goes by, for people.
    pub index: Option<String>,
}

pub(super) enum Source {
    /// The records of these ids.
    Ids(Vec<Uuid>),
    /// The records in these places of unique sets.
    UniqueKeys(Vec<Key>),
    /// All records in these stretches, to be sorted.
    Ranges(Vec<Stretch>),
    /// The records in these stretches, one after the other: they lie in the order asked for.
    Walk(Vec<Stretch>),
}

/// Keys whose rows lead to records.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub keys: Range<Key>,
    pub holds: Holds,
    pub backwards: bool,
    /// The bytes of the key that stand before the value, so that a position can be turned into a key.
    pub base: KeyBuilder,
    /// All entries of it have this position before the id: an empty value, or nothing at all.
    pub fixed_position: Option<Vec<u8>>,
    /// Every record in it matches the whole filter, so it can be counted by its keys.
    pub exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// The records themselves.
    Records,
    /// Entries of an index, whose keys end in ids.
    Entries,
    /// Places of a unique set, whose values are ids.
    Places,
}

impl Search<'_> {
    /// The conditions that every match fulfils, by what they look at.
    fn required(&self) -> Vec<(Target<'_>, Vec<&Test>)> {
        let mut conditions = Vec::new();
        if let Some(filter) = self.filter {
            required_in(filter, &mut conditions);
        }
        let mut required: Vec<(Target<'_>, Vec<&Test>)> = Vec::new();
        for Condition { subject, tests } in conditions {
            let Subject::Field(name) = subject else { continue };
            let Ok(target) = self.object.target(name) else { continue };
            match required.iter_mut().find(|(known, _)| *known == target) {
                Some((_, known)) => known.extend(tests),
                None => required.push((target, tests.iter().collect())),
            }
        }
        required
    }

    pub fn plan(&self) -> Plan {
        let required = self.required();
        if self.life == Life::Deleted {
            return self.whole(None);
        }
        if let Some(ids) = by_id(&required) {
            return Plan { source: Source::Ids(ids), index: Some("id".to_owned()) };
        }
        let unique = self.object.unique.iter().filter(|unique| unique.state == IndexState::Ready);
        for unique in unique.clone() {
            if let Some(keys) = self.by_unique(unique, &required) {
                let index = Some(self.object.unique_names(unique).join(", "));
                return Plan { source: Source::UniqueKeys(keys), index };
            }
        }
        let indexes = || self.object.indexes.iter().filter(|index| index.state == IndexState::Ready);
        if let Some(plan) = indexes().find_map(|index| self.by_points(index, &required)) {
            return plan;
        }
        if let Some(plan) = indexes().find_map(|index| self.by_stretch(index, &required)) {
            return plan;
        }
        if let Some(plan) = unique.clone().find_map(|unique| self.by_prefix(unique, &required)) {
            return plan;
        }
        let created = required.iter().find(|(target, _)| *target == Target::System(System::CreatedAt));
        if let Some(between) = created.and_then(|(_, tests)| created_between(tests, self.now)) {
            return self.whole(Some(between));
        }
        if let Some(plan) = indexes().find_map(|index| self.by_order(index)) {
            return plan;
        }
        self.whole(None)
    }

    /// The keys of the records whose values in a unique set the filter names.
    fn by_unique(&self, unique: &Unique, required: &[(Target<'_>, Vec<&Test>)]) -> Option<Vec<Key>> {
        let tests_of =
            |path: &Path| required.iter().find(|(target, _)| target.is_at(path)).map(|(_, tests)| tests);
        let key = |values: Vec<&Value>| unique_key_of(self.records.workspace, self.object, unique, values);
        if let [path] = unique.paths.as_slice()
            && let Some(Value::Array(values)) =
                tests_of(path)?.iter().find(|test| test.operand == Operand::In).map(|test| &test.value)
        {
            return values.iter().map(|value| key(vec![value])).collect();
        }
        let values: Option<Vec<&Value>> = (unique.paths.iter())
            .map(|path| {
                let test = tests_of(path)?.iter().find(|test| test.operand == Operand::Is)?;
                Some(&test.value)
            })
            .collect();
        Some(vec![key(values?)?])
    }

    fn tests<'r>(
        &self,
        index: &Index,
        required: &'r [(Target<'_>, Vec<&'r Test>)],
    ) -> Option<(Kind, &'r [&'r Test])> {
        let (target, tests) = required.iter().find(|(target, _)| target.is_at(&index.path))?;
        Some((target.kind(), tests))
    }

    fn values(&self, index: &Index) -> KeyBuilder {
        values_key(self.records.workspace, self.object.id, index.id)
    }

    fn entries(&self, keys: Range<Key>, base: KeyBuilder) -> Stretch {
        Stretch { keys, holds: Holds::Entries, backwards: false, base, fixed_position: None, exact: false }
    }

    /// By an index whose values the filter names.
    fn by_points(&self, index: &Index, required: &[(Target<'_>, Vec<&Test>)]) -> Option<Plan> {
        let (kind, tests) = self.tests(index, required)?;
        let base = self.values(index);
        let is_empty = |test: &&&Test| test.operand == Operand::IsEmpty && test.value == Value::Bool(true);
        let (test, ranges) = match tests.iter().find(is_empty) {
            // A blank text counts as empty and is no null, so only other kinds lie wholly among the empties.
            Some(test) if index.empties && !matches!(kind, Kind::Text) => {
                (*test, vec![empties_key(self.records.workspace, self.object.id, index.id).prefix()])
            }
            _ => tests.iter().find_map(|test| Some((*test, points(&base, kind, test)?)))?,
        };
        let name = Some(self.object.path_name(&index.path));
        // Entries of one value lie in the order of their ids.
        if let ([keys], Order { by, id_descending }) = (ranges.as_slice(), &self.order)
            && by.is_empty()
        {
            let exact = required.len() == 1
                && tests.len() == 1
                && matches!(kind, Kind::Uuid | Kind::Boolean)
                && test.operand == Operand::Is
                && matches!(self.filter, Some(Filter::Condition(_)));
            let base = match test.operand {
                Operand::IsEmpty => empties_key(self.records.workspace, self.object.id, index.id),
                _ => put(base, kind, first_value(test))?,
            };
            let stretch = Stretch {
                keys: keys.clone(),
                holds: Holds::Entries,
                backwards: *id_descending,
                base,
                fixed_position: Some(Vec::new()),
                exact,
            };
            return Some(Plan { source: Source::Walk(vec![stretch]), index: name });
        }
        let ranges = ranges.into_iter().map(|keys| self.entries(keys, base.clone())).collect();
        Some(Plan { source: Source::Ranges(ranges), index: name })
    }

    /// By a stretch of an index that the filter bounds.
    fn by_stretch(&self, index: &Index, required: &[(Target<'_>, Vec<&Test>)]) -> Option<Plan> {
        let (kind, tests) = self.tests(index, required)?;
        let base = self.values(index);
        let keys = stretch(&base, kind, tests, self.now)?;
        let name = Some(self.object.path_name(&index.path));
        let mut entries = self.entries(keys, base);
        Some(match self.walks(index) {
            Some(backwards) => {
                entries.backwards = backwards;
                Plan { source: Source::Walk(vec![entries]), index: name }
            }
            None => Plan { source: Source::Ranges(vec![entries]), index: name },
        })
    }

    /// By the beginning of a unique text.
    fn by_prefix(&self, unique: &Unique, required: &[(Target<'_>, Vec<&Test>)]) -> Option<Plan> {
        let [path] = unique.paths.as_slice() else { return None };
        let (target, tests) = required.iter().find(|(target, _)| target.is_at(path))?;
        if matches!(target.kind(), Kind::Uuid | Kind::Date | Kind::DateTime) {
            return None;
        }
        let test = tests.iter().find(|test| test.operand == Operand::StartsWith)?;
        let keys = set_prefix(self.records.workspace, self.object.id, unique.id, test.value.as_str()?);
        let base = crate::index::set_key(self.records.workspace, self.object.id, unique.id);
        let places = Stretch { holds: Holds::Places, ..self.entries(keys, base) };
        Some(Plan { source: Source::Ranges(vec![places]), index: Some(self.object.path_name(path)) })
    }

    /// Whether a walk through an index gives the order asked for, and in which direction.
    fn walks(&self, index: &Index) -> Option<bool> {
        match self.order.by.as_slice() {
            [by] if by.what == What::Path(index.path.clone())
                && by.descending == self.order.id_descending =>
            {
                Some(by.descending)
            }
            _ => None,
        }
    }

    /// By the order of an index that has every record.
    fn by_order(&self, index: &Index) -> Option<Plan> {
        let backwards = self.walks(index).filter(|_| index.empties)?;
        let base = self.values(index);
        // Without a filter every entry counts, whatever is in its record.
        let exact = self.filter.is_none();
        let values = Stretch { backwards, exact, ..self.entries(base.clone().prefix(), base) };
        let base = empties_key(self.records.workspace, self.object.id, index.id);
        let empties = Stretch {
            backwards,
            exact,
            fixed_position: Some(vec![1]),
            ..self.entries(base.clone().prefix(), base)
        };
        let index = Some(self.object.path_name(&index.path));
        Some(Plan { source: Source::Walk(vec![values, empties]), index })
    }

    /// Every record, or every one that was created between two moments.
    pub fn whole(&self, created: Option<(i64, i64)>) -> Plan {
        let workspace = self.records.workspace;
        let mut keys = row::range(workspace, self.object.id, self.life);
        let base = row::object_key(workspace, self.object.id, self.life);
        if let Some((from, to)) = created {
            let id = |millis: i64, rest: u128| {
                let millis = millis.clamp(0, (1 << 48) - 1) as u128;
                row::key(workspace, self.object.id, self.life, Uuid::from_u128(millis << 80 | rest))
            };
            keys = id(from, 0)..id(to, (1 << 80) - 1).successor();
        }
        let by_time = self.order.by.is_empty() && (self.filter.is_none() || created.is_some());
        let index = (created.is_some() || by_time).then(|| "createdAt".to_owned());
        let stretch = Stretch {
            keys,
            holds: Holds::Records,
            backwards: self.order.id_descending,
            base,
            fixed_position: Some(Vec::new()),
            exact: self.filter.is_none(),
        };
        let source = if self.order.by.is_empty() {
            Source::Walk(vec![stretch])
        } else {
            Source::Ranges(vec![stretch])
        };
        Plan { source, index }
    }

    /// What would make a search that looked at too many records possible.
    pub fn advice(&self) -> String {
        let required = self.required();
        let could_be_indexed = |target: &Target<'_>, tests: &[&Test]| {
            let helps = |test: &&Test| {
                !matches!(
                    test.operand,
                    Operand::IsNot
                        | Operand::NotIn
                        | Operand::Contains
                        | Operand::NotContains
                        | Operand::EndsWith
                )
            };
            target.kind().is_ordered() && tests.iter().any(helps)
        };
        let name = required
            .iter()
            .find(|(target, tests)| could_be_indexed(target, tests))
            .and_then(|(target, _)| target.path());
        let sorted = self.order.by.iter().find_map(|by| match &by.what {
            What::Path(path) => Some(path.clone()),
            What::System(_) => None,
        });
        match name.or(sorted).map(|path| self.object.path_name(&path)) {
            Some(name) => format!("add an index on `{name}` of {}, or narrow the filter", self.object.name),
            None => "narrow the filter by a field that is unique or indexed, or by `createdAt`".to_owned(),
        }
    }
}

fn required_in<'f>(filter: &'f Filter, conditions: &mut Vec<&'f Condition>) {
    match filter {
        Filter::All(filters) => filters.iter().for_each(|filter| required_in(filter, conditions)),
        Filter::Condition(condition) => conditions.push(condition),
        Filter::Any(_) | Filter::Not(_) => {}
    }
}

fn first_value(test: &Test) -> &Value {
    match &test.value {
        Value::Array(values) if test.operand == Operand::In => values.first().unwrap_or(&Value::Null),
        value => value,
    }
}

fn by_id(required: &[(Target<'_>, Vec<&Test>)]) -> Option<Vec<Uuid>> {
    let (_, tests) = required.iter().find(|(target, _)| *target == Target::System(System::Id))?;
    let id = |value: &Value| Uuid::try_parse(value.as_str()?).ok();
    tests.iter().find_map(|test| match (test.operand, &test.value) {
        (Operand::Is, value) => Some(vec![id(value)?]),
        (Operand::In, Value::Array(values)) => values.iter().map(id).collect(),
        _ => None,
    })
}
