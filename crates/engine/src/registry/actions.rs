//! Actions: versions of code modules, by name. All their metadata are in memory; the modules load when first called.
use super::schema;
use crate::api::{ActionInfo, ActionPut};
use crate::core::Ctx;
use crate::error::{EngineError, Problem};
use crate::tables::{self, registry as rows};
use bytes::Bytes;
use semver::Version;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use stepwell_sandbox::{ActionInfo as ModuleInfo, LoadError, Metadata};
use stepwell_store::{Refused, transact};
use stepwell_workflow::model::{ActionRef, VersionWanted};

/// A version of an action.
pub(crate) struct ActionVersion {
    pub row: rows::ActionRow,
    /// Held while its module is being loaded.
    pub loading: tokio::sync::Mutex<()>,
}

impl ActionVersion {
    pub(crate) fn new(row: rows::ActionRow) -> Arc<Self> {
        Arc::new(Self { row, loading: tokio::sync::Mutex::default() })
    }

    /// `name@1.2.0`.
    pub(crate) fn reference(&self) -> String {
        format!("{}@{}", self.row.info.name, self.row.info.version)
    }
}

/// All actions of a workspace.
#[derive(Default)]
pub(crate) struct ActionTable {
    by_name: BTreeMap<String, BTreeMap<Version, Arc<ActionVersion>>>,
    by_reference: HashMap<String, Arc<ActionVersion>>,
}

impl ActionTable {
    pub(crate) fn insert(&mut self, action: Arc<ActionVersion>) {
        let info = &action.row.info;
        self.by_reference.insert(action.reference(), action.clone());
        if action.row.deleted {
            self.forget(&info.name, &info.version);
            return;
        }
        self.by_name.entry(info.name.clone()).or_default().insert(info.version.clone(), action);
    }

    /// Only runs that began with it still find it.
    fn forget(&mut self, name: &str, version: &Version) {
        if let Some(versions) = self.by_name.get_mut(name) {
            versions.remove(version);
            if versions.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// `name@1.2.0`, as runs keep it.
    pub(crate) fn exactly(&self, reference: &str) -> Option<&Arc<ActionVersion>> {
        self.by_reference.get(reference)
    }

    /// The newest version that a reference accepts. Pre-releases are taken only when named.
    pub(crate) fn resolve(&self, reference: &ActionRef) -> Option<&Arc<ActionVersion>> {
        let versions = self.by_name.get(&reference.name)?;
        let accepted = |(version, action)| reference.version.accepts(version).then_some(action);
        let released = versions.iter().rev().filter(|(version, _)| version.pre.is_empty()).find_map(accepted);
        match &reference.version {
            VersionWanted::Exact(version) => versions.get(version),
            VersionWanted::Latest => released.or_else(|| versions.values().next_back()),
            VersionWanted::Major(_) => released,
        }
    }

    pub(crate) fn versions(&self, name: &str) -> Option<&BTreeMap<Version, Arc<ActionVersion>>> {
        self.by_name.get(name)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ActionVersion>> {
        self.by_reference.values()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }
}

/// Takes a module as a version of an action.
pub(crate) async fn put(ctx: &Ctx, name: &str, module: Bytes, dev: bool) -> Result<ActionPut, EngineError> {
    check_name(name)?;
    let found = ctx.core.ports.code.load(module.clone()).await.map_err(|error| match error {
        LoadError::Refused(refusal) => {
            let problem = Problem {
                code: refusal.rule.clone(),
                message: refusal.message.clone(),
                hint: refusal.hint.clone(),
                limit: refusal.limit,
                used: refusal.found,
                ..Problem::default()
            };
            EngineError::invalid("module_refused", refusal.message.clone()).with_problems(vec![problem])
        }
        LoadError::Host(why) => {
            EngineError::unavailable(format!("the module cannot be looked at now: {why}"))
        }
    })?;
    let sha256 = found.sha256.clone();
    let taken = register(ctx, name, module, found, dev).await;
    if taken.is_err() {
        ctx.core.ports.code.drop_unused(&sha256);
    }
    taken
}

async fn register(
    ctx: &Ctx,
    name: &str,
    module: Bytes,
    found: ModuleInfo,
    dev: bool,
) -> Result<ActionPut, EngineError> {
    let metadata = found.metadata.clone().unwrap_or_default();
    if let Some(own) = &metadata.name
        && own != name
    {
        let message =
            format!("the module says that it is `{own}`; upload it under that name, or build it as `{name}`");
        return Err(EngineError::invalid("wrong_name", message));
    }
    check_schemas(&metadata)?;
    let _one = ctx.ws.registry.changing.lock().await;
    let (version, declared) = match &metadata.version {
        Some(version) => (version.clone(), true),
        None => (undeclared_version(ctx, name, &found.sha256, dev), false),
    };
    let known = ctx.ws.registry.action_exactly(&format!("{name}@{version}"));
    if let Some(known) = &known {
        if known.row.info.sha256 == found.sha256 && !known.row.deleted {
            return Ok(ActionPut { info: known.row.info.clone(), created: false, warnings: Vec::new() });
        }
        if !dev && known.row.info.sha256 != found.sha256 {
            let message = format!(
                "{name} {version} {} with other bytes (sha256 {}); runs that began with it rely on them: \
                 raise the version",
                if known.row.deleted { "existed" } else { "exists" },
                known.row.info.sha256
            );
            return Err(EngineError::conflict("version_exists", message));
        }
    }
    let row = row(ctx, name, version, declared, found, metadata);
    ctx.core.ports.blobs.put(module).await?;
    let info = row.info.clone();
    save(ctx, row).await?;
    // The upload is done; a check of what may pick it up only informs.
    let warnings = super::workflows::picked_up(ctx, name).await.unwrap_or_default();
    Ok(ActionPut { info, created: true, warnings })
}

/// Writes the row and memory.
async fn save(ctx: &Ctx, row: rows::ActionRow) -> Result<(), EngineError> {
    let key = rows::action_key(ctx.ws.id, &row.info.name, &row.info.version);
    let value = tables::encode(&row)?;
    let (key, value) = (&key, &value);
    transact(&ctx.core.ports.store, ctx.ws.shard, |mut tx| {
        Box::pin(async move {
            tx.put(key.clone(), value.clone());
            Ok::<_, Refused>(())
        })
    })
    .await?;
    ctx.ws.registry.insert_action(ActionVersion::new(row));
    Ok(())
}

/// Takes a version away from new runs. Its module stays for runs that began with it, and so do its bytes: the same
/// version is never something else.
pub(crate) async fn delete(ctx: &Ctx, name: &str, version: &str) -> Result<ActionInfo, EngineError> {
    let _one = ctx.ws.registry.changing.lock().await;
    let version: Version = version.parse().map_err(|_| {
        let message =
            format!("`{version}` is not a whole version such as 1.2.0; one version is deleted at a time");
        EngineError::invalid("invalid_action_reference", message)
    })?;
    let found = find(ctx, &format!("{name}@{version}"))?;
    let mut without = ActionTable::default();
    let others = ctx.ws.registry.actions().versions(name).cloned().unwrap_or_default();
    others
        .into_values()
        .filter(|other| other.row.info.version != version)
        .for_each(|other| without.insert(other));
    let problems = super::workflows::left_without(ctx, name, |used| without.resolve(used).is_none()).await?;
    if !problems.is_empty() {
        let message = format!("{name} {version} is in use");
        return Err(EngineError::conflict("action_in_use", message).with_problems(problems));
    }
    save(ctx, rows::ActionRow { deleted: true, ..found.row.clone() }).await?;
    Ok(found.row.info.clone())
}

/// A schema that cannot be used would only show when a run checks its input with it.
fn check_schemas(metadata: &Metadata) -> Result<(), EngineError> {
    let schemas = [("input_schema", &metadata.input_schema), ("output_schema", &metadata.output_schema)];
    let problems: Vec<Problem> = schemas
        .into_iter()
        .filter_map(|(name, schema)| Some((name, schema::compile(schema.as_ref()?).err()?)))
        .map(|(name, wrong)| Problem {
            code: "invalid_schema".into(),
            message: format!("the {name} in the module's metadata cannot be used: {wrong}"),
            path: Some(format!("/{name}")),
            hint: Some(
                "mend the schema in action.toml or in the code that it is made from, and build again".into(),
            ),
            ..Problem::default()
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let message = "the module's metadata have a schema that cannot be used";
    Err(EngineError::invalid("invalid_schema", message).with_problems(problems))
}

/// 0.0.N: the same bytes keep theirs, others get the next; with `dev` they replace the last.
fn undeclared_version(ctx: &Ctx, name: &str, sha256: &str, dev: bool) -> Version {
    let actions = ctx.ws.registry.actions();
    let mut last = 0;
    // Those that were deleted keep their number.
    for action in actions.all().filter(|action| action.row.info.name == name && !action.row.declared) {
        if action.row.info.sha256 == sha256 {
            return action.row.info.version.clone();
        }
        last = last.max(action.row.info.version.patch);
    }
    Version::new(0, 0, if dev && last > 0 { last } else { last + 1 })
}

fn row(
    ctx: &Ctx,
    name: &str,
    version: Version,
    declared: bool,
    found: ModuleInfo,
    metadata: Metadata,
) -> rows::ActionRow {
    let info = ActionInfo {
        name: name.to_owned(),
        version,
        sha256: found.sha256,
        kind: found.kind,
        size: found.size,
        imports: found.imports,
        description: metadata.description,
        sdk: metadata.sdk,
        input_schema: metadata.input_schema,
        output_schema: metadata.output_schema,
        created_at: ctx.core.ports.clock.now(),
    };
    rows::ActionRow { info, limits: metadata.limits, declared, deleted: false }
}

/// A reference as callers write it, resolved.
pub(crate) fn find(ctx: &Ctx, reference: &str) -> Result<Arc<ActionVersion>, EngineError> {
    let parsed: ActionRef = reference.parse().map_err(|error| {
        EngineError::invalid("invalid_action_reference", format!("`{reference}` names no action: {error}"))
    })?;
    let actions = ctx.ws.registry.actions();
    if let Some(action) = actions.resolve(&parsed) {
        return Ok(action.clone());
    }
    let message = match actions.versions(&parsed.name) {
        Some(versions) => {
            let known: Vec<_> = versions.keys().rev().take(10).map(ToString::to_string).collect();
            format!("there is no `{parsed}`; versions of {} are {}", parsed.name, known.join(", "))
        }
        None => match stepwell_records::nearest(&parsed.name, actions.names().map(String::as_str)) {
            Some(near) => format!("there is no action `{}`; did you mean `{near}`?", parsed.name),
            None => format!("there is no action `{}`", parsed.name),
        },
    };
    Err(EngineError::not_found("unknown_action", message))
}

fn check_name(name: &str) -> Result<(), EngineError> {
    match name.parse::<ActionRef>() {
        Ok(ActionRef { version: VersionWanted::Latest, .. }) => Ok(()),
        _ => {
            let message = format!(
                "`{name}` cannot name an action: lower case letters, digits and `-`, a letter first, at most 64"
            );
            Err(EngineError::invalid("invalid_name", message))
        }
    }
}
