//! `send_email` against a real SMTP server: STARTTLS with a login, TLS, neither; refused and put-off recipients.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::smtp::{Security, SmtpServer};

const FLOW: &str = "
name: tell
trigger: { type: webhook, path: tell, respond: result }
steps:
  - id: mail
    type: send_email
    to: ['{{ trigger.body.to }}']
    subject: 'Hello {{ trigger.body.name }}'
    text: 'Dear {{ trigger.body.name }},'
    html: '<p>Dear {{ trigger.body.name }},</p>'
";

async fn server(smtp: &SmtpServer, tls: &str, login: bool) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let port = smtp.port.to_string();
    let mut environment = vec![
        ("STEPWELL_SMTP__HOST", "localhost"),
        ("STEPWELL_SMTP__PORT", port.as_str()),
        ("STEPWELL_SMTP__TLS", tls),
        ("STEPWELL_SMTP__FROM", "Stepwell <flow@example.com>"),
    ];
    let ca = smtp.ca_file.to_str().unwrap().to_owned();
    if tls != "none" {
        environment.push(("STEPWELL_SMTP__CA_FILE", &ca));
    }
    if login {
        environment.push(("STEPWELL_SMTP__USERNAME", "flow"));
        environment.push(("STEPWELL_SMTP__PASSWORD", "s3cret"));
    }
    let server = Server::on(&folder.path().join("data"), &["--dev"], &environment).unwrap();
    server.activate("tell", FLOW).await;
    (server, folder)
}

async fn tell(server: &Server, to: &str, name: &str) -> (u16, Value) {
    let answer = server.post("/hooks/default/tell", &json!({ "to": to, "name": name })).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn mail_goes_out_under_each_protection() {
    for (security, tls, login) in [
        (Security::None, "none", false),
        (Security::Starttls, "starttls", true),
        (Security::Tls, "tls", false),
    ] {
        let smtp = SmtpServer::start(security);
        let (server, _folder) = server(&smtp, tls, login).await;
        let (status, output) = tell(&server, "ada@example.com", "<b>Ada</b>").await;
        assert_eq!(status, 200, "{security:?}: {output:#}");
        let mail = smtp.next_mail();
        assert_eq!(mail["to"], json!(["ada@example.com"]));
        assert_eq!(mail["from"], "flow@example.com");
        assert_eq!(mail["tls"], json!(security != Security::None));
        assert_eq!(mail["user"], if login { json!("flow") } else { Value::Null });
        let data = mail["data"].as_str().unwrap();
        assert!(data.contains("Subject: Hello <b>Ada</b>"), "{data}");
        assert!(data.contains("Dear <b>Ada</b>,"), "text stays text: {data}");
        assert!(data.contains("&lt;b&gt;Ada&lt;"), "markup in a value is text in HTML: {data}");
    }
}

#[tokio::test]
async fn a_refused_recipient_fails_the_step_and_says_what_the_server_said() {
    let smtp = SmtpServer::start(Security::None);
    let (server, _folder) = server(&smtp, "none", false).await;
    let (status, problem) = tell(&server, "refuse@example.com", "Ada").await;
    assert_eq!(status, 500, "{problem:#}");
    let run = server.ended(problem["run_id"].as_str().unwrap()).await;
    let error = &run["steps"][0]["error"];
    assert_eq!(error["code"], "smtp_rejected", "{run:#}");
    assert!(error["message"].as_str().unwrap().contains("no such user"), "{error:#}");
    assert_eq!(error["retryable"], false);
}

#[tokio::test]
async fn a_line_break_in_a_form_adds_no_header() {
    let smtp = SmtpServer::start(Security::None);
    let (server, _folder) = server(&smtp, "none", false).await;
    let (status, problem) = tell(&server, "ada@example.com", "Ada\r\nBcc: evil@example.com").await;
    assert_eq!(status, 500, "{problem:#}");
    let run = server.ended(problem["run_id"].as_str().unwrap()).await;
    assert!(run["steps"][0]["error"]["message"].as_str().unwrap().contains("line break"), "{run:#}");
    // The next mail is the first that the server sees.
    assert_eq!(tell(&server, "ada@example.com", "Ada").await.0, 200);
    assert_eq!(smtp.next_mail()["to"], json!(["ada@example.com"]));
}

#[tokio::test]
async fn a_wrong_password_is_said_plainly() {
    let smtp = SmtpServer::start(Security::Starttls);
    let folder = tempfile::tempdir().unwrap();
    let (port, ca) = (smtp.port.to_string(), smtp.ca_file.to_str().unwrap().to_owned());
    let environment = [
        ("STEPWELL_SMTP__HOST", "localhost"),
        ("STEPWELL_SMTP__PORT", port.as_str()),
        ("STEPWELL_SMTP__FROM", "flow@example.com"),
        ("STEPWELL_SMTP__CA_FILE", ca.as_str()),
        ("STEPWELL_SMTP__USERNAME", "flow"),
        ("STEPWELL_SMTP__PASSWORD", "wrong-p4ss"),
    ];
    let server = Server::on(&folder.path().join("data"), &["--dev"], &environment).unwrap();
    server.activate("tell", FLOW).await;
    let (status, problem) = tell(&server, "ada@example.com", "Ada").await;
    assert_eq!(status, 500);
    let run = server.ended(problem["run_id"].as_str().unwrap()).await;
    assert_eq!(run["steps"][0]["error"]["code"], "smtp_auth_failed", "{run:#}");
    assert!(!run.to_string().contains("wrong-p4ss"));
}

#[tokio::test]
async fn a_recipient_that_is_put_off_is_tried_again() {
    let smtp = SmtpServer::start(Security::None);
    let (server, _folder) = server(&smtp, "none", false).await;
    let retry = "retry: { attempts: 2, backoff: { initial: 10ms } }";
    let text = FLOW.replace("    subject:", &format!("    {retry}\n    subject:"));
    server.put("/api/v1/workflows/tell", text).await.expect(201);
    server.post("/api/v1/workflows/tell/activate", &Value::Null).await.expect(200);

    let (status, output) = tell(&server, "later@example.com", "Ada").await;
    assert_eq!(status, 200, "{output:#}");
    assert_eq!(smtp.next_mail()["to"], json!(["later@example.com"]));
    let runs = server.get("/api/v1/runs").await.expect(200);
    let run = server.ended(runs["runs"][0]["id"].as_str().unwrap()).await;
    let attempts = run["steps"][0]["attempts"].as_array().unwrap();
    let outcomes: Vec<&Value> = attempts.iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, [&json!("failed"), &json!("completed")], "{run:#}");
    let error = &attempts[0]["error"];
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("smtp_unavailable"), &json!(true)),
        "{error:#}"
    );
    assert!(error["message"].as_str().unwrap().contains("try again later"), "{error:#}");

    // One that is put off for ever fails when its attempts are used up, with what the server said.
    let (status, problem) = tell(&server, "later-always@example.com", "Ada").await;
    assert_eq!(status, 500, "{problem:#}");
    let run = server.ended(problem["run_id"].as_str().unwrap()).await;
    assert_eq!(run["steps"][0]["attempts"].as_array().unwrap().len(), 2, "{run:#}");
    assert_eq!(run["steps"][0]["error"]["code"], "smtp_unavailable", "{run:#}");
}

#[tokio::test]
async fn a_server_without_smtp_says_that_it_catches_mail() {
    let mut server = Server::start(&[]);
    server.stop();
    let log = server.log();
    assert!(log.contains("smtp is not set: e-mail is caught, and nothing goes out"), "{log}");
}
