//! A template as it is evaluated: small, checked, free of the source's lifetime.

use serde_json::Value;

use super::filters::{Filter, Function, Test};

/// A piece of the template's source: byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub from: usize,
    pub to: usize,
}

impl Span {
    pub fn of(self, source: &str) -> &str {
        source.get(self.from..self.to).unwrap_or(source)
    }
}

#[derive(Debug)]
pub(super) enum Expr {
    Const(Value),
    /// `root.key[0]…`: what most templates are.
    Path(Path),
    Attr(Box<Expr>, String, Span),
    Item(Box<Expr>, Box<Expr>, Span),
    Slice(Box<Slice>, Span),
    Not(Box<Expr>),
    Neg(Box<Expr>, Span),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>, Span),
    /// `a < b <= c`: every neighbouring pair must hold.
    Compare(Box<Expr>, Vec<(Compare, Expr)>, Span),
    If(Box<[Expr; 3]>),
    Filter(&'static Filter, Box<Expr>, Args, Span),
    Default(Box<Expr>, Args),
    Defined(Box<Expr>),
    Test(&'static Test, Box<Expr>, Args, Span),
    Call(&'static Function, Args, Span),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>, Span),
}

#[derive(Debug)]
pub(super) struct Path {
    pub root: Root,
    pub segments: Vec<Segment>,
    pub span: Span,
}

#[derive(Debug)]
pub(super) enum Root {
    /// Of the scope: an index into the template's roots.
    Scope(usize),
    /// Set by a `{% for %}`, `{% set %}` or `{% with %}` around.
    Local(String),
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Key(String),
    /// From the end when negative.
    Index(i64),
}

#[derive(Debug)]
pub(super) struct Slice {
    pub of: Expr,
    pub start: Option<Expr>,
    pub stop: Option<Expr>,
    pub step: Option<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
    Concat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug, Default)]
pub(super) struct Args {
    pub positional: Vec<Expr>,
    pub named: Vec<(String, Expr)>,
}

#[derive(Debug)]
pub(super) enum Stmt {
    Raw(String),
    Emit { expr: Expr, span: Span, safe: bool },
    Secret(String),
    For(Box<For>),
    If { condition: Expr, then: Vec<Stmt>, otherwise: Vec<Stmt> },
    Set { targets: Targets, value: Expr, span: Span },
    With { assignments: Vec<(Targets, Expr, Span)>, body: Vec<Stmt> },
}

#[derive(Debug)]
pub(super) struct For {
    pub targets: Targets,
    pub iter: Expr,
    pub filter: Option<Expr>,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
    pub span: Span,
}

/// One name, or several that a list is taken apart into.
#[derive(Debug)]
pub(super) enum Targets {
    One(String),
    Many(Vec<String>),
}
