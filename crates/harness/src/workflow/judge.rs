//! What a test expects, held against what came.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use stepwell_engine::{EngineError, FailureDetail, Payload, RunDetail, RunStatus};

use super::document::Step;
use super::matching::{judge, judge_all, named, within};
use super::outside::{Pattern, mail_shown, whole};
use super::world::{Came, World, answered};
use crate::compare::pretty;
use crate::report::Problem;

#[derive(Deserialize)]
struct Expect {
    status: Option<String>,
    #[serde(default, deserialize_with = "stepwell_workflow::model::present")]
    output: Option<Value>,
    error: Option<Value>,
    answer: Option<Value>,
    refused: Option<Value>,
    runs: Option<Value>,
    #[serde(default)]
    records: Map<String, Value>,
    #[serde(default)]
    state: Map<String, Value>,
    mail: Option<Value>,
    http: Option<Value>,
}

impl Expect {
    /// Whether something is said of runs that failed.
    fn knows_of_failures(&self) -> bool {
        self.status.is_some() || self.error.is_some() || self.runs.is_some()
    }
}

/// What of the world some expectation has looked at.
#[derive(Default)]
pub(super) struct Judge {
    /// Runs that had failed when an expectation spoke of how runs end.
    failures: HashSet<String>,
}

impl Judge {
    /// The problems of one step that expects something.
    pub async fn look(&mut self, step: &Step, world: &World) -> Result<Vec<Problem>, String> {
        let expect: Expect = step.filled(&world.scope)?;
        if expect.knows_of_failures() {
            self.failures.extend(failed(world).await?.map(|run| run.summary.id));
        }
        let mut found = Found { step, problems: Vec::new() };
        found.run(&expect, world).await?;
        found.trigger(&expect, world);
        if let Some(wanted) = &expect.runs {
            let runs: Vec<Value> = world.runs().await?.iter().map(brief).collect();
            let fits = |wanted: &Value, run: &Value| within(&run_wanted(wanted), run);
            found.all("runs", "the runs", wanted, &runs, fits, |wanted, run| named(&run_wanted(wanted), run));
        }
        for (object, wanted) in &expect.records {
            let records = world
                .records(object)
                .await
                .map_err(|error| format!("{}: {error}", step.place_of(&format!("records.{object}"))))?;
            let key = format!("records.{object}");
            found.all(&key, &format!("the records of `{object}`"), wanted, &records, within, named);
        }
        for (workflow, wanted) in &expect.state {
            let key = format!("state.{workflow}");
            let kept = world.state(workflow).await;
            let kept = kept.map_err(|error| format!("{}: {error}", step.place_of(&key)))?;
            found.add(&key, judge(&format!("what `{workflow}` keeps"), wanted, &kept));
        }
        if let Some(wanted) = &expect.mail {
            let fits = |wanted: &Value, mail: &Value| within(wanted, &mail_shown(wanted, mail));
            found.all("mail", "the e-mails", wanted, &world.mail.sent(), fits, mail_shown);
        }
        if let Some(wanted) = &expect.http {
            found.http(wanted, world)?;
        }
        Ok(found.problems)
    }

    /// What went wrong and nobody expected; `whole` when the test came to its end.
    pub async fn close(&self, world: &World, whole: bool) -> Result<Vec<Problem>, String> {
        let mut problems = world.http.unanswered();
        if whole {
            problems.extend(world.http.unasked());
        }
        let unseen = failed(world).await?.filter(|run| !self.failures.contains(&run.summary.id));
        problems.extend(unseen.map(|run| {
            let why = run.summary.error.as_ref().map(told).unwrap_or_default();
            Problem::new(format!("a run of {} failed, which nothing expects: {why}", run.summary.workflow))
        }));
        Ok(problems)
    }

    /// A trigger that started nothing is a problem as soon as something else follows it.
    pub fn refusal(&self, step: &Step, world: &World, next: Option<&Step>) -> Option<Problem> {
        let Some(Came::Refused(error)) = &world.came else { return None };
        (step.kind == "trigger" && next.is_none_or(|next| next.kind != "expect"))
            .then(|| Problem::of(&format!("{}: the trigger started nothing: {error}", step.place)))
    }
}

async fn failed(world: &World) -> Result<impl Iterator<Item = RunDetail>, String> {
    Ok(world.runs().await?.into_iter().filter(|run| run.summary.status == RunStatus::Failed))
}

struct Found<'s> {
    step: &'s Step,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn add(&mut self, member: &str, problem: Option<Problem>) {
        let place = self.step.place_of(member);
        self.problems.extend(
            problem.map(|problem| Problem { summary: format!("{place}: {}", problem.summary), ..problem }),
        );
    }

    /// A count, or all of them.
    fn all(
        &mut self,
        member: &str,
        what: &str,
        wanted: &Value,
        came: &[Value],
        fits: impl Fn(&Value, &Value) -> bool,
        shown: impl Fn(&Value, &Value) -> Value,
    ) {
        let problem = match wanted {
            Value::Array(wanted) => judge_all(what, wanted, came, fits, shown),
            count if count.as_u64() == Some(came.len() as u64) => None,
            count => {
                let below = if came.is_empty() { String::new() } else { pretty(&Value::from(came)) };
                Some(Problem::new(format!("{what}: {count} expected, {} came", came.len())).below(below))
            }
        };
        self.add(member, problem);
    }

    async fn run(&mut self, expect: &Expect, world: &World) -> Result<(), String> {
        if expect.status.is_none() && expect.output.is_none() && expect.error.is_none() {
            return Ok(());
        }
        let member = ["status", "output", "error"].into_iter().zip([
            expect.status.is_some(),
            expect.output.is_some(),
            expect.error.is_some(),
        ]);
        let first = member.into_iter().find(|(_, there)| *there).map_or("status", |(member, _)| member);
        let Some(id) = world.last_run().await? else {
            let why = match &world.came {
                Some(Came::Refused(error)) => format!(": {error}"),
                _ => String::new(),
            };
            self.add(first, Some(Problem::of(&format!("no run has started{why}"))));
            return Ok(());
        };
        let run = world.workspace.runs().get(&id).await.map_err(|error| error.to_string())?;
        let run = brief(&run);
        let failure = run["error"].as_object().map(|_| pretty(&run["error"])).unwrap_or_default();
        if let Some(status) = expect.status.as_ref().filter(|status| run["status"] != json!(status)) {
            let came = run["status"].as_str().unwrap_or_default();
            let summary = format!("the run is {came}; expected is {status}");
            self.add("status", Some(Problem::new(summary).below(failure.clone())));
        }
        if let Some(output) = &expect.output {
            let problem = match failure.is_empty() {
                true => judge("the run's output", output, &run["output"]),
                false => (expect.status.is_none())
                    .then(|| Problem::new("an output is expected; the run failed:").below(failure)),
            };
            self.add("output", problem);
        }
        if let Some(error) = &expect.error {
            let problem = match run["error"].is_object() {
                true => judge("the run's error", &code_or_members(error), &run["error"]),
                false => Some(Problem::new(format!(
                    "a failure is expected; the run is {}",
                    run["status"].as_str().unwrap_or_default()
                ))),
            };
            self.add("error", problem);
        }
        Ok(())
    }

    fn trigger(&mut self, expect: &Expect, world: &World) {
        if let Some(answer) = &expect.answer {
            let problem = match &world.came {
                Some(Came::Answer(came)) => judge("the webhook's answer", answer, &answered(came)),
                Some(Came::Refused(error)) => {
                    Some(Problem::of(&format!("an answer is expected; the trigger started nothing: {error}")))
                }
                Some(Came::Started(_)) => {
                    Some(Problem::new("an answer is expected; the last trigger was no webhook"))
                }
                None => Some(Problem::new("an answer is expected; the webhook waits still")),
            };
            self.add("answer", problem);
        }
        let came = match &world.came {
            Some(Came::Refused(error)) => Some(error),
            _ => None,
        };
        match (&expect.refused, came) {
            (Some(refused), Some(error)) => {
                let problem = judge("the refusal", &code_or_members(refused), &refusal(error));
                self.add("refused", problem);
            }
            (Some(_), None) => {
                self.add("refused", Some(Problem::new("a refusal is expected; the trigger was taken")));
            }
            (None, Some(error)) if expect.status.is_none() && expect.answer.is_none() => {
                self.add("", Some(Problem::of(&format!("the trigger started nothing: {error}"))));
            }
            _ => {}
        }
    }

    fn http(&mut self, wanted: &Value, world: &World) -> Result<(), String> {
        let sent = world.http.sent();
        let shown: Vec<Value> = sent.iter().map(whole).collect();
        let mut expanded = Vec::new();
        for pattern in wanted.as_array().into_iter().flatten() {
            let mut pattern = pattern.clone();
            let count = pattern.as_object_mut().and_then(|pattern| pattern.remove("count"));
            let count = count.and_then(|count| count.as_u64()).unwrap_or(1);
            expanded.extend((0..count).map(|_| pattern.clone()));
        }
        let wanted = if wanted.is_array() { Value::Array(expanded) } else { wanted.clone() };
        // Patterns look at requests as they were sent.
        let request = |value: &Value| shown.iter().position(|seen| seen == value).and_then(|at| sent.get(at));
        let pattern = |value: &Value| serde_json::from_value::<Pattern>(value.clone()).ok();
        let fits = |wanted: &Value, came: &Value| {
            pattern(wanted).zip(request(came)).is_some_and(|(pattern, request)| pattern.fits(request))
        };
        let beside = |wanted: &Value, came: &Value| {
            pattern(wanted)
                .zip(request(came))
                .map_or(Value::Null, |(pattern, request)| pattern.shown(request))
        };
        self.all("http", "the requests", &wanted, &shown, fits, beside);
        Ok(())
    }
}

/// A run, as expectations see it.
fn brief(run: &RunDetail) -> Value {
    let output = match &run.output {
        Some(Payload::Value(value)) => value.clone(),
        _ => Value::Null,
    };
    let summary = &run.summary;
    json!({
        "id": summary.id,
        "workflow": summary.workflow,
        "trigger": summary.trigger,
        "status": summary.status,
        "output": output,
        "error": summary.error,
    })
}

fn run_wanted(wanted: &Value) -> Value {
    let mut wanted = wanted.clone();
    if let Some(error) = wanted.get_mut("error") {
        *error = code_or_members(error);
    }
    wanted
}

/// A text alone is a code.
fn code_or_members(wanted: &Value) -> Value {
    match wanted {
        Value::String(code) => json!({ "code": code }),
        members => members.clone(),
    }
}

fn refusal(error: &EngineError) -> Value {
    json!({ "code": error.code, "message": error.to_string() })
}

fn told(failure: &FailureDetail) -> String {
    let step = failure.step.as_ref().map(|step| format!("step `{step}`: ")).unwrap_or_default();
    format!("{step}{}: {}", failure.code, failure.message)
}

/// A run in a line, for who reads why a test failed.
pub(super) fn trace(run: &RunDetail) -> String {
    let steps = run.steps.iter().map(|step| {
        let status = serde_json::to_value(step.status).unwrap_or_default();
        format!("{} {}", step.path, status.as_str().unwrap_or_default())
    });
    let steps: Vec<String> = steps.collect();
    let failure = run.summary.error.as_ref().map(|error| format!(": {}", told(error))).unwrap_or_default();
    format!(
        "{} {}{failure} ({})",
        run.summary.workflow,
        run.summary.status.as_str(),
        if steps.is_empty() { "no step".to_owned() } else { steps.join(", ") }
    )
}
