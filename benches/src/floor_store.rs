//! The floor's store: sled with one writer thread that takes what waits, writes it at once, and makes it durable.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc;

use anyhow::Context;
use tokio::sync::oneshot;

/// Requests in one group at most.
const GROUP: usize = 128;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

struct Request {
    rows: Rows,
    answer: oneshot::Sender<()>,
}

#[derive(Clone)]
pub struct FloorStore {
    requests: mpsc::Sender<Request>,
}

impl FloorStore {
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let db = sled::Config::new().path(folder).cache_capacity(128 << 20).flush_every_ms(None).open()?;
        // Sled's flush leaves it to the system when what it wrote reaches the disk.
        let data = File::open(folder.join("db"))?;
        let (requests, waiting) = mpsc::channel();
        std::thread::Builder::new().name("floor-writer".into()).spawn(move || {
            if let Err(error) = write(&db, &data, &waiting) {
                eprintln!("the floor's writer ended: {error:#}");
            }
        })?;
        Ok(Self { requests })
    }

    /// Returns when the rows are on disk.
    pub async fn commit(&self, rows: Rows) -> anyhow::Result<()> {
        let (answer, durable) = oneshot::channel();
        self.requests.send(Request { rows, answer }).ok().context("the writer has ended")?;
        durable.await.context("the writer has ended")
    }
}

fn write(db: &sled::Db, data: &File, waiting: &mpsc::Receiver<Request>) -> anyhow::Result<()> {
    while let Ok(first) = waiting.recv() {
        let mut batch = sled::Batch::default();
        let mut answers = Vec::new();
        for request in std::iter::once(first).chain(waiting.try_iter().take(GROUP - 1)) {
            for (key, value) in request.rows {
                batch.insert(key, value);
            }
            answers.push(request.answer);
        }
        db.apply_batch(batch)?;
        db.flush()?;
        data.sync_data()?;
        for answer in answers {
            // Whoever asked may have gone away.
            let _ = answer.send(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_answered_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let store = FloorStore::open(dir.path()).unwrap();
        let commits = (0..50u8).map(|n| store.commit(vec![(vec![n], vec![n; 300])]));
        futures::future::try_join_all(commits).await.unwrap();
        drop(store);
        // The writer thread closes sled when the last sender is gone; its lock on the folder says when.
        let db = loop {
            match sled::open(dir.path()) {
                Ok(db) => break db,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(db.len(), 50);
    }
}
