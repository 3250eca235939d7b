//! The flow `meeting-notes`, with a recorder that signs, asks first and sends twice, and a mail server that refuses one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::server::Answer;
use crate::support::smtp::{Security, SmtpServer};
use crate::support::{Server, guests, signed};

const KEY: &[u8] = b"a recorder's secret";

/// As the recorder sends it.
async fn post(server: &Server, key: &[u8], body: &str, id: &str) -> Answer {
    signed::post(server, "meeting-notes", key, jiff::Timestamp::now().as_second(), id, body).await
}

#[tokio::test]
async fn a_call_of_some_megabytes_becomes_one_note_its_tasks_and_a_mail_to_whom_it_reaches() {
    let smtp = SmtpServer::start(Security::None);
    let folder = tempfile::tempdir().unwrap();
    let port = smtp.port.to_string();
    let environment = [
        ("STEPWELL_SMTP__HOST", "localhost"),
        ("STEPWELL_SMTP__PORT", port.as_str()),
        ("STEPWELL_SMTP__TLS", "none"),
        ("STEPWELL_SMTP__FROM", "Stepwell <flow@example.com>"),
    ];
    let server = Server::on(&folder.path().join("data"), &["--dev"], &environment).unwrap();
    let secret = json!({ "value": STANDARD.encode(KEY) }).to_string();
    server.put("/api/v1/secrets/CALLS_SECRET", secret).await.expect(201);
    let action = guests::example("extract-meeting-notes");
    server.put("/api/v1/actions/extract-meeting-notes", action).await.expect(201);
    let flow = guests::root().join("examples/workflows/meeting-notes/meeting-notes.yaml");
    server.activate("meeting-notes", &std::fs::read_to_string(flow).unwrap()).await;
    let person = json!({"emails": {"primaryEmail": "ada@acme.example"}});
    let person = server.post("/api/v1/records/person", &person).await.expect(201)["id"].clone();
    let opportunity = json!({"name": "Migration", "pointOfContactId": person});
    let opportunity =
        server.post("/api/v1/records/opportunity", &opportunity).await.expect(201)["id"].clone();

    let hello = post(&server, KEY, &json!({"challenge": "hello"}).to_string(), "m0").await;
    assert_eq!((hello.status.as_u16(), hello.body.as_slice()), (200, b"hello".as_slice()));
    let mut transcript =
        "Ada: We decided to go on. Grace, could you please send the offer by Friday?\n".to_owned();
    while transcript.len() < 3 << 20 {
        transcript
            .push_str("Grace: The renewal depends on the price of the second module and on nothing else.\n");
    }
    let call = json!({"recordingId": "rec-1", "title": "Renewal", "date": "2026-03-02", "transcript": transcript,
        "participants": [{"email": "not an address"}, {"email": "refused@example.com"}, {"email": "ada@acme.example"}]});
    let call = call.to_string();
    assert_eq!(post(&server, b"guessed", &call, "m1").await.code(), "bad_signature");
    let first = post(&server, KEY, &call, "m1").await.expect(202);
    let again = post(&server, KEY, &call, "m2").await.expect(202);
    assert_eq!(first, again, "another message of the same recording");
    let other = call.replace("Renewal", "Other");
    assert_eq!(post(&server, KEY, &other, "m3").await.code(), "idempotency_key_reused");
    let run = server.ended(first["run_id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "completed", "{:#}", run["error"]);
    assert_eq!(run["output"]["mails"], json!({"sent": 1, "failed": 2}), "{:#}", run["output"]);
    assert_eq!(smtp.next_mail()["to"], json!(["ada@acme.example"]));
    let notes = server.records("note").await;
    assert_eq!(notes.len(), 1);
    assert_eq!((&notes[0]["opportunityId"], &notes[0]["personId"]), (&opportunity, &person));
    let tasks = server.records("task").await;
    let told: Vec<&Value> = tasks.iter().map(|task| &task["opportunityId"]).collect();
    assert_eq!(told, [&opportunity], "{tasks:#?}");
    let came = server.get("/api/v1/webhooks/meeting-notes/deliveries").await.expect(200);
    let outcomes: Vec<_> =
        came["deliveries"].as_array().unwrap().iter().map(|d| d["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["refused", "repeated", "started", "refused", "handshake"]);
}
