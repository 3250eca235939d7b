//! `stepwell demo`: the main job from beginning to end, on a temporary folder, with real HTTP.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};
use stepwell_engine::{MailboxEntry, RunDetail};
use stepwell_harness::{BuildOptions, Built, Project};
use tokio::sync::oneshot;

use super::{history, mailbox, record};
use crate::args::{Demo, Global};
use crate::client::{Client, ClientError};
use crate::examples::{FORMS, WORKFLOW, write_action};
use crate::node::Node;
use crate::output::{self, Line};
use crate::settings::Settings;

pub async fn main(demo: Demo) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("stepwell-demo-").tempdir()?;
    output::line("Stepwell demo: a posted web form becomes records, through a sandboxed module.\n");
    let settings = Settings {
        data: folder.path().join("data"),
        listen: ([127, 0, 0, 1], 0).into(),
        dev: true,
        ..Settings::default()
    };
    let node = Node::open(&settings).await?;
    let address = format!("http://{}", node.address);
    output::line(format!("1  Server    {address}, data in {}", node.data.display()));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(node.serve(async {
        let _ = stopped.await;
    }));
    let global = Global { server: address.clone(), key: None, workspace: None, json: false };
    let client = Client::new(&global)?;
    let outcome = play(&client, &address, folder.path(), demo.target_dir.as_deref()).await;
    // The server is stopped and the folder removed whatever came of it.
    let _ = stop.send(());
    server.await.context("the server ended badly")?;
    if demo.keep {
        output::line(format!("\nkept: stepwell serve --dev --data {}", folder.keep().join("data").display()));
    } else {
        folder.close().context("the temporary folder cannot be removed")?;
    }
    let wrong = outcome?;
    if wrong.is_empty() {
        output::line("\nAll as expected. Nothing was left behind.");
        return Ok(());
    }
    Err(super::Bad(format!("not as expected:\n  {}", wrong.join("\n  "))).into())
}

/// Plays the whole thing and gives what was not as expected.
async fn play(
    client: &Client,
    address: &str,
    folder: &Path,
    target_dir: Option<&Path>,
) -> anyhow::Result<Vec<String>> {
    let built = build(folder, target_dir).await?;
    upload(client, &built).await?;
    apply(client).await?;
    let mut expect = Expectations::default();
    let runs = post_forms(client, address, &mut expect).await?;
    output::line("\n5  What came of each");
    let mut ended = Vec::new();
    for (what, id) in runs {
        let detail: RunDetail = client.json(client.get(&["runs", &id]).query(&[("wait", "30s")])).await?;
        show_run(what, &detail);
        ended.push(detail);
    }
    let statuses: Vec<&str> = ended.iter().map(|run| run.summary.status.as_str()).collect();
    expect.that("the runs' ends", &statuses, &["completed", "completed", "completed", "failed"]);
    let refused = ended.last().and_then(|run| run.summary.error.as_ref()).map_or("", |e| e.code.as_str());
    expect.that("the malformed address", &refused, &"invalid_email");
    output::line("\n6  Records now stored");
    let people = show_records(client, "person", &["name", "emails", "jobTitle"]).await?;
    let companies = show_records(client, "company", &["name", "domainName"]).await?;
    let tasks = show_records(client, "task", &["title", "assignee", "status"]).await?;
    expect.that("people, companies, tasks", &(people.len(), companies.len(), tasks.len()), &(2, 1, 3));
    let ada = people.iter().find(|p| p["emails"]["primaryEmail"] == "ada@analytical-engines.example");
    expect.that("Ada's job title", &ada.map(|p| p["jobTitle"].clone()), &Some(json!("Head of Analysis")));
    output::line("\n7  E-mail that would have gone out");
    let mails: Value = client.json(client.get(&["mailbox"])).await?;
    let mails: Vec<MailboxEntry> = serde_json::from_value(mails["mailbox"].clone())?;
    for mail in mails.iter().rev() {
        for line in mailbox::mail_text(mail).lines() {
            output::line(format!("   {line}"));
        }
    }
    expect.that("the number of mails", &mails.len(), &3);
    output::line(NEXT);
    Ok(expect.wrong)
}

const NEXT: &str = "
8  Try next
   stepwell serve --dev                      a server of your own, on http://127.0.0.1:7878
   stepwell action new greet-lead            write an action; it passes `stepwell action test` at once
   stepwell action push greet-lead           upload it
   stepwell workflow apply FILE --activate   let a trigger start runs
   stepwell run list                         see what happened; `run show ID` has every step";

#[derive(Default)]
struct Expectations {
    wrong: Vec<String>,
}

impl Expectations {
    fn that<A: std::fmt::Debug + PartialEq<B>, B: std::fmt::Debug>(
        &mut self,
        what: &str,
        came: &A,
        wanted: &B,
    ) {
        if came != wanted {
            self.wrong.push(format!("{what}: {came:?} instead of {wanted:?}"));
        }
    }
}

async fn build(folder: &Path, target_dir: Option<&Path>) -> anyhow::Result<Built> {
    stepwell_harness::add_target()?;
    let started = Instant::now();
    let project = Project::read(&write_action(folder)?)?;
    let options = BuildOptions { target_dir: target_dir.map(Path::to_owned), ..BuildOptions::default() };
    let built = stepwell_harness::build(&project, &options).await?;
    output::line(format!(
        "2  Action    {} {}: Rust compiled to WebAssembly in {:.1} s, {}",
        built.name,
        built.version,
        started.elapsed().as_secs_f64(),
        output::size(built.size)
    ));
    Ok(built)
}

async fn upload(client: &Client, built: &Built) -> anyhow::Result<()> {
    let module = std::fs::read(&built.module)?;
    let started = Instant::now();
    let put: Value = client.json(client.request(Method::PUT, &["actions", &built.name]).body(module)).await?;
    output::line(format!(
        "             uploaded, scanned and compiled in {}; sha256 {}",
        milliseconds(started.elapsed()),
        output::cut(put["sha256"].as_str().unwrap_or_default(), 13)
    ));
    Ok(())
}

async fn apply(client: &Client) -> anyhow::Result<()> {
    let saved: Value =
        client.json(client.request(Method::PUT, &["workflows", "web-form"]).body(WORKFLOW)).await?;
    anyhow::ensure!(saved["problems"] == json!([]), "the workflow has problems: {}", saved["problems"]);
    client.send(client.post(&["workflows", "web-form", "activate"])).await?;
    output::line("3  Workflow  web-form checked, saved and activated: POST /hooks/default/web-form");
    Ok(())
}

/// Posts the five forms; gives the runs of those that were accepted.
async fn post_forms(
    client: &Client,
    address: &str,
    expect: &mut Expectations,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    output::line("4  Forms");
    let mut runs = Vec::new();
    let mut answers = Vec::new();
    for (what, body) in FORMS {
        let started = Instant::now();
        let request = client
            .http()
            .post(format!("{address}/hooks/default/web-form"))
            .header("content-type", "application/json")
            .body(body);
        let (status, said) = match client.send(request).await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let answer: Value = answer.json().await?;
                let run = answer["run_id"].as_str().context("the hook's answer names no run")?.to_owned();
                // One after the other, as people fill in forms: the third finds what the first left.
                client.send(client.get(&["runs", &run]).query(&[("wait", "30s")])).await?;
                runs.push((what, run.clone()));
                (status, format!("run {run}"))
            }
            Err(ClientError::Refused(problem)) => {
                (problem.status, format!("{}: {}", problem.code, problem.detail))
            }
            Err(error) => return Err(error.into()),
        };
        answers.push(status);
        output::line(format!("   {what:<38} {status} in {:<8} {said}", milliseconds(started.elapsed())));
    }
    expect.that("the hook's answers", &answers, &[202, 202, 202, 202, 400]);
    Ok(runs)
}

fn show_run(what: &str, detail: &RunDetail) {
    let s = &detail.summary;
    let mut text = Line::new();
    text.add(format!("   {what}: ")).status(s.status.as_str());
    let (took, fuel) = (output::took(s.started_at, s.ended_at), output::number(s.fuel));
    text.add(format!(" in {took}, {fuel} fuel, {} memory", output::size(s.peak_memory_bytes))).end();
    for step in &detail.steps {
        history::step_line(step, text.add("      "));
        if let Some(error) = &step.error {
            text.add(format!("          {}: {}", error.code, error.message)).end();
        }
    }
    text.print();
}

async fn show_records(client: &Client, object: &str, fields: &[&str]) -> anyhow::Result<Vec<Value>> {
    let page: Value = client.json(client.get(&["records", object]).query(&[("sort", "createdAt")])).await?;
    let records = page["records"].as_array().cloned().unwrap_or_default();
    for item in &records {
        let shown: Vec<String> = fields.iter().map(|field| record::flat(&item[*field])).collect();
        output::line(format!("   {object:<8} {}", shown.join(" | ")));
    }
    Ok(records)
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}
