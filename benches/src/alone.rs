//! The engine's own work for web forms, for a profiler to count: over the store in memory, with the module's answer
//! given by the host, on one thread. It measures nothing itself.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use stepwell_engine::ports::{CodeRunner, SystemClock};
use stepwell_engine::{Engine, HookRequest, TextFormat, Workspace};
use stepwell_sandbox::admit::Metadata;
use stepwell_sandbox::{
    ActionInfo, Call, CallError, ErrorSource, GuestKind, Limits, LoadError, LogLevel, LogLine, Outcome, Usage,
};
use stepwell_store::{MemoryStore, Store};
use tempfile::TempDir;

use crate::{forms, product, setup};

/// Takes so many forms, one after the other, each to its run's end.
pub async fn run(forms: u64) -> anyhow::Result<()> {
    let alone = Alone::over(Arc::new(MemoryStore::new())).await?;
    for _ in 0..forms {
        alone.post(forms::next()).await?;
    }
    let stats = alone.engine.stats();
    anyhow::ensure!(stats.runs_completed == forms, "{stats:?}");
    println!("{forms} runs, {} keys", stats.keys_written);
    alone.close().await;
    Ok(())
}

/// An engine whose modules are answered for.
pub struct Alone {
    engine: Engine,
    workspace: Workspace,
    _dir: TempDir,
}

impl Alone {
    /// With the web form, which answers when its run is over.
    pub async fn over(store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("no folder for the data")?;
        let clock = Arc::new(SystemClock::default());
        let engine = product::over(store, dir.path(), clock, None, Arc::new(Canned)).await?;
        let workspace = engine.workspace("default").await?;
        workspace.actions().put("normalize-lead", Bytes::from_static(b"canned"), false).await?;
        let text = setup::web_form("web-form", &[("respond: accepted", "respond: result")])?;
        workspace.workflows().put_draft("web-form", &text, TextFormat::Yaml).await?;
        workspace.workflows().activate("web-form", None).await?;
        Ok(Self { engine, workspace, _dir: dir })
    }

    pub async fn post(&self, form: Vec<u8>) -> anyhow::Result<()> {
        let request = HookRequest {
            method: "POST".into(),
            path: "web-form".into(),
            headers: vec![
                ("host".into(), "127.0.0.1:8080".into()),
                ("content-type".into(), "application/json".into()),
            ],
            body: form.into(),
            ..HookRequest::default()
        };
        self.workspace.hook(request).await?;
        Ok(())
    }

    pub async fn close(self) {
        self.engine.close().await;
    }
}

/// What normalize-lead says of the forms that are posted here.
struct Canned;

const SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000001";

#[async_trait]
impl CodeRunner for Canned {
    async fn load(&self, module: Bytes) -> Result<ActionInfo, LoadError> {
        Ok(ActionInfo {
            kind: GuestKind::Component,
            sha256: SHA256.into(),
            size: module.len() as u64,
            metadata: Some(Metadata {
                name: Some("normalize-lead".into()),
                version: "1.0.0".parse().ok(),
                ..Metadata::default()
            }),
            imports: Vec::new(),
            exports: Vec::new(),
        })
    }

    fn loaded(&self, _: &str) -> bool {
        true
    }

    async fn call(&self, _: &str, call: Call) -> Outcome {
        let usage = Usage { fuel: Some(50_000), peak_memory_bytes: 1 << 20, wall_us: 20, ..Usage::default() };
        let line = LogLine {
            level: LogLevel::Debug,
            message: "address read".into(),
            fields: Some(json!({ "domain": "company.example", "free_mail": false })),
            at: call.start_ms,
        };
        Outcome { result: lead(&call.input), logs: vec![line], logs_truncated: false, usage }
    }

    fn maxima(&self) -> Limits {
        Limits::HOST_MAXIMA
    }
}

fn lead(form: &str) -> Result<String, CallError> {
    let failed = |why: String| CallError::new(ErrorSource::Action, "form", why);
    let form: Value = serde_json::from_str(form).map_err(|error| failed(error.to_string()))?;
    let email = form["email"].as_str().unwrap_or_default().trim().to_lowercase();
    let (_, domain) = email.split_once('@').ok_or_else(|| failed(format!("{email} is no address")))?;
    let lead = json!({
        "email": email,
        "firstName": "Ada",
        "lastName": "Lovelace",
        "jobTitle": form["jobTitle"],
        "phone": "+442079460958",
        "company": { "name": form["company"], "domain": domain },
        "message": form["message"],
    });
    Ok(lead.to_string())
}
