//! Search by index while the number of records grows: three stores side by side, asked in turns.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stepwell_records::filter::{Filter, Operand};
use stepwell_records::{Origin, Query, Records, WriteContext, record_id};
use stepwell_store::{SledOptions, SledStore, Store, Txn, Want, WorkspaceId, keys};

use crate::Bench;
use crate::bare_rows::BareRows;
use crate::report::Aim;

const NAME: &str = "search";
/// The first that an engine makes.
const WORKSPACE: WorkspaceId = WorkspaceId(1);
/// People of one company: what a search by company finds does not grow.
const STAFF: usize = 50;
/// Companies with their staff in one transaction.
const COMPANIES: usize = 4;
/// How many people are made is a multiple of this.
pub const TOGETHER: usize = STAFF * COMPANIES;
/// Transactions being put together while others are written.
const AT_ONCE: usize = 4;

/// The numbers of people, and of their addresses, in keys.
const PERSON: u32 = 1;
const ADDRESSES: u32 = 1;

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let sizes: [usize; 3] = bench.effort.pick([1_000, 100_000, 1_000_000], [1_000, 2_000, 4_000]);
    let cache = bench.cache.map_or_else(|| SledOptions::default().cache_bytes, |mib| mib << 20);
    let mut stores = Vec::new();
    for size in sizes {
        let began = Instant::now();
        let folder = bench.dir.join(size.to_string());
        let filled = Filled::new(&folder, size, bench.cache).await?;
        let rate = size as f64 / began.elapsed().as_secs_f64();
        let what =
            format!("(setting up: {} people created, {} a transaction)", text(size), COMPANIES * STAFF);
        bench.report.alone(NAME, what, "/s", &[rate]);
        let bare = bench.dir.join(format!("{size}-bare"));
        let bare = BareRows::copy(&filled.store, WORKSPACE, (PERSON, ADDRESSES), &bare, cache).await?;
        stores.push((filled, bare));
    }
    let (rounds, time) = bench.effort.pick((11, Duration::from_millis(60)), (2, Duration::from_millis(2)));
    let mut measured = vec![vec![Vec::new(); KINDS.len() + 2]; stores.len()];
    for number in 0..=rounds {
        for ((filled, bare), measured) in stores.iter().zip(&mut measured) {
            let all = KINDS.iter().map(Asked::Search).chain([Asked::Row, Asked::Bare]);
            for (asked, measured) in all.zip(measured) {
                let (began, mut searches) = (Instant::now(), 0);
                while searches == 0 || began.elapsed() < time {
                    match asked {
                        Asked::Search(kind) => filled.search(kind).await?,
                        Asked::Row => filled.read_one().await?,
                        Asked::Bare => bare.person(&email(filled.somebody()))?,
                    }
                    searches += 1;
                }
                // The first round fills caches and does not count.
                if number > 0 {
                    measured.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(searches));
                }
            }
        }
    }
    for (index, kind) in KINDS.iter().enumerate() {
        let what = |size: usize| format!("{}, {} records", kind.what, text(size));
        let (small, row) = (&measured[0][index], &measured[0][KINDS.len()]);
        let against = format!("{} (floor: one row of the same store)", what(sizes[0]));
        bench.report.compare(NAME, against, "µs", (small, row), None);
        for (size, measured) in sizes.iter().zip(&measured).skip(1) {
            let against = format!("{} (floor: the same with {})", what(*size), text(sizes[0]));
            // Without an index there is no promise.
            let aim = kind.index.map(|_| Aim::AtMost(1.5));
            bench.report.compare(NAME, against, "µs", (&measured[index], small), aim);
        }
    }
    for (size, measured) in sizes.iter().zip(&measured) {
        let what = format!("{}, {} records (floor: its two rows in sled alone)", KINDS[0].what, text(*size));
        bench.report.compare(NAME, what, "µs", (&measured[0], &measured[KINDS.len() + 1]), None);
    }
    let (small, large) = (&measured[0][KINDS.len() + 1], &measured[sizes.len() - 1][KINDS.len() + 1]);
    let what = format!("two rows in sled alone, {} records (floor: {})", text(sizes[2]), text(sizes[0]));
    bench.report.compare(NAME, what, "µs", (large, small), None);
    for (filled, _) in stores {
        filled.store.close().await;
    }
    Ok(())
}

/// What is measured in each store.
enum Asked {
    Search(&'static Kind),
    /// One row.
    Row,
    /// A person's rows, in sled alone.
    Bare,
}

/// A kind of search.
struct Kind {
    what: &'static str,
    query: fn(&Filled, usize) -> Query,
    /// How many records it must find.
    finds: usize,
    index: Option<&'static str>,
}

const KINDS: [Kind; 3] = [
    Kind {
        what: "one person by e-mail",
        query: |_, person| by("emails.primaryEmail", email(person), 1),
        finds: 1,
        index: Some("emails.primaryEmail"),
    },
    Kind {
        what: "50 people by company",
        query: |filled, person| by("companyId", company_id(filled.start, person / STAFF).to_string(), STAFF),
        finds: STAFF,
        index: Some("companyId"),
    },
    Kind {
        what: "the 50 newest people",
        query: |_, _| Query { sort: vec!["-createdAt".into()], limit: Some(50), ..Query::default() },
        finds: 50,
        index: None,
    },
];

fn by(field: &str, value: String, limit: usize) -> Query {
    Query { filter: Some(Filter::field(field, Operand::Is, value)), limit: Some(limit), ..Query::default() }
}

fn email(person: usize) -> String {
    format!("person.{person}@example.com")
}

fn company_id(start: Timestamp, company: usize) -> uuid::Uuid {
    let mut unique = [1; 10];
    unique[2..].copy_from_slice(&(company as u64).to_be_bytes());
    record_id(start, unique)
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `1,000,000`
fn text(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A store full of people.
pub struct Filled {
    pub store: SledStore,
    shared: Arc<dyn Store>,
    people: usize,
    start: Timestamp,
    /// Where among them the next search looks.
    next: std::cell::Cell<usize>,
}

impl Filled {
    pub async fn new(folder: &Path, people: usize, cache: Option<u64>) -> anyhow::Result<Self> {
        let mut options = SledOptions::default();
        if let Some(mib) = cache {
            options.cache_bytes = mib << 20;
        }
        let store = SledStore::open(folder, options)?;
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let start = Timestamp::from_second(1_780_000_000)?;
        let filled = Self { store, shared, people, start, next: std::cell::Cell::new(0) };
        let batches = people / (STAFF * COMPANIES);
        let batch = async |first: usize| {
            for number in (first..batches).step_by(AT_ONCE) {
                filled.insert(number).await?;
            }
            anyhow::Ok(())
        };
        try_join_all((0..AT_ONCE).map(batch)).await?;
        Ok(filled)
    }

    /// Some companies and all their people, in one transaction.
    async fn insert(&self, batch: usize) -> anyhow::Result<()> {
        let mut txn = Txn::begin(self.shared.clone(), WORKSPACE.shard());
        let mut records = Records::open(&mut txn, WORKSPACE).await?;
        for company in batch * COMPANIES..(batch + 1) * COMPANIES {
            let context = self.context(company_id(self.start, company));
            let fields = json!({
                "name": format!("Company {company}"),
                "domainName": {"primaryLinkUrl": format!("company-{company}.example")},
            });
            records.create(&context, "company", &map(fields)).await?;
            for person in company * STAFF..(company + 1) * STAFF {
                let now = self.start.checked_add(std::time::Duration::from_millis(person as u64))?;
                let mut unique = [2; 10];
                unique[2..].copy_from_slice(&(person as u64).to_be_bytes());
                let context = WriteContext { now, ..self.context(record_id(now, unique)) };
                let fields = json!({
                    "name": {"firstName": "Ada", "lastName": format!("Lovelace {person}")},
                    "emails": {"primaryEmail": email(person)},
                    "jobTitle": "Analyst",
                    "companyId": company_id(self.start, company).to_string(),
                });
                records.create(&context, "person", &map(fields)).await?;
            }
        }
        txn.commit().await?;
        Ok(())
    }

    fn context(&self, new_id: uuid::Uuid) -> WriteContext {
        WriteContext { now: self.start, new_id, origin: Origin { by: "bench".into(), ..Origin::default() } }
    }

    /// Somebody else each time, all over the store.
    fn somebody(&self) -> usize {
        let next =
            self.next.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.next.set(next);
        (next >> 16) % self.people
    }

    async fn search(&self, kind: &Kind) -> anyhow::Result<()> {
        let query = (kind.query)(self, self.somebody());
        let mut txn = Txn::begin(self.shared.clone(), WORKSPACE.shard());
        let records = Records::open(&mut txn, WORKSPACE).await?;
        let page = records.search("person", &query, self.start).await.context(kind.what)?;
        ensure!(page.records.len() == kind.finds, "{}: found {}", kind.what, page.records.len());
        if let Some(index) = kind.index {
            ensure!(
                page.index.as_deref().is_some_and(|used| used.contains(index)),
                "went by {:?}",
                page.index
            );
        }
        Ok(())
    }

    /// What any search must do at least once.
    async fn read_one(&self) -> anyhow::Result<()> {
        let keys = keys::KeyBuilder::new(keys::Space::Records, WORKSPACE).build().prefix();
        let view = self.shared.read(WORKSPACE.shard(), vec![Want::range(keys, 1)]).await?;
        ensure!(view.rows.iter().flatten().count() == 1, "there are no records");
        Ok(())
    }
}
