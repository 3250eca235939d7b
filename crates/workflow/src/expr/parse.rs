//! From text to a checked template. minijinja's parser knows the language; what it allows and a workflow should
//! not contain is refused here, and every name, filter and test is looked up before anything runs.

use minijinja::machinery::{self, ast as jinja};
use stepwell_records::nearest;

use super::ast::{Args, Binary, Compare, Expr, For, Path, Root, Segment, Slice, Span, Stmt, Targets};
use super::error::ExprError;
use super::filters::{self, Filter, Test};
use super::json::constant;
use super::nesting;
use super::paths::{expr_span, negated_path_of, path_of, statement_span};
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
    nesting::check(source)?;
    let parsed = machinery::parse(source, "template", Default::default(), nesting::whitespace())
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
        let mut checked = Vec::with_capacity(statements.len());
        for stmt in statements {
            checked.push(self.statement(stmt)?);
        }
        Ok(checked)
    }

    fn statement(&mut self, stmt: &jinja::Stmt<'_>) -> Parsing<Stmt> {
        if !matches!(stmt, jinja::Stmt::EmitRaw(_) | jinja::Stmt::EmitExpr(_)) && !self.mode.has_blocks() {
            return Err(self.no_blocks(stmt));
        }
        match stmt {
            jinja::Stmt::EmitRaw(raw) => Ok(Stmt::Raw(raw.raw.to_owned())),
            jinja::Stmt::EmitExpr(emit) => self.emit(&emit.expr),
            jinja::Stmt::ForLoop(each) => self.each(each),
            jinja::Stmt::IfCond(cond) => self.condition(cond),
            jinja::Stmt::Set(set) => {
                let span = expr_span(&set.expr);
                let value = self.expr(&set.expr)?;
                Ok(Stmt::Set { targets: self.targets(&set.target)?, value, span })
            }
            jinja::Stmt::WithBlock(with) => self.with(with),
            _ => Err(self.no_such_tag(stmt)),
        }
    }

    fn no_such_tag(&self, stmt: &jinja::Stmt<'_>) -> ExprError {
        ExprError::syntax("this tag is not available")
            .hint("there are `for`, `if`, `set` and `with`")
            .in_part(self.block_text(stmt), self.block_start(stmt))
    }

    fn no_blocks(&self, stmt: &jinja::Stmt<'_>) -> ExprError {
        ExprError::syntax("`{% … %}` stands in the bodies of e-mails only")
            .in_part(self.block_text(stmt), self.block_start(stmt))
    }

    fn each(&mut self, each: &jinja::ForLoop<'_>) -> Parsing<Stmt> {
        let span = expr_span(&each.iter);
        if each.recursive {
            return Err(self.refuse(span, "`recursive` loops are not available"));
        }
        let iter = self.expr(&each.iter)?;
        let locals = self.locals.len();
        let targets = self.targets(&each.target)?;
        self.locals.push("loop".to_owned());
        let filter = self.optional(each.filter_expr.as_ref())?;
        let body = self.statements(&each.body)?;
        self.locals.truncate(locals);
        let otherwise = self.statements(&each.else_body)?;
        Ok(Stmt::For(Box::new(For { targets, iter, filter, body, otherwise, span })))
    }

    fn condition(&mut self, cond: &jinja::IfCond<'_>) -> Parsing<Stmt> {
        let condition = self.expr(&cond.expr)?;
        let then = self.statements(&cond.true_body)?;
        let otherwise = self.statements(&cond.false_body)?;
        Ok(Stmt::If { condition, then, otherwise })
    }

    fn with(&mut self, with: &jinja::WithBlock<'_>) -> Parsing<Stmt> {
        let locals = self.locals.len();
        let mut assignments = Vec::new();
        for (target, value) in &with.assignments {
            let span = expr_span(value);
            let value = self.expr(value)?;
            assignments.push((self.targets(target)?, value, span));
        }
        let body = self.statements(&with.body)?;
        self.locals.truncate(locals);
        Ok(Stmt::With { assignments, body })
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
        // Each in a function of its own: this one recurses, and should need little of the stack.
        match expr {
            jinja::Expr::Const(c) => constant(&c.value)
                .map(Expr::Const)
                .ok_or_else(|| self.refuse(span, "this number is too large")),
            // Paths were taken above.
            jinja::Expr::Var(var) => self.path(var.id, Vec::new(), span, guarded),
            jinja::Expr::GetAttr(attr) => self.attr(attr, span, guarded),
            jinja::Expr::GetItem(item) => self.item(item, span, guarded),
            jinja::Expr::Slice(slice) => self.slice(slice, span),
            jinja::Expr::UnaryOp(op) => self.unary(op, span),
            jinja::Expr::BinOp(op) => self.binary(op, span),
            jinja::Expr::Compare(compare) => self.compare(compare, span),
            jinja::Expr::IfExpr(cond) => self.choice(cond, span, guarded),
            jinja::Expr::Filter(filter) => self.filter(filter, span),
            jinja::Expr::Test(test) => self.test(test, span),
            jinja::Expr::Call(call) => self.call(call, span),
            jinja::Expr::List(list) => self.list(list),
            jinja::Expr::Map(map) => self.map(map, span),
        }
    }

    fn attr(&mut self, attr: &jinja::GetAttr<'_>, span: Span, guarded: bool) -> Parsing<Expr> {
        let of = Box::new(self.guarded_expr(&attr.expr, guarded)?);
        Ok(Expr::Attr(of, attr.name.to_owned(), span))
    }

    fn item(&mut self, item: &jinja::GetItem<'_>, span: Span, guarded: bool) -> Parsing<Expr> {
        let of = Box::new(self.guarded_expr(&item.expr, guarded)?);
        Ok(Expr::Item(of, self.boxed(&item.subscript_expr)?, span))
    }

    fn slice(&mut self, slice: &jinja::Slice<'_>, span: Span) -> Parsing<Expr> {
        let of = self.expr(&slice.expr)?;
        let start = self.optional(slice.start.as_ref())?;
        let stop = self.optional(slice.stop.as_ref())?;
        let step = self.optional(slice.step.as_ref())?;
        Ok(Expr::Slice(Box::new(Slice { of, start, stop, step }), span))
    }

    fn unary(&mut self, op: &jinja::UnaryOp<'_>, span: Span) -> Parsing<Expr> {
        let of = self.boxed(&op.expr)?;
        Ok(match op.op {
            jinja::UnaryOpKind::Not => Expr::Not(of),
            jinja::UnaryOpKind::Neg => Expr::Neg(of, span),
        })
    }

    fn binary(&mut self, op: &jinja::BinOp<'_>, span: Span) -> Parsing<Expr> {
        let left = self.boxed(&op.left)?;
        let right = self.boxed(&op.right)?;
        Ok(joined(op.op, left, right, span))
    }

    fn compare(&mut self, compare: &jinja::Compare<'_>, span: Span) -> Parsing<Expr> {
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
        Ok(Expr::Compare(first, rest, span))
    }

    fn choice(&mut self, cond: &jinja::IfExpr<'_>, span: Span, guarded: bool) -> Parsing<Expr> {
        let Some(otherwise) = &cond.false_expr else { return Err(self.no_else(span)) };
        let condition = self.expr(&cond.test_expr)?;
        let then = self.guarded_expr(&cond.true_expr, guarded)?;
        let otherwise = self.guarded_expr(otherwise, guarded)?;
        Ok(Expr::If(Box::new([condition, then, otherwise])))
    }

    fn no_else(&self, span: Span) -> ExprError {
        self.refuse(span, "an `if` without `else` would give nothing").hint("write `a if condition else b`")
    }

    fn list(&mut self, list: &jinja::List<'_>) -> Parsing<Expr> {
        Ok(Expr::List(list.items.iter().map(|item| self.expr(item)).collect::<Parsing<_>>()?))
    }

    fn map(&mut self, map: &jinja::Map<'_>, span: Span) -> Parsing<Expr> {
        let mut entries = Vec::new();
        for (key, value) in map.keys.iter().zip(&map.values) {
            let key = self.expr(key)?;
            entries.push((key, self.expr(value)?));
        }
        Ok(Expr::Map(entries, span))
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
        let known = self.known_filter(filter, span)?;
        let Some(input) = &filter.expr else { return Err(self.no_input(span)) };
        let input = Box::new(self.guarded_expr(input, known.is_none())?);
        let args = self.args(&filter.args, span)?;
        match known {
            None => Ok(Expr::Default(input, args)),
            Some(known) => match known.arguments.check(known.name, &args) {
                Ok(()) => Ok(Expr::Filter(known, input, args, span)),
                Err(message) => Err(self.refuse(span, message)),
            },
        }
    }

    fn no_input(&self, span: Span) -> ExprError {
        self.refuse(span, "a filter needs a value before the `|`")
    }

    /// The filter that is meant; none for `default`, which is part of the language.
    fn known_filter(&self, filter: &jinja::Filter<'_>, span: Span) -> Parsing<Option<&'static Filter>> {
        match filter.name {
            "default" | "d" => Ok(None),
            "safe" => {
                Err(self.refuse(span, "`safe` comes last in `{{ … | safe }}`, and in HTML bodies only"))
            }
            name => filters::filter(name).map(Some).ok_or_else(|| {
                let names = filters::filter_names().chain(["default"]);
                self.unknown(span, "filter", name, names)
            }),
        }
    }

    fn test(&mut self, test: &jinja::Test<'_>, span: Span) -> Parsing<Expr> {
        let known = self.known_test(test, span)?;
        let input = Box::new(self.guarded_expr(&test.expr, known.is_none())?);
        let Some(known) = known else {
            let defined = Expr::Defined(input);
            return Ok(if test.name == "defined" { defined } else { Expr::Not(Box::new(defined)) });
        };
        let args = self.args(&test.args, span)?;
        match known.arguments.check(known.name, &args) {
            Ok(()) => Ok(Expr::Test(known, input, args, span)),
            Err(message) => Err(self.refuse(span, message)),
        }
    }

    /// The test that is meant; none for those that are part of the language.
    fn known_test(&self, test: &jinja::Test<'_>, span: Span) -> Parsing<Option<&'static Test>> {
        match test.name {
            "defined" | "undefined" => Ok(None),
            name => filters::test(name).map(Some).ok_or_else(|| {
                let names = filters::test_names().chain(["defined", "undefined"]);
                self.unknown(span, "test", name, names)
            }),
        }
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

fn joined(op: jinja::BinOpKind, left: Box<Expr>, right: Box<Expr>, span: Span) -> Expr {
    let kind = match op {
        jinja::BinOpKind::ScAnd => return Expr::And(left, right),
        jinja::BinOpKind::ScOr => return Expr::Or(left, right),
        jinja::BinOpKind::Eq => return compared(Compare::Eq, left, *right, span),
        jinja::BinOpKind::Ne => return compared(Compare::Ne, left, *right, span),
        jinja::BinOpKind::Lt => return compared(Compare::Lt, left, *right, span),
        jinja::BinOpKind::Lte => return compared(Compare::Le, left, *right, span),
        jinja::BinOpKind::Gt => return compared(Compare::Gt, left, *right, span),
        jinja::BinOpKind::Gte => return compared(Compare::Ge, left, *right, span),
        jinja::BinOpKind::In => return compared(Compare::In, left, *right, span),
        jinja::BinOpKind::Add => Binary::Add,
        jinja::BinOpKind::Sub => Binary::Sub,
        jinja::BinOpKind::Mul => Binary::Mul,
        jinja::BinOpKind::Div => Binary::Div,
        jinja::BinOpKind::FloorDiv => Binary::FloorDiv,
        jinja::BinOpKind::Rem => Binary::Rem,
        jinja::BinOpKind::Pow => Binary::Pow,
        jinja::BinOpKind::Concat => Binary::Concat,
    };
    Expr::Binary(kind, left, right, span)
}

fn compared(kind: Compare, left: Box<Expr>, right: Expr, span: Span) -> Expr {
    Expr::Compare(left, vec![(kind, right)], span)
}
