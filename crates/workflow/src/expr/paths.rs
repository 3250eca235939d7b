//! Where the parts of the parser's tree stand, and which of them are paths.

use minijinja::machinery::ast as jinja;
use serde_json::Value;

use super::ast::{Segment, Span};
use super::json::constant;

/// The whole of an expression: the parser's spans begin at the last operator of a chain.
pub(super) fn expr_span(expr: &jinja::Expr<'_>) -> Span {
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

pub(super) fn statement_span(stmt: &jinja::Stmt<'_>) -> Option<Span> {
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
pub(super) fn negated_path_of<'a>(expr: &jinja::Expr<'a>) -> Option<(&'a str, Vec<Segment>)> {
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

/// A subscript that stands in the source. What is calculated from constants does not: the parser's own calculating
/// knows no bounds.
fn segment_of(item: &jinja::GetItem<'_>) -> Option<Segment> {
    let (value, sign) = match &item.subscript_expr {
        jinja::Expr::Const(c) => (constant(&c.value)?, 1),
        jinja::Expr::UnaryOp(op) if matches!(op.op, jinja::UnaryOpKind::Neg) => match &op.expr {
            jinja::Expr::Const(c) => (constant(&c.value)?, -1),
            _ => return None,
        },
        _ => return None,
    };
    match value {
        Value::String(key) if sign == 1 => Some(Segment::Key(key)),
        Value::Number(n) => n.as_i64().and_then(|n| n.checked_mul(sign)).map(Segment::Index),
        _ => None,
    }
}

/// `root.key[0]["other key"]`: a path whose every part stands in the source.
pub(super) fn path_of<'a>(expr: &jinja::Expr<'a>) -> Option<(&'a str, Vec<Segment>)> {
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
