//! The HTTP front: webhooks, REST API, OpenAPI and metrics.
//!
//! [`serve`] answers on a listener until it is told to stop; [`router`] is what it answers with.

mod actions;
mod auth;
mod body;
mod connections;
mod dev;
mod eval;
mod events;
mod guard;
mod health;
mod hooks;
mod inputs;
mod keys;
mod lasting;
mod links;
mod listen;
mod mailbox;
mod metrics;
mod objects;
mod openapi;
mod page;
mod parameters;
mod path;
mod problem;
mod records;
mod routes;
mod runs;
mod schedules;
mod secrets;
mod settings;
mod state;
mod stream;
mod unread;
mod views;
mod webhooks;
mod workflows;
mod workspaces;

pub use listen::{ConnectionLimits, serve};
pub use problem::Problem;
pub use routes::router;

use std::sync::Arc;

use stepwell_engine::{Engine, ports::SystemClock};
use tokio_util::sync::CancellationToken;

/// The largest module that is read, unless a configuration says otherwise.
pub const MODULE_BYTES: usize = 32 << 20;

/// What the front is told about how to answer.
#[derive(Clone)]
pub struct ServerConfig {
    /// No keys, loopback only.
    pub dev: bool,
    /// The largest body a webhook takes.
    pub hook_body_bytes: usize,
    /// The largest body the API takes, modules aside.
    pub api_body_bytes: usize,
    /// The memory that the bodies of all requests under way may take together.
    pub bodies_bytes: usize,
    /// The largest module that is read; the sandbox's own limit says more about it.
    pub module_bytes: usize,
    pub connections: ConnectionLimits,
    /// The clock that `--dev` may move.
    pub clock: Option<Arc<SystemClock>>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            dev: false,
            hook_body_bytes: 8 << 20,
            api_body_bytes: 8 << 20,
            bodies_bytes: 256 << 20,
            module_bytes: MODULE_BYTES,
            connections: ConnectionLimits::default(),
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
    connections: Arc<connections::Connections>,
    room: body::Room,
    /// Cancelled when the server stops.
    closing: CancellationToken,
    last_ready: health::LastReady,
}

impl App {
    pub fn new(engine: Engine, config: ServerConfig) -> Self {
        let connections = Arc::new(connections::Connections::new(config.connections.most));
        let metrics = metrics::Metrics::default();
        let room = body::Room::new(config.bodies_bytes);
        Self(Arc::new(AppInner {
            room,
            engine,
            config,
            metrics,
            connections,
            closing: CancellationToken::new(),
            last_ready: Default::default(),
        }))
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

    fn connections(&self) -> &Arc<connections::Connections> {
        &self.0.connections
    }

    fn room(&self) -> &body::Room {
        &self.0.room
    }

    fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    fn last_ready(&self) -> &health::LastReady {
        &self.0.last_ready
    }
}
