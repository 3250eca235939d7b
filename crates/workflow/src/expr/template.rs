//! One text with templates in it: compiled once, rendered often.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ast::{Expr, For, Segment, Span, Stmt, Targets};
use super::budget::Budget;
use super::error::ExprError;
use super::escape;
use super::eval::{Run, Val};
use super::filled::{SecretAt, Text, mark};
use super::json::{kind, text};
use super::parse::parse;
use super::scope::{Found, Scope};
use super::undefined;

/// Where a template stands, and so what may be in it and what becomes of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Anywhere: a text that is exactly one expression keeps its JSON type, any other gives a text.
    Value,
    /// The same, where secrets may stand: what is made goes out, or into the sandbox, and is stored by reference.
    Secrets,
    /// A text of one line: an address, a subject, a header of a mail.
    Line,
    /// The value of an HTTP header: one line; secrets may stand in it.
    Header,
    /// A URL: scheme and host are literal, parts filled in are percent-encoded; secrets may stand in it.
    Url,
    /// A path below a connection's address, with a query if need be: it begins with `/`. Else as a URL.
    Path,
    /// The plain body of an e-mail; `{% … %}` works.
    Body,
    /// The HTML body of an e-mail; `{% … %}` works, and what is filled in is escaped.
    Html,
}

impl Mode {
    pub(super) fn has_blocks(self) -> bool {
        matches!(self, Mode::Body | Mode::Html)
    }

    pub(super) fn allows_secrets(self) -> bool {
        matches!(self, Mode::Secrets | Mode::Header | Mode::Url | Mode::Path)
    }

    /// Whether a single expression keeps its type.
    fn keeps_type(self) -> bool {
        matches!(self, Mode::Value | Mode::Secrets)
    }
}

/// Something that a template reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name it starts with, such as a step's id.
    pub root: String,
    /// What follows, as far as it stands in the template literally.
    pub path: Vec<Segment>,
    /// `default`, `is defined` or the like deals with its absence.
    pub guarded: bool,
    /// Byte offset in the template.
    pub at: usize,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&undefined::shown_path(&self.root, &self.path))
    }
}

/// What a template reads, in the order in which it stands there; an error carries its place.
pub fn references(source: &str, mode: Mode) -> Result<Vec<Reference>, ExprError> {
    Template::compile(source, mode).map(|template| template.references)
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    source: String,
    mode: Mode,
    body: Vec<Stmt>,
    roots: Vec<String>,
    references: Vec<Reference>,
}

/// What a template gives: a value, and the places of the secrets in it when it is a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub value: Value,
    pub secrets: Vec<SecretAt>,
}

impl Template {
    pub fn compile(source: &str, mode: Mode) -> Result<Template, ExprError> {
        // A single expression may have line breaks around it, as YAML's block texts do.
        let trimmed = source.trim_matches(['\n', '\r']);
        let single = mode.keeps_type() && trimmed.starts_with("{{") && trimmed.ends_with("}}");
        let (text, moved) = match single {
            true => (trimmed, source.len() - source.trim_start_matches(['\n', '\r']).len()),
            false => (source, 0),
        };
        let mut parsed = parse(text, mode).map_err(|error| ExprError { at: error.at + moved, ..error })?;
        if single && parsed.body.len() > 1 && text.len() != source.len() {
            return Self::whole(source, mode, parse(source, mode)?);
        }
        for reference in &mut parsed.references {
            reference.at += moved;
        }
        Self::whole(text, mode, parsed)
    }

    fn whole(source: &str, mode: Mode, parsed: super::parse::Parsed) -> Result<Template, ExprError> {
        let template = Template {
            source: source.to_owned(),
            mode,
            body: parsed.body,
            roots: parsed.roots,
            references: parsed.references,
        };
        match mode {
            Mode::Url => template.check_url()?,
            Mode::Path => template.check_path()?,
            _ => {}
        }
        Ok(template)
    }

    /// What stands in it, without the line breaks around a single expression.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn body(&self) -> &[Stmt] {
        &self.body
    }

    pub(super) fn roots(&self) -> &[String] {
        &self.roots
    }

    /// The empty text.
    pub(crate) fn empty() -> Template {
        Template {
            source: String::new(),
            mode: Mode::Value,
            body: Vec::new(),
            roots: Vec::new(),
            references: Vec::new(),
        }
    }

    /// What it reads.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The text it always gives, when nothing in it is filled in.
    pub fn literal(&self) -> Option<&str> {
        match self.body.as_slice() {
            [] => Some(""),
            [Stmt::Raw(text)] => Some(text),
            _ => None,
        }
    }

    /// The expression whose value it gives with its type, when it is exactly one.
    pub(super) fn single(&self) -> Option<&Expr> {
        match self.body.as_slice() {
            [Stmt::Emit { expr, .. }] if self.mode.keeps_type() => Some(expr),
            _ => None,
        }
    }

    /// Renders it. A literal text is given back as it is.
    pub fn render(&self, scope: &dyn Scope) -> Result<Rendered, ExprError> {
        match scope.budget() {
            Some(shared) => self.render_within(scope, shared),
            None => self.render_within(scope, &Budget::default()),
        }
    }

    pub(super) fn render_within(&self, scope: &dyn Scope, budget: &Budget) -> Result<Rendered, ExprError> {
        if let Some(literal) = self.literal() {
            self.check_line(literal)?;
            return Ok(Rendered { value: Value::String(literal.to_owned()), secrets: Vec::new() });
        }
        let found = |root| (root, scope.get(root));
        let (one, several);
        // Most templates read one value: that needs no list of its own.
        let roots: &[(&str, Found)] = match self.roots.as_slice() {
            [root] => {
                one = [found(root.as_str())];
                &one
            }
            roots => {
                several = roots.iter().map(|root| found(root)).collect::<Vec<_>>();
                &several
            }
        };
        let names = || scope.names();
        let run = Run::new(&self.source, roots, &names, scope.now(), budget);
        if let Some(expr) = self.single() {
            let value = run.value(expr).and_then(|value| run.own(value));
            let value = value.map_err(|error| error.in_part(inner(&self.source), 0))?;
            return Ok(Rendered { value, secrets: Vec::new() });
        }
        // What is filled in is about as long as what stands for it.
        let text = String::with_capacity(self.source.len());
        let mut out = Out { mode: self.mode, text, secrets: Vec::new() };
        out.statements(&run, &self.body)?;
        match self.mode {
            Mode::Url => check_segments(&out.text, 3)?,
            Mode::Path => check_segments(&out.text, 1)?,
            _ => {}
        }
        Ok(Rendered { value: Value::String(out.text), secrets: out.secrets })
    }

    /// Renders it to a text; a value without a text of its own is an error.
    pub fn render_text(&self, scope: &dyn Scope) -> Result<Text, ExprError> {
        let rendered = self.render(scope)?;
        let text = match rendered.value {
            Value::String(text) => text,
            other => {
                let made = text(&other).map(Cow::into_owned);
                made.map_err(|message| ExprError::value(message).in_part(inner(&self.source), 0))?
            }
        };
        Ok(Text { text, secrets: rendered.secrets })
    }

    fn check_line(&self, literal: &str) -> Result<(), ExprError> {
        match self.mode {
            Mode::Line | Mode::Header if !escape::is_header_safe(literal) => Err(line_break()),
            _ => Ok(()),
        }
    }

    /// Whoever is called is decided by the author: scheme and host stand before the first `{{`.
    fn check_url(&self) -> Result<(), ExprError> {
        let literal = match self.body.first() {
            Some(Stmt::Raw(text)) => text.as_str(),
            _ => "",
        };
        let refused = || {
            ExprError::syntax("scheme and host of a URL must be literal: data may not decide who is called")
                .hint("write `https://api.example.com/{{ … }}`")
        };
        let (_, rest) = literal.split_once("://").ok_or_else(refused)?;
        if self.body.len() > 1 && !rest.contains(['/', '?', '#']) {
            return Err(refused());
        }
        Ok(())
    }

    /// A path stays below the connection's address, whatever is filled in.
    fn check_path(&self) -> Result<(), ExprError> {
        match self.body.first() {
            Some(Stmt::Raw(text)) if text.starts_with('/') && !text.starts_with("//") => Ok(()),
            // The address as it is.
            None => Ok(()),
            _ => Err(ExprError::syntax("with a connection, `url` is a path that begins with `/`")
                .hint("write `/people/{{ … }}`")),
        }
    }
}

/// The expression of a template that is one.
fn inner(source: &str) -> &str {
    source.trim().trim_start_matches("{{").trim_end_matches("}}").trim_matches('-').trim()
}

fn line_break() -> ExprError {
    ExprError::value("the text has a line break, which cannot stand here")
        .hint("take the first line with `| lines | first`, or `| replace(\"\\n\", \" \")`")
}

/// A path that data could lead elsewhere is refused: `/people/..` is another resource.
fn check_segments(url: &str, skipped: usize) -> Result<(), ExprError> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    match path.split('/').skip(skipped).find(|segment| matches!(*segment, "." | "..")) {
        Some(segment) => Err(ExprError::value(format!("the path of the URL has a `{segment}` in it"))),
        None => Ok(()),
    }
}

/// The text of one rendering.
struct Out {
    mode: Mode,
    text: String,
    secrets: Vec<SecretAt>,
}

impl Out {
    fn statements<'a>(&mut self, run: &Run<'a>, body: &'a [Stmt]) -> Result<(), ExprError> {
        for stmt in body {
            self.statement(run, stmt)?;
        }
        Ok(())
    }

    fn statement<'a>(&mut self, run: &Run<'a>, stmt: &'a Stmt) -> Result<(), ExprError> {
        run.burn(1)?;
        match stmt {
            Stmt::Raw(text) => self.push(run, text),
            Stmt::Secret(name) => {
                self.secrets.push(SecretAt { name: name.clone(), at: self.text.len() });
                self.push(run, &mark(name))
            }
            Stmt::Emit { expr, span, safe } => self.emit(run, expr, *span, *safe),
            Stmt::If { condition, then, otherwise } => {
                let holds = super::json::is_true(&*run.value(condition)?);
                self.statements(run, if holds { then } else { otherwise })
            }
            Stmt::Set { targets, value, span } => assign(run, targets, value, *span),
            Stmt::With { assignments, body } => {
                let mark = run.locals();
                for (targets, value, span) in assignments {
                    assign(run, targets, value, *span)?;
                }
                self.statements(run, body)?;
                run.forget_locals(mark);
                Ok(())
            }
            Stmt::For(each) => self.each(run, each),
        }
    }

    fn push(&mut self, run: &Run<'_>, text: &str) -> Result<(), ExprError> {
        self.push_with(run, |out| out.push_str(text))
    }

    /// Adds what `write` does.
    fn push_with(&mut self, run: &Run<'_>, write: impl FnOnce(&mut String)) -> Result<(), ExprError> {
        let from = self.text.len();
        write(&mut self.text);
        run.budget.made_text(&self.text[from..]).map_err(|message| run.budget.error(message))
    }

    fn emit<'a>(&mut self, run: &Run<'a>, expr: &'a Expr, span: Span, safe: bool) -> Result<(), ExprError> {
        let part = span.of(run.source);
        let value = match run.eval(expr).map_err(|error| error.in_part(part, span.from))? {
            Val::Json(value) => value,
            Val::Undefined(why) => return Err(run.nothing(why, Some(span))),
        };
        let wrong = |error: ExprError| error.in_part(part, span.from);
        let text = text(&value).map_err(|message| wrong(ExprError::value(message)))?;
        run.budget.fits(text.len()).map_err(|message| wrong(run.budget.error(message)))?;
        match self.mode {
            Mode::Html if !safe => self.push_with(run, |out| escape::html(&text, out)),
            Mode::Line | Mode::Header if !escape::is_header_safe(&text) => Err(wrong(line_break())),
            Mode::Url | Mode::Path => {
                if text.is_empty() && !self.text.contains(['?', '#']) {
                    let message =
                        "an empty text cannot be part of the URL's path: it would name another resource";
                    return Err(wrong(ExprError::value(message)));
                }
                self.push_with(run, |out| escape::percent(&text, out))
            }
            _ => self.push(run, &text),
        }
    }

    fn each<'a>(&mut self, run: &Run<'a>, each: &'a For) -> Result<(), ExprError> {
        let items = rounds(run, each)?;
        if items.is_empty() {
            return self.statements(run, &each.otherwise);
        }
        let mark = run.locals();
        let length = items.len();
        for (index, item) in items.into_iter().enumerate() {
            begin_round(run, each, item, index, length)?;
            self.statements(run, &each.body)?;
            run.forget_locals(mark);
        }
        Ok(())
    }
}

/// What a loop goes over.
fn rounds<'a>(run: &Run<'a>, each: &'a For) -> Result<Vec<Value>, ExprError> {
    let spent = |message| run.error(each.span, message);
    let over = run.value(&each.iter)?;
    run.budget.made(&over).map_err(spent)?;
    let items: Vec<Value> = match over {
        Cow::Owned(Value::Array(items)) => items,
        over => match &*over {
            Value::Array(items) => items.clone(),
            Value::Object(fields) => fields.keys().map(|key| Value::from(key.as_str())).collect(),
            other => {
                return Err(spent(format!("`for` needs a list or an object, not {}", kind(other))));
            }
        },
    };
    let Some(filter) = &each.filter else { return Ok(items) };
    let mark = run.locals();
    let mut kept = Vec::new();
    for item in items {
        run.burn(ROUND)?;
        run.budget.made(&item).map_err(spent)?;
        set(run, &each.targets, item.clone(), each.span)?;
        if super::json::is_true(&*run.value(filter)?) {
            kept.push(item);
        }
        run.forget_locals(mark);
    }
    Ok(kept)
}

/// Sets what the body of a loop sees.
fn begin_round(run: &Run<'_>, each: &For, item: Value, index: usize, length: usize) -> Result<(), ExprError> {
    run.burn(ROUND)?;
    set(run, &each.targets, item, each.span)?;
    run.set_local(
        "loop",
        serde_json::json!({
            "index": index + 1, "index0": index, "length": length,
            "first": index == 0, "last": index + 1 == length,
        }),
    );
    Ok(())
}

/// Steps of one round of a loop, whatever is in it.
const ROUND: u64 = 4;

fn assign<'a>(run: &Run<'a>, targets: &Targets, value: &'a Expr, span: Span) -> Result<(), ExprError> {
    let value = run.value(value).and_then(|value| run.own(value))?;
    set(run, targets, value, span)
}

fn set(run: &Run<'_>, targets: &Targets, value: Value, span: Span) -> Result<(), ExprError> {
    match (targets, value) {
        (Targets::One(name), value) => run.set_local(name, value),
        (Targets::Many(names), Value::Array(values)) if names.len() == values.len() => {
            for (name, value) in names.iter().zip(values) {
                run.set_local(name, value);
            }
        }
        (Targets::Many(names), value) => {
            let message = match value {
                Value::Array(values) => {
                    format!("{} items cannot be set to {} names", values.len(), names.len())
                }
                other => format!("{} cannot be taken apart into {} names", kind(&other), names.len()),
            };
            return Err(ExprError::value(message).in_part(span.of(run.source), span.from));
        }
    }
    Ok(())
}
