//! Conditions (`if`, `when`, `retry.on`): whether what they ask can be asked of what the values certainly are.

use serde_json::Value;
use stepwell_records::filter::{Allowed, Filter, Operand, Subject};

use super::checker::Checker;
use crate::expr::{Kinds, Mode};

impl<'w> Checker<'w> {
    /// A condition with all that stands in it.
    pub(super) fn condition(&mut self, condition: &'w Value) {
        self.value(condition, Mode::Value);
        if let Value::String(_) = condition {
            let kinds = self.kinds_of(condition);
            if !kinds.may_be(Kinds::BOOLEAN) {
                let message =
                    format!("the condition gives {}, which is neither true nor false", kinds.describe());
                self.tell("type_mismatch", message)
                    .set_hint("compare it with something, or ask whether it `is defined`");
            }
            return;
        }
        // What does not parse has been told when the document was read.
        let Ok(filter) = Filter::parse(condition, Allowed::BOTH) else { return };
        filter.visit_conditions(&mut |at, condition| {
            let Subject::Value(subject) = &condition.subject else { return };
            let subject = self.kinds_of(subject);
            for test in &condition.tests {
                let value = self.kinds_of(&test.value);
                if can_be_asked(test.operand, subject, value) {
                    continue;
                }
                let operand = test.operand.name();
                let message = format!(
                    "`{operand}` cannot be asked of {} with {}",
                    subject.describe(),
                    value.describe()
                );
                let texts = subject.or(value).without(Kinds::NULL) == Kinds::TEXT.or(Kinds::NUMBER);
                self.at_inner(at, operand, |me| {
                    let told = me.tell("type_mismatch", message);
                    if texts {
                        told.set_hint("make a number of the text with `| int` or `| float`");
                    }
                });
            }
        });
    }
}

/// Whether some subject of these kinds can be asked with some value of those. Null can be asked whatever there is.
fn can_be_asked(operand: Operand, subject: Kinds, value: Kinds) -> bool {
    if subject.may_be(Kinds::NULL) && value.without(Kinds::NULL).may_be(Kinds::ANY) {
        return true;
    }
    let both = subject.and(value).without(Kinds::NULL);
    match operand {
        Operand::Is | Operand::IsNot => both.may_be(Kinds::ANY),
        Operand::In | Operand::NotIn => value.may_be(Kinds::LIST),
        Operand::Contains | Operand::NotContains => {
            subject.may_be(Kinds::TEXT) && value.may_be(Kinds::TEXT) || subject.may_be(Kinds::LIST)
        }
        Operand::ContainsAny | Operand::ContainsAll => {
            subject.may_be(Kinds::LIST) && value.may_be(Kinds::LIST)
        }
        Operand::StartsWith | Operand::EndsWith => both.may_be(Kinds::TEXT),
        Operand::LessThan | Operand::LessOrEqual | Operand::GreaterThan | Operand::GreaterOrEqual => {
            both.may_be(Kinds::TEXT.or(Kinds::NUMBER))
        }
        Operand::Before | Operand::After | Operand::On | Operand::OnOrBefore | Operand::OnOrAfter => {
            value.may_be(Kinds::TEXT)
        }
        Operand::Within => true,
        Operand::IsEmpty => value.may_be(Kinds::BOOLEAN),
    }
}
