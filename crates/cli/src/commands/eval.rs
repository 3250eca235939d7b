//! `stepwell eval`: an expression by the evaluator of production, over the values of a run or of a file.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stepwell_engine::eval::{Seen, evaluate};
use stepwell_workflow::expr::ExprError;

use super::Bad;
use crate::args::{Eval, Global};
use crate::client::{Client, ClientError};
use crate::output;

pub async fn main(eval: Eval, global: &Global) -> anyhow::Result<()> {
    let data = eval.data.as_deref().map(of_file).transpose()?.unwrap_or_default();
    let Some(run) = &eval.run else {
        return match evaluate(&eval.expression, &Seen::of(data, Timestamp::now())) {
            Ok(value) => output::json(&value),
            Err(error) if global.json => {
                output::json(&json!({ "error": error }))?;
                Err(Bad(error.message).into())
            }
            Err(error) => Err(Bad(of_error(&eval.expression, &error)).into()),
        };
    };
    let client = Client::new(global)?;
    let run = client.run_id(run).await?;
    let asked = json!({ "expression": eval.expression, "run": run, "item": eval.item, "data": data });
    match client.json::<Value>(client.post(&["eval"]).json(&asked)).await {
        Ok(mut answer) => output::json(&answer["value"].take()),
        Err(ClientError::Refused(problem)) if problem.code == "invalid_expression" => {
            let Some(told) = problem.errors.first() else { return Err(Bad(problem.detail).into()) };
            if global.json {
                output::json(&json!({ "error": told }))?;
                return Err(Bad(told.message.clone()).into());
            }
            let (line, column) = (told.line.unwrap_or(1), told.column.unwrap_or(1));
            Err(Bad(shown(&eval.expression, (line, column), 1, &told.message, told.hint.as_deref())).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn of_error(expression: &str, error: &ExprError) -> String {
    let before = expression.get(..error.at).unwrap_or(expression);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let at = (before.matches('\n').count() as u32 + 1, column as u32);
    let meant = error.expression.lines().next().unwrap_or_default().chars().count();
    shown(expression, at, meant, &error.message, error.hint.as_deref())
}

/// The message, the line of the expression with the place marked, and the hint.
fn shown(expression: &str, at: (u32, u32), meant: usize, message: &str, hint: Option<&str>) -> String {
    let line = expression.split('\n').nth(at.0 as usize - 1).unwrap_or_default();
    let before: String =
        line.chars().take(at.1 as usize - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let room = line.chars().count().saturating_sub(before.chars().count());
    let marks = "^".repeat(meant.min(room).max(1));
    let mut text = format!("{message}\n  |\n  | {line}\n  | {before}{marks}");
    if let Some(hint) = hint {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  = hint: {hint}");
    }
    text
}

/// A JSON object: each member is a name.
fn of_file(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()).context("stdin cannot be read")?,
        false => super::files::given(path)?,
    };
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{} is not JSON: {error}", path.display()))?;
    let Value::Object(members) = value else {
        anyhow::bail!(
            "{} is not a JSON object: its members are the names, as in {{\"trigger\": {{\"body\": {{}}}}}}",
            path.display()
        );
    };
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let trigger = json!({ "body": { "email": "Ada@Example.com", "n": 3 } });
        Seen::of(Map::from_iter([("trigger".to_owned(), trigger)]), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn expressions_and_texts_are_evaluated_as_in_a_workflow() {
        let value = |text: &str| evaluate(text, &seen()).unwrap();
        assert_eq!(value("trigger.body.n + 1"), json!(4));
        assert_eq!(value("{{ trigger.body }}"), json!({ "email": "Ada@Example.com", "n": 3 }));
        assert_eq!(value("to {{ trigger.body.email | lower }}"), json!("to ada@example.com"));
        assert_eq!(value("trigger.x | default('none')"), json!("none"));
        assert_eq!(value("now()"), json!("1970-01-01T00:00:00Z"));
    }

    #[test]
    fn an_error_points_at_its_place() {
        let error = |text: &str| of_error(text, &evaluate(text, &seen()).unwrap_err());
        let errors = [
            "'ü' ~ trigger.body.emial | lower",
            "trigger.body.n +",
            "to {{ trigger.body.email | lowr }}",
            "trigger.\n  body.x",
            "nothing.here",
            "",
            "{{ a",
        ];
        insta::assert_snapshot!(errors.map(error).join("\n\n"));
    }
}
