//! From text to a checked template. minijinja's parser knows the language; what it allows and a workflow should
//! not contain is refused here, and every name, filter and test is looked up before anything runs.

use minijinja::machinery::{self, WhitespaceConfig, ast as jinja};
use serde_json::Value;
use stepwell_records::nearest;

use super::ast::{Args, Binary, Compare, Expr, For, Path, Root, Segment, Slice, Span, Stmt, Targets};
use super::error::ExprError;
use super::filters;
use super::json::constant;
use super::template::{Mode, Reference};

/// Longer templates are refused.
const MAX_SOURCE: usize = 1 << 20;

/// What parsing gives.
pub(super) struct Parsed {
    pub body: Vec<Stmt>,
    /// The root names read, each once.
    pub roots: Vec<String>,
    pub references: Vec<Reference>,
}

pub(super) fn parse(source: &str, mode: Mode) -> Result<Parsed, ExprError> {
    if source.len() > MAX_SOURCE {
        return Err(ExprError::syntax("a template is at most 1 MiB long"));
    }
    let mut parser = Parser { source, mode, roots: Vec::new(), references: Vec::new(), locals: Vec::new() };
    if !source.contains("{{") && !source.contains("{%") && !source.contains("{#") {
        let body = if source.is_empty() { Vec::new() } else { vec![Stmt::Raw(source.to_owned())] };
        return Ok(Parsed { body, roots: parser.roots, references: parser.references });
    }
    let whitespace = WhitespaceConfig { keep_trailing_newline: true, ..WhitespaceConfig::default() };
    let parsed = machinery::parse(source, "template", Default::default(), whitespace)
        .map_err(|error| parser.syntax_error(&error))?;
    let jinja::Stmt::Template(template) = &parsed else {
        return Err(ExprError::syntax("not a template"));
    };
    let body = parser.statements(&template.children)?;
    Ok(Parsed { body, roots: parser.roots, references: parser.references })
}

struct Parser<'s> {
    source: &'s str,
    mode: Mode,
    roots: Vec<String>,
    references: Vec<Reference>,
    /// Names that the template itself sets, innermost last.
    locals: Vec<String>,
}

type Parsing<T> = Result<T, ExprError>;

impl Parser<'_> {
    fn syntax_error(&self, error: &minijinja::Error) -> ExprError {
        let message = error.detail().unwrap_or("this is not a template").to_owned();
        let range = error.range().unwrap_or(0..0);
        let at = range.start.min(self.source.len());
        let line = self.source.get(at..).and_then(|rest| rest.lines().next()).unwrap_or("");
        let mut error = ExprError::syntax(message);
        error.expression = line.chars().take(60).collect();
        error.at = at;
        error
    }

    fn refuse(&self, span: Span, message: impl Into<String>) -> ExprError {
        ExprError::syntax(message).in_part(span.of(self.source), span.from)
    }

    fn statements(&mut self, statements: &[jinja::Stmt<'_>]) -> Parsing<Vec<Stmt>> {
        statements.iter().map(|stmt| self.statement(stmt)).collect()
    }

    fn statement(&mut self, stmt: &jinja::Stmt<'_>) -> Parsing<Stmt> {
        if !matches!(stmt, jinja::Stmt::EmitRaw(_) | jinja::Stmt::EmitExpr(_)) && !self.mode.has_blocks() {
            return Err(ExprError::syntax("`{% … %}` stands in the bodies of e-mails only")
                .in_part(self.block_text(stmt), self.block_start(stmt)));
        }
        Ok(match stmt {
            jinja::Stmt::EmitRaw(raw) => Stmt::Raw(raw.raw.to_owned()),
            jinja::Stmt::EmitExpr(emit) => self.emit(&emit.expr)?,
            jinja::Stmt::ForLoop(each) => {
                let span = expr_span(&each.iter);
                let iter = self.expr(&each.iter)?;
                let locals = self.locals.len();
                let targets = self.targets(&each.target)?;
                self.locals.push("loop".to_owned());
                let filter = each.filter_expr.as_ref().map(|e| self.expr(e)).transpose()?;
                let body = self.statements(&each.body)?;
                self.locals.truncate(locals);
                let otherwise = self.statements(&each.else_body)?;
                if each.recursive {
                    return Err(self.refuse(span, "`recursive` loops are not available"));
                }
                Stmt::For(Box::new(For { targets, iter, filter, body, otherwise, span }))
            }
            jinja::Stmt::IfCond(cond) => Stmt::If {
                condition: self.expr(&cond.expr)?,
                then: self.statements(&cond.true_body)?,
                otherwise: self.statements(&cond.false_body)?,
            },
            jinja::Stmt::Set(set) => {
                let span = expr_span(&set.expr);
                let value = self.expr(&set.expr)?;
                Stmt::Set { targets: self.targets(&set.target)?, value, span }
            }
            jinja::Stmt::WithBlock(with) => {
                let locals = self.locals.len();
                let mut assignments = Vec::new();
                for (target, value) in &with.assignments {
                    let span = expr_span(value);
                    let value = self.expr(value)?;
                    assignments.push((self.targets(target)?, value, span));
                }
                let body = self.statements(&with.body)?;
                self.locals.truncate(locals);
                Stmt::With { assignments, body }
            }
            _ => {
                return Err(ExprError::syntax("this tag is not available")
                    .hint("there are `for`, `if`, `set` and `with`")
                    .in_part(self.block_text(stmt), self.block_start(stmt)));
            }
        })
    }

    /// Where the tag of a statement starts in the source.
    fn block_start(&self, stmt: &jinja::Stmt<'_>) -> usize {
        let at = statement_span(stmt).map_or(0, |span| span.from.min(self.source.len()));
        self.source.get(..at).and_then(|before| before.rfind("{%")).unwrap_or(0)
    }

    fn block_text(&self, stmt: &jinja::Stmt<'_>) -> &str {
        let rest = &self.source[self.block_start(stmt)..];
        rest.find("%}").map_or(rest, |end| &rest[..end + 2])
    }

    fn targets(&mut self, target: &jinja::Expr<'_>) -> Parsing<Targets> {
        let one = |target: &jinja::Expr<'_>| match target {
            jinja::Expr::Var(var) => Some(var.id.to_owned()),
            _ => None,
        };
        let targets = match target {
            jinja::Expr::List(list) => {
                list.items.iter().map(one).collect::<Option<Vec<_>>>().map(Targets::Many)
            }
            target => one(target).map(Targets::One),
        };
        let targets = targets.ok_or_else(|| self.refuse(expr_span(target), "only a name can be set here"))?;
        match &targets {
            Targets::One(name) => self.locals.push(name.clone()),
            Targets::Many(names) => self.locals.extend(names.iter().cloned()),
        }
        Ok(targets)
    }

    fn emit(&mut self, expr: &jinja::Expr<'_>) -> Parsing<Stmt> {
        let span = expr_span(expr);
        if let jinja::Expr::GetAttr(attr) = expr
            && let jinja::Expr::Var(var) = &attr.expr
            && self.is_secrets(var.id)
        {
            if !self.mode.allows_secrets() {
                return Err(self
                    .refuse(span, "a secret cannot stand here: it would be stored or shown")
                    .hint("secrets go into the input of code steps and into HTTP requests"));
            }
            self.references.push(Reference {
                root: "secrets".to_owned(),
                path: vec![Segment::Key(attr.name.to_owned())],
                guarded: false,
                at: span.from,
            });
            return Ok(Stmt::Secret(attr.name.to_owned()));
        }
        if let jinja::Expr::Filter(filter) = expr
            && filter.name == "safe"
        {
            if self.mode != Mode::Html {
                return Err(self.refuse(span, "`safe` is for HTML bodies: nothing is escaped here"));
            }
            let Some(inner) = &filter.expr else {
                return Err(self.refuse(span, "`safe` needs a value"));
            };
            return Ok(Stmt::Emit { expr: self.expr(inner)?, span, safe: true });
        }
        Ok(Stmt::Emit { expr: self.expr(expr)?, span, safe: false })
    }

    /// Takes in the parentheses that a part begins with, which the parser's spans leave out.
    fn with_parentheses(&self, mut span: Span) -> Span {
        let part = span.of(self.source);
        let mut open = part.matches(')').count().saturating_sub(part.matches('(').count());
        while open > 0 {
            let before = self.source.get(..span.from).unwrap_or("").trim_end();
            if !before.ends_with('(') {
                break;
            }
            span.from = before.len() - 1;
            open -= 1;
        }
        span
    }

    fn is_secrets(&self, name: &str) -> bool {
        name == "secrets" && !self.locals.iter().any(|local| local == name)
    }

    fn boxed(&mut self, expr: &jinja::Expr<'_>) -> Parsing<Box<Expr>> {
        self.expr(expr).map(Box::new)
    }

    fn optional(&mut self, expr: Option<&jinja::Expr<'_>>) -> Parsing<Option<Expr>> {
        expr.map(|e| self.expr(e)).transpose()
    }

    fn expr(&mut self, expr: &jinja::Expr<'_>) -> Parsing<Expr> {
        self.guarded_expr(expr, false)
    }

    /// `guarded`: a value that is not there is dealt with (`default`, `is defined`).
    fn guarded_expr(&mut self, expr: &jinja::Expr<'_>, guarded: bool) -> Parsing<Expr> {
        let span = self.with_parentheses(expr_span(expr));
        if let Some((root, segments)) = path_of(expr) {
            return self.path(root, segments, span, guarded);
        }
        // The parser reads `-a.b` as `(-a).b`; everybody means `-(a.b)`.
        if let Some((root, segments)) = negated_path_of(expr) {
            return Ok(Expr::Neg(Box::new(self.path(root, segments, span, guarded)?), span));
        }
        Ok(match expr {
            jinja::Expr::Const(c) => {
                Expr::Const(constant(&c.value).ok_or_else(|| self.refuse(span, "this number is too large"))?)
            }
            // Paths were taken above.
            jinja::Expr::Var(var) => return self.path(var.id, Vec::new(), span, guarded),
            jinja::Expr::GetAttr(attr) => {
                Expr::Attr(Box::new(self.guarded_expr(&attr.expr, guarded)?), attr.name.to_owned(), span)
            }
            jinja::Expr::GetItem(item) => Expr::Item(
                Box::new(self.guarded_expr(&item.expr, guarded)?),
                self.boxed(&item.subscript_expr)?,
                span,
            ),
            jinja::Expr::Slice(slice) => Expr::Slice(
                Box::new(Slice {
                    of: self.expr(&slice.expr)?,
                    start: self.optional(slice.start.as_ref())?,
                    stop: self.optional(slice.stop.as_ref())?,
                    step: self.optional(slice.step.as_ref())?,
                }),
                span,
            ),
            jinja::Expr::UnaryOp(op) => match op.op {
                jinja::UnaryOpKind::Not => Expr::Not(self.boxed(&op.expr)?),
                jinja::UnaryOpKind::Neg => Expr::Neg(self.boxed(&op.expr)?, span),
            },
            jinja::Expr::BinOp(op) => {
                let (left, right) = (self.boxed(&op.left)?, self.expr(&op.right)?);
                let compare = |kind, left, right| Expr::Compare(left, vec![(kind, right)], span);
                let binary = |kind, left, right| Expr::Binary(kind, left, Box::new(right), span);
                match op.op {
                    jinja::BinOpKind::ScAnd => Expr::And(left, Box::new(right)),
                    jinja::BinOpKind::ScOr => Expr::Or(left, Box::new(right)),
                    jinja::BinOpKind::Eq => compare(Compare::Eq, left, right),
                    jinja::BinOpKind::Ne => compare(Compare::Ne, left, right),
                    jinja::BinOpKind::Lt => compare(Compare::Lt, left, right),
                    jinja::BinOpKind::Lte => compare(Compare::Le, left, right),
                    jinja::BinOpKind::Gt => compare(Compare::Gt, left, right),
                    jinja::BinOpKind::Gte => compare(Compare::Ge, left, right),
                    jinja::BinOpKind::In => compare(Compare::In, left, right),
                    jinja::BinOpKind::Add => binary(Binary::Add, left, right),
                    jinja::BinOpKind::Sub => binary(Binary::Sub, left, right),
                    jinja::BinOpKind::Mul => binary(Binary::Mul, left, right),
                    jinja::BinOpKind::Div => binary(Binary::Div, left, right),
                    jinja::BinOpKind::FloorDiv => binary(Binary::FloorDiv, left, right),
                    jinja::BinOpKind::Rem => binary(Binary::Rem, left, right),
                    jinja::BinOpKind::Pow => binary(Binary::Pow, left, right),
                    jinja::BinOpKind::Concat => binary(Binary::Concat, left, right),
                }
            }
            jinja::Expr::Compare(compare) => {
                let first = self.boxed(&compare.expr)?;
                let mut rest = Vec::new();
                for op in &compare.ops {
                    let kind = match op.op {
                        jinja::CompareOpKind::Eq => Compare::Eq,
                        jinja::CompareOpKind::Ne => Compare::Ne,
                        jinja::CompareOpKind::Lt => Compare::Lt,
                        jinja::CompareOpKind::Lte => Compare::Le,
                        jinja::CompareOpKind::Gt => Compare::Gt,
                        jinja::CompareOpKind::Gte => Compare::Ge,
                        jinja::CompareOpKind::In => Compare::In,
                        jinja::CompareOpKind::NotIn => Compare::NotIn,
                    };
                    rest.push((kind, self.expr(&op.expr)?));
                }
                Expr::Compare(first, rest, span)
            }
            jinja::Expr::IfExpr(cond) => {
                let Some(otherwise) = &cond.false_expr else {
                    return Err(self
                        .refuse(span, "an `if` without `else` would give nothing")
                        .hint("write `a if condition else b`"));
                };
                Expr::If(Box::new([
                    self.expr(&cond.test_expr)?,
                    self.guarded_expr(&cond.true_expr, guarded)?,
                    self.guarded_expr(otherwise, guarded)?,
                ]))
            }
            jinja::Expr::Filter(filter) => self.filter(filter, span)?,
            jinja::Expr::Test(test) => self.test(test, span)?,
            jinja::Expr::Call(call) => self.call(call, span)?,
            jinja::Expr::List(list) => {
                Expr::List(list.items.iter().map(|item| self.expr(item)).collect::<Parsing<_>>()?)
            }
            jinja::Expr::Map(map) => {
                let mut entries = Vec::new();
                for (key, value) in map.keys.iter().zip(&map.values) {
                    entries.push((self.expr(key)?, self.expr(value)?));
                }
                Expr::Map(entries, span)
            }
        })
    }

    fn path(&mut self, root: &str, segments: Vec<Segment>, span: Span, guarded: bool) -> Parsing<Expr> {
        if self.locals.iter().any(|local| local == root) {
            return Ok(Expr::Path(Path { root: Root::Local(root.to_owned()), segments, span }));
        }
        if self.is_secrets(root) {
            return Err(self
                .refuse(
                    span,
                    "a secret is written `{{ secrets.NAME }}`, alone: it can be neither changed nor compared",
                )
                .hint("text may stand around it, as in `Bearer {{ secrets.NAME }}`"));
        }
        if filters::function(root).is_some() && segments.is_empty() {
            return Err(self
                .refuse(span, format!("`{root}` is a function"))
                .hint(format!("write `{root}()`")));
        }
        let index = self.roots.iter().position(|known| known == root).unwrap_or_else(|| {
            self.roots.push(root.to_owned());
            self.roots.len() - 1
        });
        self.references.push(Reference {
            root: root.to_owned(),
            path: segments.clone(),
            guarded,
            at: span.from,
        });
        Ok(Expr::Path(Path { root: Root::Scope(index), segments, span }))
    }

    fn filter(&mut self, filter: &jinja::Filter<'_>, span: Span) -> Parsing<Expr> {
        let Some(input) = &filter.expr else {
            return Err(self.refuse(span, "a filter needs a value before the `|`"));
        };
        if matches!(filter.name, "default" | "d") {
            let input = self.guarded_expr(input, true)?;
            return Ok(Expr::Default(Box::new(input), self.args(&filter.args, span)?));
        }
        if filter.name == "safe" {
            return Err(self.refuse(span, "`safe` comes last in `{{ … | safe }}`, and in HTML bodies only"));
        }
        let known = filters::filter(filter.name).ok_or_else(|| {
            let names = filters::filter_names().chain(["default"]);
            self.unknown(span, "filter", filter.name, names)
        })?;
        let (input, args) = (self.boxed(input)?, self.args(&filter.args, span)?);
        known.arguments.check(known.name, &args).map_err(|message| self.refuse(span, message))?;
        Ok(Expr::Filter(known, input, args, span))
    }

    fn test(&mut self, test: &jinja::Test<'_>, span: Span) -> Parsing<Expr> {
        match test.name {
            "defined" => return Ok(Expr::Defined(Box::new(self.guarded_expr(&test.expr, true)?))),
            "undefined" => {
                let defined = Expr::Defined(Box::new(self.guarded_expr(&test.expr, true)?));
                return Ok(Expr::Not(Box::new(defined)));
            }
            _ => {}
        }
        let known = filters::test(test.name).ok_or_else(|| {
            let names = filters::test_names().chain(["defined", "undefined"]);
            self.unknown(span, "test", test.name, names)
        })?;
        let (input, args) = (self.boxed(&test.expr)?, self.args(&test.args, span)?);
        known.arguments.check(known.name, &args).map_err(|message| self.refuse(span, message))?;
        Ok(Expr::Test(known, input, args, span))
    }

    fn call(&mut self, call: &jinja::Call<'_>, span: Span) -> Parsing<Expr> {
        let jinja::Expr::Var(var) = &call.expr else {
            return Err(self.refuse(span, "values have no methods").hint("use a filter: `value | upper`"));
        };
        let known = filters::function(var.id)
            .ok_or_else(|| self.unknown(span, "function", var.id, filters::function_names()))?;
        let args = self.args(&call.args, span)?;
        known.arguments.check(known.name, &args).map_err(|message| self.refuse(span, message))?;
        Ok(Expr::Call(known, args, span))
    }

    fn unknown<'n>(
        &self,
        span: Span,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'n str>,
    ) -> ExprError {
        let error = self.refuse(span, format!("there is no {what} `{name}`"));
        match nearest(name, known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    }

    fn args(&mut self, given: &[jinja::CallArg<'_>], span: Span) -> Parsing<Args> {
        let mut args = Args::default();
        for arg in given {
            match arg {
                jinja::CallArg::Pos(value) => args.positional.push(self.expr(value)?),
                jinja::CallArg::Kwarg(name, value) => {
                    args.named.push(((*name).to_owned(), self.expr(value)?));
                }
                jinja::CallArg::PosSplat(_) | jinja::CallArg::KwargSplat(_) => {
                    return Err(self.refuse(span, "`*` and `**` arguments are not available"));
                }
            }
        }
        Ok(args)
    }
}

/// The whole of an expression: the parser's spans begin at the last operator of a chain.
fn expr_span(expr: &jinja::Expr<'_>) -> Span {
    let mut leftmost = expr;
    loop {
        leftmost = match leftmost {
            jinja::Expr::GetAttr(attr) => &attr.expr,
            jinja::Expr::GetItem(item) => &item.expr,
            jinja::Expr::Slice(slice) => &slice.expr,
            jinja::Expr::BinOp(op) => &op.left,
            jinja::Expr::Compare(compare) => &compare.expr,
            jinja::Expr::Test(test) => &test.expr,
            jinja::Expr::Call(call) => &call.expr,
            jinja::Expr::IfExpr(cond) => &cond.true_expr,
            jinja::Expr::Filter(filter) => match &filter.expr {
                Some(inner) => inner,
                None => break,
            },
            _ => break,
        };
    }
    Span { from: leftmost.span().start_offset as usize, to: expr.span().end_offset as usize }
}

fn statement_span(stmt: &jinja::Stmt<'_>) -> Option<Span> {
    let span = match stmt {
        jinja::Stmt::ForLoop(s) => s.span(),
        jinja::Stmt::IfCond(s) => s.span(),
        jinja::Stmt::WithBlock(s) => s.span(),
        jinja::Stmt::Set(s) => s.span(),
        jinja::Stmt::SetBlock(s) => s.span(),
        jinja::Stmt::AutoEscape(s) => s.span(),
        jinja::Stmt::FilterBlock(s) => s.span(),
        jinja::Stmt::Do(s) => s.span(),
        jinja::Stmt::Template(_) | jinja::Stmt::EmitExpr(_) | jinja::Stmt::EmitRaw(_) => return None,
    };
    Some(Span { from: span.start_offset as usize, to: span.end_offset as usize })
}

/// A path whose root has a minus before it.
fn negated_path_of<'a>(expr: &jinja::Expr<'a>) -> Option<(&'a str, Vec<Segment>)> {
    match expr {
        jinja::Expr::UnaryOp(op) if matches!(op.op, jinja::UnaryOpKind::Neg) => path_of(&op.expr),
        jinja::Expr::GetAttr(attr) => {
            let (root, mut segments) = negated_path_of(&attr.expr)?;
            segments.push(Segment::Key(attr.name.to_owned()));
            Some((root, segments))
        }
        jinja::Expr::GetItem(item) => {
            let (root, mut segments) = negated_path_of(&item.expr)?;
            segments.push(segment_of(item)?);
            Some((root, segments))
        }
        _ => None,
    }
}

/// A subscript that stands in the source.
fn segment_of(item: &jinja::GetItem<'_>) -> Option<Segment> {
    match constant(&item.subscript_expr.as_const()?)? {
        Value::String(key) => Some(Segment::Key(key)),
        Value::Number(n) => n.as_i64().map(Segment::Index),
        _ => None,
    }
}

/// `root.key[0]["other key"]`: a path whose every part stands in the source.
fn path_of<'a>(expr: &jinja::Expr<'a>) -> Option<(&'a str, Vec<Segment>)> {
    match expr {
        jinja::Expr::Var(var) => Some((var.id, Vec::new())),
        jinja::Expr::GetAttr(attr) => {
            let (root, mut segments) = path_of(&attr.expr)?;
            segments.push(Segment::Key(attr.name.to_owned()));
            Some((root, segments))
        }
        jinja::Expr::GetItem(item) => {
            let (root, mut segments) = path_of(&item.expr)?;
            segments.push(segment_of(item)?);
            Some((root, segments))
        }
        _ => None,
    }
}
