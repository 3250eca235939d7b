//! `stepwell webhook`: what came in from outside, what became of it, and starting it again.

use serde_json::Value;
use stepwell_engine::{Delivery, DeliveryDetail, DeliveryPage, HookInfo};

use crate::args::{Global, Webhook};
use crate::client::Client;
use crate::output;

/// As many columns of a reason as a list shows.
const SHOWN: usize = 70;

pub async fn main(command: Webhook, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Webhook::List => {
            let answer: Value = client.json(client.get(&["webhooks"])).await?;
            if global.json {
                return output::json(&answer);
            }
            let hooks: Vec<HookInfo> = serde_json::from_value(answer["webhooks"].clone())?;
            let row = |hook: &HookInfo| {
                let version = format!("v{}", hook.version);
                vec![hook.path.clone(), hook.methods.join(", "), hook.workflow.clone(), version]
            };
            output::table(&["path", "methods", "workflow", "version"], hooks.iter().map(row).collect());
        }
        Webhook::Deliveries { path, limit, cursor } => {
            let mut request =
                client.get(&["webhooks", &path, "deliveries"]).query(&[("limit", limit.to_string())]);
            if let Some(cursor) = cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: DeliveryPage = client.json(request).await?;
            if global.json {
                return output::json(&page);
            }
            let heads = ["id", "at (UTC)", "method", "outcome", "status", "what"];
            output::table(&heads, page.deliveries.iter().map(row).collect());
            if page.not_kept > 0 {
                let count = output::number(page.not_kept);
                output::complain(format!("{count} more were refused or repeated than there was room for"));
            }
            if let Some(cursor) = page.next_cursor {
                output::line(format!("more: --cursor {cursor}"));
            }
        }
        Webhook::Show { path, id } => {
            let delivery: DeliveryDetail =
                client.json(client.get(&["webhooks", &path, "deliveries", &id])).await?;
            return output::json(&delivery);
        }
        Webhook::Replay { path, id } => {
            let request = client.post(&["webhooks", &path, "deliveries", &id, "replay"]);
            let answer: Value = client.json(request).await?;
            if global.json {
                return output::json(&answer);
            }
            let run = answer["run_id"].as_str().unwrap_or_default();
            output::line(match answer["first"].as_bool() {
                Some(false) => format!("its idempotency key has started run {run} already"),
                _ => format!("started run {run}; follow it with: stepwell run watch {run}"),
            });
        }
    }
    Ok(())
}

fn row(delivery: &Delivery) -> Vec<String> {
    let status = delivery.run_status.map(|status| status.as_str().to_owned()).unwrap_or_default();
    let what = match (&delivery.code, &delivery.message, &delivery.run_id) {
        (Some(code), Some(message), _) => {
            output::cut(&format!("{code}: {}", message.lines().next().unwrap_or_default()), SHOWN)
        }
        (_, _, Some(run)) => format!("run {run}"),
        _ => String::new(),
    };
    let (at, outcome) = (output::time(delivery.at), delivery.outcome.as_str().to_owned());
    vec![delivery.id.clone(), at, delivery.method.clone(), outcome, status, what]
}
