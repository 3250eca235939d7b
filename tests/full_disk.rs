//! A full disk: what writes is refused as such, reading and `/healthz` go on, a restart reads too, nothing acknowledged is
//! lost, and with room again all goes on by itself.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::durability::FLOW;
use crate::support::server::Answer;
use crate::support::{Server, guests};

/// What is kept free, as an environment variable.
fn floor(bytes: &str) -> [(&str, &str); 1] {
    [("STEPWELL_LIMITS__FREE_DISK_BYTES", bytes)]
}

/// Text that takes as much room as it has letters, or nearly.
fn incompressible(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(2) + 1;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + ((state >> 40) % 90) as u8)
    };
    (0..length).map(letter).collect()
}

/// A disk that can be filled up.
enum Disk {
    /// A limit on the size of files plays it: nobody needs a right for that.
    Limited { files: Option<u64> },
    /// A file system of its own, which another program fills up.
    Mounted { on: tempfile::TempDir },
}

impl Disk {
    fn mounted(size: &str) -> Self {
        let on = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"];
        let status = Command::new("mount").args(mount).arg(on.path()).status().unwrap();
        assert!(status.success(), "the right to mount a file system is needed for this test");
        Disk::Mounted { on }
    }

    fn start(&self, data: &Path) -> Server {
        let limit = match self {
            Disk::Limited { files: Some(bytes) } => format!("ulimit -S -f {}; ", bytes / 512),
            _ => String::new(),
        };
        // The shell ignores the signal that the limit sends, so that writing fails instead.
        let wrapper = ["sh", "-c", &format!("trap '' XFSZ; {limit}exec \"$0\" \"$@\"")];
        Server::through(&wrapper, data, &["--dev"], &floor("0")).unwrap()
    }

    fn fill(&mut self, server: &Server, data: &Path) {
        match self {
            Disk::Limited { files } => {
                // Whole segments of sled's: where a real disk is full, the file has room to the end of one.
                const SEGMENT: u64 = 512 << 10;
                let bytes = fs::metadata(data.join("rows/db")).unwrap().len().next_multiple_of(SEGMENT);
                *files = Some(bytes);
                limit_files(server, *files);
            }
            Disk::Mounted { on } => {
                let mut filler = File::create(on.path().join("filler")).unwrap();
                for size in [64 << 10, 4 << 10, 1] {
                    while filler.write_all(&vec![7; size]).is_ok() {}
                }
            }
        }
    }

    fn make_room(&mut self, server: &Server) {
        match self {
            Disk::Limited { files } => {
                *files = None;
                limit_files(server, None);
            }
            Disk::Mounted { on } => fs::remove_file(on.path().join("filler")).unwrap(),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Disk::Mounted { on } = self {
            let _ = Command::new("umount").arg("-l").arg(on.path()).status();
        }
    }
}

fn limit_files(server: &Server, bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let pid = Pid::from_raw(server.pid().cast_signed()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

async fn note(server: &Server, title: &str, size: usize) -> Answer {
    let seed = title.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte));
    let body = incompressible(seed, size);
    server.post("/api/v1/records/note", &json!({ "title": title, "body": body })).await
}

/// A webhook's request; a large one is kept as a blob.
async fn hook(server: &Server, n: &str, size: usize) -> Answer {
    let body = json!({ "n": n, "more": incompressible(7, size) });
    server.send(server.request(Method::POST, "/hooks/default/keep").json(&body)).await
}

/// That a run which was acknowledged comes to its end.
async fn completes(server: &Server, accepted: Answer) {
    let run = accepted.expect(202)["run_id"].as_str().unwrap().to_owned();
    let run = server.ended(&run).await;
    assert_eq!(run["status"], "completed", "{run:#}");
}

async fn prepared(server: &Server) {
    server.put("/api/v1/actions/says", guests::prints("{\"word\": \"kept\"}")).await.expect(201);
    server.activate("keep", FLOW).await;
}

fn titles(notes: &[Value]) -> BTreeSet<String> {
    notes.iter().map(|note| note["title"].as_str().unwrap().to_owned()).collect()
}

/// What writes is refused, and what reads is not.
async fn refuses_writes_and_reads(server: &Server, kept: &BTreeSet<String>) {
    server.get("/healthz").await.expect(200);
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.code().as_str()), (503, "not_ready"));
    let why = ready.json()["detail"].as_str().unwrap().to_owned();
    assert!(why.contains("full") && !why.contains(server.data().to_str().unwrap()), "{why}");
    let refused = [
        ("a record", note(server, "refused", 100).await),
        ("a large record", note(server, "refused", 60_000).await),
        ("a run", hook(server, "refused", 10).await),
        ("a run with a blob", hook(server, "refused", 60_000).await),
        ("a module", server.put("/api/v1/actions/more", guests::prints("{\"word\": \"more\"}")).await),
        ("a workflow", server.put("/api/v1/workflows/more", FLOW.replace("keep", "more")).await),
    ];
    for (what, answer) in refused {
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (507, "storage_full"), "{what}");
    }
    assert_eq!(&titles(&server.records("note").await), kept);
    assert_eq!(server.get("/api/v1/actions/says/module").await.status.as_u16(), 200);
    server.get("/api/v1/actions/more").await.expect(404);
    let runs = server.get("/api/v1/runs").await.expect(200);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2, "{runs:#}");
}

async fn a_full_disk_is_survived(mut disk: Disk, data: PathBuf) {
    let mut server = disk.start(&data);
    prepared(&server).await;
    completes(&server, hook(&server, "small", 10).await).await;
    completes(&server, hook(&server, "large", 60_000).await).await;
    let mut kept = BTreeSet::from(["small".to_owned(), "large".to_owned()]);
    for n in 0..10 {
        note(&server, &n.to_string(), 50_000).await.expect(201);
        kept.insert(n.to_string());
    }

    disk.fill(&server, &data);
    // Some that write at once meet it: each is answered, and by what became of it.
    let mut met = false;
    for round in 0.. {
        let titles: Vec<_> = (0..4).map(|n| format!("{round}.{n}")).collect();
        let answers = join_all(titles.iter().map(|title| note(&server, title, 60_000))).await;
        for (title, answer) in titles.into_iter().zip(answers) {
            match (answer.status.as_u16(), answer.json()["code"].as_str().unwrap_or_default()) {
                (201, _) => drop(kept.insert(title)),
                (507, "storage_full") => met = true,
                // It came to read something first while the store was being opened anew.
                (503, "store_unavailable") => {}
                other => panic!("{other:?}"),
            }
        }
        if met {
            break;
        }
        assert!(round < 200, "the disk is never full");
    }
    refuses_writes_and_reads(&server, &kept).await;

    // Who restarts it does not make it worse.
    server.kill();
    let server = disk.start(&data);
    refuses_writes_and_reads(&server, &kept).await;

    disk.make_room(&server);
    let room = async {
        while note(&server, "room", 10).await.status.as_u16() != 201 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), room).await.expect("writing goes on by itself");
    completes(&server, hook(&server, "large again", 70_000).await).await;
    server.put("/api/v1/actions/more", guests::prints("{\"word\": \"more\"}")).await.expect(201);
    kept.extend(["room".to_owned(), "large again".to_owned()]);
    assert_eq!(titles(&server.records("note").await), kept);
    drop(server);
    let server = disk.start(&data);
    assert_eq!(titles(&server.records("note").await), kept);
    server.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn where_no_file_can_grow_writes_are_refused_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    a_full_disk_is_survived(Disk::Limited { files: None }, folder.path().join("data")).await;
}

#[tokio::test]
#[ignore = "mounts a file system, which needs the right to: cargo test -p stepwell --test blackbox -- --ignored"]
async fn on_a_disk_that_another_program_fills_up_writes_are_refused_and_nothing_is_lost() {
    let disk = Disk::mounted("64m");
    let Disk::Mounted { on } = &disk else { unreachable!("it is mounted") };
    let data = on.path().join("data");
    a_full_disk_is_survived(disk, data).await;
}

#[tokio::test]
async fn where_nobody_knows_whether_the_log_was_written_nobody_waits_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let disk = Disk::Limited { files: None };
    let server = disk.start(&data);
    for n in 0..20 {
        note(&server, &n.to_string(), 50_000).await.expect(201);
    }
    // Not even the log can be written, nor begun anew: it may have the first one or not.
    limit_files(&server, Some(64 << 10));
    let waited = note(&server, "unknown", 50_000).await;
    assert_eq!((waited.status.as_u16(), waited.code().as_str()), (503, "outcome_unknown"));
    // Those who come now are told at once that nothing of theirs is done. Nor can sled be opened again, once it has failed.
    let refused = note(&server, "refused", 10).await;
    assert!(["storage_full", "store_unavailable"].contains(&refused.code().as_str()), "{refused:?}");
    assert_eq!(server.get("/readyz").await.status.as_u16(), 503);
    limit_files(&server, None);
    let room = async {
        while note(&server, "room", 10).await.status.as_u16() != 201 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), room).await.expect("writing goes on by itself");
    let mut there = titles(&server.records("note").await);
    there.remove("unknown");
    let expected = (0..20).map(|n| n.to_string()).chain(["room".to_owned()]).collect();
    assert_eq!(there, expected, "all that was acknowledged, and nothing that was refused");
}

#[tokio::test]
async fn below_the_floor_nothing_is_added_not_even_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::on(&data, &["--dev"], &floor("0")).unwrap();
    prepared(&server).await;
    completes(&server, hook(&server, "small", 10).await).await;
    completes(&server, hook(&server, "large", 60_000).await).await;
    assert!(server.stop().success());
    let blobs = || files_in(&data.join("blobs"));
    let before = blobs();
    assert!(before > 0);
    let mut server = Server::on(&data, &["--dev"], &floor("1000000000000000")).unwrap();
    let kept = |titles: &[&str]| titles.iter().map(|title| (*title).to_owned()).collect::<BTreeSet<_>>();
    refuses_writes_and_reads(&server, &kept(&["small", "large"])).await;
    assert_eq!(blobs(), before, "what no row will name takes no room");
    assert!(server.stop().success());
    let server = Server::on(&data, &["--dev"], &floor("0")).unwrap();
    completes(&server, hook(&server, "large again", 70_000).await).await;
    assert_eq!(titles(&server.records("note").await), kept(&["small", "large", "large again"]));
}

/// How many files there are, in folders of folders too.
fn files_in(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_in(&path) } else { 1 }).sum()
}
