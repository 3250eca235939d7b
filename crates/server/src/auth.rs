//! Who a request comes from and which workspace it means: a key, or nothing at all under `--dev`.

use axum::Json;
use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;
use stepwell_engine::{Caller, DEFAULT_WORKSPACE, Page, Scope, Workspace};
use stepwell_workflow::machine::hide_links;

use crate::App;
use crate::page;
use crate::problem::{Answer, Problem};

/// The header by which admin keys and `--dev` choose a workspace.
pub const WORKSPACE_HEADER: &str = "stepwell-workspace";

/// A request that may read its workspace.
pub struct Reader(pub Workspace);
/// A request that may read its workspace, and what it may be shown of values that a workflow has worked with: a link by
/// which a step is given its input is no more for those who may only read than the API's call for it is.
pub struct Viewer {
    pub workspace: Workspace,
    may_answer: bool,
}
/// A request that may write to its workspace.
pub struct Writer(pub Workspace);
/// A request that may manage keys; the name is the workspace it means.
pub struct Admin(pub String);

impl FromRequestParts<App> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        workspace(app, &parts.headers, Scope::Read).await.map(Self)
    }
}

impl FromRequestParts<App> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let (name, caller) = admitted(app, &parts.headers, Scope::Read).await?;
        let may_answer = caller.as_ref().is_none_or(|caller| caller.may(Scope::Write));
        Ok(Self { workspace: of(app, &name, caller).await?, may_answer })
    }
}

impl Viewer {
    /// The document that it is shown.
    pub fn shown(&self, of: impl Serialize) -> Answer<Json<Value>> {
        let shown = serde_json::to_value(of);
        let shown =
            shown.map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string()))?;
        Ok(self.without_links(shown))
    }

    /// The page of a list that it is shown.
    pub fn page<T: Serialize>(&self, noun: &str, page: Page<T>) -> Answer<Json<Value>> {
        page::document(noun, page).map(|document| self.without_links(document))
    }

    fn without_links(&self, mut document: Value) -> Json<Value> {
        if !self.may_answer {
            hide_links(&mut document);
        }
        Json(document)
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        workspace(app, &parts.headers, Scope::Write).await.map(Self)
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        workspace_name(app, &parts.headers, Scope::Admin).await.map(Self)
    }
}

async fn workspace(app: &App, headers: &HeaderMap, needed: Scope) -> Answer<Workspace> {
    let (name, caller) = admitted(app, headers, needed).await?;
    of(app, &name, caller).await
}

async fn of(app: &App, name: &str, caller: Option<Caller>) -> Answer<Workspace> {
    let workspace = app.engine().workspace(name).await?;
    Ok(match caller {
        Some(caller) => workspace.called_by(&caller),
        None => workspace,
    })
}

async fn workspace_name(app: &App, headers: &HeaderMap, needed: Scope) -> Answer<String> {
    Ok(admitted(app, headers, needed).await?.0)
}

/// The workspace that a request means and whose key it has; under `--dev` it needs none.
async fn admitted(app: &App, headers: &HeaderMap, needed: Scope) -> Answer<(String, Option<Caller>)> {
    let asked = asked_workspace(headers)?;
    if app.config().dev {
        return Ok((asked.unwrap_or_else(|| DEFAULT_WORKSPACE.to_owned()), None));
    }
    let secret = bearer(headers)?.ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a key is needed: send `Authorization: Bearer KEY`",
        )
    })?;
    let caller = app.engine().keys().authenticate(secret).await?;
    if !caller.may(needed) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("this key may not do that: it needs the scope `{}`", scope_name(needed)),
        ));
    }
    match asked {
        None => Ok((caller.workspace.clone(), Some(caller))),
        Some(name) if name == caller.workspace || caller.may(Scope::Admin) => Ok((name, Some(caller))),
        Some(name) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("this key belongs to the workspace `{}`, not to `{name}`", caller.workspace),
        )),
    }
}

/// The key of a webhook's request, if it sent one. A webhook without authentication takes requests without one, and a
/// header that is no key of ours may be meant for the workflow; so only a valid key says something.
pub async fn hook_caller(app: &App, headers: &HeaderMap) -> Answer<Option<Caller>> {
    let Ok(Some(secret)) = bearer(headers) else { return Ok(None) };
    match app.engine().keys().authenticate(secret).await {
        Ok(caller) => Ok(Some(caller)),
        Err(error) if error.kind == stepwell_engine::ErrorKind::Unauthorized => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn asked_workspace(headers: &HeaderMap) -> Answer<Option<String>> {
    let wrong = |why: &str| {
        Err(Problem::bad_request("invalid_header", format!("the header Stepwell-Workspace {why}")))
    };
    let mut values = headers.get_all(WORKSPACE_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.any(|other| other != value) {
        return wrong("comes more than once, with different values; send one");
    }
    match value.to_str() {
        Ok(name) => Ok(Some(name.to_owned())),
        Err(_) => wrong("is not a workspace's name"),
    }
}

/// The key, where `Authorization` has one. Of several headers none is chosen.
fn bearer(headers: &HeaderMap) -> Answer<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let unreadable = || {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the Authorization header is not understood: send `Authorization: Bearer KEY`",
        )
    };
    if values.any(|other| other != value) {
        return Err(unreadable());
    }
    let text = value.to_str().map_err(|_| unreadable())?;
    let (scheme, secret) = text.split_once(' ').ok_or_else(unreadable)?;
    if !scheme.eq_ignore_ascii_case("bearer") || secret.trim().is_empty() {
        return Err(unreadable());
    }
    Ok(Some(secret.trim()))
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Admin => "admin",
        Scope::Write => "write",
        Scope::Read => "read",
        Scope::Hooks => "hooks",
    }
}
