//! The trigger `manual`: the records that it is started on, and what templates see of them.

use std::rc::Rc;

use super::checker::Checker;
use super::steps::schema_or_any;
use super::types::{self, Rest, Ty};
use crate::model::{Manual, Select};

impl<'w> Checker<'w> {
    /// Tells what is wrong with the trigger, and gives the type of `trigger`.
    pub(super) fn manual(&mut self, manual: &'w Manual) -> Ty {
        let input = schema_or_any(manual.input_schema.as_ref(), "the trigger's `input_schema`");
        let Some(on) = &manual.on else {
            return Ty::object("a manual trigger", vec![("type", Ty::Text), ("input", input)]);
        };
        let object = self.under("trigger", |me| me.under("on", |me| me.object(&on.object)));
        let mut fields: Vec<(String, Rc<Ty>)> = vec![
            ("type".into(), Rc::new(Ty::Text)),
            ("object".into(), Rc::new(Ty::Text)),
            ("input".into(), Rc::new(input)),
        ];
        match on.select {
            Select::One => {
                fields.push(("record_id".into(), Rc::new(Ty::Text)));
                fields.push(("record".into(), self.record_type(object.as_deref())));
            }
            Select::Many => {
                fields.push(("record_ids".into(), Rc::new(Ty::list(Ty::Text))));
                fields.push(("count".into(), Rc::new(Ty::Number)));
            }
        }
        Ty::Object(types::Object {
            label: Some("a manual trigger on records".into()),
            fields,
            required: Vec::new(),
            rest: Rest::Closed,
        })
    }
}
