//! Types as they are kept, and how much of them a check looks at. A template puts the type of an earlier step into another, so
//! that a short document can describe what is far larger than itself: here is the one place that sees to it that a type
//! nests so deep at most, has so many alternatives, and is compared without going through it.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

use super::types::{Rest, Rule, Ty};
use crate::depth::MAX_DEPTH;
use crate::expr::Kinds;

/// More alternatives than this are any.
const MAX_ALTERNATIVES: usize = 64;
/// What a check looks at, in all: alternatives of types, and names.
const LOOKS: usize = 4_000_000;
/// Pairs of letters that a check compares to tell which name was meant.
const SUGGESTIONS: usize = 20_000_000;

/// A type that others may be built of, and that is shared by all that use it.
#[derive(Clone)]
pub(super) struct Type(Rc<Kept>);

struct Kept {
    ty: Ty,
    kinds: Kinds,
    /// Levels below it; what would have more than a value of a run may have is any.
    depth: usize,
    /// Of two types that say the same it is the same.
    mark: u64,
}

impl From<Ty> for Type {
    fn from(ty: Ty) -> Type {
        let ty = match ty {
            Ty::OneOf { of, rule } => match alternatives(of, rule) {
                Ok(only) => return only,
                Err(ty) => ty,
            },
            other => other,
        };
        let below = parts(&ty).map(|part| part.0.depth + 1).max().unwrap_or(0);
        let (ty, depth) = if below > MAX_DEPTH { (Ty::Any, 0) } else { (ty, below) };
        let (kinds, mark) = (ty.kinds(), mark(&ty));
        Type(Rc::new(Kept { ty, kinds, depth, mark }))
    }
}

impl Type {
    /// One type for several; one alone is itself.
    pub fn one_of(of: Vec<Type>, rule: Rule) -> Type {
        Type::from(Ty::OneOf { of, rule })
    }

    /// The kinds of JSON that a value of it may be of.
    pub fn kinds(&self) -> Kinds {
        self.0.kinds
    }

    /// Without the null that it may be instead.
    pub fn bare(&self) -> &Type {
        match &self.0.ty {
            Ty::Nullable(inner) => inner.bare(),
            _ => self,
        }
    }
}

impl Deref for Type {
    type Target = Ty;

    fn deref(&self) -> &Ty {
        &self.0.ty
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Type) -> bool {
        self.0.mark == other.0.mark
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.ty.fmt(f)
    }
}

/// Alternatives without those that are there twice, and those of alternatives among them; one alone is itself.
fn alternatives(of: Vec<Type>, rule: Rule) -> Result<Type, Ty> {
    let mut seen = HashSet::new();
    let mut flat: Vec<Type> = Vec::new();
    for one in of {
        // What was built before is flat itself.
        let inner = match &*one {
            Ty::OneOf { of, rule: same } if *same == rule => of.as_slice(),
            _ => std::slice::from_ref(&one),
        };
        flat.extend(inner.iter().filter(|inner| seen.insert(inner.0.mark)).cloned());
        if flat.len() > MAX_ALTERNATIVES {
            return Err(Ty::Any);
        }
    }
    match flat.pop() {
        None => Err(Ty::Any),
        Some(only) if flat.is_empty() => Ok(only),
        Some(last) => {
            flat.push(last);
            Err(Ty::OneOf { of: flat, rule })
        }
    }
}

/// The types that one is directly built of.
fn parts(ty: &Ty) -> impl Iterator<Item = &Type> {
    let (one, several, fields) = match ty {
        Ty::Any | Ty::Text | Ty::Number | Ty::Boolean => (None, None, None),
        Ty::List(inner) | Ty::Nullable(inner) => (Some(inner), None, None),
        Ty::OneOf { of, .. } => (None, Some(of), None),
        Ty::Object(object) => match &object.rest {
            Rest::Open(rest) => (Some(rest), None, Some(&object.fields)),
            Rest::Closed | Rest::Unsaid => (None, None, Some(&object.fields)),
        },
    };
    let fields = fields.into_iter().flatten().map(|(_, ty)| ty);
    one.into_iter().chain(several.into_iter().flatten()).chain(fields)
}

fn mark(ty: &Ty) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::mem::discriminant(ty).hash(&mut hasher);
    match ty {
        Ty::Object(object) => {
            object.label.hash(&mut hasher);
            object.required.hash(&mut hasher);
            std::mem::discriminant(&object.rest).hash(&mut hasher);
            object.fields.iter().for_each(|(name, _)| name.hash(&mut hasher));
        }
        Ty::OneOf { rule, .. } => (*rule == Rule::Some).hash(&mut hasher),
        _ => {}
    }
    parts(ty).for_each(|part| part.0.mark.hash(&mut hasher));
    hasher.finish()
}

/// What is left of a number of things that may be done. A check that has done too many goes on without them, and tells less.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub fn new(amount: usize) -> Budget {
        Budget(Cell::new(amount))
    }

    pub fn looks() -> Budget {
        Budget::new(LOOKS)
    }

    /// Whether there was as much left; from the first time that there was not, nothing is.
    pub fn spend(&self, amount: usize) -> bool {
        let left = self.0.get().checked_sub(amount);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// "Did you mean …", which costs the product of the lengths of both names for each that there is.
#[derive(Debug)]
pub(super) struct Suggestions(Budget);

impl Default for Suggestions {
    fn default() -> Self {
        Suggestions(Budget::new(SUGGESTIONS))
    }
}

impl Suggestions {
    /// The name that was most likely meant, as long as names may be compared.
    pub fn nearest<'n>(&self, word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        let names: Vec<&str> = names.into_iter().collect();
        let letters: usize = names.iter().map(|name| name.len()).sum();
        if self.0.spend(word.len() * letters) { stepwell_records::nearest(word, names) } else { None }
    }
}
