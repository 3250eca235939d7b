//! The calls of the API as a whole: what its document says is there, and a module comes back as it was sent.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::support::{Server, guests};

/// Something for each parameter of a path, by its name.
fn filled(path: &str) -> String {
    path.replace("{workspace}", "default")
        .replace("{object}", "person")
        .replace("{id}", "01900000-0000-7000-8000-000000000001")
        .replace("{name}", "none")
        .replace("{field}", "none")
        .replace("{key}", "none")
        .replace("{token}", "none")
        .replace("{path}", "none")
}

#[tokio::test]
async fn each_path_of_the_document_takes_its_methods_and_no_others() {
    let server = Server::dev();
    let document = server.get("/api/openapi.json").await.expect(200);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 40, "{}", paths.len());
    for (path, calls) in paths {
        let described: BTreeSet<String> = calls
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| ["get", "post", "put", "patch", "delete"].contains(&key.as_str()))
            .map(|key| key.to_uppercase())
            .collect();
        let url = filled(path);
        assert!(!url.contains('{'), "what is to stand in {url}?");
        // A webhook's methods are its trigger's.
        if path.starts_with("/hooks") {
            continue;
        }
        let mut taken = BTreeSet::new();
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            // Not read to its end: a stream of events has none.
            let answer = server.request(method.clone(), &url).send().await.unwrap();
            let status = answer.status().as_u16();
            if status != 405 {
                taken.insert(method.to_string());
            }
            // A thing may not be there; the path is.
            let no_path = status == 404 && answer.text().await.unwrap().contains("\"code\":\"not_found\"");
            assert!(!no_path, "{method} {url}");
        }
        assert_eq!(taken, described, "{path}");
    }
}

#[tokio::test]
async fn a_module_is_downloaded_as_it_was_uploaded() {
    let server = Server::dev();
    let (lead, other) = (guests::example("normalize-lead"), guests::prints("null"));
    let put = server.put("/api/v1/actions/normalize-lead", lead.clone()).await.expect(201);
    let first = server.put("/api/v1/actions/nothing", other.clone()).await.expect(201);
    server.put("/api/v1/actions/nothing", guests::prints("1")).await.expect(201);
    for (path, module) in [
        ("normalize-lead/module".to_owned(), &lead),
        (format!("normalize-lead/module?version={}", put["version"].as_str().unwrap()), &lead),
        (format!("nothing/module?version={}", first["version"].as_str().unwrap()), &other),
    ] {
        let answer = server.get(&format!("/api/v1/actions/{path}")).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        assert_eq!(answer.headers["content-type"], "application/wasm", "{path}");
        assert!(answer.body == *module, "{path}: other bytes, {} of them", answer.body.len());
    }
    let answer = server.get("/api/v1/actions/nothing/module?version=9.9.9").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "unknown_action"));
    // What came down goes up again as the same.
    let again = server.get("/api/v1/actions/normalize-lead/module").await.body;
    let put = server.put("/api/v1/actions/normalize-lead", again).await.expect(200);
    assert_eq!(put["name"], json!("normalize-lead"));
}
