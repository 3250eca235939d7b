//! The check of a long workflow, against reading the same document as JSON.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, ensure};
use stepwell_workflow::check::{StandardObjects, check};

use crate::Bench;
use crate::report::Aim;

const NAME: &str = "check";
const STEPS: usize = 500;
/// Steps that repeat.
const BLOCK: usize = 5;

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let text = document()?;
    let checked = check(&text, &StandardObjects);
    let workflow = checked.workflow.with_context(|| format!("{:?}", checked.problems.first()))?;
    ensure!(workflow.every_step().len() == STEPS, "{} steps", workflow.every_step().len());
    let json = serde_json::to_string(&workflow)?;

    let (rounds, times) = bench.effort.pick((21, 10), (3, 1));
    let millis = |work: &dyn Fn() -> bool| {
        let began = Instant::now();
        let good = (0..times).all(|_| work());
        (began.elapsed().as_secs_f64() * 1e3 / f64::from(times), good)
    };
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (work, measured) in [
            (&(|| serde_json::from_str::<serde_json::Value>(&json).is_ok()) as &dyn Fn() -> bool, &mut base),
            (&|| check(&text, &StandardObjects).problems.is_empty(), &mut ours),
        ] {
            let (time, good) = millis(work);
            ensure!(good, "the document has problems");
            measured.push(time);
        }
    }
    let what =
        format!("a workflow of {STEPS} steps, {} KiB of YAML (floor: as JSON, read)", text.len() >> 10);
    bench.report.compare(NAME, what, "ms", (&ours, &base), Some(Aim::Under(50.0)));
    Ok(())
}

/// Steps of every day, each of which refers to those before it.
fn document() -> anyhow::Result<String> {
    let mut text = String::from(
        "name: long\ntrigger: { type: webhook, path: long, body_schema: { type: object, required: [email], properties: { email: { type: string }, name: { type: string } } } }\nsteps:\n",
    );
    for n in 0..STEPS / BLOCK {
        write!(
            text,
            r#"
  - {{ id: known{n}, type: search_records, object: person, filter: {{ all: [{{ field: emails.primaryEmail, is: "{{{{ trigger.body.email }}}}" }}, {{ field: city, is_not: "City {n}" }}] }} }}
  - id: either{n}
    type: branch
    branches:
      - when: {{ value: "{{{{ known{n}.total }}}}", greater_than: 0 }}
        do:
          - {{ id: touch{n}, type: update_record, object: person, record_id: "{{{{ known{n}.records[0].id }}}}", record: {{ jobTitle: "{{{{ known{n}.records[0].name.firstName | default('somebody') }}}} {n}" }} }}
    else:
      - {{ id: make{n}, type: upsert_record, object: person, match: [emails.primaryEmail], record: {{ emails: {{ primaryEmail: "{{{{ trigger.body.email | lower }}}}" }} }} }}
  - {{ id: task{n}, type: create_record, object: task, record: {{ title: "Call {{{{ trigger.body.name | default('them') }}}}", personId: "{{{{ either{n}.record.id }}}}" }} }}
"#
        )?;
    }
    Ok(text)
}
