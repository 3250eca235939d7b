//! What a person can do for a run that goes on only then.

use stepwell_engine::{Payload, RunDetail, StepDetail, StepStatus};

use crate::output::{self, Line};

/// Says it, for every step that needs somebody; says nothing of a run that goes on by itself.
pub fn say(run: &RunDetail) {
    let mut text = Line::new();
    tell(run, &mut text);
    text.print();
}

fn tell(run: &RunDetail, out: &mut Line) {
    let id = &run.summary.id;
    let of = |status: StepStatus| move |step: &&StepDetail| step.status == status;
    let paused: Vec<_> = run.steps.iter().filter(of(StepStatus::Paused)).collect();
    let input = |step: &&StepDetail| step.kind == "wait_for_input";
    let asks: Vec<_> = run.steps.iter().filter(of(StepStatus::Waiting)).filter(input).collect();
    for step in &paused {
        out.add(format!("step {} waits for a person", step.path));
        if let Some(error) = &step.error {
            out.add(": ").bad(output::cut(&error.message, 300)).add(format!(" ({})", error.code));
        }
        let named = if paused.len() > 1 { format!(" --step \"{}\"", step.path) } else { String::new() };
        out.end();
        out.add(format!("  mend it and try again: stepwell run resume {id}{named}")).end();
        out.add(format!("  or go on without it: stepwell run resume {id}{named} --skip")).end();
        out.add(format!("  or with what it should give: stepwell run resume {id}{named} --output JSON"))
            .end();
    }
    for step in &asks {
        let title = match &step.input {
            Some(Payload::Value(call)) => call["title"].as_str().map(|title| output::cut(title, 100)),
            _ => None,
        };
        let title = title.map(|title| format!(": {title}")).unwrap_or_default();
        let named = if asks.len() > 1 { format!(" --step \"{}\"", step.path) } else { String::new() };
        out.add(format!("step {} waits for an input{title}", step.path)).end();
        out.add(format!("  give it: stepwell run input {id}{named} --data JSON")).end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(steps: serde_json::Value) -> String {
        let run = json!({
            "id": "r1", "workflow": "w", "version": 1, "status": "waiting", "trigger": "manual",
            "created_at": "2026-01-02T03:04:05Z", "steps_done": 0, "fuel": 0, "peak_memory_bytes": 0, "input": {},
            "actions": {}, "steps": steps,
        });
        let mut text = Line::plain();
        tell(&serde_json::from_value(run).unwrap(), &mut text);
        text.text().to_owned()
    }

    #[test]
    fn it_is_said_what_to_do_for_each_step_that_needs_somebody() {
        let step = |path: &str, kind: &str, status: &str| json!({ "id": "x", "path": path, "type": kind, "status": status, "attempts": [] });
        let mut ask = step("ask", "wait_for_input", "waiting");
        ask["input"] = json!({ "title": "Ship it?" });
        let mut failed = step("p.call", "http_request", "paused");
        failed["error"] =
            json!({ "source": "engine", "code": "http_status", "message": "it said 500", "retryable": true });
        let all = json!([ask, failed, step("p.other", "code", "paused"), step("d", "delay", "waiting")]);
        insta::assert_snapshot!(told(all), @r#"
        step p.call waits for a person: it said 500 (http_status)
          mend it and try again: stepwell run resume r1 --step "p.call"
          or go on without it: stepwell run resume r1 --step "p.call" --skip
          or with what it should give: stepwell run resume r1 --step "p.call" --output JSON
        step p.other waits for a person
          mend it and try again: stepwell run resume r1 --step "p.other"
          or go on without it: stepwell run resume r1 --step "p.other" --skip
          or with what it should give: stepwell run resume r1 --step "p.other" --output JSON
        step ask waits for an input: Ship it?
          give it: stepwell run input r1 --data JSON
        "#);
        assert_eq!(told(json!([step("d", "delay", "waiting")])), "");
    }
}
