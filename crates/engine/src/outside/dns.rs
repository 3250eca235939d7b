//! Names to addresses, a bounded number at a time.
//!
//! The system's resolver blocks a thread until it has an answer or gives up, however early its caller did; and the
//! threads for work that blocks are shared with whoever reads and writes files. So look-ups have only some of them, and
//! a workspace whose names do not resolve has only some of those. A place is given back when the look-up itself ends.
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};

use tokio::sync::{AcquireError, Semaphore};

/// Look-ups at once, of 512 threads that the runtime has for such work.
const ALL: usize = 64;
/// Those of one workspace.
const EACH: usize = 16;
/// Workspaces whose places are kept while they look nothing up.
const KEPT: usize = 1_000;

type Find = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

pub(super) struct Lookups {
    all: Arc<Semaphore>,
    each: Mutex<HashMap<String, Arc<Semaphore>>>,
    places: usize,
    find: Arc<Find>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self::new(ALL, EACH, |name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl Lookups {
    fn new(
        all: usize,
        each: usize,
        find: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        let all = Arc::new(Semaphore::new(all));
        Self { all, each: Mutex::default(), places: each, find: Arc::new(find) }
    }

    /// Waits for a place, and for the answer. Whoever waits no longer leaves the look-up to itself.
    pub(super) async fn addresses(&self, workspace: &str, name: &str) -> io::Result<Vec<SocketAddr>> {
        let closed = |error: AcquireError| io::Error::other(error);
        let own = self.places_of(workspace).acquire_owned().await.map_err(closed)?;
        let place = self.all.clone().acquire_owned().await.map_err(closed)?;
        let (find, name) = (self.find.clone(), name.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let _held = (own, place);
            find(&name)
        });
        found.await.map_err(io::Error::other)?
    }

    fn places_of(&self, workspace: &str) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(places) = each.get(workspace) {
            return places.clone();
        }
        if each.len() >= KEPT {
            // Whoever waits holds a share of his, and so does a look-up.
            each.retain(|_, places| {
                Arc::strong_count(places) > 1 || places.available_permits() < self.places
            });
        }
        let places = Arc::new(Semaphore::new(self.places));
        each.insert(workspace.to_owned(), places.clone());
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Condvar;
    use std::time::Duration;

    /// Blocks for names that begin with `slow` until it is opened.
    #[derive(Default)]
    struct Gate(Mutex<bool>, Condvar);

    impl Gate {
        fn open(&self) {
            *self.0.lock().unwrap() = true;
            self.1.notify_all();
        }

        fn find(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
            let open = self.0.lock().unwrap();
            let _open = self.1.wait_while(open, |open| name.starts_with("slow") && !*open).unwrap();
            Ok(vec!["192.0.2.1:0".parse().unwrap()])
        }
    }

    /// It is given up after a moment.
    async fn waits(work: impl Future<Output = io::Result<Vec<SocketAddr>>>) -> bool {
        tokio::time::timeout(Duration::from_millis(100), work).await.is_err()
    }

    async fn ends(work: impl Future<Output = io::Result<Vec<SocketAddr>>>) {
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("it is served").unwrap();
    }

    #[tokio::test]
    async fn a_look_up_holds_its_place_until_it_ends_and_not_until_nobody_waits_for_it() {
        let gate = Arc::new(Gate::default());
        let find = gate.clone();
        let lookups = Lookups::new(3, 2, move |name| find.find(name));
        for name in ["slow-1", "slow-2"] {
            assert!(waits(lookups.addresses("a", name)).await, "{name}");
        }
        assert!(waits(lookups.addresses("a", "quick")).await, "nobody waits, and both go on");
        ends(lookups.addresses("b", "quick")).await;
        assert!(waits(lookups.addresses("b", "slow-3")).await);
        assert!(waits(lookups.addresses("c", "quick")).await, "as long as there is a place");
        assert_eq!(lookups.all.available_permits(), 0);
        // Work of others goes on all the while.
        assert_eq!(tokio::task::spawn_blocking(|| 1).await.unwrap(), 1);
        gate.open();
        for workspace in ["a", "b", "c"] {
            ends(lookups.addresses(workspace, "slow-4")).await;
        }
        // Each gives its place back when it has told what it found.
        let all = tokio::time::timeout(Duration::from_secs(60), lookups.all.acquire_many(3)).await;
        drop(all.expect("every place is free again"));
        assert_eq!(lookups.all.available_permits(), 3);
    }

    #[tokio::test]
    async fn places_of_workspaces_that_look_nothing_up_are_forgotten() {
        let gate = Arc::new(Gate::default());
        let find = gate.clone();
        let lookups = Lookups::new(8, 1, move |name| find.find(name));
        assert!(waits(lookups.addresses("busy", "slow")).await);
        for n in 0..KEPT {
            lookups.places_of(&n.to_string());
        }
        assert!(lookups.each.lock().unwrap().len() < 10);
        assert!(waits(lookups.addresses("busy", "quick")).await, "it has not got a new one");
        gate.open();
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        let found = Lookups::default().addresses("a", "localhost").await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()) && !found.is_empty(), "{found:?}");
    }
}
