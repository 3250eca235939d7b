//! Iterators through HTTP: progress while they run, a kill in the middle, and the items afterwards.

use serde_json::{Value, json};

use crate::support::{Server, guests};

const FLOW: &str = r#"
name: visit
trigger: { type: manual }
steps:
  - id: people
    type: iterator
    search: { object: person, filter: { field: city, is: "{{ trigger.input.city }}" } }
    tolerate: { percent: 50 }
    do:
      - { id: lead, type: code, action: normalize-lead, input: { name: "{{ item.name.firstName }} X", email: "{{ item.jobTitle }}" } }
      - { id: seen, type: update_record, object: person, record_id: "{{ item.id }}", record: { jobTitle: "{{ lead.email }}" } }
    output: "{{ index }}"
output: "{{ people }}"
"#;

async fn person(server: &Server, n: usize) {
    let title = if n.is_multiple_of(10) { "no address".to_owned() } else { format!("P{n}@Example.com") };
    let person = json!({"name": {"firstName": format!("p{n}")}, "city": "Paris", "jobTitle": title});
    server.post("/api/v1/records/person", &person).await.expect(201);
}

#[tokio::test]
async fn many_records_are_visited_once_through_a_kill() {
    let mut first = Server::dev();
    let server = &first;
    server.put("/api/v1/actions/normalize-lead", guests::example("normalize-lead")).await.expect(201);
    server.activate("visit", FLOW).await;
    for n in 0..300 {
        person(server, n).await;
    }
    let started = server.post("/api/v1/workflows/visit/run", &json!({"city": "Paris"})).await.expect(202);
    let id = started["run_id"].as_str().unwrap().to_owned();
    let data = first.data();
    first.kill();
    let server = Server::on(&data, &["--dev"], &[]).unwrap();
    let run = server.ended(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    let counts = json!({"count": 300, "succeeded": 270, "failed": 30, "skipped": 0, "open": 0});
    assert_eq!(run["steps"][0]["items"], counts);
    assert_eq!(run["steps"].as_array().unwrap().len(), 1, "items are listed apart");
    assert_eq!(run["output"]["failures"][1]["error"]["code"], "invalid_email");
    for person in server.records("person").await {
        let good = person["name"]["firstName"] != "p0" && person["jobTitle"] != "no address";
        assert_eq!(person["version"], if good { 2 } else { 1 }, "{person}");
    }

    let path = format!("/api/v1/runs/{id}/items");
    let mut indexes = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("{path}?limit=70{cursor}")).await.expect(200);
        for item in page["items"].as_array().unwrap() {
            let paths: Vec<&Value> =
                item["steps"].as_array().unwrap().iter().map(|step| &step["path"]).collect();
            assert_eq!(paths[0], &format!("people[{}].lead", item["index"]));
            indexes.push(item["index"].as_u64().unwrap());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(indexes, (0..300).collect::<Vec<_>>());
    let failed = server.get(&format!("{path}?status=failed&step=people&limit=2")).await.expect(200);
    // Every tenth person; those of one millisecond stand in any order.
    let index = |place: usize| failed["items"][place]["index"].as_u64().unwrap();
    assert!(index(0) < index(1) && (8..=12).contains(&index(1)), "{failed}");
    assert_eq!(server.get(&format!("{path}?cursor=x")).await.status.as_u16(), 400);
    assert_eq!(server.get(&format!("{path}?status=odd")).await.status.as_u16(), 400);
}
