//! A guest that does what its input says: each way in which an action can end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepwell_action::{Failure, OrFail, action, fail};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Wish {
    Log,
    Fail,
    Panic { index: usize },
    Parse { text: String },
    Name { text: String },
    Refuse,
    BadKeys,
    Sleep,
    Clock,
}

/// Not described: the schema of the output is then left open.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Number(i64),
    Text(&'static str),
    Keys(BTreeMap<Vec<u8>, u8>),
}

/// The name that a method of the contract has too.
#[action]
fn run(wish: Wish) -> Result<Answer, Failure> {
    match wish {
        Wish::Log => {
            log::trace!("one");
            log::debug!(count = 2, ratio = 0.5, big = u64::MAX, name:% = "two", yes = true; "two");
            log::info!("three {}", 3);
            log::warn!("four");
            log::error!("five \"quoted\"");
            Ok(Answer::Text("logged"))
        }
        Wish::Fail => Err(Failure::new("busy", "try later")
            .retry_after(Duration::from_millis(1500))
            .details(stepwell_action::serde_json::json!({ "queue": 7 }))),
        Wish::Panic { index } => Ok(Answer::Number([1, 2, 3][index])),
        Wish::Parse { text } => Ok(Answer::Number(text.parse::<i64>()?)),
        Wish::Name { text } => Ok(Answer::Number(text.parse::<i64>().or_fail("invalid_number")?)),
        Wish::Refuse => fail!("refused", "not {}", "today"),
        Wish::Sleep => {
            std::thread::sleep(Duration::from_millis(1));
            Ok(Answer::Text("slept"))
        }
        Wish::Clock => Ok(Answer::Number(i64::from(std::time::SystemTime::now().elapsed().is_ok()))),
        Wish::BadKeys => Ok(Answer::Keys([(vec![1], 1)].into())),
    }
}
