//! Webhooks through HTTP: how bodies are read, who may send them, handshakes, and what is kept of what came in.

use hmac::{Hmac, Mac};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::Server;

const ECHO: &str = "
name: echo
trigger: { type: webhook, path: in/echo, method: [GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS], respond: result }
steps:
  - { id: seen, type: set, values: { method: '{{ trigger.method }}', query: '{{ trigger.query }}', body: '{{ trigger.body }}' } }
";

fn hook(server: &Server, method: Method, path: &str) -> RequestBuilder {
    server.request(method, &format!("/hooks/default/{path}"))
}

#[tokio::test]
async fn bodies_of_every_kind_and_all_methods_reach_the_run() {
    let server = Server::dev();
    server.activate("echo", ECHO).await;
    let post = || hook(&server, Method::POST, "in/echo?a=1&a=2&b=x%20y");
    let seen =
        server.send(post().form(&[("name", "Ann & Bob"), ("tag", "1"), ("tag", "2")])).await.expect(200);
    assert_eq!(seen["body"], json!({"name": "Ann & Bob", "tag": ["1", "2"]}));
    assert_eq!(seen["query"], json!({"a": ["1", "2"], "b": "x y"}));
    let multipart = |part: &str| {
        let body = format!("--B\r\ncontent-disposition: form-data; {part}\r\n--B--\r\n");
        post().header("content-type", "multipart/form-data; boundary=B").body(body)
    };
    let seen = server.send(multipart("name=\"note\"\r\n\r\ntwo\r\nlines")).await.expect(200);
    assert_eq!(seen["body"], json!({"note": "two\r\nlines"}));
    let file = server.send(multipart("name=\"cv\"; filename=\"cv.pdf\"\r\n\r\n%PDF")).await;
    assert_eq!((file.status.as_u16(), file.code().as_str()), (422, "file_in_form"));
    assert_eq!(file.json()["errors"][0]["message"], "`cv` is the file `cv.pdf`");
    let text = post().header("content-type", "text/plain; charset=utf-8").body("{ no json");
    assert_eq!(server.send(text).await.expect(200)["body"], "{ no json");
    assert_eq!(server.send(post().json(&json!([1, "é"]))).await.expect(200)["body"], json!([1, "é"]));
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let seen =
            server.send(hook(&server, method.clone(), "in/echo").json(&json!({"n": 1}))).await.expect(200);
        assert_eq!((&seen["method"], &seen["body"]["n"]), (&json!(method.as_str()), &json!(1)));
    }
    let head = server.send(hook(&server, Method::HEAD, "in/echo")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

fn mac(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

fn signed_flow(name: &str, scheme: &str, more: &str) -> String {
    format!(
        "name: {name}
trigger:
  type: webhook
  path: {name}
  auth: {{ hmac: {{ scheme: {scheme}, secret: ['{{{{ secrets.NEW }}}}', '{{{{ secrets.OLD }}}}'] }} }}
{more}
steps:
  - {{ id: s, type: create_record, object: task, record: {{ title: '{{{{ trigger.body.title }}}}' }} }}
"
    )
}

async fn secrets(server: &Server) {
    for (name, value) in [("OLD", "the old secret"), ("NEW", "the new secret")] {
        server
            .put(&format!("/api/v1/secrets/{name}"), json!({ "value": value }).to_string())
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn signatures_of_other_senders_are_checked_while_keys_change() {
    let server = Server::start(&[]);
    secrets(&server).await;
    for scheme in ["github", "stripe", "shopify", "zoom"] {
        server.activate(scheme, &signed_flow(scheme, scheme, "")).await;
    }
    let body = json!({"title": "signed"}).to_string();
    let send = |path: &str, headers: &[(&str, String)]| {
        let mut request = reqwest::Client::new().post(format!("{}/hooks/default/{path}", server.base));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        server.send(request.body(body.clone()))
    };
    for secret in ["the old secret", "the new secret"] {
        let github = format!("sha256={}", mac(secret, &body));
        send("github", &[("x-hub-signature-256", github)]).await.expect(202);
        let stripe =
            |at: i64| format!("t={at},v1={},v1={}", mac("x", "y"), mac(secret, &format!("{at}.{body}")));
        send("stripe", &[("stripe-signature", stripe(now()))]).await.expect(202);
        let old = send("stripe", &[("stripe-signature", stripe(now() - 400))]).await;
        assert_eq!((old.status.as_u16(), old.code().as_str()), (401, "bad_signature"));
    }
    let wrong = format!("sha256={}", mac("guessed", &body));
    assert_eq!(send("github", &[("x-hub-signature-256", wrong)]).await.code(), "bad_signature");
    assert_eq!(send("shopify", &[]).await.code(), "bad_signature");
    assert_eq!(server.records("task").await.len(), 4);
}

#[tokio::test]
async fn a_handshake_is_answered_and_starts_no_run() {
    let server = Server::start(&[]);
    secrets(&server).await;
    let echo = "  handshake: { challenge: \"{{ trigger.query['hub.challenge'] }}\", method: GET }";
    server.activate("github", &signed_flow("github", "github", echo)).await;
    let get = |query: &str| {
        server.send(reqwest::Client::new().get(format!("{}/hooks/default/github{query}", server.base)))
    };
    let answer = get("?hub.mode=subscribe&hub.challenge=%3Cb%3E1").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, b"<b>1".as_slice()));
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let none = get("").await;
    assert_eq!((none.status.as_u16(), none.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(none.headers["allow"], "POST");

    // One that is answered by a signature of the challenge, for whoever has signed it.
    let computed = "  handshake:
    challenge: '{{ trigger.body.payload.plainToken }}'
    hmac: { secret: '{{ secrets.NEW }}' }
    respond: { body: { plainToken: '{{ trigger.challenge }}', encryptedToken: '{{ trigger.challenge_hmac }}' } }";
    server.activate("zoom", &signed_flow("zoom", "zoom", computed)).await;
    let body =
        json!({"event": "endpoint.url_validation", "payload": {"plainToken": "q9ibPhGeRZ6"}}).to_string();
    let post = |signature: String| {
        let request = reqwest::Client::new().post(format!("{}/hooks/default/zoom", server.base));
        let request = request.header("x-zm-request-timestamp", now()).header("x-zm-signature", signature);
        server.send(request.body(body.clone()))
    };
    let good = format!("v0={}", mac("the new secret", &format!("v0:{}:{body}", now())));
    let answer = post(good).await.expect(200);
    assert_eq!(
        answer,
        json!({"plainToken": "q9ibPhGeRZ6", "encryptedToken": mac("the new secret", "q9ibPhGeRZ6")})
    );
    assert_eq!(post("v0=00".into()).await.code(), "bad_signature", "nothing is signed for strangers");
    assert_eq!(server.get("/api/v1/runs").await.expect(200)["runs"], json!([]));
}

async fn deliveries(server: &Server, path: &str) -> Vec<Value> {
    let page = server.get(&format!("/api/v1/webhooks/{path}/deliveries")).await.expect(200);
    page["deliveries"].as_array().unwrap().clone()
}

const STRICT: &str = "
name: strict
trigger:
  type: webhook
  path: in/strict
  body_schema: { type: object, required: [title], properties: { title: { type: string } } }
steps:
  - { id: s, type: create_record, object: task, record: { title: '{{ trigger.body.title }}' } }
";

#[tokio::test]
async fn what_came_in_is_listed_with_its_reason_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    server.activate("strict", STRICT).await;
    let send = async |server: &Server, key: &str, body: Value| {
        let request = hook(server, Method::POST, "in/strict").bearer_auth("a-token-of-somebody");
        let answer = server.send(request.header("idempotency-key", key).json(&body)).await;
        answer.status.as_u16()
    };
    assert_eq!(send(&server, "a", json!({"title": "first"})).await, 202);
    assert_eq!(send(&server, "a", json!({"title": "first"})).await, 202);
    assert_eq!(send(&server, "a", json!({"title": "other"})).await, 409);
    assert_eq!(send(&server, "b", json!({"titel": "misspelt"})).await, 422);
    let path = "in%2Fstrict";
    let found = deliveries(&server, path).await;
    let told: Vec<_> = found.iter().map(|d| (d["outcome"].as_str().unwrap(), d["code"].as_str())).collect();
    assert_eq!(
        told,
        [
            ("refused", Some("body_schema")),
            ("refused", Some("idempotency_key_reused")),
            ("repeated", None),
            ("started", None)
        ]
    );
    assert_eq!(found[2]["run_id"], found[3]["run_id"]);
    let of = |n: usize| format!("/api/v1/webhooks/{path}/deliveries/{}", found[n]["id"].as_str().unwrap());
    let detail = server.get(&of(0)).await.expect(200);
    assert_eq!(detail["body"], "{\"titel\":\"misspelt\"}");
    assert!(!detail.to_string().contains("a-token-of-somebody"), "{detail:#}");
    assert_eq!(server.get(&of(3)).await.expect(200)["body"], json!({"title": "first"}));
    // Page by page the same.
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page =
            server.get(&format!("/api/v1/webhooks/{path}/deliveries?limit=1{cursor}")).await.expect(200);
        paged.extend(page["deliveries"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, found);

    // What was refused goes through once the workflow takes it; it outlives a restart.
    let refused = server.post(&format!("{}/replay", of(0)), &Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "body_schema"));
    let repeated = server.post(&format!("{}/replay", of(2)), &Value::Null).await;
    assert_eq!((repeated.status.as_u16(), repeated.code().as_str()), (409, "delivery_not_replayable"));
    server.stop();
    let server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    assert_eq!(deliveries(&server, path).await, found);
    let lenient = STRICT
        .replace("required: [title], ", "")
        .replace("body.title }}", "body.title | default(\"untitled\") }}");
    server.activate("strict", &lenient.replace("properties: { title: { type: string } } ", "")).await;
    let started = server.post(&format!("{}/replay", of(0)), &Value::Null).await.expect(202);
    server.ended(started["run_id"].as_str().unwrap()).await;
    let again = server.post(&format!("{}/replay", of(0)), &Value::Null).await.expect(200);
    assert_eq!(
        (&again["run_id"], &again["first"]),
        (&started["run_id"], &json!(false)),
        "its key is taken now"
    );
    let twice = server.post(&format!("{}/replay", of(3)), &Value::Null).await.expect(202);
    server.ended(twice["run_id"].as_str().unwrap()).await;
    let mut titles: Vec<_> =
        server.records("task").await.iter().map(|t| t["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    assert_eq!(titles, ["first", "first", "untitled"]);
    let unknown = server.get("/api/v1/webhooks/in%2Fstrikt/deliveries").await;
    assert_eq!(unknown.code(), "unknown_hook");
    assert!(unknown.json()["detail"].as_str().unwrap().contains("did you mean `in/strict`?"));
}

#[tokio::test]
async fn a_signature_is_checked_again_as_of_the_time_when_it_came() {
    let server = Server::start(&["--dev"]);
    secrets(&server).await;
    server.activate("zoom", &signed_flow("zoom", "zoom", "")).await;
    let body = json!({"title": "late"}).to_string();
    let send = |signed: &str| {
        let at = now();
        let signature = format!("v0={}", mac(signed, &format!("v0:{at}:{body}")));
        let request = hook(&server, Method::POST, "zoom").header("x-zm-request-timestamp", at);
        server.send(request.header("x-zm-signature", signature).body(body.clone()))
    };
    assert_eq!(send("the next secret").await.code(), "bad_signature");
    assert_eq!(send("a guess").await.code(), "bad_signature");
    server.put("/api/v1/secrets/NEW", json!({"value": "the next secret"}).to_string()).await.expect(200);
    server.post("/api/v1/dev/clock", &json!({"advance": "60m"})).await.expect(200);
    let found = deliveries(&server, "zoom").await;
    let replay =
        |n: usize| format!("/api/v1/webhooks/zoom/deliveries/{}/replay", found[n]["id"].as_str().unwrap());
    let refused = server.post(&replay(0), &Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "delivery_not_replayable"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("signature"), "{:#}", refused.json());
    server.post(&replay(1), &Value::Null).await.expect(202);
}

#[tokio::test]
async fn a_flood_of_refused_requests_is_kept_in_part() {
    let server = Server::dev();
    server.activate("strict", STRICT).await;
    for n in 0..300 {
        let body = json!({"n": n, "filling": "x".repeat(1000)});
        let refused = server.send(hook(&server, Method::POST, "in/strict").json(&body)).await;
        assert_eq!(refused.status.as_u16(), 422);
    }
    // They are written within seconds; of one path at most 200 stay, and the rest is counted.
    for _ in 0..20 {
        server.post("/api/v1/dev/clock", &json!({"advance": "1s"})).await.expect(200);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let page = server.get("/api/v1/webhooks/in%2Fstrict/deliveries?limit=500").await.expect(200);
    let kept = page["deliveries"].as_array().unwrap().len();
    let not_kept = page["not_kept"].as_u64().unwrap();
    assert!(kept <= 456 && kept as u64 + not_kept <= 300 && kept >= 100, "{kept} kept, {not_kept} not");
}

/// What leaves open which key is meant would lose one of two webhooks, or start two runs for one.
#[tokio::test]
async fn a_key_of_repeats_that_could_be_another_is_refused() {
    let server = Server::dev();
    server.activate("echo", ECHO).await;
    let header = ECHO.replace("name: echo", "name: by-header").replace("in/echo", "in/by-header");
    let of = |what: &str| {
        let key = format!("respond: result, idempotency_key: '{{{{ {what} }}}}' }}");
        header.replace("respond: result }", &key)
    };
    server.activate("by-header", &of("trigger.headers[\"x-id\"]")).await;
    let bytes = |bytes: &[u8]| reqwest::header::HeaderValue::from_bytes(bytes).unwrap();
    let send = async |path: &str, headers: &[(&'static str, &[u8])]| {
        let request = hook(&server, Method::POST, path).json(&json!({"n": 1}));
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, bytes(value)));
        let answer = server.send(request).await;
        (answer.status.as_u16(), if answer.status.is_success() { String::new() } else { answer.code() })
    };
    let key = "idempotency-key";
    let long = [b'x'; 513];
    let wrong: [&[(&'static str, &[u8])]; 4] =
        [&[(key, b"a\xff")], &[(key, b"a"), (key, b"b")], &[(key, b""), (key, b"b")], &[(key, &long)]];
    for headers in wrong {
        assert_eq!(send("in/echo", headers).await, (400, "invalid_header".into()), "{headers:?}");
    }
    for headers in [vec![(key, "é".as_bytes()), (key, "é".as_bytes())], vec![(key, b"" as &[u8])]] {
        assert_eq!(send("in/echo", &headers).await.0, 200, "{headers:?}");
    }
    assert_eq!(send("in/by-header", &[("x-id", b"a\xff")]).await, (422, "invalid_idempotency_key".into()));
    assert_eq!(send("in/by-header", &[("x-id", b"a"), (key, b"a\xff")]).await.0, 200);
    assert_eq!(server.get("/api/v1/runs").await.expect(200)["runs"].as_array().unwrap().len(), 3);
}
