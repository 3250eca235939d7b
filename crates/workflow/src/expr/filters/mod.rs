//! Filters, tests and functions of expressions: one table each, and how they take their arguments.

mod date;
mod encode;
mod list;
mod number;
mod tests;
mod text;

use std::borrow::Cow;

use serde_json::Value;

use super::ast::Args;
use super::eval::Run;
use super::json::{kind, text as as_text};

/// What a filter does with its input and arguments; `None`: the list has no such item.
type RunFilter = for<'a> fn(&Run<'a>, Cow<'a, Value>, &Given<'a>) -> Result<Option<Value>, String>;

/// `value | name(…)`.
pub(super) struct Filter {
    pub name: &'static str,
    pub arguments: Arguments,
    /// How often its input is walked, about.
    pub reads: u64,
    /// Whether it counts by itself what it makes.
    pub pays: bool,
    pub run: RunFilter,
}

/// `value is name(…)`.
pub(super) struct Test {
    pub name: &'static str,
    pub arguments: Arguments,
    pub run: fn(&Value, &Given<'_>) -> Result<bool, String>,
}

/// `name(…)`.
pub(super) struct Function {
    pub name: &'static str,
    pub arguments: Arguments,
    pub run: fn(&Run<'_>, &Given<'_>) -> Result<Value, String>,
}

macro_rules! named {
    ($($table:ty),*) => {$(
        impl std::fmt::Debug for $table {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name)
            }
        }
    )*};
}
named!(Filter, Test, Function);

/// What arguments something takes.
#[derive(Clone, Copy)]
pub(super) struct Arguments {
    /// By place or by name.
    pub names: &'static [&'static str],
    /// By name only.
    pub named: &'static [&'static str],
    /// How many of `names` must be given.
    pub required: usize,
    /// Any number more by place.
    pub more: bool,
}

/// Takes none.
const NONE: Arguments = args(&[], 0);

const fn args(names: &'static [&'static str], required: usize) -> Arguments {
    Arguments { names, named: &[], required, more: false }
}

impl Arguments {
    /// What is wrong with the arguments written for `what`.
    pub fn check(&self, what: &str, args: &Args) -> Result<(), String> {
        if args.positional.len() > self.names.len() && !self.more {
            return Err(match self.names {
                [] => format!("`{what}` takes no arguments"),
                names => format!("`{what}` takes {} at most: {}", count(names.len()), names.join(", ")),
            });
        }
        for (name, _) in &args.named {
            let place = self.names.iter().position(|known| known == name);
            let given_twice = place.is_some_and(|place| place < args.positional.len());
            let all = || self.names.iter().chain(self.named).copied().collect::<Vec<_>>().join(", ");
            if given_twice {
                return Err(format!("`{what}` is given `{name}` twice"));
            }
            if place.is_none() && !self.named.contains(&name.as_str()) {
                return Err(match all() {
                    names if names.is_empty() => format!("`{what}` takes no arguments"),
                    names => format!("`{what}` has no argument `{name}`, but {names}"),
                });
            }
        }
        for (place, name) in self.names.iter().enumerate().take(self.required) {
            if place >= args.positional.len() && !args.named.iter().any(|(given, _)| given == name) {
                return Err(format!("`{what}` needs its argument `{name}`"));
            }
        }
        Ok(())
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 argument".to_owned() } else { format!("{n} arguments") }
}

/// The arguments of one call, evaluated.
pub(super) struct Given<'a> {
    pub positional: Vec<Cow<'a, Value>>,
    pub named: Vec<(&'a str, Cow<'a, Value>)>,
}

impl Given<'_> {
    /// The argument at this place, or by this name.
    fn get(&self, place: usize, name: &str) -> Option<&Value> {
        let named = || self.named.iter().find(|(given, _)| *given == name).map(|(_, value)| &**value);
        self.positional.get(place).map(|value| &**value).or_else(named)
    }

    /// The argument of this name only.
    fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(given, _)| *given == name).map(|(_, value)| &**value)
    }

    fn text(&self, place: usize, name: &str) -> Result<Option<Cow<'_, str>>, String> {
        self.get(place, name)
            .map(|value| as_text(value).map_err(|error| format!("`{name}`: {error}")))
            .transpose()
    }

    fn integer(&self, place: usize, name: &str) -> Result<Option<i64>, String> {
        self.get(place, name)
            .map(|value| {
                let whole = value.as_i64();
                whole.ok_or_else(|| format!("`{name}` is a whole number, not {}", kind(value)))
            })
            .transpose()
    }

    fn flag(&self, place: usize, name: &str) -> Result<bool, String> {
        match self.get(place, name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(format!("`{name}` is true or false, not {}", kind(other))),
        }
    }
}

/// A filter that makes a new value out of the old one and its arguments; with `in`, one that looks at the budget too.
macro_rules! filter {
    ($name:literal, $arguments:expr, in $make:path) => {
        Filter {
            name: $name,
            arguments: $arguments,
            reads: 2,
            pays: false,
            run: |run, input, given| $make(run.budget, &input, given).map(Some),
        }
    };
    ($name:literal, $arguments:expr, $make:path) => {
        filter!($name, $arguments, 1, $make)
    };
    ($name:literal, $arguments:expr, $reads:literal, $make:path) => {
        Filter {
            name: $name,
            arguments: $arguments,
            reads: $reads,
            pays: false,
            run: |_, input, given| $make(&input, given).map(Some),
        }
    };
}

/// A filter that gives one item, if there is one.
macro_rules! found {
    ($name:literal, $arguments:expr, $reads:literal, $find:path) => {
        Filter {
            name: $name,
            arguments: $arguments,
            reads: $reads,
            pays: false,
            run: |_, input, given| $find(&input, given),
        }
    };
}

/// A filter that does something with every item, and counts it.
macro_rules! each {
    ($name:literal, $arguments:expr, $make:expr) => {
        Filter { name: $name, arguments: $arguments, reads: 0, pays: true, run: $make }
    };
}

static FILTERS: &[Filter] = &[
    filter!("abs", NONE, number::abs),
    filter!("b64decode", NONE, encode::b64decode),
    filter!("b64encode", NONE, encode::b64encode),
    filter!("batch", args(&["size"], 1), list::batch),
    filter!("bool", NONE, number::bool),
    filter!("capitalize", NONE, 4, text::capitalize),
    filter!("compact", NONE, list::compact),
    filter!("count", NONE, 0, list::length),
    filter!("date", args(&["format", "tz"], 0), date::date),
    filter!("date_add", args(&["span", "tz"], 1), date::date_add),
    filter!("date_diff", args(&["other", "unit"], 1), date::date_diff),
    filter!("email_domain", NONE, text::email_domain),
    filter!("escape", NONE, in encode::escape),
    found!("first", NONE, 0, list::first),
    filter!("flatten", NONE, list::flatten),
    filter!("float", NONE, number::float),
    filter!("from_micros", args(&["decimals"], 0), number::from_micros),
    filter!("fromjson", NONE, in encode::fromjson),
    filter!("groupby", args(&["attribute"], 1), 4, list::groupby),
    filter!("int", NONE, number::int),
    filter!("items", NONE, list::items),
    filter!("join", args(&["separator", "attribute"], 0), in list::join),
    filter!("keys", NONE, list::keys),
    found!("last", NONE, 0, list::last),
    filter!("length", NONE, 0, list::length),
    filter!("lines", NONE, in text::lines),
    filter!("list", NONE, in list::list),
    filter!("lower", NONE, 4, text::lower),
    each!("map", list::MAP, |run, input, given| list::map(run, &input, given).map(Some)),
    found!("max", args(&["attribute"], 0), 2, list::max),
    found!("min", args(&["attribute"], 0), 2, list::min),
    each!("reject", list::SELECT, |run, input, given| { list::select(run, &input, given, false).map(Some) }),
    each!("rejectattr", list::SELECTATTR, |run, input, given| {
        list::selectattr(run, &input, given, false).map(Some)
    }),
    filter!("replace", args(&["old", "new"], 2), in text::replace),
    filter!("reverse", NONE, list::reverse),
    filter!("round", args(&["digits"], 0), number::round),
    each!("select", list::SELECT, |run, input, given| { list::select(run, &input, given, true).map(Some) }),
    each!("selectattr", list::SELECTATTR, |run, input, given| {
        list::selectattr(run, &input, given, true).map(Some)
    }),
    filter!("sha256", NONE, 4, encode::sha256),
    filter!("slugify", args(&["separator"], 0), in text::slugify),
    // As often as a list of a million items is gone through.
    filter!(
        "sort",
        Arguments { names: &["attribute", "reverse"], named: &[], required: 0, more: false },
        20,
        list::sort
    ),
    filter!("split", args(&["separator", "times"], 0), in text::split),
    filter!("string", NONE, text::string),
    filter!("sum", args(&["attribute"], 0), in list::sum),
    filter!("title", NONE, 4, text::title),
    filter!("to_micros", NONE, number::to_micros),
    filter!("tojson", args(&["indent"], 0), in encode::tojson),
    filter!("trim", args(&["characters"], 0), 8, text::trim),
    filter!("truncate", args(&["length", "end"], 1), 4, text::truncate),
    filter!("unique", args(&["attribute"], 0), 4, list::unique),
    filter!("upper", NONE, 4, text::upper),
    filter!("urlencode", NONE, in encode::urlencode),
    filter!("values", NONE, list::values),
];

/// Other names of the same filters.
const SAME: &[(&str, &str)] = &[("json", "tojson"), ("e", "escape")];

static FUNCTIONS: &[Function] = &[
    Function { name: "now", arguments: NONE, run: |run, _| Ok(Value::String(run.now.to_string())) },
    Function { name: "range", arguments: args(&["from", "to"], 1), run: |_, given| list::range(given) },
];

pub(super) fn filter(name: &str) -> Option<&'static Filter> {
    let name = SAME.iter().find(|(other, _)| *other == name).map_or(name, |(_, name)| name);
    FILTERS.binary_search_by(|filter| filter.name.cmp(name)).ok().map(|at| &FILTERS[at])
}

pub(super) fn test(name: &str) -> Option<&'static Test> {
    tests::TESTS.iter().find(|test| test.name == name)
}

pub(super) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

pub(super) fn filter_names() -> impl Iterator<Item = &'static str> {
    FILTERS.iter().map(|filter| filter.name).chain(SAME.iter().map(|(name, _)| *name))
}

pub(super) fn test_names() -> impl Iterator<Item = &'static str> {
    tests::TESTS.iter().map(|test| test.name)
}

pub(super) fn function_names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn filters_are_sorted_and_documented() {
        let names: Vec<_> = FILTERS.iter().map(|filter| filter.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted, "looked up by binary search");
        let page = include_str!("../../../../../docs/reference/expressions.md");
        for name in filter_names().chain(test_names()).chain(function_names()) {
            assert!(page.contains(&format!("`{name}")), "{name} is not in docs/reference/expressions.md");
        }
    }
}
