//! The HTTP front: webhooks, REST API, OpenAPI and metrics.
//!
//! [`router`] makes an [`axum::Router`] over an [`Engine`]; [`serve`] runs it on a listener until it is told to stop.

mod actions;
mod auth;
mod body;
mod dev;
mod events;
mod guard;
mod health;
mod hooks;
mod keys;
mod listen;
mod mailbox;
mod metrics;
mod objects;
mod openapi;
mod page;
mod problem;
mod records;
mod routes;
mod runs;
mod workflows;

pub use listen::serve;
pub use problem::Problem;
pub use routes::router;

use std::sync::Arc;

use stepwell_engine::{Engine, ports::SystemClock};

/// What the front is told about how to answer.
#[derive(Clone)]
pub struct ServerConfig {
    /// No keys, loopback only.
    pub dev: bool,
    /// The largest body a webhook takes.
    pub hook_body_bytes: usize,
    /// The largest body the API takes, modules aside.
    pub api_body_bytes: usize,
    /// The largest module that is read; the sandbox's own limit says more about it.
    pub module_bytes: usize,
    /// The clock that `--dev` may move.
    pub clock: Option<Arc<SystemClock>>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            dev: false,
            hook_body_bytes: 8 << 20,
            api_body_bytes: 8 << 20,
            module_bytes: 32 << 20,
            clock: None,
        }
    }
}

/// What every handler sees. A clone is another handle on the same.
#[derive(Clone)]
pub struct App(Arc<AppInner>);

struct AppInner {
    engine: Engine,
    config: ServerConfig,
    metrics: metrics::Metrics,
}

impl App {
    pub fn new(engine: Engine, config: ServerConfig) -> Self {
        Self(Arc::new(AppInner { engine, config, metrics: metrics::Metrics::default() }))
    }

    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn config(&self) -> &ServerConfig {
        &self.0.config
    }

    fn metrics(&self) -> &metrics::Metrics {
        &self.0.metrics
    }
}
