//! Many at once: what committed is as if each had run alone, in the order of the stamps.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use stepwell_store::{Key, Refused, Row, Stamp, Value, transact};

use crate::Case;

/// A small generator of its own, so that a run can be repeated.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

#[derive(Debug)]
struct Committed {
    stamp: Stamp,
    gets: Vec<(Key, Option<Value>)>,
    scans: Vec<(std::ops::Range<Key>, usize, bool, Vec<Row>)>,
    writes: BTreeMap<Key, Option<Value>>,
}

/// Random transactions on few keys; afterwards all are done again, one by one, in the order of their stamps, on a
/// map: each must have read exactly what the map holds at its place.
async fn what_committed_is_a_serial_history(case: Case) {
    const TASKS: u64 = 16;
    const EACH: usize = 40;
    let history = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let case = Case { store: case.store.clone(), workspace: case.workspace };
            let history = history.clone();
            tokio::spawn(async move {
                let mut random = Random(task + 1);
                let mut conflicts = 0;
                for n in 0..EACH {
                    match one(&case, &mut random, &format!("{task}.{n}")).await {
                        Ok(committed) => history.lock().unwrap().push(committed),
                        Err(Refused::Conflict { .. }) => conflicts += 1,
                        Err(refused) => panic!("{refused}"),
                    }
                }
                conflicts
            })
        })
        .collect();
    let mut conflicts = 0;
    for task in tasks {
        conflicts += task.await.unwrap();
    }
    let mut history = Arc::try_unwrap(history).unwrap().into_inner().unwrap();
    assert!(history.len() > 20 && conflicts > 0, "{} committed, {conflicts} conflicts", history.len());
    history.sort_by_key(|committed| committed.stamp);
    let mut model: BTreeMap<Key, Value> = BTreeMap::new();
    for committed in history {
        for (key, seen) in &committed.gets {
            assert_eq!(model.get(key), seen.as_ref(), "{key} at {:?}", committed.stamp);
        }
        for (range, limit, backwards, seen) in &committed.scans {
            let rows = model.range(range.clone()).map(|(key, value)| (key.clone(), value.clone()));
            let rows: Vec<Row> = match backwards {
                true => rows.rev().take(*limit).collect(),
                false => rows.take(*limit).collect(),
            };
            assert_eq!(&rows, seen, "{range:?} at {:?}", committed.stamp);
        }
        for (key, value) in committed.writes {
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
        }
    }
    let stored = case.begin().range(case.key("").prefix(), usize::MAX, false).await.unwrap();
    assert_eq!(stored, model.into_iter().collect::<Vec<_>>());
}

async fn one(case: &Case, random: &mut Random, name: &str) -> Result<Committed, Refused> {
    let mut tx = case.begin();
    let key = |n: u64| case.key(&format!("{n:02}"));
    let (mut gets, mut scans, mut writes) = (Vec::new(), Vec::new(), BTreeMap::new());
    // All reads come first: then what was seen is the store's, not the transaction's own.
    for _ in 0..random.below(3) {
        let key = key(random.below(30));
        gets.push((key.clone(), tx.get(&key).await?));
    }
    for _ in 0..random.below(3) {
        let start = random.below(30);
        let range = key(start)..key(start + random.below(6));
        let (limit, backwards) = (1 + random.below(4) as usize, random.below(2) == 0);
        let rows = tx.range(range.clone(), limit, backwards).await?;
        scans.push((range, limit, backwards, rows));
    }
    for n in 0..1 + random.below(3) {
        let key = key(random.below(30));
        let value = (random.below(3) > 0).then(|| Value::from(format!("{name}.{n}")));
        match &value {
            Some(value) => tx.put(key.clone(), value.clone()),
            None => tx.delete(key.clone()),
        }
        writes.insert(key, value);
    }
    Ok(Committed { stamp: tx.commit().await?, gets, scans, writes })
}

/// Money goes from account to account, and accounts come and go, while others read all of it: more rows than a backend
/// reads in one hold. What was read and committed on never lacks anything or has it twice.
async fn a_long_scan_under_writers_is_true_or_refused(case: Case) {
    const ACCOUNTS: u64 = 900;
    const EACH: u64 = 10;
    const TRANSFERS: usize = 60;
    let key = |case: &Case, n: u64| case.key(&format!("{n:04}"));
    let all = case.key("").prefix();
    for first in (0..ACCOUNTS).step_by(300) {
        let mut tx = case.begin();
        (first..first + 300).for_each(|n| tx.put(key(&case, 2 * n), vec![EACH as u8]));
        tx.commit().await.unwrap();
    }
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let case = Case { store: case.store.clone(), workspace: case.workspace };
            tokio::spawn(async move {
                let mut random = Random(writer + 1);
                for _ in 0..TRANSFERS {
                    // Often from one end of the range to the other, to an account that may not be there yet.
                    let (from, to) = (random.below(2 * ACCOUNTS), random.below(2 * ACCOUNTS));
                    let (from, to) = (key(&case, from), key(&case, to));
                    transact(&case.store, case.home(), |mut tx| {
                        let (from, to) = (from.clone(), to.clone());
                        Box::pin(async move {
                            let (has, gets) = (tx.get(&from).await?, tx.get(&to).await?);
                            let Some(has) = has.filter(|_| from != to) else { return Ok(()) };
                            match has[0] {
                                1 => tx.delete(from),
                                more => tx.put(from, vec![more - 1]),
                            }
                            tx.put(to, vec![gets.map_or(0, |gets| gets[0]) + 1]);
                            Ok::<_, Refused>(())
                        })
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    let scan = async |backwards: bool| {
        let mut tx = case.begin();
        let rows = tx.range(all.clone(), usize::MAX, backwards).await.unwrap();
        assert!(rows.len() > 600, "{} rows are read in one hold", rows.len());
        let sum: u64 = rows.iter().map(|(_, value)| u64::from(value[0])).sum();
        match tx.commit().await {
            Ok(_) => assert_eq!(sum, ACCOUNTS * EACH, "a scan that was true at one moment"),
            Err(refused) => assert!(refused.is_conflict(), "{refused}"),
        }
        sum
    };
    let mut backwards = false;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        scan(backwards).await;
        backwards = !backwards;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for backwards in [false, true] {
        assert_eq!(scan(backwards).await, ACCOUNTS * EACH);
    }
}

async fn a_hot_counter_counts_everyone(case: Case) {
    let key = case.key("hot");
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (store, home, key) = (case.store.clone(), case.home(), key.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    transact(&store, home, |mut tx| {
                        let key = key.clone();
                        Box::pin(async move {
                            let n = tx.get(&key).await?.map_or(0, |value| value[0]);
                            tx.put(key, vec![n + 1]);
                            Ok::<_, Refused>(())
                        })
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(case.begin().get(&key).await.unwrap().unwrap(), vec![160]);
}

/// What an upsert does: find by a prefix, insert if there is none.
async fn many_who_insert_the_same_new_thing_make_one(case: Case) {
    for round in 0..10 {
        let prefix = case.key(&format!("email{round}/"));
        let tasks: Vec<_> = (0..12)
            .map(|n| {
                let (store, home, prefix) = (case.store.clone(), case.home(), prefix.clone());
                tokio::spawn(async move {
                    transact(&store, home, |mut tx| {
                        let prefix = prefix.clone();
                        Box::pin(async move {
                            let found = tx.range(prefix.prefix(), 1, false).await?;
                            if found.is_empty() {
                                let mut key = prefix.to_vec();
                                key.push(n);
                                tx.put(key.into(), "person");
                            }
                            Ok::<_, Refused>(found.is_empty())
                        })
                    })
                    .await
                    .unwrap()
                })
            })
            .collect();
        let mut created = 0;
        for task in tasks {
            created += usize::from(task.await.unwrap());
        }
        let stored = case.begin().range(prefix.prefix(), 9, false).await.unwrap();
        assert_eq!((created, stored.len()), (1, 1));
    }
}

crate::on_every_backend!(
    what_committed_is_a_serial_history,
    a_long_scan_under_writers_is_true_or_refused,
    a_hot_counter_counts_everyone,
    many_who_insert_the_same_new_thing_make_one,
);
