//! Every route, in one place, and what a path or method that is none of them is told.

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::routing::{MethodRouter, any, delete, get, post};
use http::StatusCode;

use crate::problem::Problem;
use crate::{
    App, actions, dev, eval, events, guard, health, hooks, inputs, keys, lasting, links, mailbox, metrics,
    objects, openapi, parameters, records, runs, schedules, secrets, settings, state, views, webhooks,
    workflows, workspaces,
};

/// Webhooks: every method, since a trigger says which it takes.
const HOOKS: &str = "/hooks/{workspace}/{*path}";

/// The calls of the API: path and handlers.
fn calls() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/api/v1/actions", get(actions::list)),
        ("/api/v1/actions/{name}", get(actions::get).put(actions::put).delete(actions::delete)),
        ("/api/v1/actions/{name}/module", get(actions::download)),
        ("/api/v1/workflows", get(workflows::list)),
        ("/api/v1/workflows/{name}", get(workflows::get).put(workflows::put).delete(workflows::delete)),
        ("/api/v1/workflows/{name}/activate", post(workflows::activate)),
        ("/api/v1/workflows/{name}/deactivate", post(workflows::deactivate)),
        ("/api/v1/workflows/{name}/run", post(workflows::run)),
        ("/api/v1/workflows/{name}/graph", get(workflows::graph)),
        ("/api/v1/workflows/{name}/state", get(state::list)),
        ("/api/v1/workflows/{name}/state/{key}", get(state::get).put(state::put).delete(state::delete)),
        ("/api/v1/runs", get(runs::list)),
        ("/api/v1/runs/{id}", get(runs::get)),
        ("/api/v1/runs/{id}/items", get(runs::items)),
        ("/api/v1/runs/{id}/cancel", post(runs::cancel)),
        ("/api/v1/runs/{id}/retry", post(runs::retry)),
        ("/api/v1/runs/{id}/resume", post(runs::resume)),
        ("/api/v1/runs/{id}/input", post(runs::input)),
        ("/inputs/{workspace}/{token}", get(inputs::show).post(inputs::give)),
        ("/api/v1/records/{object}", get(records::list).post(records::create)),
        ("/api/v1/records/{object}/upsert", post(records::upsert)),
        ("/api/v1/records/{object}/bulk", post(records::bulk)),
        ("/api/v1/records/{object}/{id}", get(records::get).patch(records::update).delete(records::delete)),
        ("/api/v1/records/{object}/{id}/restore", post(records::restore)),
        ("/api/v1/objects", get(objects::list).post(objects::create)),
        ("/api/v1/objects/{name}", get(objects::get).delete(objects::remove)),
        ("/api/v1/objects/{name}/fields", post(objects::add_field)),
        (
            "/api/v1/objects/{name}/fields/{field}",
            axum::routing::patch(objects::change_field).delete(objects::remove_field),
        ),
        ("/api/v1/schema/apply", post(objects::apply)),
        ("/api/v1/views", get(views::list)),
        (
            "/api/v1/views/{object}/{name}",
            get(views::get).put(views::put).patch(views::rename).delete(views::delete),
        ),
        ("/api/v1/schedules", get(schedules::list)),
        ("/api/v1/webhooks", get(webhooks::list)),
        ("/api/v1/webhooks/{path}/deliveries", get(webhooks::deliveries)),
        ("/api/v1/webhooks/{path}/deliveries/{id}", get(webhooks::delivery)),
        ("/api/v1/webhooks/{path}/deliveries/{id}/replay", post(webhooks::replay)),
        ("/api/v1/settings", get(settings::list)),
        ("/api/v1/settings/{name}", get(settings::get).put(settings::put).delete(settings::delete)),
        ("/api/v1/secrets", get(secrets::list)),
        ("/api/v1/secrets/{name}", get(secrets::get).put(secrets::put).delete(secrets::delete)),
        ("/api/v1/connections", get(links::list)),
        ("/api/v1/connections/{name}", get(links::get).put(links::put).delete(links::delete)),
        ("/api/v1/mailbox", get(mailbox::list)),
        ("/api/v1/events", get(events::stream)),
        ("/api/v1/api-keys", get(keys::list).post(keys::create)),
        ("/api/v1/api-keys/{id}", delete(keys::revoke)),
        ("/api/v1/workspaces", get(workspaces::list).post(workspaces::create)),
        ("/api/openapi.json", get(openapi::document)),
        ("/metrics", get(metrics::scrape)),
        ("/healthz", get(health::healthz)),
        ("/readyz", get(health::readyz)),
    ]
}

/// Calls of the API that try something and store nothing, whatever their method: they stop when nobody waits.
fn trials() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/api/v1/actions/{name}/test", post(actions::test)),
        ("/api/v1/eval", post(eval::eval)),
        ("/api/v1/schema/plan", post(objects::plan)),
        ("/api/v1/workflows/{name}/check", post(workflows::check)),
        ("/api/v1/workflows/{name}/test", post(workflows::test)),
    ]
}

/// The whole front.
pub fn router(app: App) -> Router {
    let mut router =
        Router::new().route(HOOKS, any(hooks::take).layer(middleware::from_fn(lasting::to_its_end)));
    for (path, handlers) in calls() {
        let handlers = handlers.layer(middleware::from_fn(lasting::writes_to_their_end));
        router = router.route(path, handlers.fallback(method_not_allowed));
    }
    for (path, handlers) in trials() {
        router = router.route(path, handlers.fallback(method_not_allowed));
    }
    if app.config().dev {
        router = router.route("/api/v1/dev/clock", post(dev::clock).fallback(method_not_allowed));
    }
    router = router.layer(middleware::from_fn(parameters::known_only)).fallback(unknown_path);
    if app.config().dev {
        router = router.layer(middleware::from_fn(guard::loopback_only));
    }
    router
        .layer(middleware::from_fn_with_state(app.clone(), lasting::no_longer_than_the_store_is_there))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::measure))
        .with_state(app)
}

async fn unknown_path(request: Request) -> Problem {
    let path = request.uri().path();
    let hint = if path.starts_with("/hooks") {
        "a webhook is /hooks/<workspace>/<path>, such as /hooks/default/web-form"
    } else {
        "the API is under /api/v1; /api/openapi.json lists it"
    };
    Problem::not_found(format!("nothing is at `{path}`; {hint}"))
}

async fn method_not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("`{path}` takes no {method}; /api/openapi.json says what it takes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document and the router are written apart; this holds them together.
    #[test]
    fn the_openapi_document_describes_exactly_the_routes() {
        let described: Vec<String> = openapi::value()["paths"].as_object().unwrap().keys().cloned().collect();
        let mut routed: Vec<String> =
            calls().iter().chain(&trials()).map(|(path, _)| (*path).to_owned()).collect();
        routed.push(HOOKS.replace("{*path}", "{path}"));
        routed.sort();
        assert_eq!(described, routed);
    }
}
