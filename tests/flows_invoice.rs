//! The flow `invoice` against a billing system on loopback.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{Came, Mood, Peer, Place, Shared, peer};

/// Billing: customers and invoices.
fn bill(peer: &mut Peer, came: &Came) -> (u16, Value) {
    let made = peer.made.entry(came.path.clone()).or_default();
    made.push(came.body.clone());
    match came.path.as_str() {
        "/v1/customers" => (201, json!({ "id": format!("cus_{}", made.len()) })),
        "/v1/invoices" => (201, json!({ "number": format!("INV-{}", made.len()) })),
        _ => (404, json!({ "error": "nothing is here" })),
    }
}

async fn invoicing() -> (Place, Shared) {
    let (billing, base) = peer(bill).await;
    let place = Place::new();
    place.schema("invoice").await;
    place.setting("invoicing", json!({ "taxPercent": "19" })).await;
    place.action("format-invoice").await;
    place.with("invoice", "billing", "https://billing.example.com", &base, "BILLING_KEY").await;
    (place, billing)
}

fn deal(company: &str, micros: i64) -> Value {
    json!({ "name": "Engines", "companyId": company, "amount": { "amountMicros": micros, "currencyCode": "EUR" } })
}

#[tokio::test]
async fn a_won_deal_is_invoiced_once_whatever_is_busy_broken_cut_or_killed() {
    let (mut place, billing) = invoicing().await;
    let company = place.create("company", json!({ "name": "Engines Ltd" })).await;
    let id = place.create("opportunity", deal(&company, 1_234_500_000)).await;
    use Mood::{Broken, Busy, Cut, Well};
    billing.lock().unwrap().moods = vec![Busy, Broken, Cut, Well, Broken, Cut, Cut, Busy];
    place.change("opportunity", &id, json!({ "stage": "CLOSED_WON" })).await;
    // It leaves the stage and comes back while the first run is under way, and the server is killed.
    place.change("opportunity", &id, json!({ "stage": "PROPOSAL" })).await;
    place.change("opportunity", &id, json!({ "stage": "CLOSED_WON" })).await;
    while billing.lock().unwrap().came.len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        place.server.post("/api/v1/dev/clock", &json!({ "advance": "1s" })).await.expect(200);
    }
    place.crash();
    let runs = place.over("invoice", 2).await;
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    place.change("opportunity", &id, json!({ "stage": "MEETING" })).await;
    place.change("opportunity", &id, json!({ "stage": "CLOSED_WON" })).await;
    place.over("invoice", 3).await;

    {
        let seen = billing.lock().unwrap();
        assert_eq!(
            (seen.made["/v1/customers"].len(), seen.made["/v1/invoices"].len()),
            (1, 1),
            "{:#?}",
            seen.came
        );
        let invoice = &seen.made["/v1/invoices"][0];
        assert_eq!(
            (&invoice["net"], &invoice["tax"], &invoice["total"]),
            (&json!(123_450), &json!(23_456), &json!(146_906))
        );
        assert!(seen.came.iter().all(|came| came.auth == "Bearer a key of the test"), "{:#?}", seen.came);
        let keys: std::collections::BTreeSet<&str> = seen.came.iter().map(|came| came.key.as_str()).collect();
        assert_eq!(keys.len(), 2, "one key for the customer and one for the invoice: {keys:?}");
    }
    assert_eq!(place.record("opportunity", &id).await["invoiceReference"], "INV-1");
    assert_eq!(place.record("company", &company).await["billingCustomerId"], "cus_1");
    let mail = place.smtp.next_mail();
    assert_eq!(mail["to"], json!(["finance@example.com"]));
    assert!(
        mail["data"].as_str().unwrap().contains("Subject: Invoice INV-1: Engines Ltd, 1469.06 EUR"),
        "{mail:#}"
    );
    // The next mail is that of another deal: there was no second one for this.
    let other = place
        .create(
            "opportunity",
            json!({ "stage": "CLOSED_WON", "name": "More", "companyId": company,
        "amount": { "amountMicros": 1_000_000, "currencyCode": "EUR" } }),
        )
        .await;
    place.over("invoice", 4).await;
    assert_eq!(place.record("opportunity", &other).await["invoiceReference"], "INV-2");
    assert!(place.smtp.next_mail()["data"].as_str().unwrap().contains("INV-2"));
    assert_eq!(billing.lock().unwrap().made["/v1/customers"].len(), 1);
}

#[tokio::test]
async fn a_refused_invoice_is_not_tried_again_and_a_retry_by_hand_repeats_only_that() {
    let (place, billing) = invoicing().await;
    let company = place.create("company", json!({ "name": "Engines Ltd" })).await;
    billing.lock().unwrap().moods = vec![Mood::Well, Mood::Refuses];
    let mut won = deal(&company, 5_000_000);
    won["stage"] = json!("CLOSED_WON");
    place.create("opportunity", won).await;
    let runs = place.over("invoice", 1).await;
    let run = place.server.ended(runs[0]["id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "failed", "{run:#}");
    let step = run["steps"].as_array().unwrap().iter().find(|step| step["path"] == "invoice").unwrap();
    assert_eq!(step["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(step["error"]["details"]["body"], json!({ "error": "no such thing" }));
    assert!(
        run["error"]["message"].as_str().unwrap().ends_with("answered 422: {\"error\":\"no such thing\"}")
    );
    let path = format!("/api/v1/runs/{}/retry", runs[0]["id"].as_str().unwrap());
    place.server.post(&path, &json!({})).await.expect(200);
    let run = place.server.ended(runs[0]["id"].as_str().unwrap()).await;
    assert_eq!(run["output"], json!({ "customer": "cus_1", "invoice": "INV-1" }), "{run:#}");
    let paths: Vec<String> = billing.lock().unwrap().came.iter().map(|came| came.path.clone()).collect();
    assert_eq!(paths, ["/v1/customers", "/v1/invoices", "/v1/invoices"]);
}
