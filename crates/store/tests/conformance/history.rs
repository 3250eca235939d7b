//! Random steps of a few interleaved transactions against a simple model that says what each sees and whether it
//! commits.
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use proptest::prelude::*;
use stepwell_store::{Log, Savepoint, Txn, read_log};
use tokio::runtime::Runtime;

use crate::Case;

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    GetMany(Vec<u8>),
    Scan { start: u8, end: u8, limit: usize, backwards: bool },
    Put(u8, u16),
    Delete(u8),
    Append(u8),
    Savepoint,
    Rollback,
    Commit,
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u8..12;
    prop_oneof![
        3 => key.clone().prop_map(Step::Get),
        1 => prop::collection::vec(key.clone(), 0..4).prop_map(Step::GetMany),
        4 => (key.clone(), key.clone(), 0usize..5, any::<bool>())
            .prop_map(|(start, end, limit, backwards)| Step::Scan { start, end, limit, backwards }),
        5 => (key.clone(), prop_oneof![9 => 0u16..50, 1 => 4000u16..9000]).prop_map(|(key, size)| Step::Put(key, size)),
        3 => key.prop_map(Step::Delete),
        1 => any::<u8>().prop_map(Step::Append),
        1 => Just(Step::Savepoint),
        1 => Just(Step::Rollback),
        3 => Just(Step::Commit),
        1 => Just(Step::Abandon),
    ]
}

type Rows = BTreeMap<u8, Vec<u8>>;
type Writes = BTreeMap<u8, Option<Vec<u8>>>;

/// A transaction as the model sees it.
#[derive(Default)]
struct Own {
    writes: Writes,
    append: Vec<Vec<u8>>,
    /// Keys that were got, and what was seen first.
    got: BTreeMap<u8, Option<Vec<u8>>>,
    /// Ranges that were read, and how many commits there had been.
    rests_on: Vec<(Range<u16>, usize)>,
    savepoints: Vec<(Savepoint, Writes, usize)>,
}

struct Model {
    rows: Rows,
    log: Vec<Vec<u8>>,
    /// What each commit wrote.
    commits: Vec<Vec<u8>>,
}

impl Model {
    fn get(&self, own: &mut Own, key: u8) -> Option<Vec<u8>> {
        if let Some(written) = own.writes.get(&key) {
            return written.clone();
        }
        own.got
            .entry(key)
            .or_insert_with(|| {
                // Keys are doubled, so that a position between two of them has a number.
                let at = u16::from(key) * 2;
                own.rests_on.push((at..at + 1, self.commits.len()));
                self.rows.get(&key).cloned()
            })
            .clone()
    }

    fn scan(&self, own: &mut Own, keys: Range<u8>, limit: usize, backwards: bool) -> Vec<(u8, Vec<u8>)> {
        if limit == 0 || keys.is_empty() {
            return Vec::new();
        }
        let mut rows = self.rows.clone();
        for (&key, value) in &own.writes {
            match value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
        }
        let rows = rows.into_iter().filter(|(key, _)| keys.contains(key));
        let mut rows: Vec<_> = rows.collect();
        if backwards {
            rows.reverse();
        }
        rows.truncate(limit);
        let (mut start, mut end) = (u16::from(keys.start) * 2, u16::from(keys.end) * 2);
        if let Some((last, _)) = rows.last()
            && rows.len() == limit
        {
            match backwards {
                true => start = u16::from(*last) * 2,
                false => end = u16::from(*last) * 2 + 1,
            }
        }
        own.rests_on.push((start..end, self.commits.len()));
        rows
    }

    fn commits(&mut self, own: Own) -> bool {
        let lost = own.rests_on.iter().any(|(range, since)| {
            self.commits[*since..].iter().flatten().any(|&key| range.contains(&(u16::from(key) * 2)))
        });
        if lost {
            return false;
        }
        if !own.writes.is_empty() || !own.append.is_empty() {
            self.commits.push(own.writes.keys().copied().collect());
        }
        for (key, value) in own.writes {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.log.extend(own.append);
        true
    }
}

async fn follow_the_model(case: &Case, steps: &[(usize, Step)]) {
    let key = |n: u8| case.key(std::str::from_utf8(&[b'a' + n]).unwrap());
    let rows = |rows: Vec<(stepwell_store::Key, bytes::Bytes)>| -> Vec<(u8, Vec<u8>)> {
        rows.into_iter().map(|(key, value)| (key[7] - b'a', value.to_vec())).collect()
    };
    let mut model = Model { rows: Rows::new(), log: Vec::new(), commits: Vec::new() };
    let mut open: Vec<(Txn, Own)> = (0..3).map(|_| (case.begin(), Own::default())).collect();
    for (n, (who, step)) in steps.iter().enumerate() {
        let (tx, own) = &mut open[*who];
        match step {
            Step::Get(k) => {
                let seen = tx.get(&key(*k)).await.unwrap().map(|value| value.to_vec());
                assert_eq!(seen, model.get(own, *k), "step {n}");
            }
            Step::GetMany(ks) => {
                let keys: Vec<_> = ks.iter().map(|&k| key(k)).collect();
                let seen = tx.get_many(&keys).await.unwrap();
                let seen: Vec<_> = seen.into_iter().map(|value| value.map(|value| value.to_vec())).collect();
                assert_eq!(seen, ks.iter().map(|&k| model.get(own, k)).collect::<Vec<_>>(), "step {n}");
            }
            Step::Scan { start, end, limit, backwards } => {
                let seen = rows(tx.range(key(*start)..key(*end), *limit, *backwards).await.unwrap());
                assert_eq!(seen, model.scan(own, *start..*end, *limit, *backwards), "step {n}");
            }
            Step::Put(k, size) => {
                let value: Vec<u8> = (0..*size).map(|i| (i as usize + n) as u8).collect();
                tx.put(key(*k), value.clone());
                own.writes.insert(*k, Some(value));
            }
            Step::Delete(k) => {
                tx.delete(key(*k));
                own.writes.insert(*k, None);
            }
            Step::Append(value) => {
                tx.append(Log(case.workspace), vec![*value]);
                own.append.push(vec![*value]);
            }
            Step::Savepoint => own.savepoints.push((tx.savepoint(), own.writes.clone(), own.append.len())),
            Step::Rollback => {
                if let Some((savepoint, writes, append)) = own.savepoints.pop() {
                    tx.rollback_to(savepoint);
                    own.writes = writes;
                    own.append.truncate(append);
                }
            }
            Step::Commit => {
                let (tx, own) = std::mem::replace(&mut open[*who], (case.begin(), Own::default()));
                let committed = tx.commit().await;
                assert_eq!(committed.is_ok(), model.commits(own), "step {n}: {committed:?}");
            }
            Step::Abandon => open[*who] = (case.begin(), Own::default()),
        }
    }
    let stored = rows(case.begin().range(case.key("").prefix(), usize::MAX, false).await.unwrap());
    assert_eq!(stored, model.rows.into_iter().collect::<Vec<_>>());
    let page = read_log(&*case.store, Log(case.workspace), 1, usize::MAX).await.unwrap();
    assert_eq!(page.rows.into_iter().map(|(_, value)| value.to_vec()).collect::<Vec<_>>(), model.log);
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn memory_follows_the_model(steps in prop::collection::vec((0usize..3, step()), 1..60)) {
        runtime().block_on(follow_the_model(&crate::memory(), &steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn sled_follows_the_model(steps in prop::collection::vec((0usize..3, step()), 1..60)) {
        // One folder for all; each case has a workspace of its own.
        static STORE: OnceLock<(Case, tempfile::TempDir)> = OnceLock::new();
        let (store, _) = STORE.get_or_init(crate::sled);
        runtime().block_on(follow_the_model(&store.fresh(), &steps));
    }
}
