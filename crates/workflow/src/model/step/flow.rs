//! The steps that say which steps run: `branch`, `filter`, `parallel`, `stop`.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Condition, Step, Template, present};

/// The first arm whose `when` holds. Output: the taken arm's `output`, or its last step's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    pub branches: Vec<Arm>,
    #[serde(default, rename = "else", skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Block>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    pub when: Condition,
    #[serde(rename = "do", default)]
    pub steps: Vec<Step>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// A list of steps with an output; documents write `{do, output}`, or the list alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Block {
    #[serde(rename = "do")]
    pub steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            List(Vec<Step>),
            Block {
                #[serde(rename = "do", default)]
                steps: Vec<Step>,
                #[serde(default, deserialize_with = "present")]
                output: Option<Value>,
            },
        }
        Ok(match Written::deserialize(from)? {
            Written::List(steps) => Block { steps, output: None },
            Written::Block { steps, output } => Block { steps, output },
        })
    }
}

/// Ends the innermost item, or else the run as completed, when `when` is false.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterStep {
    pub when: Condition,
}

/// Steps that start together, each as soon as what it `needs` is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parallel {
    pub steps: Vec<Step>,
}

/// Ends the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    #[serde(default)]
    pub status: StopStatus,
    /// Why the run failed; only with `status: failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Template>,
    /// The run's result; only with `status: completed`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopStatus {
    #[default]
    Completed,
    Failed,
}
