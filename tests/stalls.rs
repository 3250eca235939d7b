//! Clients that stall: they are given up in time, and keep nobody else out.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::Server;

const TAKES: &str = "
name: takes
trigger: { type: webhook, path: takes, respond: result }
steps:
  - { id: seen, type: set, values: { n: '{{ trigger.body.n }}' } }
";
const ASKS: &str = "
name: asks
trigger: { type: webhook, path: asks, auth: api_key }
steps:
  - { id: seen, type: set, values: { n: '1' } }
";
const RESTS: &str = "
name: rests
trigger: { type: webhook, path: rests, respond: result }
steps:
  - { id: rest, type: delay, for: 1m }
";
const PLAIN: &str = "
name: plain
trigger: { type: webhook, path: plain }
steps:
  - { id: rest, type: delay, for: 1m }
";

fn server(flags: &[&str], environment: &[(&str, &str)]) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(&folder.path().join("data"), flags, environment).unwrap();
    (server, folder)
}

/// A connection on which so much was sent.
async fn sends(server: &Server, text: &str) -> TcpStream {
    let address = server.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// A request's head that announces a body.
fn post(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// The status of an answer whose rest is not read.
async fn status_of(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_exact(&mut head)).await;
    read.expect("the server answers").unwrap();
    std::str::from_utf8(&head).unwrap().strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap()
}

/// What is answered until the server hangs up.
async fn answered(mut stream: TcpStream) -> (u16, String) {
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await;
    let text = String::from_utf8_lossy(&all).into_owned();
    // Whether it ends well or is reset does not matter here.
    let _ = read.unwrap_or_else(|_| panic!("the server did not hang up: {text:?}"));
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

/// Stalls in the head, in a hook's body, in the body of a call without a key, and before anything was said.
async fn stalled(server: &Server, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for n in 0..count {
        let text = match n % 4 {
            0 => "POST /hooks/default/takes HTTP/1.1\r\nhost: loc".to_owned(),
            1 => post("/hooks/default/takes", 8 << 20) + "{\"n\": ",
            2 => post("/api/v1/records/person", 8 << 20) + "{",
            _ => String::new(),
        };
        streams.push(sends(server, &text).await);
    }
    streams
}

async fn taken_by_strangers(server: &Server) -> u64 {
    server.metric("stepwell_http_bodies_of_strangers_bytes").await
}

/// Asks again until it is so.
async fn comes_true(what: &str, is_so: impl AsyncFn() -> bool) {
    let until_then = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until_then).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn hundreds_of_stalled_connections_keep_nobody_out() {
    let (server, _folder) = server(&["--dev"], &[("STEPWELL_LIMITS__CONNECTIONS", "1000")]);
    server.activate("takes", TAKES).await;
    let held = stalled(&server, 240).await;
    server.get("/healthz").await.expect(200);
    assert_eq!(server.post("/hooks/default/takes", &json!({ "n": 1 })).await.expect(200), json!({ "n": 1 }));
    // They are connected once the system has taken them in; the server comes to the last of them in its own time.
    comes_true("every connection is kept open", async || {
        server.metric("stepwell_http_connections_open").await >= 240
    })
    .await;
    drop(held);
}

#[tokio::test]
async fn past_the_limit_of_connections_those_that_stall_give_way() {
    let (server, _folder) = server(&["--dev"], &[("STEPWELL_LIMITS__CONNECTIONS", "20")]);
    server.activate("takes", TAKES).await;
    let held = stalled(&server, 60).await;
    for n in 0..5 {
        // On connections of their own, behind those that stall.
        assert_eq!(reqwest::get(format!("{}/healthz", server.base)).await.unwrap().status(), 200);
        let answer = server.post("/hooks/default/takes", &json!({ "n": n })).await.expect(200);
        assert_eq!(answer, json!({ "n": n }));
    }
    assert!(server.metric("stepwell_http_connections_cut_total").await > 0, "some were cut");
    drop(held);
}

#[tokio::test]
async fn callers_that_wait_for_results_keep_nobody_out() {
    let (server, _folder) = server(&["--dev"], &[("STEPWELL_LIMITS__CONNECTIONS", "12")]);
    server.activate("rests", RESTS).await;
    server.activate("plain", PLAIN).await;
    let mut held = Vec::new();
    for n in 1..=24 {
        let mut stream = sends(&server, &(post("/hooks/default/rests", 2) + "{}")).await;
        // A quarter of the connections wait; the others have their answer.
        if n > 3 {
            assert_eq!(status_of(&mut stream).await, 202);
        }
        comes_true("its run is taken", async || server.metric("stepwell_hooks_accepted_total").await == n)
            .await;
        held.push(stream);
    }
    for stream in &held[..3] {
        let error = stream.try_read(&mut [0]).expect_err("nothing is answered yet");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    for _ in 0..3 {
        // On connections of their own.
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        let health = client.get(format!("{}/healthz", server.base)).send().await.unwrap();
        assert_eq!(health.status(), 200);
        let plain = client.post(format!("{}/hooks/default/plain", server.base)).send().await.unwrap();
        assert_eq!(plain.status(), 202);
    }
    assert_eq!(server.metric("stepwell_hook_waits_refused_total").await, 21);
    drop(held);
}

/// They hold all that strangers may; calls of the API go through.
#[tokio::test]
async fn bodies_of_strangers_leave_room_for_those_with_a_key() {
    let limits = [("STEPWELL_LIMITS__BODIES_BYTES", "32MiB"), ("STEPWELL_LIMITS__BODY_IDLE_MS", "120000")];
    let (server, _folder) = server(&["--dev"], &limits);
    server.activate("takes", TAKES).await;
    server.activate("rests", RESTS).await;
    server
        .activate(
            "by-hand",
            "name: by-hand\ntrigger: { type: manual }\nsteps: [{ id: a, type: set, values: { b: 1 } }]\n",
        )
        .await;
    // Those whose callers wait for the result hold nothing.
    let mut held = Vec::new();
    for n in 1..=4 {
        let body = format!("\"{}\"", "x".repeat(7 << 20));
        held.push(sends(&server, &(post("/hooks/default/rests", body.len()) + &body)).await);
        comes_true("the run waits, and its body is let go", async || {
            let waiting = server.get("/api/v1/runs?status=waiting").await.expect(200);
            waiting["runs"].as_array().unwrap().len() == n && taken_by_strangers(&server).await == 0
        })
        .await;
    }
    let most = 8 << 20;
    for n in 1..=2 {
        held.push(sends(&server, &(post("/hooks/default/takes", most) + &" ".repeat(most - 1))).await);
        // What is sent is read in the server's own time. A little of each is not counted.
        comes_true("all that came is read", async || {
            taken_by_strangers(&server).await >= n * (most as u64 - (64 << 10))
        })
        .await;
    }
    // More than the little that is left.
    let large = json!({ "n": "x".repeat(300 << 10) });
    assert_eq!(server.post("/hooks/default/takes", &large).await.code(), "too_busy");
    server.post("/api/v1/workflows/by-hand/run", &large).await.expect(202);
    drop(held);
    comes_true("they give it back", async || taken_by_strangers(&server).await == 0).await;
    server.post("/hooks/default/takes", &large).await.expect(200);
}

#[tokio::test]
async fn running_out_of_open_files_ends_nothing_and_passes() {
    let mut server = Server::dev();
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count() as u64;
    let id = rustix::process::Pid::from_raw(server.pid() as i32).unwrap();
    let most = rustix::process::Rlimit { current: Some(files + 8), maximum: Some(files + 8) };
    rustix::process::prlimit(Some(id), rustix::process::Resource::Nofile, most).unwrap();
    let held = stalled(&server, 60).await;
    // The stalled ones are cut for it.
    server.get("/healthz").await.expect(200);
    drop(held);
    server.get("/healthz").await.expect(200);
    assert!(server.stop().success());
}

#[tokio::test]
async fn a_body_that_stalls_or_trickles_is_given_up_with_408() {
    let limits = [("STEPWELL_LIMITS__BODY_IDLE_MS", "500"), ("STEPWELL_LIMITS__BODY_TOTAL_MS", "1500")];
    let (server, _folder) = server(&["--dev"], &limits);
    server.activate("takes", TAKES).await;
    for path in ["/hooks/default/takes", "/api/v1/records/person", "/api/v1/actions/x/test"] {
        let (status, text) = answered(sends(&server, &(post(path, 100) + "{\"n\": ")).await).await;
        assert_eq!(status, 408, "{path}: {text}");
        assert!(text.contains("body_timeout") && text.contains("limits.body_idle_ms"), "{text}");
    }
    let mut stream = sends(&server, &post("/hooks/default/takes", 1000)).await;
    let (mut read, mut write) = stream.split();
    let trickle = async {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut head = [0; 12];
    tokio::select! {
        () = trickle => panic!("hung up without an answer"),
        read = read.read_exact(&mut head) => read.unwrap(),
    };
    assert_eq!(&head, b"HTTP/1.1 408");
    assert_eq!(server.get("/api/v1/runs").await.expect(200)["runs"], json!([]));
    // A slow one that goes on is waited for.
    let mut stream = sends(&server, &post("/hooks/default/takes", 8)).await;
    for part in ["{\"n\"", ":", " 3}"] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.write_all(part.as_bytes()).await.unwrap();
    }
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_head_that_stalls_is_hung_up_on() {
    let (server, _folder) = server(&["--dev"], &[("STEPWELL_LIMITS__HEAD_MS", "400")]);
    let (_, text) = answered(sends(&server, "GET /healthz HTTP/1.1\r\nhost: loc").await).await;
    assert!(!text.contains("200"), "{text}");
}

#[tokio::test]
async fn no_body_is_read_for_who_may_not_send_it() {
    let server = Server::start(&[]);
    server.activate("asks", ASKS).await;
    for (path, status) in [
        ("/hooks/default/nobody", 404),
        ("/hooks/default/asks", 401),
        ("/api/v1/records/person", 401),
        ("/inputs/default/no-link", 404),
    ] {
        // The body never comes; the answer does.
        let mut stream = sends(&server, &post(path, 1 << 20)).await;
        assert_eq!(status_of(&mut stream).await, status, "{path}");
    }
    // The holder of a key may.
    server.post("/hooks/default/asks", &Value::Null).await.expect(202);
}
