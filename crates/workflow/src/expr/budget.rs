//! What one rendering may use up: steps of evaluation, and bytes of the values that it makes. A template is data of its
//! author, and data of strangers goes through it; neither may hold up or fill up the server.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;

use serde_json::{Number, Value};

use super::error::{ExprError, ExprErrorKind};
use crate::depth::MAX_DEPTH;

/// Steps in one rendering: each part of an expression that is evaluated, each item and piece of text that is walked.
pub const MAX_STEPS: u64 = 1_000_000;

/// Bytes of the values that one rendering makes on its way, copies and what is thrown away again included; of lists and
/// objects about what they are as JSON, and of each value in them at least `LEAST`.
pub const MAX_MADE: u64 = 16 << 20;

/// A value takes 32 bytes of memory even where its JSON is one digit: so what is made takes no more than four times
/// [`MAX_MADE`], and a list of coordinates counts as little more than its JSON.
const LEAST: u64 = 8;

/// Bytes of text that are walked in one step.
const TEXT_STEP: u64 = 64;

/// Of what is left; shared by all templates of one call.
#[derive(Debug)]
pub struct Budget {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    /// What ran out, or went too deep.
    spent: RefCell<Option<String>>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { steps: Cell::new(MAX_STEPS), bytes: Cell::new(MAX_MADE), spent: RefCell::new(None) }
    }
}

/// How much work a value is.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// About those of its JSON; of small values more.
    bytes: u64,
    /// Eighths of a step. An object is many: it takes some hundred bytes, however small.
    eighths: u64,
}

impl Budget {
    /// Uses up steps.
    #[inline]
    pub(super) fn steps(&self, amount: u64) -> Result<(), String> {
        match self.steps.get().checked_sub(amount) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => Err(self.out_of_steps()),
        }
    }

    /// Uses up bytes of what is made.
    #[inline]
    pub(super) fn bytes(&self, amount: usize) -> Result<(), String> {
        match self.bytes.get().checked_sub(amount as u64) {
            Some(left) => {
                self.bytes.set(left);
                Ok(())
            }
            None => Err(self.out_of_bytes()),
        }
    }

    #[cold]
    fn out_of_steps(&self) -> String {
        self.out(format!("the template needs more than {} steps", thousands(MAX_STEPS)))
    }

    #[cold]
    fn out_of_bytes(&self) -> String {
        self.out(format!(
            "the template makes values of more than {} MiB, those on the way included",
            MAX_MADE >> 20
        ))
    }

    /// Whether so much may still be made.
    pub(super) fn fits(&self, amount: usize) -> Result<(), String> {
        let left = self.bytes.get();
        self.bytes(amount)?;
        self.bytes.set(left);
        Ok(())
    }

    /// A text is walked.
    pub(super) fn read_text(&self, text: &str) -> Result<(), String> {
        self.steps(text.len() as u64 / TEXT_STEP)
    }

    /// A text is made.
    pub(super) fn made_text(&self, text: &str) -> Result<(), String> {
        self.read_text(text)?;
        self.bytes(text.len())
    }

    /// A value is walked, `times` over.
    pub(super) fn read(&self, value: &Value, times: u64) -> Result<(), String> {
        let size = self.size(value)?;
        self.steps(size.eighths.div_ceil(8).saturating_mul(times))
    }

    /// A value is made, or copied.
    pub(super) fn made(&self, value: &Value) -> Result<(), String> {
        let size = self.size(value)?;
        self.steps(size.eighths / 8)?;
        self.bytes(usize::try_from(size.bytes).unwrap_or(usize::MAX))
    }

    fn size(&self, value: &Value) -> Result<Size, String> {
        let mut size = Size::default();
        match measure(value, MAX_DEPTH, &mut size) {
            true => Ok(size),
            false => Err(self.out(format!("the value is nested deeper than {MAX_DEPTH} levels"))),
        }
    }

    fn out(&self, message: String) -> String {
        self.spent.borrow_mut().get_or_insert_with(|| message.clone());
        message
    }

    /// The error of what a value met, or of the budget when that is why.
    pub(super) fn error(&self, message: impl Into<String>) -> ExprError {
        match &*self.spent.borrow() {
            Some(spent) => ExprError::new(ExprErrorKind::Limit, spent.clone())
                .hint("work on that much data in a code step"),
            None => ExprError::value(message),
        }
    }
}

/// False when the value is deeper than `levels`.
fn measure(value: &Value, levels: usize, size: &mut Size) -> bool {
    let text = |text: &str| 3 + text.len() as u64;
    match value {
        Value::Null | Value::Bool(_) => (size.bytes, size.eighths) = (size.bytes + LEAST, size.eighths + 1),
        Value::Number(number) => {
            size.bytes += LEAST.max(digits(number) + 1);
            size.eighths += 1;
        }
        Value::String(content) => {
            size.bytes += LEAST.max(text(content));
            size.eighths += 1 + content.len() as u64 * 8 / TEXT_STEP;
        }
        Value::Array(items) => {
            (size.bytes, size.eighths) = (size.bytes + LEAST, size.eighths + 2);
            return levels > 0 && items.iter().all(|item| measure(item, levels - 1, size));
        }
        Value::Object(fields) => {
            (size.bytes, size.eighths) = (size.bytes + LEAST, size.eighths + 32);
            return levels > 0
                && fields.iter().all(|(key, value)| {
                    size.bytes += text(key);
                    measure(value, levels - 1, size)
                });
        }
    }
    true
}

/// How long a number is when it is written.
fn digits(number: &Number) -> u64 {
    if let Some(n) = number.as_u64() {
        return u64::from(n.checked_ilog10().unwrap_or(0)) + 1;
    }
    if let Some(n) = number.as_i64() {
        return u64::from(n.unsigned_abs().checked_ilog10().unwrap_or(0)) + 2;
    }
    let mut length = Length(0);
    // Counting does not fail.
    let _ = write!(length, "{number}");
    length.0
}

/// Counts what is written.
struct Length(u64);

impl std::fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len() as u64;
        Ok(())
    }
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_count_as_their_json_and_small_ones_as_more() {
        let bytes = |value: &Value| Budget::default().size(value).unwrap().bytes;
        for value in [
            json!(9_000_000_000_000_000_000_u64),
            json!(i64::MIN),
            json!(10_000_000),
            json!(-1_234_567),
            json!(1.234_567_89e-7),
            json!("a text of some length"),
        ] {
            // A comma stands behind each.
            assert_eq!(bytes(&value), value.to_string().len() as u64 + 1, "{value}");
        }
        for small in
            [json!(0), json!(-7), json!(null), json!(true), json!(1.5), json!(""), json!([]), json!({})]
        {
            assert_eq!(bytes(&small), LEAST, "{small}");
        }
        assert_eq!(bytes(&json!([1, {"abc": 2}])), 4 * LEAST + 6);
    }
}
