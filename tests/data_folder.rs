//! The data folder: another version, another process, lost parts, read-only. A full disk: `full_disk.rs`.

use std::process::Command;

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

#[tokio::test]
async fn a_read_only_folder_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::on(&data, &["--dev"], &[]).unwrap();
    assert!(server.stop().success());
    let change_mode = |mode: &str| {
        assert!(Command::new("chmod").args(["-R", mode]).arg(&data).status().unwrap().success());
    };
    change_mode("a-w");
    // Root may write there all the same, unless it gives that up.
    let wrapper: &[&str] = match std::fs::write(data.join("probe"), "x") {
        Err(_) => &[],
        Ok(()) => &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
    };
    let error = Server::through(wrapper, &data, &["--dev"], &[]).err().unwrap();
    change_mode("u+w");
    assert!(error.contains("cannot be written to") && error.contains(data.to_str().unwrap()), "{error}");
}
