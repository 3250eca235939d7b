//! The rows that the web form's flow leaves behind, for a floor that writes the same: what the engine commits for a form,
//! over the store in memory.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, Log, MemoryStore, Refused, Shard, Stamp, Store, Turn, Tx, View, Want};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::alone::Alone;
use crate::forms;

/// Values from this length on are packed, as the store does it.
const PACKED_FROM: usize = 1024;

/// What one form writes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rows(Vec<Row>);

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    key: Vec<Part>,
    value: Vec<u8>,
}

/// A part of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Part {
    Bytes(Vec<u8>),
    /// An id that the form has made: the first, the second, …
    New(usize),
    /// The id of something that was there: one for each company.
    Known([u8; 16]),
    /// The person's address.
    Email,
    /// The next position of a log.
    Position,
    /// The time, and what tells apart what was made at the same one, so many bytes.
    Time(usize),
}

impl Rows {
    /// Of the next person of a company that is known.
    pub async fn of_a_form() -> anyhow::Result<Self> {
        let store = Arc::new(Recorded { inner: MemoryStore::new(), commits: Mutex::default() });
        let alone = Alone::over(store.clone()).await?;
        for _ in 0..forms::COMPANIES {
            alone.post(forms::next()).await?;
        }
        let before = store.take();
        let form = forms::next();
        alone.post(form.clone()).await?;
        let commits = store.take();
        alone.close().await;

        let form: serde_json::Value = serde_json::from_slice(&form)?;
        let email = form["email"].as_str().context("a form without an address")?.trim().to_lowercase();
        let keys = before.iter().flat_map(|tx| &tx.writes).map(|(key, _)| key);
        let known: HashSet<[u8; 16]> =
            keys.flat_map(|key| ids(key).into_iter().map(|place| id(key, place))).collect();
        let mut new = Vec::new();
        let mut rows = Vec::new();
        for tx in &commits {
            for (key, value) in &tx.writes {
                // What is deleted was not there: a run that is over at once leaves nothing to delete.
                let Some(value) = value else { continue };
                rows.push(Row { key: parts(key, &email, &known, &mut new), value: packed(value) });
            }
            for (log, value) in &tx.append {
                let prefix = KeyBuilder::new(Space::Log, log.0).build();
                let key = vec![Part::Bytes(prefix.to_vec()), Part::Position];
                rows.push(Row { key, value: packed(value) });
            }
        }
        ensure!(rows.len() > 5 && new.len() > 2, "these are not the rows of a form: {rows:?}");
        Ok(Self(rows))
    }

    /// How many there are, and their bytes, the keys' included.
    pub fn size(&self) -> (usize, usize) {
        let rows = self.with("someone@company.example");
        (rows.len(), rows.iter().map(|(key, value)| key.len() + value.len()).sum())
    }

    /// As another form writes them.
    pub fn with(&self, email: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        static POSITION: AtomicU64 = AtomicU64::new(1);
        let company = email.bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let mut new = Vec::new();
        let mut key = |parts: &[Part]| {
            let mut key = Vec::with_capacity(64);
            for part in parts {
                match part {
                    Part::Bytes(bytes) => key.extend_from_slice(bytes),
                    Part::New(n) => {
                        while new.len() <= *n {
                            new.push(Uuid::now_v7());
                        }
                        key.extend_from_slice(new[*n].as_bytes());
                    }
                    Part::Known(id) => {
                        let [start @ .., last] = id;
                        key.extend_from_slice(start);
                        key.push(last ^ company);
                    }
                    Part::Email => key.extend_from_slice(email.as_bytes()),
                    Part::Time(unique) => {
                        let now = Timestamp::now().as_millisecond();
                        key.extend((now as u64 | 1 << 63).to_be_bytes());
                        key.extend(Uuid::now_v7().as_bytes().iter().rev().cycle().take(*unique));
                    }
                    Part::Position => key.extend(POSITION.fetch_add(1, Ordering::Relaxed).to_be_bytes()),
                }
            }
            key
        };
        self.0.iter().map(|row| (key(&row.key), row.value.clone())).collect()
    }
}

fn packed(value: &[u8]) -> Vec<u8> {
    if value.len() < PACKED_FROM { value.to_vec() } else { lz4_flex::block::compress_prepend_size(value) }
}

/// Where ids of version 7 begin that were made in these hours.
fn ids(key: &[u8]) -> Vec<usize> {
    let now = Timestamp::now().as_millisecond().to_be_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(id) = key.get(at..at + 16) {
        let is_one = id[..3] == now[2..5] && id[6] >> 4 == 7 && id[8] >> 6 == 2;
        if is_one {
            found.push(at);
        }
        at += if is_one { 16 } else { 1 };
    }
    found
}

fn id(key: &[u8], place: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&key[place..place + 16]);
    id
}

fn parts(key: &[u8], email: &str, known: &HashSet<[u8; 16]>, new: &mut Vec<[u8; 16]>) -> Vec<Part> {
    let mut places: Vec<(Range<usize>, Part)> = Vec::new();
    for place in ids(key) {
        let id = id(key, place);
        let part = if known.contains(&id) {
            Part::Known(id)
        } else {
            let n = new.iter().position(|other| *other == id).unwrap_or_else(|| {
                new.push(id);
                new.len() - 1
            });
            Part::New(n)
        };
        places.push((place..place + 16, part));
    }
    if let Some(at) = key.windows(email.len()).position(|part| part == email.as_bytes()) {
        places.push((at..at + email.len(), Part::Email));
    }
    let now = (Timestamp::now().as_millisecond() as u64 | 1 << 63).to_be_bytes();
    if let (true, Some(at)) = (places.is_empty(), key.windows(5).position(|part| *part == now[..5])) {
        places.push((at..key.len(), Part::Time(key.len() - at - 8)));
    }
    places.sort_by_key(|(place, _)| place.start);
    let mut parts = Vec::new();
    let mut at = 0;
    for (place, part) in places {
        parts.push(Part::Bytes(key[at..place.start].to_vec()));
        parts.push(part);
        at = place.end;
    }
    parts.push(Part::Bytes(key[at..].to_vec()));
    parts
}

/// The store in memory, and what was committed to it.
struct Recorded {
    inner: MemoryStore,
    commits: Mutex<Vec<Tx>>,
}

impl Recorded {
    fn take(&self) -> Vec<Tx> {
        std::mem::take(&mut self.commits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Store for Recorded {
    async fn read(&self, home: Shard, wants: Vec<Want>) -> Result<View, Refused> {
        self.inner.read(home, wants).await
    }

    async fn commit(&self, tx: Tx) -> Result<Stamp, Refused> {
        let stamp = self.inner.commit(tx.clone()).await?;
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).push(tx);
        Ok(stamp)
    }

    async fn log_head(&self, log: Log) -> Result<u64, Refused> {
        self.inner.log_head(log).await
    }

    async fn turn(&self, home: Shard, keys: Vec<Key>) -> Result<Turn, Refused> {
        self.inner.turn(home, keys).await
    }

    fn owned(&self) -> watch::Receiver<Vec<Shard>> {
        self.inner.owned()
    }

    fn hints(&self) -> broadcast::Receiver<Shard> {
        self.inner.hints()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_leaves_its_rows_behind_and_each_form_its_own() {
        let rows = Rows::of_a_form().await.unwrap();
        let (count, bytes) = rows.size();
        assert!((9..=12).contains(&count) && (3_000..8_000).contains(&bytes), "{count} rows, {bytes} bytes");
        let first = rows.with("ada@a.example");
        let second = rows.with("bob@b.example");
        let keys: HashSet<_> = first.iter().chain(&second).map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 2 * count, "no key is written twice: {rows:?}");
        assert!(first.iter().any(|(key, _)| key.windows(13).any(|part| part == b"ada@a.example")));
    }
}
