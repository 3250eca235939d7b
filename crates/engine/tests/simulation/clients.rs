//! The clients: what they ask for, what they are told, and what they do about it.

use crate::lives::Simulation;
use crate::support::{Rng, lead, post, with_key};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stepwell_engine::Workspace;

/// A request that a client made.
#[derive(Debug, Clone)]
pub struct Posted {
    pub path: &'static str,
    pub body: Value,
    pub key: Option<String>,
    /// What it was told.
    pub run: Option<String>,
    /// Whether it may have come to a run all the same.
    pub refused: bool,
    pub cancelled: bool,
    /// An input was taken for it.
    pub given: bool,
}

impl Simulation {
    /// New requests, and repeats of those with a key that were not answered. Each with the time at which it comes.
    pub fn requests(&mut self) -> Vec<(usize, Duration)> {
        let mut posted = self.posted.lock().unwrap();
        let mut places: Vec<usize> = Vec::new();
        for (place, request) in posted.iter_mut().enumerate() {
            if request.key.is_some() && request.run.is_none() && !self.rng.one_in(4) {
                places.push(place);
            }
        }
        for _ in 0..self.rng.below(12) {
            let n = self.next;
            self.next += 1;
            let (path, body) = match self.rng.below(13) {
                lane @ 9.. => {
                    let path = ["ordered", "ordered", "newest", "lonely"][lane as usize - 9];
                    let ms = [0, 30, 3_000, 8_000][self.rng.below(4) as usize];
                    let fails = u64::from(self.rng.one_in(5));
                    (path, json!({ "n": n, "ms": ms, "fails": fails }))
                }
                8 => ("together", json!({ "n": n, "rows": self.rng.below(6), "bad": self.rng.below(9) })),
                7 => ("asking", json!({ "n": n })),
                6 => ("parent", json!({ "n": n, "fails": self.rng.below(5) })),
                5 => ("counted", json!({ "n": n, "ms": self.rng.below(3) })),
                4 => ("many", json!({ "n": n, "rows": self.rng.below(6) })),
                0 | 1 => {
                    let who = self.rng.below(4);
                    let email = if self.rng.one_in(10) {
                        "nobody".into()
                    } else {
                        format!("P{who}@c{}.example", who % 2)
                    };
                    ("web-form", lead(n, &email))
                }
                2 => {
                    let ms = [0, 20, 200, 30_000][self.rng.below(4) as usize];
                    ("outside", json!({ "n": n, "ms": ms }))
                }
                _ => ("failing", json!({ "n": n, "fails": self.rng.below(4) })),
            };
            let key = self.rng.one_in(2).then(|| format!("key-{n}"));
            places.push(posted.len());
            posted.push(Posted {
                path,
                body,
                key,
                run: None,
                refused: false,
                cancelled: false,
                given: false,
            });
        }
        let spread = [1, 100, 5_000][self.rng.below(3) as usize];
        places.into_iter().map(|place| (place, Duration::from_millis(self.rng.below(spread)))).collect()
    }
}

/// Sends one request, notes what it is told, and sometimes thinks better of it.
pub async fn client(
    workspace: Workspace,
    posted: Arc<Mutex<Vec<Posted>>>,
    place: usize,
    pause: Duration,
    rng: Rng,
) {
    tokio::time::sleep(pause).await;
    let request = posted.lock().unwrap()[place].clone();
    let mut hook = post(request.path, request.body.clone());
    if let Some(key) = &request.key {
        hook = with_key(hook, key);
    }
    match workspace.hook(hook).await {
        Ok(answer) => {
            posted.lock().unwrap()[place].run = Some(answer.run_id.clone());
            if request.path == "asking" {
                tokio::time::sleep(Duration::from_millis(rng.below(6_000))).await;
                // Twice, of which one is taken at most; or neither, when it is too late or the process is gone.
                let give = || {
                    let given = stepwell_engine::GiveInput { step: None, data: request.body.clone() };
                    let (workspace, run) = (workspace.clone(), answer.run_id.clone());
                    async move { workspace.runs().give_input(&run, given).await.is_ok() }
                };
                let taken = tokio::join!(give(), give());
                assert!(!(taken.0 && taken.1), "two inputs for one step");
                posted.lock().unwrap()[place].given |= taken.0 || taken.1;
            }
            if rng.one_in(8) {
                tokio::time::sleep(Duration::from_millis(rng.below(2_000))).await;
                posted.lock().unwrap()[place].cancelled = true;
                // It may have ended, and the process may be gone.
                let _ = workspace.runs().cancel(&answer.run_id).await;
            }
        }
        Err(_) => posted.lock().unwrap()[place].refused = true,
    }
}
