//! Prometheus metrics: requests by route, and what the engine counts, read when they are scraped.

use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::App;
use crate::problem::{Answer, Problem};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    /// The route's pattern, so that paths with ids do not make a series each.
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

/// What the server itself counts.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    open: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("stepwell");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let durations = Family::<RouteLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_25, 2.0, 18))
        });
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its answer's head",
            Unit::Seconds,
            durations.clone(),
        );
        let open = Gauge::default();
        registry.register("http_requests_open", "Requests being answered", open.clone());
        Self { registry, requests, durations, open }
    }
}

impl Metrics {
    fn observe(&self, method: &http::Method, route: &str, status: u16, took: Duration) {
        // A method is the client's to choose: only known ones become labels.
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        let labels = RequestLabels { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&RouteLabels { route: route.to_owned() }).observe(took.as_secs_f64());
    }
}

/// Middleware: counts and times each request.
pub async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = std::time::Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |p| p.as_str().to_owned());
    app.metrics().open.inc();
    let _open = OpenGuard(app.clone());
    let response = next.run(request).await;
    app.metrics().observe(&method, &route, response.status().as_u16(), started.elapsed());
    response
}

/// A request whose client went away is not open any more either.
struct OpenGuard(App);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.metrics().open.dec();
    }
}

/// `GET /metrics`
pub async fn scrape(State(app): State<App>) -> Answer<Response> {
    let mut text = String::new();
    encode(&mut text, &app.metrics().registry)
        .map_err(|e| Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string()))?;
    let end = text.rfind("# EOF").unwrap_or(text.len());
    text.truncate(end);
    engine_metrics(&app, &mut text);
    text.push_str("# EOF\n");
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// The engine's own counters, in the text format: a name, what it is, its kind, its value.
fn engine_metrics(app: &App, text: &mut String) {
    use std::fmt::Write;
    let s = app.engine().stats();
    let (connections_open, connections_cut) = app.connections().counts();
    let (bodies, bodies_of_strangers) = app.room().taken();
    let counters = [
        ("runs_started", "Runs started", s.runs_started),
        ("runs_completed", "Runs completed", s.runs_completed),
        ("runs_failed", "Runs failed", s.runs_failed),
        ("runs_cancelled", "Runs cancelled", s.runs_cancelled),
        ("steps", "Steps ended", s.steps),
        ("code_calls", "Calls of code actions", s.code_calls),
        ("code_failures", "Calls of code actions that failed", s.code_failures),
        ("code_fuel", "Fuel used by code actions", s.fuel),
        ("outside_calls", "HTTP requests and e-mails sent", s.outside_calls),
        ("outside_failures", "HTTP requests and e-mails that brought no answer", s.outside_failures),
        ("bursts", "Bursts of steps run", s.bursts),
        ("burst_conflicts", "Bursts run again after a conflict", s.burst_conflicts),
        ("commits", "Commits of runs", s.commits),
        ("keys_written", "Keys written by commits of runs", s.keys_written),
        ("hooks_accepted", "Webhooks taken", s.hooks_accepted),
        ("hooks_refused", "Webhooks refused", s.hooks_refused),
        (
            "hook_waits_refused",
            "Callers of webhooks who got 202 at once since as many as may be waited for results",
            s.hook_waits_refused,
        ),
        ("schedule_runs", "Runs that schedules started", s.schedule_runs),
        ("event_runs", "Runs that record events started", s.event_runs),
        (
            "event_loops_stopped",
            "Record events that started no run because too many runs had started each other before",
            s.event_loops_stopped,
        ),
        ("http_connections_cut", "Connections cut to make room for others", connections_cut),
    ];
    let gauges = [
        ("http_connections_open", "Connections open", connections_open),
        (
            "http_bodies_bytes",
            "Memory that bodies of requests take of limits.bodies_bytes, small ones not counted",
            bodies,
        ),
        (
            "http_bodies_of_strangers_bytes",
            "The part of it that those without a key take, who may have half",
            bodies_of_strangers,
        ),
        ("runs_running", "Runs being driven", s.runs_running),
        ("runs_queued", "Runs waiting for a slot", s.runs_queued),
        ("calls_waiting", "Requests that wait for their turn at a connection", s.calls_waiting),
        ("timers", "Times at which a run is to be woken, those of ended runs included until then", s.timers),
    ];
    for (name, help, value) in counters {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP stepwell_{name} {help}.\n# TYPE stepwell_{name} counter\nstepwell_{name}_total {value}\n"
        );
    }
    for (name, help, value) in gauges {
        let _ = write!(
            text,
            "# HELP stepwell_{name} {help}.\n# TYPE stepwell_{name} gauge\nstepwell_{name} {value}\n"
        );
    }
}
