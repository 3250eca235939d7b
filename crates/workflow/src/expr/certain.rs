//! What a template gives, as far as that is certain before any run, and what in it can never be made.

use serde_json::Value;

use super::ast::{Args, Binary, Compare, Expr, Path, Root, Segment, Span, Stmt};
use super::template::Template;

/// The kinds of JSON that a value may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    pub const NULL: Kinds = Kinds(1);
    pub const BOOLEAN: Kinds = Kinds(2);
    pub const NUMBER: Kinds = Kinds(4);
    pub const TEXT: Kinds = Kinds(8);
    pub const LIST: Kinds = Kinds(16);
    pub const OBJECT: Kinds = Kinds(32);
    pub const NONE: Kinds = Kinds(0);
    /// Nothing is known.
    pub const ANY: Kinds = Kinds(63);
    /// What has a text.
    pub const SHOWN: Kinds = Kinds(2 | 4 | 8);

    pub fn of(value: &Value) -> Kinds {
        match value {
            Value::Null => Kinds::NULL,
            Value::Bool(_) => Kinds::BOOLEAN,
            Value::Number(_) => Kinds::NUMBER,
            Value::String(_) => Kinds::TEXT,
            Value::Array(_) => Kinds::LIST,
            Value::Object(_) => Kinds::OBJECT,
        }
    }

    /// Of one or of the other.
    #[must_use]
    pub const fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// Of both.
    #[must_use]
    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    #[must_use]
    pub const fn without(self, other: Kinds) -> Kinds {
        Kinds(self.0 & !other.0)
    }

    /// Whether a value of these may be one of those.
    pub const fn may_be(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    /// What a person calls a value of them.
    pub fn describe(self) -> String {
        let known = [
            (Kinds::TEXT, "a text"),
            (Kinds::NUMBER, "a number"),
            (Kinds::BOOLEAN, "true or false"),
            (Kinds::LIST, "a list"),
            (Kinds::OBJECT, "an object"),
        ];
        let names: Vec<&str> =
            known.iter().filter(|(kind, _)| self.may_be(*kind)).map(|(_, name)| *name).collect();
        if names.is_empty() { "null".to_owned() } else { names.join(" or ") }
    }
}

/// A part of a template that can never be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The part, and where it begins in the template: a byte offset.
    pub part: String,
    pub at: usize,
    pub message: String,
}

/// What is certain of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certain {
    /// The kinds of its value.
    pub gives: Kinds,
    /// Those of its only expression, which may stand where a text is made of it.
    pub single: Option<Kinds>,
    pub clashes: Vec<Clash>,
}

impl Template {
    /// What is certain of it; `of` says what is known of the values that it reads.
    pub fn certain(&self, of: &dyn Fn(&str, &[Segment]) -> Kinds) -> Certain {
        let mut look = Look { source: self.source(), roots: self.roots(), of, clashes: Vec::new() };
        let body = self.body();
        if let (Some(expr), [_]) = (self.single(), body) {
            let kinds = look.expr(expr, true);
            return Certain { gives: kinds, single: Some(kinds), clashes: look.clashes };
        }
        let mut single = None;
        for stmt in body {
            match stmt {
                Stmt::Emit { expr, span, .. } => {
                    let kinds = look.expr(expr, true);
                    look.shown(kinds, *span);
                    single = (body.len() == 1).then_some(kinds);
                }
                Stmt::Raw(_) | Stmt::Secret(_) => {}
                // What is in blocks may not be come to, and what they set is not followed.
                _ => break,
            }
        }
        Certain { gives: Kinds::TEXT, single, clashes: look.clashes }
    }
}

struct Look<'t> {
    source: &'t str,
    roots: &'t [String],
    of: &'t dyn Fn(&str, &[Segment]) -> Kinds,
    clashes: Vec<Clash>,
}

impl Look<'_> {
    fn clash(&mut self, span: Span, message: String) {
        let part = span.of(self.source).to_owned();
        self.clashes.push(Clash { part, at: span.from, message });
    }

    /// What becomes part of a text.
    fn shown(&mut self, kinds: Kinds, span: Span) {
        if kinds.may_be(Kinds::SHOWN) {
            return;
        }
        let help = match kinds.without(Kinds::NULL) {
            Kinds::LIST => "; use `| join(\", \")`, or `| tojson` for JSON",
            Kinds::OBJECT => "; name one of its fields, or use `| tojson`",
            _ => "",
        };
        self.clash(span, format!("{} has no text{help}", kinds.describe()));
    }

    /// The kinds of what an expression gives. `sure`: it is come to in every rendering.
    fn expr(&mut self, expr: &Expr, sure: bool) -> Kinds {
        match expr {
            Expr::Const(value) => Kinds::of(value),
            Expr::Path(path) => self.path(path),
            Expr::Attr(of, _, _) => {
                self.expr(of, sure);
                Kinds::ANY
            }
            Expr::Item(of, key, _) => {
                self.expr(of, sure);
                self.expr(key, sure);
                Kinds::ANY
            }
            Expr::Slice(slice, _) => match self.expr(&slice.of, sure) {
                kinds if kinds.may_be(Kinds::LIST.or(Kinds::TEXT)) => kinds.and(Kinds::LIST.or(Kinds::TEXT)),
                _ => Kinds::ANY,
            },
            Expr::Not(of) | Expr::Defined(of) => {
                self.expr(of, sure);
                Kinds::BOOLEAN
            }
            Expr::Neg(of, span) => {
                let kinds = self.expr(of, sure);
                if sure && !kinds.may_be(Kinds::NUMBER) {
                    self.clash(*span, format!("{} cannot be calculated with", kinds.describe()));
                }
                Kinds::NUMBER
            }
            Expr::And(left, right) | Expr::Or(left, right) => {
                let left = self.expr(left, sure);
                left.or(self.expr(right, false))
            }
            Expr::Binary(op, left, right, span) => self.binary(*op, left, right, *span, sure),
            Expr::Compare(first, rest, span) => self.compare(first, rest, *span, sure),
            Expr::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                self.expr(condition, sure);
                let then = self.expr(then, false);
                then.or(self.expr(otherwise, false))
            }
            Expr::Filter(filter, input, args, _) => {
                self.expr(input, sure);
                self.args(args, sure);
                made_by(filter.name)
            }
            Expr::Default(of, args) => {
                let there = self.expr(of, sure).without(Kinds::NULL);
                let instead = args.positional.first().map_or(Kinds::TEXT, |arg| self.expr(arg, false));
                there.or(instead)
            }
            Expr::Test(_, input, args, _) => {
                self.expr(input, sure);
                self.args(args, sure);
                Kinds::BOOLEAN
            }
            Expr::Call(function, args, _) => {
                self.args(args, sure);
                match function.name {
                    "now" => Kinds::TEXT,
                    "range" => Kinds::LIST,
                    _ => Kinds::ANY,
                }
            }
            Expr::List(items) => {
                items.iter().for_each(|item| {
                    self.expr(item, sure);
                });
                Kinds::LIST
            }
            Expr::Map(entries, _) => {
                entries.iter().for_each(|(_, value)| {
                    self.expr(value, sure);
                });
                Kinds::OBJECT
            }
        }
    }

    fn args(&mut self, args: &Args, sure: bool) {
        for arg in args.positional.iter().chain(args.named.iter().map(|(_, arg)| arg)) {
            self.expr(arg, sure);
        }
    }

    fn path(&self, path: &Path) -> Kinds {
        match &path.root {
            Root::Local(_) => Kinds::ANY,
            Root::Scope(index) => match self.roots.get(*index) {
                Some(root) => (self.of)(root, &path.segments),
                None => Kinds::ANY,
            },
        }
    }

    fn binary(&mut self, op: Binary, left: &Expr, right: &Expr, span: Span, sure: bool) -> Kinds {
        let (left, right) = (self.expr(left, sure), self.expr(right, sure));
        if op == Binary::Concat {
            for kinds in [left, right] {
                if sure {
                    self.shown(kinds, span);
                }
            }
            return Kinds::TEXT;
        }
        let both = left.and(right);
        let made = match op {
            Binary::Add => both.and(Kinds::NUMBER.or(Kinds::TEXT).or(Kinds::LIST)),
            _ => both.and(Kinds::NUMBER),
        };
        if made.may_be(Kinds::ANY) {
            return made;
        }
        if sure {
            let help = match op {
                Binary::Add if left.or(right).may_be(Kinds::TEXT) => {
                    "; `~` joins texts, and `| int` makes a number of one"
                }
                _ if left.or(right).may_be(Kinds::TEXT) => "; `| int` or `| float` makes a number of a text",
                _ => "",
            };
            let (left, right) = (left.describe(), right.describe());
            self.clash(span, format!("{left} and {right} cannot be calculated with{help}"));
        }
        Kinds::ANY
    }

    fn compare(&mut self, first: &Expr, rest: &[(Compare, Expr)], span: Span, sure: bool) -> Kinds {
        let mut left = self.expr(first, sure);
        let mut sure = sure;
        for (op, right) in rest {
            let right = self.expr(right, sure);
            if sure && let Some(message) = never(*op, left, right) {
                self.clash(span, message);
            }
            // The next pair is looked at only where this one holds.
            sure = false;
            left = right;
        }
        Kinds::BOOLEAN
    }
}

/// Why two values cannot be compared, if they never can.
fn never(op: Compare, left: Kinds, right: Kinds) -> Option<String> {
    let (one, other) = (left.describe(), right.describe());
    match op {
        Compare::Eq | Compare::Ne => None,
        Compare::Lt | Compare::Le | Compare::Gt | Compare::Ge => {
            if left.and(right).may_be(Kinds::NUMBER.or(Kinds::TEXT)) {
                return None;
            }
            let numbers = left.or(right).without(Kinds::NULL) == Kinds::NUMBER.or(Kinds::TEXT);
            let help = if numbers { "; make a number of the text with `| int` or `| float`" } else { "" };
            Some(format!("{one} and {other} have no order{help}"))
        }
        Compare::In | Compare::NotIn => {
            let in_text = right.may_be(Kinds::TEXT.or(Kinds::OBJECT)) && left.may_be(Kinds::TEXT);
            let fits = right.may_be(Kinds::LIST) || in_text;
            (!fits).then(|| format!("{one} cannot be looked for in {other}"))
        }
    }
}

/// The kinds of what a filter gives.
fn made_by(filter: &str) -> Kinds {
    match filter {
        "b64decode" | "b64encode" | "capitalize" | "date" | "email_domain" | "escape" | "join" | "lower"
        | "replace" | "sha256" | "slugify" | "string" | "title" | "tojson" | "trim" | "truncate"
        | "upper" | "urlencode" => Kinds::TEXT,
        "abs" | "count" | "float" | "int" | "length" | "round" | "sum" => Kinds::NUMBER,
        "bool" => Kinds::BOOLEAN,
        "batch" | "compact" | "flatten" | "items" | "keys" | "lines" | "list" | "map" | "reject"
        | "rejectattr" | "select" | "selectattr" | "sort" | "split" | "unique" | "values" => Kinds::LIST,
        _ => Kinds::ANY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Mode;

    fn certain(text: &str, mode: Mode) -> Certain {
        Template::compile(text, mode).unwrap().certain(&|root, path| match (root, path) {
            ("text", []) => Kinds::TEXT,
            ("number", []) => Kinds::NUMBER,
            ("maybe", []) => Kinds::NUMBER.or(Kinds::NULL),
            ("list", []) => Kinds::LIST,
            ("object", []) => Kinds::OBJECT,
            _ => Kinds::ANY,
        })
    }

    #[test]
    fn what_comes_out_is_known_where_it_is_certain() {
        let gives = |text: &str| certain(text, Mode::Value).gives;
        for (kinds, texts) in [
            (
                Kinds::TEXT,
                &[
                    "{{ text }}",
                    "a {{ number }}",
                    "{{ text ~ number }}",
                    "{{ text + 'x' }}",
                    "{{ number | string }}",
                    "{{ now() }}",
                ][..],
            ),
            (
                Kinds::NUMBER,
                &[
                    "{{ number + 1 }}",
                    "{{ text | int }}",
                    "{{ -number }}",
                    "{{ list | length }}",
                    "{{ maybe | default(0) }}",
                    "{{ maybe * 2 }}",
                ],
            ),
            (
                Kinds::BOOLEAN,
                &["{{ number > 1 }}", "{{ not text }}", "{{ text is defined }}", "{{ 1 in list }}"],
            ),
            (
                Kinds::LIST,
                &["{{ [text] }}", "{{ text | split(',') }}", "{{ list[1:] }}", "{{ list + list }}"],
            ),
            (Kinds::OBJECT, &["{{ {'a': 1} }}", "{{ object }}"]),
            (Kinds::ANY, &["{{ what }}", "{{ what.ever + what }}", "{{ list | first }}"][..1]),
            (
                Kinds::TEXT.or(Kinds::NUMBER),
                &["{{ text if what else number }}", "{{ text or number }}", "{{ text | default(1) }}"],
            ),
            (Kinds::NUMBER.or(Kinds::NULL), &["{{ maybe }}", "{{ number if what else none }}"]),
        ] {
            for text in texts {
                assert_eq!(gives(text), kinds, "{text}");
            }
        }
        assert_eq!(certain("{{ number }}", Mode::Line).gives, Kinds::TEXT);
        assert_eq!(certain("{{ number }}", Mode::Line).single, Some(Kinds::NUMBER));
        assert_eq!(certain("{{ number }}m", Mode::Line).single, None);
    }

    #[test]
    fn what_can_never_be_made_is_told_and_nothing_else() {
        let told = |text: &str, mode: Mode| {
            let clashes = certain(text, mode).clashes;
            clashes.into_iter().map(|clash| format!("{}: {}", clash.part, clash.message)).collect::<Vec<_>>()
        };
        let never = [
            (
                "{{ text + 1 }}",
                "text + 1: a text and a number cannot be calculated with; `~` joins texts, and `| int` makes a number of one",
            ),
            (
                "{{ number > 'a' }}",
                "number > 'a': a number and a text have no order; make a number of the text with `| int` or `| float`",
            ),
            ("{{ (text - 1) if true else 2 }}", ""),
            (
                "{{ maybe < text }}",
                "maybe < text: a number and a text have no order; make a number of the text with `| int` or `| float`",
            ),
            ("a {{ object }}", "object: an object has no text; name one of its fields, or use `| tojson`"),
            (
                "{{ text ~ list }}",
                "text ~ list: a list has no text; use `| join(\", \")`, or `| tojson` for JSON",
            ),
            ("{{ 1 in number }}", "1 in number: a number cannot be looked for in a number"),
        ];
        for (text, message) in never {
            let wanted: Vec<String> =
                Some(message.to_owned()).into_iter().filter(|m| !m.is_empty()).collect();
            assert_eq!(told(text, Mode::Value), wanted, "{text}");
        }
        // It may come out well, or may not be come to.
        for text in [
            "{{ what + 1 }}",
            "{{ maybe + 1 }}",
            "{{ text == 1 }}",
            "{{ what is string and text > 1 }}",
            "{{ what.x | default(text + 1) }}",
            "{{ 'a' in text }}",
            "{{ object }}",
            "{{ number < 2 < text }}",
        ] {
            assert_eq!(told(text, Mode::Value), [""; 0], "{text}");
        }
        assert_eq!(told("{% if what %}{{ object }}{% endif %}", Mode::Body), [""; 0]);
        assert_eq!(told("{% set text = object %}{{ text }}", Mode::Body), [""; 0]);
    }
}
