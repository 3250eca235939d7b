//! The data folder: another version, another process, read-only, a full disk.

use std::process::Command;

use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn a_folder_of_another_version_is_refused_and_left_alone() {
    let mut server = Server::dev();
    let data = server.data();
    assert!(server.stop().success());
    let stamp = data.join("format");
    std::fs::write(&stamp, "stepwell data format 999\n").unwrap();
    let error = Server::on(&data, &["--dev"], &[]).err().unwrap();
    assert!(error.contains("999") && error.contains(data.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_to_string(&stamp).unwrap(), "stepwell data format 999\n");
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_has_the_folder() {
    let server = Server::dev();
    let error = Server::on(&server.data(), &["--dev"], &[]).err().unwrap();
    assert!(error.contains("in use") && error.contains(&server.pid().to_string()), "{error}");
    server.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn a_foreign_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.doc"), "all my work").unwrap();
    let error = Server::on(folder.path(), &["--dev"], &[]).err();
    // Other people's files are never touched, whether the folder is taken or not.
    assert_eq!(std::fs::read_to_string(folder.path().join("thesis.doc")).unwrap(), "all my work");
    if let Some(error) = error {
        assert!(error.contains("not a Stepwell data folder"), "{error}");
    }
}

#[tokio::test]
async fn lost_blobs_are_noticed_at_the_start_and_in_readiness() {
    let mut server = Server::dev();
    let data = server.data();
    server.get("/readyz").await.expect(200);
    std::fs::remove_dir_all(data.join("blobs")).unwrap();
    // An answer is given again for a moment.
    let lost = async { while server.get("/readyz").await.status.as_u16() != 503 {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), lost).await.expect("it is not ready any more");
    assert!(server.stop().success());
    let error = Server::on(&data, &["--dev"], &[]).err().unwrap();
    assert!(error.contains("blobs is missing") && error.contains("backup"), "{error}");
    std::fs::create_dir(data.join("blobs")).unwrap();
    let server = Server::on(&data, &["--dev"], &[]).unwrap();
    server.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn a_file_is_no_data_folder_and_nothing_is_said_of_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Server::on(&file, &["--dev"], &[]).err().unwrap();
    assert!(error.contains(file.to_str().unwrap()) && !error.contains("chmod"), "{error}");
}

/// A file system of its own, mounted for the test. Root is needed for that, as on a CI machine.
struct Mount(tempfile::TempDir);

impl Mount {
    fn tmpfs(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder.path())
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.0.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_read_only_folder_is_refused_with_its_name() {
    let Some(mount) = Mount::tmpfs("size=64m") else { return eprintln!("skipped: no right to mount") };
    let data = mount.0.path().join("data");
    let mut server = Server::on(&data, &["--dev"], &[("STEPWELL_LIMITS__FREE_DISK_BYTES", "0")]).unwrap();
    assert!(server.stop().success());
    mount.remount("ro");
    let error = Server::on(&data, &["--dev"], &[]).err().unwrap();
    assert!(error.contains("cannot be written to") && error.contains(data.to_str().unwrap()), "{error}");
}

/// Text that takes as much room as it has letters, or nearly.
fn incompressible(length: usize) -> String {
    let mut state = 1u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + ((state >> 40) % 90) as u8)
    };
    (0..length).map(letter).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_the_server_up_and_loses_nothing() {
    let Some(mount) = Mount::tmpfs("size=48m") else { return eprintln!("skipped: no right to mount") };
    let data = mount.0.path().join("data");
    let floor = [("STEPWELL_LIMITS__FREE_DISK_BYTES", "8388608")];
    let mut server = Server::on(&data, &["--dev"], &floor).unwrap();
    let mut acknowledged = Vec::new();
    let mut refused = None;
    let filler = incompressible(100_000);
    for n in 0..2_000 {
        let answer =
            server.post("/api/v1/records/note", &json!({ "title": n.to_string(), "body": filler })).await;
        match answer.status.as_u16() {
            201 => acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned()),
            status => {
                refused = Some((status, answer.code()));
                break;
            }
        }
    }
    let (status, code) = refused.expect("the disk fills up");
    assert!(matches!(status, 507 | 503), "{status} {code}");
    assert!(acknowledged.len() > 10);
    // Alive, but not ready.
    server.get("/healthz").await.expect(200);
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.code().as_str()), (503, "not_ready"));
    let why = ready.json()["detail"].as_str().unwrap().to_owned();
    assert!(why.contains("full") && !why.contains(data.to_str().unwrap()), "{why}");
    // Reading goes on.
    for id in [&acknowledged[0], acknowledged.last().unwrap()] {
        server.get(&format!("/api/v1/records/note/{id}")).await.expect(200);
    }
    // A restart on the full disk reads too.
    assert!(server.stop().success());
    let server = Server::on(&data, &["--dev"], &floor).unwrap();
    for id in [&acknowledged[0], acknowledged.last().unwrap()] {
        server.get(&format!("/api/v1/records/note/{id}")).await.expect(200);
    }
    assert_eq!(server.get("/readyz").await.code(), "not_ready");
    assert_eq!(
        server.post("/api/v1/records/note", &json!({ "title": "no room" })).await.code(),
        "storage_full"
    );
    // With room again, writing goes on, without a restart.
    mount.remount("size=256m");
    let mut tries = 0;
    loop {
        let answer = server.post("/api/v1/records/note", &json!({ "title": "room" })).await;
        if answer.status.as_u16() == 201 {
            break;
        }
        tries += 1;
        assert!(tries < 100, "{}", String::from_utf8_lossy(&answer.body));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    drop(server);
    let server = Server::on(&data, &["--dev"], &floor).unwrap();
    for id in &acknowledged {
        server.get(&format!("/api/v1/records/note/{id}")).await.expect(200);
    }
}
