//! Values by template: `{{ expression }}`.

mod filled;

pub use filled::{Filled, RevealError, SecretAt, SecretsIn, Text};
