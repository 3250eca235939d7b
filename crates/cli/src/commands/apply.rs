//! `stepwell workflow apply`: a folder's schema, connections and workflows, with a plan of what changes shown first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use stepwell_engine::{
    ConnectionInfo, DraftSaved, Problem, SchemaChange, SchemaPlan, WorkflowDetail, WorkflowInfo,
};
use stepwell_workflow::check::{NoCatalog, check_bytes};
use stepwell_workflow::connection;

use super::Bad;
use super::files;
use super::workflow::{connection_files, listening, name_of, workflow_files};
use crate::client::{Client, ClientError};
use crate::output::{self, Line};

/// What to do with the files.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub activate: bool,
    /// Only the plan.
    pub plan: bool,
    /// Take away what has no file.
    pub prune: bool,
    pub json: bool,
}

/// What becomes of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    Create,
    Change,
    Keep,
    Delete,
}

#[derive(Debug, Serialize)]
struct Change {
    name: String,
    change: Fate,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_version: Option<u32>,
    /// A version that is there already is made the active one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    activates: bool,
}

impl Change {
    fn new(name: &str, change: Fate) -> Self {
        Self { name: name.to_owned(), change, active_version: None, activates: false }
    }
}

#[derive(Debug, Default, Serialize)]
struct Plan {
    schema: Vec<SchemaChange>,
    connections: Vec<Change>,
    workflows: Vec<Change>,
    /// What applying would be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Found>,
}

/// What is wrong with a file.
#[derive(Debug, Serialize)]
struct Found {
    file: PathBuf,
    problems: Vec<Problem>,
}

/// A file's text, under the name that it gives.
struct Document {
    file: PathBuf,
    name: String,
    text: String,
}

fn documents(files: Vec<PathBuf>) -> anyhow::Result<Vec<Document>> {
    let read = |file: PathBuf| {
        let text = files::text(&file)?;
        anyhow::Ok(Document { name: name_of(&file)?, file, text })
    };
    files.into_iter().map(read).collect()
}

/// Each once, however it is spelled; the first spelling stays.
fn once(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    // What is not there is told by whoever reads it.
    let is_new = |file: &&PathBuf| seen.insert(file.canonicalize().unwrap_or_else(|_| (*file).clone()));
    files.iter().filter(is_new).cloned().collect()
}

pub async fn main(client: &Client, files: &[PathBuf], wish: Wish) -> anyhow::Result<()> {
    let files = &once(files);
    let connections = documents(connection_files(files)?)?;
    let workflows = documents(workflow_files(files)?)?;
    workflows.iter().try_for_each(has_its_name)?;
    if !wish.json {
        left_beside(files);
    }
    let mut plan = plan(client, files, &connections, &workflows, wish).await?;
    if wish.plan {
        plan.problems.extend(found(client, files, &connections, &workflows, wish).await?);
        match wish.json {
            true => output::json(&plan)?,
            false => show(&plan),
        }
        return match plan.problems.len() {
            0 => Ok(()),
            1 => Err(Bad("a file has problems".into()).into()),
            n => Err(Bad(format!("{n} files have problems")).into()),
        };
    }
    if !wish.json {
        show(&plan);
    }
    // Workflows are checked against them, those too that come with a schema.
    let (_, bad_connections) = super::connection::apply(client, &connection_files(files)?, wish.json).await?;
    let mut contradicted = Vec::new();
    for folder in files {
        contradicted.extend(apply_schema(client, folder, wish.activate).await?);
    }
    let (saved, bad) = save(client, &workflows, &plan.workflows, wish).await?;
    let mut deleted = Vec::new();
    // What has a problem may be what was to take the place of another.
    if bad_connections + bad == 0 {
        for gone in plan.workflows.iter().filter(|change| change.change == Fate::Delete) {
            delete(client, gone, wish.json).await?;
            deleted.push(&gone.name);
        }
    }
    if wish.json {
        match wish.prune {
            true => output::json(&json!({ "workflows": saved, "deleted": deleted }))?,
            false => output::json(&saved)?,
        }
    }
    match (bad_connections, bad) {
        // What stands in the way of a unique set is mended among the records.
        (0, 0) if !contradicted.is_empty() => Err(Bad(contradicted.join("\n")).into()),
        (0, 0) => Ok(()),
        (0, bad) => Err(Bad(output::with_problems(bad, workflows.len(), "workflow")).into()),
        (bad, _) => Err(Bad(output::with_problems(bad, connections.len(), "connection")).into()),
    }
}

/// A document under another name than its own would be saved, and have to be deleted again.
fn has_its_name(one: &Document) -> anyhow::Result<()> {
    let Document { file, name, text } = one;
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !matches!(ending, "yaml" | "yml" | "json") {
        anyhow::bail!("{} is no workflow: their files end in .yaml, .yml or .json", file.display());
    }
    let checked = check_bytes(text.as_bytes(), name, &NoCatalog);
    let Some(wrong) = checked.problems.iter().find(|problem| problem.code == "wrong_name") else {
        return Ok(());
    };
    let hint = wrong.hint.as_deref().unwrap_or_default();
    let (file, line) = (file.display(), wrong.line);
    anyhow::bail!("{file}:{line}: {}; {hint}, or call the file as the document is called", wrong.message)
}

/// A file alone is applied alone: what lies beside it and would go with its folder is named.
fn left_beside(files: &[PathBuf]) {
    let mut told: Vec<&Path> = Vec::new();
    for file in files.iter().filter(|file| !file.is_dir()) {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if files.iter().any(|given| given == folder) || told.contains(&folder) {
            continue;
        }
        told.push(folder);
        let mut beside = Vec::new();
        if super::schema::of_folder(folder).is_some() {
            beside.push(stepwell_workflow::schema_file::FILE);
        }
        if folder.join("connections").is_dir() {
            beside.push("connections/");
        }
        if !beside.is_empty() {
            output::complain(format!(
                "beside {} lies {}, which is left out; to apply all of it: stepwell workflow apply {}",
                file.display(),
                beside.join(" and "),
                folder.display()
            ));
        }
    }
}

async fn plan(
    client: &Client,
    folders: &[PathBuf],
    connections: &[Document],
    workflows: &[Document],
    wish: Wish,
) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    for folder in folders {
        let Some((text, with)) = schema_of(folder, wish.activate)? else { continue };
        match super::schema::plan(client, &text, &with).await {
            Ok(planned) => plan.schema.extend(planned.changes),
            // What the workflows are told is found file by file.
            Err(ClientError::Refused(problem)) if wish.plan && is_of_workflows(&problem.code) => {}
            Err(ClientError::Refused(problem)) if wish.plan && !problem.errors.is_empty() => {
                let file = super::schema::of_folder(folder).unwrap_or_else(|| folder.clone());
                plan.problems.push(Found { file, problems: problem.errors });
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !connections.is_empty() {
        let known: Vec<ConnectionInfo> = client.all("connections").await?;
        for Document { name, text, .. } in connections {
            let wanted = connection::read(text, name).0;
            let change = match known.iter().find(|info| info.connection.name == *name) {
                None => Fate::Create,
                Some(info) if Some(&info.connection) == wanted.as_ref() => Fate::Keep,
                Some(_) => Fate::Change,
            };
            plan.connections.push(Change::new(name, change));
        }
    }
    let known: Vec<WorkflowInfo> = client.all("workflows").await?;
    for Document { name, text, .. } in workflows {
        let Some(info) = known.iter().find(|info| info.name == *name) else {
            plan.workflows.push(Change::new(name, Fate::Create));
            continue;
        };
        let detail: WorkflowDetail = client.json(client.get(&["workflows", name])).await?;
        let change = if detail.text == *text { Fate::Keep } else { Fate::Change };
        let activates = wish.activate && change == Fate::Keep && info.active_version != Some(detail.version);
        let active_version = info.active_version;
        plan.workflows.push(Change { active_version, activates, ..Change::new(name, change) });
    }
    if wish.prune {
        let gone = known.into_iter().filter(|info| workflows.iter().all(|one| one.name != info.name));
        plan.workflows.extend(gone.map(|info| Change {
            active_version: info.active_version,
            ..Change::new(&info.name, Fate::Delete)
        }));
    }
    Ok(plan)
}

/// How workflows are refused that listen where others do.
const HOOK_TAKEN: &str = "hook_taken";

/// Whether a schema is refused for what is wrong with the workflows that come with it.
fn is_of_workflows(code: &str) -> bool {
    matches!(code, "invalid_workflow" | HOOK_TAKEN)
}

/// What the server would be told of workflows that become active, with their schema if there is one; where it is the
/// schema that is refused, nothing.
async fn planned<'d>(
    client: &Client,
    schema: Option<&str>,
    workflows: impl Iterator<Item = &'d Document>,
) -> anyhow::Result<Vec<Problem>> {
    let texts: BTreeMap<_, _> = workflows.map(|one| (&one.name, &one.text)).collect();
    let mut body = json!({ "workflows": texts });
    if let Some(schema) = schema {
        body["schema"] = schema.into();
    }
    match client.json::<SchemaPlan>(client.post(&["schema", "plan"]).json(&body)).await {
        Ok(_) => Ok(Vec::new()),
        Err(ClientError::Refused(problem)) if is_of_workflows(&problem.code) => Ok(problem.errors),
        // Of the schema itself it was told before.
        Err(ClientError::Refused(problem)) if schema.is_some() && !problem.errors.is_empty() => {
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// What applying would be told, file by file: of each folder's workflows as they would be with its schema and its
/// connections, and with all the workflows that come along.
async fn found(
    client: &Client,
    paths: &[PathBuf],
    connections: &[Document],
    workflows: &[Document],
    wish: Wish,
) -> anyhow::Result<Vec<Found>> {
    let mut all = Vec::new();
    // Whatever folder they are of: they become active beside each other. Drafts listen to nothing.
    let mut taken = match wish.activate && !workflows.is_empty() {
        true => planned(client, None, workflows.iter()).await?,
        false => Vec::new(),
    };
    taken.retain(|problem| problem.code == HOOK_TAKEN);
    for Document { file, name, text } in connections {
        let problems: Vec<_> = connection::read(text, name).1.iter().map(Problem::from).collect();
        all.push(Found { file: file.clone(), problems });
    }
    let comes = |of: &[Document], problem: &Problem| {
        of.iter().any(|one| problem.message.contains(&format!("`{}`", one.name)))
    };
    let folders = paths.iter().filter(|path| path.is_dir());
    for folder in folders.map(Some).chain([None]) {
        let schema = match folder {
            Some(folder) => schema_of(folder, false)?.map(|(text, _)| text),
            None => None,
        };
        let is_in = |one: &&Document| match folder {
            Some(folder) => one.file.parent() == Some(folder),
            None => !paths.iter().any(|path| path.is_dir() && one.file.parent() == Some(path)),
        };
        let inside: Vec<&Document> = workflows.iter().filter(is_in).collect();
        if inside.is_empty() {
            continue;
        }
        let mut told = planned(client, schema.as_deref(), inside.iter().copied()).await?;
        told.retain(|problem| problem.code != HOOK_TAKEN);
        told.extend(taken.iter().cloned());
        for one in inside {
            let begin = format!("workflow `{}`: ", one.name);
            let own = |problem: &Problem| {
                let message = problem.message.strip_prefix(&begin)?.to_owned();
                Some(Problem { message, ..problem.clone() })
            };
            let mut problems: Vec<Problem> = told.iter().filter_map(own).collect();
            problems.retain(|problem| problem.code != "unknown_workflow" || !comes(workflows, problem));
            // Connections may come along, so they are no matter of the schema's plan.
            let mut now = super::check::ask(client, &one.name, &one.text).await?;
            now.retain(|problem| problem.code == "unknown_connection" && !comes(connections, problem));
            problems.extend(now);
            all.push(Found { file: one.file.clone(), problems });
        }
    }
    all.retain(|found| !found.problems.is_empty());
    Ok(all)
}

fn show(plan: &Plan) {
    let mut text = Line::new();
    for change in &plan.schema {
        let sign = match change.change.as_str() {
            "create_object" | "add_field" => "+",
            kind if kind.starts_with("remove_") => "-",
            _ => "~",
        };
        text.add(format!("{sign} schema: {}", change.about)).end();
    }
    for (kind, changes) in [("connection", &plan.connections), ("workflow", &plan.workflows)] {
        for change in changes {
            let sign = match change.change {
                Fate::Create => "+",
                Fate::Change => "~",
                Fate::Keep => "=",
                Fate::Delete => "-",
            };
            text.add(format!("{sign} {kind} {}", change.name));
            if let (Some(version), Fate::Change | Fate::Delete) = (change.active_version, change.change) {
                text.add(format!(" (v{version} is active)"));
            }
            if change.activates {
                text.add(" (becomes active)");
            }
            text.end();
        }
    }
    for Found { file, problems } in &plan.problems {
        let many = match problems.len() {
            1 => "a problem".to_owned(),
            n => format!("{n} problems"),
        };
        text.add(format!("! {}: {many}", file.display())).end();
        for problem in problems {
            text.add(output::place(problem)).end();
        }
    }
    text.print();
}

/// The schema file of a folder, and with `activate` the folder's workflows, which go with it: so that neither is without
/// the other.
fn schema_of(folder: &Path, activate: bool) -> anyhow::Result<Option<(String, BTreeMap<String, String>)>> {
    let Some(file) = super::schema::of_folder(folder) else { return Ok(None) };
    let text = files::text(&file)?;
    let with = match activate {
        true => documents(workflow_files(&[folder.to_owned()])?)?,
        false => Vec::new(),
    };
    Ok(Some((text, with.into_iter().map(|one| (one.name, one.text)).collect())))
}

/// Brings the workspace to a folder's schema. Gives what records contradict.
async fn apply_schema(client: &Client, folder: &Path, activate: bool) -> anyhow::Result<Vec<String>> {
    let Some((text, with)) = schema_of(folder, activate)? else { return Ok(Vec::new()) };
    let applied = super::schema::apply(client, &text, &with, "30s").await?;
    super::schema::not_built(&applied);
    Ok(applied.refused)
}

/// Saves a file as a draft; what the server refuses is told where it is its turn.
async fn draft(client: &Client, one: &Document) -> anyhow::Result<Result<DraftSaved, ClientError>> {
    let request = client.request(Method::PUT, &["workflows", &one.name]).body(one.text.clone());
    match client.json(request).await {
        Err(error @ ClientError::Refused(_)) => Ok(Err(error)),
        answer => Ok(Ok(answer?)),
    }
}

/// Saves workflows, and activates them if that is wished. Gives what was saved, and how many have problems.
async fn save(
    client: &Client,
    workflows: &[Document],
    plan: &[Change],
    wish: Wish,
) -> anyhow::Result<(Vec<DraftSaved>, usize)> {
    let (mut saved, mut bad) = (Vec::new(), 0);
    let (mut drafts, mut later) = (Vec::new(), BTreeMap::new());
    for one in workflows {
        drafts.push((one, draft(client, one).await?));
    }
    for (one, first) in drafts {
        let Document { file, name, .. } = one;
        // Those that run each other are all there by now.
        let alone = |draft: &DraftSaved| draft.problems.iter().any(|place| place.code == "unknown_workflow");
        let draft = match first {
            Ok(first) if alone(&first) && workflows.len() > 1 => draft(client, one).await?,
            first => first,
        };
        // What the command has changed, in however many steps: the schema may have brought its workflows along.
        let is_kept = |change: &Change| change.name == *name && change.change == Fate::Keep;
        let draft = match draft {
            Ok(draft) => DraftSaved { changed: !plan.iter().any(is_kept), ..draft },
            Err(ClientError::Refused(problem)) if !problem.errors.is_empty() => {
                bad += 1;
                output::refused(file, &problem);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if !wish.json {
            let what = if draft.changed { "saved" } else { "unchanged" };
            output::line(format!("{name} v{} {what}", draft.version));
            for problem in &draft.problems {
                output::line(output::place(problem));
            }
        }
        if !draft.problems.is_empty() {
            bad += 1;
        } else if wish.activate {
            match active(client, name, wish).await {
                // Of one that comes along, maybe, and leaves that path.
                Err(ClientError::Refused(problem)) if problem.code == HOOK_TAKEN && workflows.len() > 1 => {
                    later.insert(name, &one.text);
                }
                answer => answer?,
            }
        }
        saved.push(draft);
    }
    if !later.is_empty() {
        // All at once, for they may have taken each other's places.
        let all = client.post(&["schema", "apply"]).json(&json!({ "workflows": later }));
        client.send(all).await?;
        for name in later.keys() {
            active(client, name, wish).await?;
        }
    }
    Ok((saved, bad))
}

/// Activates a workflow, and says so.
async fn active(client: &Client, name: &str, wish: Wish) -> Result<(), ClientError> {
    let info: WorkflowInfo = client.json(client.post(&["workflows", name, "activate"])).await?;
    if !wish.json {
        output::line(format!("{name} is active{}", listening(&info)));
    }
    Ok(())
}

async fn delete(client: &Client, gone: &Change, json: bool) -> anyhow::Result<()> {
    if gone.active_version.is_some() {
        client.send(client.post(&["workflows", &gone.name, "deactivate"])).await?;
    }
    client.send(client.request(Method::DELETE, &["workflows", &gone.name])).await?;
    if !json {
        output::line(format!("{} is deleted; its runs can still be read", gone.name));
    }
    Ok(())
}
