//! The trigger `manual`: the records that it is started on, and what templates see of them.

use super::bounds::Type;
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
        let mut fields: Vec<(String, Type)> = vec![
            ("type".into(), Type::from(Ty::Text)),
            ("object".into(), Type::from(Ty::Text)),
            ("input".into(), Type::from(input)),
        ];
        match on.select {
            Select::One => {
                fields.push(("record_id".into(), Type::from(Ty::Text)));
                fields.push(("record".into(), self.record_type(object.as_deref())));
            }
            Select::Many => {
                fields.push(("record_ids".into(), Type::from(Ty::list(Ty::Text))));
                fields.push(("count".into(), Type::from(Ty::Number)));
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
