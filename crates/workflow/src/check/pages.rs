//! `pagination`: the paths in an answer by which its pages are read. One that leads nowhere is no failure of a run but the
//! end of the pages, so it is told here.

use super::bounds::Type;
use super::checker::Checker;
use super::infer::{Why, known};
use super::steps::{open_texts, schema_or_any};
use super::types::{Object, Rest, Ty};
use crate::expr::Segment;
use crate::machine::answer_path;
use crate::model::{HttpRequest, NextPage, Pagination};

/// What a path in an answer is to lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    List,
    Cursor,
    Anything,
}

impl<'w> Checker<'w> {
    /// Gives the type of the items.
    pub(super) fn pagination(&mut self, pagination: &'w Pagination, request: &'w HttpRequest) -> Ty {
        let body = schema_or_any(request.response.schema.as_ref(), "the `response.schema`");
        let answer = Type::from(Ty::Object(Object {
            label: Some("an answer".into()),
            fields: vec![
                ("status".into(), Type::from(Ty::Number)),
                ("headers".into(), Type::from(open_texts())),
                ("body".into(), Type::from(body)),
            ],
            required: Vec::new(),
            rest: Rest::Closed,
        }));
        let items =
            self.under("items", |me| me.answer_path("items", &pagination.items, &answer, Wanted::List));
        if let Some(more) = &pagination.more {
            self.under("more", |me| me.answer_path("more", more, &answer, Wanted::Anything));
        }
        if let NextPage::Cursor { path, .. } = &pagination.next {
            self.under("next", |me| {
                me.under("cursor", |me| {
                    me.under("path", |me| me.answer_path("path", path, &answer, Wanted::Cursor))
                })
            });
        }
        match items {
            Some(ty) if matches!(**ty.bare(), Ty::List(_)) => Ty::clone(ty.bare()),
            _ => Ty::list(Ty::Any),
        }
    }

    /// Tells what is wrong with a path; gives the type of what it leads to.
    fn answer_path(&mut self, key: &str, path: &str, answer: &Type, wanted: Wanted) -> Option<Type> {
        let Some(segments) = answer_path(path) else {
            self.tell("invalid_value", format!("`{key}` is a path in the answer, not {path:?}"))
                .set_hint("names with `.` between them, and places in a list: `body.pages[0].next`");
            return None;
        };
        if !matches!(&segments[0], Segment::Key(first) if first == "body" || first == "headers") {
            let meant = answer_path(&format!("body.{path}"));
            let there = meant.is_some_and(|segments| self.walk(answer, &segments, false).is_ok());
            let hint = match there {
                true => format!("it begins with `body`: `body.{path}`"),
                false => "it begins with `body`: `body.results`".to_owned(),
            };
            self.tell("invalid_value", format!("`{key}` is a path in the answer")).set_hint(hint);
            return None;
        }
        match self.walk(answer, &segments, false) {
            Ok(ty) => {
                let fits = match (&**ty.bare(), wanted) {
                    (Ty::Any | Ty::OneOf { .. }, _) | (_, Wanted::Anything) => true,
                    (Ty::List(_), _) => wanted == Wanted::List,
                    (Ty::Object(_), _) => false,
                    _ => wanted == Wanted::Cursor,
                };
                if !fits {
                    let takes = if wanted == Wanted::List { "a list" } else { "a text or a number" };
                    let message = format!("`{key}` is to lead to {takes}, and `{path}` is {}", ty.describe());
                    self.tell("wrong_type", message);
                }
                Some(ty)
            }
            Err(miss) => {
                let (giver, names) = match &miss.why {
                    Why::Unknown(objects) => known(objects),
                    _ => (None, Vec::new()),
                };
                let giver = giver.as_deref().unwrap_or("the `response.schema`");
                let hint = match &segments[miss.at] {
                    Segment::Key(wrong) => self
                        .nearest(wrong, names.iter().copied())
                        .map(|near| format!("did you mean `{near}` there?")),
                    Segment::Index(_) => None,
                };
                let gives = match names.is_empty() {
                    true => "does not give".to_owned(),
                    false => format!("does not give; there are {}", names.join(", ")),
                };
                let message = format!("`{key}` looks for `{path}`, which {giver} {gives}");
                self.tell("unknown_path", message).hint = hint;
                None
            }
        }
    }
}
