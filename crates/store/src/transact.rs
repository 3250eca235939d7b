//! Doing a piece of work in a transaction, again and again until it commits without a conflict.
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::lines::Turn;
use crate::store::Store;
use crate::txn::Txn;
use crate::types::{Key, Refused, Shard};

/// More conflicts of one piece of work than any line of waiting ones explains: the conflict is reported then.
const MAX_ATTEMPTS: usize = 1000;
/// How many lost keys one retry stands in line for; the earliest lost are kept.
const MAX_LINES: usize = 8;

/// The transaction of one attempt, lent to the body of [`transact`]; use it as the [`Txn`] that it is.
///
/// It exists for its second lifetime, which tells the compiler that what the body borrows outlives the attempt
/// (an async closure would say so by itself, but its future is not known to be `Send`).
pub struct Attempt<'a, 'env: 'a> {
    tx: &'a mut Txn,
    _env: PhantomData<&'env ()>,
}

impl Deref for Attempt<'_, '_> {
    type Target = Txn;
    fn deref(&self) -> &Txn {
        self.tx
    }
}

impl DerefMut for Attempt<'_, '_> {
    fn deref_mut(&mut self) -> &mut Txn {
        self.tx
    }
}

/// Runs `body` in a transaction and commits; on a conflict runs it again, holding its turn on the lost keys.
///
/// The body is `|mut tx| Box::pin(async move { … })`. It may run any number of times, so it does nothing but read
/// and write through `tx`; it may borrow from around it. If it fails, its error is returned and nothing is
/// written; but an error that rests on reads which were not true at one moment is a conflict too.
pub async fn transact<'env, T, E>(
    store: &Arc<dyn Store>,
    home: Shard,
    mut body: impl for<'a> FnMut(Attempt<'a, 'env>) -> BoxFuture<'a, Result<T, E>> + Send + 'env,
) -> Result<T, E>
where
    E: From<Refused> + Send,
    T: Send,
{
    let mut contention = Contention::new(store.clone(), home);
    loop {
        let mut tx = Txn::begin(store.clone(), home);
        let refused = match body(Attempt { tx: &mut tx, _env: PhantomData }).await {
            Ok(done) => match tx.commit().await {
                Ok(_) => return Ok(done),
                Err(refused) => refused,
            },
            Err(error) => match tx.validate().await {
                Err(refused @ Refused::Conflict { .. }) => refused,
                _ => return Err(error),
            },
        };
        contention.wait(refused).await?;
    }
}

/// What a piece of work has lost so far, and its turn on it: for those who use [`Txn`] directly.
///
/// Make one before the first attempt, and after each refused commit call [`wait`](Self::wait): it answers when the
/// next attempt may begin. Drop it when the work is done.
pub struct Contention {
    store: Arc<dyn Store>,
    home: Shard,
    lost: BTreeSet<Key>,
    attempts: usize,
    turn: Option<Turn>,
}

impl Contention {
    /// Before the first attempt.
    pub fn new(store: Arc<dyn Store>, home: Shard) -> Self {
        Self { store, home, lost: BTreeSet::new(), attempts: 0, turn: None }
    }

    /// How many conflicts there were.
    pub fn conflicts(&self) -> usize {
        self.attempts
    }

    /// After a conflict waits for its turn on what was lost; anything else is handed back as the error.
    pub async fn wait(&mut self, refused: Refused) -> Result<(), Refused> {
        self.attempts += 1;
        let Refused::Conflict { key } = refused else { return Err(refused) };
        if self.attempts >= MAX_ATTEMPTS {
            return Err(Refused::Conflict { key });
        }
        let new = self.lost.len() < MAX_LINES && self.lost.insert(key);
        if new || self.turn.is_none() {
            // All turns are given back first: they are taken in one order by everyone, so nobody waits in a circle.
            self.turn = None;
            self.turn = Some(self.store.turn(self.home, self.lost.iter().cloned().collect()).await?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyBuilder, Space};
    use crate::memory::{Fault, MemoryStore};
    use crate::types::WorkspaceId;

    const WS: WorkspaceId = WorkspaceId(1);

    fn key(name: &str) -> Key {
        KeyBuilder::new(Space::Counters, WS).str(name).build()
    }

    async fn add_one(store: &Arc<dyn Store>, key: &Key) -> Result<u8, Refused> {
        transact(store, WS.shard(), |mut tx| {
            Box::pin(async move {
                let n = tx.get(key).await?.map_or(0, |value| value[0]) + 1;
                tx.put(key.clone(), vec![n]);
                Ok(n)
            })
        })
        .await
    }

    #[tokio::test]
    async fn everyone_adds_one_though_all_begin_at_once() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new().with_yields());
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { add_one(&store, &key("hot")).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(add_one(&store, &key("hot")).await.unwrap(), 101);
    }

    #[tokio::test]
    async fn a_conflict_without_end_is_reported_and_not_waited_on_for_ever() {
        let memory = MemoryStore::new();
        for nth in 1..=1000 {
            memory.fail_commit(nth, Fault::Refuse(Refused::Conflict { key: key("a") }));
        }
        let store: Arc<dyn Store> = Arc::new(memory);
        assert_eq!(add_one(&store, &key("a")).await, Err(Refused::Conflict { key: key("a") }));
    }

    #[tokio::test]
    async fn an_error_of_the_body_writes_nothing_and_is_handed_back() {
        let memory = MemoryStore::new();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let answer: Result<(), Refused> = transact(&store, WS.shard(), |mut tx| {
            Box::pin(async move {
                tx.put(key("a"), vec![1]);
                Err(Refused::Invalid("no".into()))
            })
        })
        .await;
        assert_eq!(answer, Err(Refused::Invalid("no".into())));
        assert!(memory.dump().is_empty());
    }

    #[tokio::test]
    async fn an_error_that_rests_on_reads_of_two_moments_is_a_conflict() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let mut runs = 0;
        let answer: Result<(), Refused> = transact(&store, WS.shard(), |mut tx| {
            runs += 1;
            let first = runs == 1;
            Box::pin(async move {
                let a = tx.get(&key("a")).await?;
                if first {
                    add_one(tx.store(), &key("a")).await?;
                }
                match a {
                    None => Err(Refused::Invalid("a is missing".into())),
                    Some(_) => Ok(()),
                }
            })
        })
        .await;
        assert_eq!(answer, Ok(()));
        let again =
            transact(&store, WS.shard(), |mut tx| Box::pin(async move { tx.get(&key("a")).await })).await;
        assert_eq!(again.unwrap().unwrap(), vec![1]);
    }
}
