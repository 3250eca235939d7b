//! What happens under one seed: processes that live and die, with faults at their commits, and a last one in which
//! everything comes to its end.

use crate::checks;
use crate::clients::{Posted, client};
use crate::flows::*;
use crate::support::{Rng, WEB_FORM, World, activate, runtime};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stepwell_engine::Engine;
use stepwell_store::keys::{Space, space_in};
use stepwell_store::{Fault, Key, Refused};

pub struct Simulation {
    pub world: World,
    pub rng: Rng,
    pub posted: Arc<Mutex<Vec<Posted>>>,
    /// The number of the next request.
    pub next: u64,
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let rng = Rng::new(seed ^ 0x5eed);
        world.sends_mail = !rng.one_in(3);
        world.config.concurrent_runs = [1, 2, 5, 100][rng.below(4) as usize];
        if rng.one_in(3) {
            world.config.burst.steps = 1 + rng.below(4) as usize;
        }
        if rng.one_in(3) {
            world.config.inline_payload_bytes = 200;
        }
        world.store = world.store.with_yields();
        world.http.behave(rng.below(60), [0, 500, 20_000][rng.below(3) as usize]);
        world.mail.behave(rng.below(60), [0, 500, 20_000][rng.below(3) as usize]);
        Self { world, rng, posted: Arc::default(), next: 0 }
    }

    pub fn run(mut self) {
        runtime().block_on(async {
            let (engine, workspace) = self.world.set_up(&MODULES, &[]).await;
            workspace.connections().put("many", CONNECTION).await.unwrap();
            // One of two: so a person may be in the end what it was.
            let web_form = WEB_FORM.replace("seen {{ normalize.n }}", "seen {{ normalize.n % 2 }}");
            for text in [
                web_form.as_str(),
                OUTSIDE,
                FAILING,
                MANY,
                ASKING,
                COUNTED,
                CHILD,
                PARENT,
                SEEN,
                SETTLED,
                TICKING,
                TOGETHER,
                ORDERED,
                NEWEST,
                LONELY,
            ] {
                activate(&workspace, text).await;
            }
            engine.close().await;
        });
        for _ in 0..1 + self.rng.below(4) {
            self.life();
        }
        self.last_life();
        self.no_rest();
    }

    fn new_process(&mut self) {
        self.world.store.clear_faults();
        self.world.restart();
    }

    /// One process, from its start to its crash (or its quiet end).
    fn life(&mut self) {
        self.new_process();
        let crash = match self.rng.below(4) {
            0 => None,
            1 => Some(Fault::CrashBefore),
            _ => Some(Fault::CrashAfter),
        };
        if let Some(fault) = crash {
            self.world.store.fail_commit(1 + self.rng.below(40), fault);
        }
        for _ in 0..self.rng.below(4) {
            let fault = match self.rng.below(3) {
                0 => Refused::Conflict { key: Key::from(vec![0x20]) },
                1 => Refused::Full("simulated".into()),
                _ => Refused::Unavailable("simulated".into()),
            };
            self.world.store.fail_commit(1 + self.rng.below(40), Fault::Refuse(fault));
        }
        let lasts = Duration::from_millis([50, 3_000, 60_000][self.rng.below(3) as usize]);
        let graceful = self.rng.one_in(2);
        let requests = self.requests();
        runtime().block_on(async {
            let opened = Engine::open(self.world.config.clone(), self.world.ports()).await;
            // A crash, or a disk that is full, may come while it opens.
            let Ok(engine) = opened else { return };
            let workspace = engine.workspace("default").await.unwrap();
            let mut clients = Vec::new();
            for (place, pause) in requests {
                let client = client(workspace.clone(), self.posted.clone(), place, pause, self.rng.clone());
                clients.push(tokio::spawn(client));
            }
            let died = async {
                while !self.world.store.crashed() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                biased;
                () = died => return,
                () = tokio::time::sleep(lasts) => {}
            }
            if graceful {
                engine.close().await;
            }
            for client in clients.iter().filter(|client| !client.is_finished()) {
                client.abort();
            }
            for client in clients {
                if let Err(error) = client.await
                    && error.is_panic()
                {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        });
        // The runtime is gone, and with it every task: that is what a crash looks like to them.
    }

    /// The world behaves, and everything comes to its end.
    fn last_life(&mut self) {
        self.new_process();
        self.world.http.behave(0, 0);
        self.world.mail.behave(0, 0);
        runtime().block_on(async {
            let (engine, workspace) = self.world.open().await;
            // It would never come to rest.
            workspace.workflows().deactivate("ticking").await.unwrap();
            let unanswered: Vec<usize> = {
                let posted = self.posted.lock().unwrap();
                let open = posted.iter().enumerate();
                open.filter(|(_, request)| request.key.is_some() && request.run.is_none())
                    .map(|(n, _)| n)
                    .collect()
            };
            for place in unanswered {
                client(workspace.clone(), self.posted.clone(), place, Duration::ZERO, self.rng.clone()).await;
            }
            let deadline = tokio::time::Instant::now() + Duration::from_secs(24 * 3600);
            let mut quiet = false;
            while !quiet {
                while checks::runs(&workspace).await.iter().any(|run| !run.status.ended()) {
                    let open = || async {
                        let runs = checks::runs(&workspace).await;
                        runs.into_iter().filter(|run| !run.status.ended()).collect::<Vec<_>>()
                    };
                    assert!(
                        tokio::time::Instant::now() < deadline,
                        "these runs do not end: {:#?}",
                        open().await
                    );
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                // What the last ones wrote may start more.
                let before = checks::runs(&workspace).await.len();
                tokio::time::sleep(Duration::from_secs(5)).await;
                quiet = checks::runs(&workspace).await.len() == before;
            }
            let posted = self.posted.lock().unwrap().clone();
            checks::check(&self.world, &posted, &workspace).await;
            engine.close().await;
        });
    }

    /// Whatever is over leaves nothing behind that a restart would look at.
    fn no_rest(&self) {
        for (key, _) in self.world.store.dump() {
            let space = space_in(&key).unwrap();
            // The cursor is the one row of its space that stays.
            let settling = space == Space::Dispatch && key.get(7) != Some(&0);
            let rest =
                settling || [Space::RunStates, Space::Inbox, Space::Timers, Space::Places].contains(&space);
            assert!(!rest, "a row is left: {key}");
        }
    }
}
