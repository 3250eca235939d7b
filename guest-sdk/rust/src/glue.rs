//! What the code made by `#[action]` calls: text in, the author's function, text out.
//!
//! Rust has no specialisation, so what a type can do is found by method resolution: a method is
//! looked up on `&&Probe<T>`, then `&Probe<T>`, then `Probe<T>`, and the first whose bounds hold is
//! taken. The types are concrete where the macro calls, so this is decided at compile time.

use std::fmt::Display;
use std::marker::PhantomData;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Failure, place};

#[cfg(target_arch = "wasm32")]
pub use crate::bindings::exports::stepwell::action::handler::{Failure as WireFailure, Guest};
#[cfg(target_arch = "wasm32")]
pub use crate::guest::{answer, start};

/// The input as the author's type, or `invalid_input` with the place that does not fit.
pub fn parse<In: DeserializeOwned>(input: String) -> Result<In, Failure> {
    serde_json::from_str(&input).map_err(|error| {
        let path = place::path_at(&input, error.line(), error.column());
        let message = error.to_string();
        // The host writes the input on one line, so the position says less than the path.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
        let details = format!("{{\"path\":{}}}", crate::json::text(&path));
        Failure { details: Some(details), ..Failure::new("invalid_input", format!("{path}: {message}")) }
    })
}

fn to_text<Out: Serialize>(output: &Out) -> Result<String, Failure> {
    serde_json::to_string(output).map_err(|error| {
        Failure::new("guest_error", format!("the output cannot be written as JSON: {error}"))
    })
}

/// A value or type to ask what it can do.
pub struct Probe<T>(PhantomData<fn() -> T>);

/// The probe of what an action's function returns.
pub fn probe_output<In, Returned>(_: fn(In) -> Returned) -> Probe<Returned> {
    Probe(PhantomData)
}

/// The probe of what an action's function takes.
pub fn probe_input<In, Returned>(_: fn(In) -> Returned) -> Probe<In> {
    Probe(PhantomData)
}

/// `Result<Out, E>` with an `E` that is or becomes a [`Failure`].
pub trait AnswerFailure<Out, E> {
    fn answer(&self, returned: Result<Out, E>, file: &str, line: u32) -> Result<String, Failure>;
}

impl<Out: Serialize, E: Into<Failure>> AnswerFailure<Out, E> for &&Probe<Result<Out, E>> {
    fn answer(&self, returned: Result<Out, E>, _: &str, _: u32) -> Result<String, Failure> {
        to_text(&returned.map_err(Into::into)?)
    }
}

/// `Result<Out, E>` with any other error that can be shown.
pub trait AnswerError<Out, E> {
    fn answer(&self, returned: Result<Out, E>, file: &str, line: u32) -> Result<String, Failure>;
}

impl<Out: Serialize, E: Display> AnswerError<Out, E> for &Probe<Result<Out, E>> {
    fn answer(&self, returned: Result<Out, E>, file: &str, line: u32) -> Result<String, Failure> {
        // `{:#}` makes anyhow and its like tell the causes too.
        to_text(&returned.map_err(|error| Failure::unnamed(format_args!("{error:#}"), file, line))?)
    }
}

/// An action that cannot fail.
pub trait AnswerPlain<Out> {
    fn answer(&self, returned: Out, file: &str, line: u32) -> Result<String, Failure>;
}

impl<Out: Serialize> AnswerPlain<Out> for Probe<Out> {
    fn answer(&self, returned: Out, _: &str, _: u32) -> Result<String, Failure> {
        to_text(&returned)
    }
}

/// A type that has a schema.
pub trait HasSchema {
    fn schema(&self, settings: SchemaSettings) -> Option<Value>;
}

impl<T: JsonSchema> HasSchema for &Probe<T> {
    fn schema(&self, settings: SchemaSettings) -> Option<Value> {
        Some(settings.into_generator().into_root_schema_for::<T>().to_value())
    }
}

/// A result: its schema is that of what is in it.
pub trait HasResultSchema {
    fn schema(&self, settings: SchemaSettings) -> Option<Value>;
}

impl<T: JsonSchema, E> HasResultSchema for &&Probe<Result<T, E>> {
    fn schema(&self, settings: SchemaSettings) -> Option<Value> {
        Some(settings.into_generator().into_root_schema_for::<T>().to_value())
    }
}

/// A type without one: `workflow check` then takes it for anything.
pub trait NoSchema {
    fn schema(&self, settings: SchemaSettings) -> Option<Value>;
}

impl<T> NoSchema for Probe<T> {
    fn schema(&self, _: SchemaSettings) -> Option<Value> {
        None
    }
}

/// What the action takes: the schema of what can be read.
pub fn input_settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().for_deserialize()
}

/// What the action gives: the schema of what is written.
pub fn output_settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().for_serialize()
}

/// What an action built with the setting `stepwell_describe` answers.
pub fn description(input: Option<Value>, output: Option<Value>) -> String {
    json!({
        "sdk": concat!("rust ", env!("CARGO_PKG_VERSION")),
        "contract": "1.0.0",
        "input_schema": input,
        "output_schema": output,
    })
    .to_string()
}

#[cfg(test)]
#[allow(clippy::needless_borrow)] // the borrows choose the method, as in the macro
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct In {
        /// Whose order it is.
        customer: Option<String>,
        quantity: u32,
    }

    #[derive(Serialize)]
    struct Bare(u8);

    enum Own {
        Late,
    }

    impl From<Own> for Failure {
        fn from(_: Own) -> Self {
            Failure::new("late", "too late")
        }
    }

    fn plain(_: In) -> u8 {
        1
    }
    fn failing(_: In) -> Result<Vec<u8>, Failure> {
        Err(Failure::new("no", "never"))
    }
    fn own(_: In) -> Result<Bare, Own> {
        Err(Own::Late)
    }
    fn boxed(_: In) -> Result<Bare, String> {
        Err("broken".to_owned())
    }

    fn input() -> In {
        parse(r#"{"quantity":1}"#.to_owned()).expect("it fits")
    }

    #[test]
    fn every_kind_of_result_becomes_an_answer() {
        assert_eq!((&&&probe_output(plain)).answer(plain(input()), "f.rs", 3), Ok("1".to_owned()));
        let failing = (&&&probe_output(failing)).answer(failing(input()), "f.rs", 3);
        assert_eq!(failing, Err(Failure::new("no", "never")));
        let own = (&&&probe_output(own)).answer(own(input()), "f.rs", 3);
        assert_eq!(own, Err(Failure::new("late", "too late")));
        let boxed = (&&&probe_output(boxed)).answer(boxed(input()), "f.rs", 3).expect_err("it fails");
        assert_eq!((boxed.code.as_str(), boxed.message.as_str()), ("guest_error", "broken (f.rs:3)"));
    }

    #[test]
    fn types_with_a_schema_are_described_and_others_are_not() {
        let schema = (&&&probe_input(plain)).schema(input_settings()).expect("In has a schema");
        assert_eq!(schema["required"], json!(["quantity"]));
        assert_eq!(schema["properties"]["customer"]["description"], "Whose order it is.");
        let schema = (&&&probe_output(failing)).schema(output_settings()).expect("Vec<u8> has a schema");
        assert_eq!(schema["type"], "array");
        assert!((&&&probe_output(own)).schema(output_settings()).is_none());
    }

    #[test]
    fn input_that_does_not_fit_is_named_with_its_path() {
        let failure =
            parse::<In>(r#"{"customer":"A","quantity":"two"}"#.to_owned()).map(|_| ()).expect_err("a string");
        assert_eq!(failure.code, "invalid_input");
        assert_eq!(failure.message, "$.quantity: invalid type: string \"two\", expected u32");
        assert_eq!(failure.details.as_deref(), Some(r#"{"path":"$.quantity"}"#));
    }
}
