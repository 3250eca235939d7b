//! `stepwell view`: filters and orders that are saved under a name.

use reqwest::Method;
use serde_json::{Value, json};
use stepwell_engine::ViewInfo;

use super::json_argument;
use crate::args::{Global, View};
use crate::client::Client;
use crate::output;

/// As many columns of a filter as a list shows.
const SHOWN: usize = 70;

pub async fn main(command: View, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        View::List { object } => {
            let views: Vec<ViewInfo> = client.all("views").await?;
            let wanted = |view: &&ViewInfo| object.as_ref().is_none_or(|object| *object == view.object);
            let views: Vec<&ViewInfo> = views.iter().filter(wanted).collect();
            if global.json {
                return output::json(&json!({ "views": views }));
            }
            let row = |view: &&ViewInfo| {
                let filter = view.filter.as_ref().map(|filter| output::cut(&filter.to_string(), SHOWN));
                vec![view.object.clone(), view.name.clone(), filter.unwrap_or_default(), view.sort.join(", ")]
            };
            output::table(&["object", "view", "filter", "sort"], views.iter().map(row).collect());
        }
        View::Get { object, name } => {
            let view: ViewInfo = client.json(client.get(&["views", &object, &name])).await?;
            return output::json(&view);
        }
        View::Save { object, name, filter, sort } => {
            let filter = filter.map(|filter| json_argument("--filter", &filter)).transpose()?;
            let body = json!({ "filter": filter, "sort": sort });
            let request = client.request(Method::PUT, &["views", &object, &name]).json(&body);
            let view: ViewInfo = client.json(request).await?;
            if global.json {
                return output::json(&view);
            }
            output::line(format!("the view {name} of {object} is saved"));
        }
        View::Rename { object, name, to } => {
            let body = json!({ "name": to });
            let request = client.request(Method::PATCH, &["views", &object, &name]).json(&body);
            let view: Value = client.json(request).await?;
            if global.json {
                return output::json(&view);
            }
            output::line(format!("the view {name} of {object} is called {to}"));
        }
        View::Delete { object, name } => {
            client.send(client.request(Method::DELETE, &["views", &object, &name])).await?;
            output::line(format!("the view {name} of {object} is gone"));
        }
    }
    Ok(())
}
