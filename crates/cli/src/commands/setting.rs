//! `stepwell setting`: values that workflows read as `settings.NAME`.

use reqwest::Method;
use serde_json::{Value, json};
use stepwell_engine::SettingInfo;

use crate::args::{Global, Setting};
use crate::client::Client;
use crate::output;

/// As many columns of a value as a list shows.
const SHOWN: usize = 60;

pub async fn main(command: Setting, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Setting::Set { name, value } => {
            let value = json_value(&value)?;
            let request = client.request(Method::PUT, &["settings", &name]).json(&json!({ "value": value }));
            let set: SettingInfo = client.json(request).await?;
            if global.json {
                return output::json(&set);
            }
            output::line(format!("{name} is set; runs that start from now on see it"));
        }
        Setting::Get { name } => {
            let setting: SettingInfo = client.json(client.get(&["settings", &name])).await?;
            match global.json {
                true => output::json(&setting)?,
                false => output::json(&setting.value)?,
            }
        }
        Setting::List => {
            let settings: Vec<SettingInfo> = client.all("settings").await?;
            if global.json {
                return output::json(&json!({ "settings": settings }));
            }
            let row = |s: &SettingInfo| {
                vec![s.name.clone(), output::cut(&s.value.to_string(), SHOWN), output::time(s.updated_at)]
            };
            output::table(&["setting", "value", "changed (UTC)"], settings.iter().map(row).collect());
        }
        Setting::Delete { name } => {
            client.send(client.request(Method::DELETE, &["settings", &name])).await?;
            output::line(format!("{name} is gone"));
        }
    }
    Ok(())
}

/// JSON, or `@FILE`, or `-` for stdin.
pub(super) fn json_value(text: &str) -> anyhow::Result<Value> {
    let body = match text.strip_prefix('@') {
        Some(path) => super::files::given(path.as_ref())?,
        None if text == "-" => std::io::read_to_string(std::io::stdin())?,
        None => text.to_owned(),
    };
    serde_json::from_str(&body).map_err(|error| {
        anyhow::anyhow!("the value is not JSON: {error}; a text has quotes of its own, as in '\"eu-west\"'")
    })
}
