//! The order of results: by some paths, and at last by id, which is the order of creation.

use uuid::Uuid;

use crate::error::Problem;
use crate::index::sort_bytes;
use crate::row::Row;
use crate::schema::{Kind, Object, Path, System, Target};

/// Paths that one search sorts by.
const MAX_PATHS: usize = 8;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    pub by: Vec<By>,
    /// The direction of ids, where all of `by` is equal.
    pub id_descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct By {
    pub what: What,
    pub kind: Kind,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    System(System),
    Path(Path),
}

impl Order {
    pub fn parse(object: &Object, sort: &[String]) -> Result<Order, Problem> {
        if sort.len() > MAX_PATHS {
            return Err(Problem::new("sort", format!("{} paths are too many to sort by", sort.len()))
                .hint(format!("name at most {MAX_PATHS}")));
        }
        let mut order = Order { by: Vec::new(), id_descending: false };
        let mut id_direction = None;
        for text in sort {
            let (name, descending) = match text.strip_prefix('-') {
                Some(name) => (name, true),
                None => (text.strip_prefix('+').unwrap_or(text), false),
            };
            let target = object.target(name).map_err(|unknown| Problem {
                path: "sort".to_owned(),
                message: unknown.message,
                hint: unknown.hint,
            })?;
            if !target.kind().is_ordered() {
                let problem = Problem::new("sort", format!("`{name}` has no order to sort by"));
                return Err(match &target {
                    Target::Field { field, part: None } if !field.kind.parts().is_empty() => {
                        let parts = field.kind.parts().iter().filter(|(_, kind)| kind.is_ordered());
                        let parts: Vec<_> = parts.map(|(part, _)| format!("{name}.{part}")).collect();
                        problem.hint(format!("sort by one of {}", parts.join(", ")))
                    }
                    _ => problem,
                });
            }
            // Ids hold their time: nothing is left to decide after either.
            if let Target::System(System::Id | System::CreatedAt) = target {
                id_direction = Some(descending);
                break;
            }
            let what = match target {
                Target::System(system) => What::System(system),
                ref field => match field.path() {
                    Some(path) => What::Path(path),
                    None => continue,
                },
            };
            order.by.push(By { what, kind: target.kind(), descending });
        }
        let first = order.by.first().is_some_and(|by| by.descending);
        order.id_descending = id_direction.unwrap_or(first);
        Ok(order)
    }

    /// Where a row stands: rows in the order of these bytes are in the order asked for.
    pub fn position(&self, row: &Row) -> Vec<u8> {
        let mut position = Vec::new();
        for By { what, kind, descending } in &self.by {
            match what {
                What::Path(path) => position.extend(sort_bytes(*kind, row.get(path), *descending)),
                What::System(system) => {
                    position.extend(sort_bytes(*kind, &row.system(*system).into(), *descending));
                }
            }
        }
        self.push_id(&mut position, row.id);
        position
    }

    pub fn push_id(&self, position: &mut Vec<u8>, id: Uuid) {
        let flip = if self.id_descending { u8::MAX } else { 0 };
        position.extend(id.as_bytes().map(|byte| byte ^ flip));
    }

    /// The values' bytes and the id in a position; `None` if it is too short to be one.
    pub fn split<'p>(&self, position: &'p [u8]) -> Option<(&'p [u8], Uuid)> {
        let (values, id) = position.split_last_chunk::<16>()?;
        let flip = if self.id_descending { u8::MAX } else { 0 };
        Some((values, Uuid::from_bytes(id.map(|byte| byte ^ flip))))
    }
}
