//! A filter laid out for being asked: its tests in a row, each with where to go on when it holds and when it does not.
//!
//! So asking can stop after any test and go on later, and what has to be worked out of a value, such as a text in lower
//! case, is worked out once: of an operand for all subjects, of a subject for all tests.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::evaluate::{Looked, Ready, Spent};
use super::{Filter, FilterError, Subject, join};
use crate::problems::clipped;

/// What a path means to whoever evaluates; `None` where there is no such thing, null where it is empty.
type Resolve<'r, 'v> = &'r dyn Fn(&str) -> Option<Cow<'v, Value>>;

/// A filter whose operands were checked, ready to be asked of many subjects.
pub(crate) struct Asked<'f> {
    filter: &'f Filter,
    steps: Vec<Step<'f>>,
    first: Next,
    /// What the steps look at; each field once.
    subjects: Vec<&'f Subject>,
}

struct Step<'f> {
    test: Ready<'f>,
    /// Its place among the subjects.
    subject: usize,
    /// Its condition, counted from the last one.
    condition: usize,
    holds: Next,
    fails: Next,
}

#[derive(Clone, Copy)]
enum Next {
    Step(usize),
    Decided(bool),
}

/// Lays out from the end, where each step knows what comes behind it.
struct Layout<'f> {
    steps: Vec<Step<'f>>,
    subjects: Vec<&'f Subject>,
    fields: BTreeMap<&'f str, usize>,
    conditions: usize,
}

impl<'f> Layout<'f> {
    /// Puts a filter in front of what follows it when it holds and when it does not, and answers where it begins.
    fn put(&mut self, filter: &'f Filter, holds: Next, fails: Next) -> Next {
        match filter {
            Filter::All(filters) => {
                filters.iter().rev().fold(holds, |holds, filter| self.put(filter, holds, fails))
            }
            Filter::Any(filters) => {
                filters.iter().rev().fold(fails, |fails, filter| self.put(filter, holds, fails))
            }
            Filter::Not(filter) => self.put(filter, fails, holds),
            Filter::Condition(condition) => {
                let new = self.subjects.len();
                let subject = match &condition.subject {
                    Subject::Field(name) => *self.fields.entry(name).or_insert(new),
                    Subject::Value(_) => new,
                };
                if subject == new {
                    self.subjects.push(&condition.subject);
                }
                let number = self.conditions;
                self.conditions += 1;
                condition.tests.iter().rev().fold(holds, |holds, test| {
                    let test = Ready::new(test);
                    self.steps.push(Step { test, subject, condition: number, holds, fails });
                    Next::Step(self.steps.len() - 1)
                })
            }
        }
    }
}

impl<'f> Asked<'f> {
    pub fn of(filter: &'f Filter) -> Asked<'f> {
        let mut layout =
            Layout { steps: Vec::new(), subjects: Vec::new(), fields: BTreeMap::new(), conditions: 0 };
        let first = layout.put(filter, Next::Decided(true), Next::Decided(false));
        Asked { filter, steps: layout.steps, first, subjects: layout.subjects }
    }

    pub fn begin<'v>(&self) -> Asking<'_, 'f, 'v> {
        let subjects = self.subjects.iter().map(|_| None).collect();
        Asking { asked: self, next: self.first, subjects, spent: Spent::default() }
    }

    /// Whether the filter holds.
    pub fn holds<'v>(&self, resolve: Resolve<'_, 'v>, now: Timestamp) -> Result<bool, FilterError>
    where
        'f: 'v,
    {
        let mut asking = self.begin();
        loop {
            if let Some(holds) = asking.go_on(resolve, now, usize::MAX)? {
                return Ok(holds);
            }
        }
    }

    /// An error of a step. Where it is in the filter is looked up now: most evaluations need no paths.
    fn error(&self, step: &Step<'_>, key: &str, message: String) -> FilterError {
        let (mut paths, mut error) = (Vec::new(), FilterError::new(key, message, None));
        self.filter.visit_conditions(&mut |path, _| paths.push(path.to_owned()));
        if let Some(path) = paths.iter().rev().nth(step.condition) {
            error.path = join(path, key);
        }
        error
    }
}

/// A filter being asked of one subject.
pub(crate) struct Asking<'a, 'f, 'v> {
    asked: &'a Asked<'f>,
    next: Next,
    /// What was looked at already.
    subjects: Vec<Option<Looked<'v>>>,
    spent: Spent,
}

impl<'f: 'v, 'v> Asking<'_, 'f, 'v> {
    /// Asks until it is decided, or until about so much work was done by this call; then it has to be called again.
    pub fn go_on(
        &mut self,
        resolve: Resolve<'_, 'v>,
        now: Timestamp,
        most: usize,
    ) -> Result<Option<bool>, FilterError> {
        let until = self.spent.get().saturating_add(most);
        loop {
            let step = match self.next {
                Next::Decided(holds) => return Ok(Some(holds)),
                Next::Step(_) if self.spent.get() >= until => return Ok(None),
                Next::Step(at) => &self.asked.steps[at],
            };
            let subject = self.asked.subjects[step.subject];
            let looked = match &mut self.subjects[step.subject] {
                Some(looked) => looked,
                unknown => {
                    let value = match subject {
                        Subject::Value(value) => Cow::Borrowed(value),
                        Subject::Field(name) => resolve(name).ok_or_else(|| {
                            self.asked.error(step, "field", format!("there is no `{}` here", clipped(name)))
                        })?,
                    };
                    unknown.insert(Looked::at(value))
                }
            };
            let holds = step.test.holds(looked, now, &self.spent).map_err(|message| {
                let message = match subject {
                    Subject::Field(name) => format!("`{name}`: {message}"),
                    Subject::Value(_) => message,
                };
                self.asked.error(step, step.test.operand().name(), message)
            })?;
            self.next = if holds { step.holds } else { step.fails };
        }
    }

    /// The work done until now, about as many as bytes were looked at.
    pub fn spent(&self) -> usize {
        self.spent.get()
    }
}
