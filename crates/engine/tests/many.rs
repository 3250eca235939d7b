//! Many runs at once, after a time that all of them waited for and after a crash: the first do not wait for the last.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stepwell_engine::{Engine, Ports};
use stepwell_store::keys::{Space, space_in};
use stepwell_store::{View, Want, Watch, Watched};
use support::{World, in_world, runtime};

const MANY: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Read {
    /// The heads of many runs, to wake them.
    Heads,
    /// What a driver starts from.
    Run,
}

/// Notes what was read.
#[derive(Default)]
struct Noting(Mutex<Vec<Read>>);

impl Noting {
    /// A world whose store gives way once a call.
    fn over(world: &World) -> (Arc<Watched<Self>>, Ports) {
        let noting = Arc::new(Watched::new(world.store.clone().with_yields(), Self::default()));
        (noting.clone(), Ports { store: noting, ..world.ports() })
    }

    /// Whether a run was driven before all were looked up.
    fn first_before_last(&self) -> bool {
        let read = self.0.lock().unwrap();
        let pages = read.iter().filter(|read| **read == Read::Heads).count();
        assert!(pages >= MANY / 200, "{pages}");
        let first = read.iter().position(|read| *read == Read::Run);
        first < read.iter().rposition(|read| *read == Read::Heads)
    }
}

impl Watch for Noting {
    fn after(&self, wants: &[Want], _view: &View) {
        let of = |want: &Want, space: Space| matches!(want, Want::Key(key) if space_in(key) == Some(space));
        let what = match wants {
            [_, live] if of(live, Space::RunStates) => Some(Read::Run),
            many if many.len() > 50 => Some(Read::Heads),
            _ => None,
        };
        self.0.lock().unwrap().extend(what);
    }
}

#[test]
fn of_many_runs_that_are_due_at_once_the_first_do_not_wait_for_the_last() {
    const LATER: &str =
        "name: later\ntrigger: { type: manual }\nsteps: [{ id: wait, type: delay, for: 1h }]\n";
    in_world(|world| async move {
        let (noting, ports) = Noting::over(&world);
        let engine = Engine::open(world.config.clone(), ports).await.unwrap();
        let workspace = engine.workspace("default").await.unwrap();
        support::activate(&workspace, LATER).await;
        let mut last = String::new();
        for _ in 0..MANY {
            last = workspace.workflows().run("later", json!({}), None).await.unwrap().run_id;
        }
        noting.watch.0.lock().unwrap().clear();
        workspace.runs().wait(&last, Duration::from_secs(7200)).await.unwrap();
        assert!(noting.watch.first_before_last());
        engine.close().await;
    });
}

#[test]
fn after_a_crash_the_first_runs_go_on_before_the_last_are_found() {
    const CALL: &str = "name: call\ntrigger: { type: manual }\nsteps: [{ id: ask, type: http_request, url: 'https://api.example.com/' }]\n";
    let mut world = World::new(1);
    runtime().block_on(async {
        let (_engine, workspace) = world.set_up(&[], &[CALL]).await;
        world.http.behave(0, 3_600_000);
        for _ in 0..MANY {
            workspace.workflows().run("call", json!({}), None).await.unwrap();
        }
    });
    world.store = world.store.reopen();
    world.http.behave(0, 0);
    runtime().block_on(async {
        let (noting, ports) = Noting::over(&world);
        let engine = Engine::open(world.config.clone(), ports).await.unwrap();
        assert!(noting.watch.first_before_last());
        engine.close().await;
    });
}
