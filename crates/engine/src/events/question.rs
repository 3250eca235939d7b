//! What `when` of a record event's trigger asks, and of which events that matters.
use serde_json::Value;
use stepwell_records::filter::Allowed;
use stepwell_workflow::expr::Values;
use stepwell_workflow::graph::{Condition, Undecided};
use stepwell_workflow::sieve::Region;

pub(crate) struct Question {
    /// As it is written: what reads alike is answered alike.
    pub text: String,
    /// The events of which it holds, or cannot be answered, and maybe some more.
    pub matters: Region,
    condition: Condition,
}

impl Question {
    pub(crate) fn of(when: &Value) -> Result<Self, String> {
        let condition = Condition::compile_for(when, Allowed::BOTH)?;
        Ok(Self { text: when.to_string(), matters: condition.matters("trigger"), condition })
    }

    /// The answer for an event as `trigger`, of which templates have the same in their scope.
    pub(super) fn ask(&self, trigger: &Value, scope: &Values) -> Result<bool, Undecided> {
        self.condition.holds_of(trigger, scope)
    }
}
