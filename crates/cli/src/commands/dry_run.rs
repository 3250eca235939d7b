//! `stepwell workflow run --dry-run`: a whole run that leaves records, peers and mail untouched.

use serde_json::Value;
use stepwell_engine::{RunStatus, WorkflowTest};

use super::{Bad, history, told};
use crate::args::Global;
use crate::client::Client;
use crate::output::{self, Line};

pub async fn main(client: &Client, name: &str, input: &Value, global: &Global) -> anyhow::Result<()> {
    let body = serde_json::json!({ "input": input });
    let tested: WorkflowTest = client.json(client.post(&["workflows", name, "test"]).json(&body)).await?;
    if global.json {
        output::json(&tested)?;
    } else {
        show(&tested);
    }
    if tested.status == RunStatus::Completed {
        return Ok(());
    }
    let what = format!("the dry run of {name}");
    Err(Bad(told::failure_of(&what, tested.status, tested.error.as_ref())).into())
}

fn show(tested: &WorkflowTest) {
    let mut text = Line::new();
    for step in &tested.steps {
        history::step_line(step, &mut text);
    }
    for request in &tested.requests {
        text.add(format!("not sent: {} {}", request.method, request.url)).end();
    }
    for mail in &tested.mails {
        text.add(format!("not sent: e-mail to {}: {}", mail.to.join(", "), mail.subject)).end();
    }
    if tested.items_left_out > 0 {
        let what = format!(
            "{} items were left out: a dry run has the first 100 of each iterator, and 1,000 altogether",
            output::number(tested.items_left_out)
        );
        text.faint(&what).end();
    }
    text.faint("a dry run: nothing was stored, and nothing went out").end();
    if let Some(result) = &tested.output {
        text.add(format!("output: {}", output::laid_out(result, 100))).end();
    }
    text.print();
}
