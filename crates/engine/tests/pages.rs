//! Requests whose answer comes in pages: each is asked for once, a page that fails is asked for again, and what came
//! before it is not.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use serde_json::{Value, json};
use std::time::Duration;
use stepwell_engine::ports::HttpResponse;
use stepwell_engine::{RunDetail, RunStatus, Workspace};
use support::{World, activate, in_world, post, value};

fn flow(pagination: &str) -> String {
    format!(
        "
name: list
trigger: {{ type: webhook, path: list }}
steps:
  - id: all
    type: http_request
    url: https://api.example.com/v1/people
    query: {{ size: 2 }}
    retry: {{ attempts: 2, backoff: {{ initial: 1m, factor: 1 }} }}
    pagination: {pagination}
"
    )
}

fn answer(status: u16, headers: &[(&str, &str)], body: Value) -> HttpResponse {
    let mut all = vec![("content-type".to_owned(), "application/json".to_owned())];
    all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    HttpResponse { status, headers: all, body: body.to_string().into() }
}

async fn ran(world: &World, workspace: &Workspace, answers: Vec<HttpResponse>) -> RunDetail {
    *world.http.answers.lock().unwrap() = answers;
    let run = workspace.hook(post("list", json!({}))).await.unwrap().run_id;
    workspace.runs().wait(&run, Duration::from_secs(3600)).await.unwrap();
    workspace.runs().get(&run).await.unwrap()
}

fn asked(world: &World) -> Vec<String> {
    let sent = world.http.sent.lock().unwrap();
    sent.iter().map(|request| request.url.trim_start_matches("https://api.example.com").to_owned()).collect()
}

const CURSOR: &str = "{ next: { cursor: { path: body.next, query: after } }, items: body.results }";

#[test]
fn a_cursor_leads_through_all_pages_and_a_page_that_fails_is_asked_again_alone() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow(CURSOR)]).await;
        let big = "x".repeat(40_000);
        let pages = vec![
            answer(200, &[], json!({ "results": [1, big], "next": "b" })),
            answer(503, &[], json!({})),
            answer(200, &[], json!({ "results": [3], "next": 7 })),
            // Every page has its own attempts.
            answer(500, &[], json!({})),
            answer(200, &[], json!({ "results": [], "next": null })),
        ];
        let run = ran(&world, &workspace, pages).await;
        assert_eq!(run.summary.status, RunStatus::Completed, "{:#?}", run.steps[0].error);
        assert_eq!(value(&run.output), json!({ "items": [1, big, 3], "pages": 3 }));
        let sent = asked(&world);
        let all = ["?size=2", "?size=2&after=b", "?size=2&after=b", "?size=2&after=7", "?size=2&after=7"];
        assert_eq!(sent, all.map(|query| format!("/v1/people{query}")));
        assert_eq!(run.steps[0].attempts.len(), 5);
        let keys: Vec<String> = {
            let sent = world.http.sent.lock().unwrap();
            let key = |name: &str| name == "idempotency-key";
            sent.iter()
                .map(|request| request.headers.iter().find(|(name, _)| key(name)).unwrap().1.clone())
                .collect()
        };
        assert_eq!((&keys[1], &keys[3]), (&keys[2], &keys[4]));
        assert!(keys[0] != keys[1] && keys[1] != keys[3], "another page is another request");
        engine.close().await;
    });
}

#[test]
fn a_page_whose_list_is_null_has_no_items() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow(CURSOR)]).await;
        let pages = vec![
            answer(200, &[], json!({ "results": [1], "next": "b" })),
            answer(200, &[], json!({ "results": null, "next": "c" })),
            answer(200, &[], json!({ "results": [2], "next": null })),
        ];
        let run = ran(&world, &workspace, pages).await;
        assert_eq!(run.summary.status, RunStatus::Completed, "{:#?}", run.steps[0].error);
        assert_eq!(value(&run.output), json!({ "items": [1, 2], "pages": 3 }));
        // And of pages with numbers it is the last.
        activate(&workspace, &flow("{ next: { page: {} }, items: body.results }")).await;
        let pages =
            vec![answer(200, &[], json!({ "results": [1] })), answer(200, &[], json!({ "results": null }))];
        let run = ran(&world, &workspace, pages).await;
        assert_eq!(value(&run.output), json!({ "items": [1], "pages": 2 }));
        engine.close().await;
    });
}

#[test]
fn a_page_that_fails_for_good_is_named_and_a_retry_by_hand_goes_on_from_it() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow(CURSOR)]).await;
        let first = answer(200, &[], json!({ "results": [1], "next": "b" }));
        let run =
            ran(&world, &workspace, vec![first, answer(503, &[], json!({})), answer(503, &[], json!({}))])
                .await;
        assert_eq!(run.summary.status, RunStatus::Failed);
        let error = run.steps[0].error.clone().unwrap();
        assert!(error.message.starts_with("page 2: https://api.example.com answered 503"), "{error:?}");
        assert_eq!(error.details.unwrap()["page"], 2);
        *world.http.answers.lock().unwrap() = vec![answer(200, &[], json!({ "results": [2] }))];
        workspace.runs().retry(&run.summary.id, false).await.unwrap();
        workspace.runs().wait(&run.summary.id, Duration::from_secs(3600)).await.unwrap();
        let run = workspace.runs().get(&run.summary.id).await.unwrap();
        assert_eq!(value(&run.output), json!({ "items": [1, 2], "pages": 2 }), "{run:#?}");
        assert_eq!(asked(&world).len(), 4);
        engine.close().await;
    });
}

#[test]
fn pages_go_by_number_or_by_link_and_end_where_the_answer_says() {
    in_world(|world| async move {
        let numbered = flow("{ next: { page: { query: p, first: 0 } }, items: body }");
        let (engine, workspace) = world.set_up(&[], &[&numbered]).await;
        let run =
            ran(&world, &workspace, [json!([1]), json!([2]), json!([])].map(|b| answer(200, &[], b)).into());
        let run = run.await;
        assert_eq!(value(&run.output), json!({ "items": [1, 2], "pages": 3 }));
        assert_eq!(
            asked(&world),
            ["?size=2&p=0", "?size=2&p=1", "?size=2&p=2"].map(|q| format!("/v1/people{q}"))
        );

        world.http.sent.lock().unwrap().clear();
        activate(&workspace, &flow("{ next: { link: next }, items: body.data, more: body.more }")).await;
        let link = [("link", "</v1/people?cursor=%2B>; rel=\"next\"")];
        let pages = vec![
            answer(200, &link, json!({ "data": [1], "more": true })),
            answer(200, &link, json!({ "data": [2], "more": false })),
        ];
        let run = ran(&world, &workspace, pages).await;
        assert_eq!(value(&run.output), json!({ "items": [1, 2], "pages": 2 }));
        assert_eq!(asked(&world)[1], "/v1/people?cursor=%2B", "an address stands for itself");
        engine.close().await;
    });
}

#[test]
fn what_never_ends_or_is_too_much_or_no_list_is_an_error_that_says_so() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let page = |next: Value| answer(200, &[], json!({ "results": ["0123456789"], "next": next }));
        let cases = [
            (
                CURSOR.to_owned(),
                vec![page(json!("b")), page(json!("b"))],
                "invalid_response",
                "it would never end",
            ),
            (
                CURSOR.replace("results }", "results, max_pages: 2 }"),
                vec![page(json!("b")), page(json!("c"))],
                "too_many_pages",
                "page 2: there are more than 2 pages",
            ),
            (
                CURSOR.replace("results }", "results, max_bytes: 20 }"),
                vec![page(json!("b")), page(json!("c"))],
                "response_too_large",
                "page 2: the items of all pages have more than 20",
            ),
            (
                CURSOR.to_owned(),
                vec![answer(200, &[], json!({ "results": "none" }))],
                "invalid_response",
                "page 1: `pagination.items` is `body.results`, where the answer has no list",
            ),
            (
                CURSOR.to_owned(),
                vec![answer(200, &[], json!({ "result": [1] }))],
                "invalid_response",
                "page 1: `pagination.items` is `body.results`, where the answer has no list",
            ),
            (
                "{ next: { cursor: { path: body.next } }, items: body.results }".to_owned(),
                vec![page(json!("https://evil.example/x"))],
                "invalid_response",
                "page 2: the answer before leads to page 2 at https://evil.example",
            ),
            (
                "{ next: { link: next }, items: body.results }".to_owned(),
                vec![answer(200, &[("link", "</v1/people?p=2; rel=next")], json!({ "results": [1] }))],
                "invalid_response",
                "page 1: the header `link` cannot be read",
            ),
        ];
        for (pagination, answers, code, message) in cases {
            activate(&workspace, &flow(&pagination)).await;
            let run = ran(&world, &workspace, answers).await;
            let error = run.steps[0].error.clone().unwrap();
            assert_eq!(error.code, code, "{error:?}");
            assert!(error.message.contains(message), "{error:?}");
        }
        assert_eq!(asked(&world).iter().filter(|url| url.contains("evil")).count(), 0);
        engine.close().await;
    });
}

#[test]
fn pages_go_on_where_they_were_after_a_restart() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[&flow(CURSOR)]).await;
        *world.http.answers.lock().unwrap() =
            vec![answer(200, &[], json!({ "results": [1], "next": "b" })), answer(503, &[], json!({}))];
        let run = workspace.hook(post("list", json!({}))).await.unwrap().run_id;
        tokio::time::sleep(Duration::from_secs(5)).await;
        engine.close().await;
        *world.http.answers.lock().unwrap() = vec![answer(200, &[], json!({ "results": [2] }))];
        let (engine, workspace) = world.open().await;
        workspace.runs().wait(&run, Duration::from_secs(3600)).await.unwrap();
        let run = workspace.runs().get(&run).await.unwrap();
        assert_eq!(value(&run.output), json!({ "items": [1, 2], "pages": 2 }), "{run:#?}");
        assert_eq!(asked(&world).len(), 3);
        engine.close().await;
    });
}
