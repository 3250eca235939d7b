//! From whatever ended a call to the error that its caller sees.

use serde_json::{Value, json};
use std::fmt;
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};

use crate::config::INSTANTIATION_FUEL;
use crate::error::{CallError, ErrorSource, code};
use crate::{Limits, json, names};

/// Why the host stopped a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The fuel does not pay for a host call.
    Fuel,
    /// The wall-clock limit.
    Deadline,
    /// The budget of virtual time.
    SleepLimit,
    /// More output than the limit.
    OutputTooLarge { wanted: u64 },
    /// A host function was asked for too much.
    ArgumentTooLarge { what: &'static str, limit: u64, size: u64 },
    /// A command ended itself.
    Exit(i32),
    /// A function was called that is not allowed and cannot say so.
    Refused(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped by the host: {self:?}")
    }
}

impl std::error::Error for Stop {}

/// What is known about a call that ended badly.
pub(crate) struct Circumstances<'a> {
    pub(crate) limits: &'a Limits,
    /// Whether the guest was still being instantiated.
    pub(crate) starting: bool,
    /// What memories and tables would have held after the last growth denied.
    pub(crate) denied_memory: Option<u64>,
    /// A panic that the guest told about.
    pub(crate) panic: Option<(String, String)>,
    /// What it wrote to stderr last.
    pub(crate) stderr: String,
    pub(crate) virtual_ms: u64,
    pub(crate) wall_ms: u64,
}

/// Sorts what wasmtime reports.
pub(crate) fn classify(error: &wasmtime::Error, known: Circumstances<'_>) -> CallError {
    let limits = known.limits;
    let while_starting = if known.starting { " while the module was starting" } else { "" };
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stopped(stop, &known);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return stopped(&Stop::Fuel, &known),
        Some(Trap::Interrupt) => return stopped(&Stop::Deadline, &known),
        _ => {}
    }
    // Without a backtrace the guest had returned, and it was its result that was brought over.
    let returned = !known.starting && error.downcast_ref::<WasmBacktrace>().is_none();
    if returned && let Some(fault) = error.downcast_ref::<std::str::Utf8Error>() {
        return CallError::sandbox(
            code::INVALID_OUTPUT,
            format!("what the guest returned is not UTF-8: {fault}"),
        );
    }
    // The engine's own types for these are private; tests hold on to their words.
    let said = error.root_cause().to_string();
    if said.contains("fuel allocated for hostcalls") {
        // How much it would have been is not told: what is known is that it was more than this.
        let limit = hostcall_bytes(limits);
        if returned {
            return output_too_large(limits, limit.saturating_add(1));
        }
        let message = format!("the guest passed the host more than {limit} bytes in one call");
        return CallError::sandbox(code::ARGUMENT_TOO_LARGE, message).limit(limit, limit.saturating_add(1));
    }
    let table_full = matches!(error.downcast_ref(), Some(ResourceTableError::Full));
    if table_full || said.contains("store handle limit exceeded") {
        let limit = MAX_HANDLES as u64;
        let message = format!(
            "the guest would have held more than {limit} handles (of streams, timers and the like) at once: \
             drop those that are not used any more"
        );
        return CallError::sandbox(code::HANDLE_LIMIT, message)
            .limit(limit, limit + 1)
            .details(json!({ "backtrace": backtrace(error) }));
    }
    if let Some(wanted) = known.denied_memory {
        let message = format!(
            "memories and tables together would have taken {wanted} bytes{while_starting}, and the limit is \
             {}: use less, or raise memory_bytes",
            limits.memory_bytes
        );
        return CallError::sandbox(code::MEMORY_LIMIT, message)
            .limit(limits.memory_bytes, wanted)
            .details(after_all(error, &known));
    }
    if let Some((message, location)) = known.panic {
        let at = if location.is_empty() { String::new() } else { format!(", at {location}") };
        let details = json!({ "location": location, "backtrace": backtrace(error) });
        return CallError::new(ErrorSource::Action, code::PANIC, format!("{message}{at}")).details(details);
    }
    let message = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "the stack overflowed: recursion too deep, or without an end".to_owned(),
        Some(Trap::UnreachableCodeReached) => "the guest gave up (wasm `unreachable`)".to_owned(),
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => names::said(error.root_cause()),
    };
    let frames = backtrace(error);
    let place = match frames.first() {
        Some(frame) => format!(" in {frame}"),
        None => String::new(),
    };
    CallError::sandbox(code::TRAP, format!("{message}{place}{while_starting}"))
        .details(json!({ "backtrace": frames }))
}

fn stopped(stop: &Stop, known: &Circumstances<'_>) -> CallError {
    let limits = known.limits;
    match stop {
        Stop::Fuel if known.starting => {
            let message =
                format!("starting the module used up the {INSTANTIATION_FUEL} fuel there is for that");
            CallError::sandbox(code::START_FUEL_EXHAUSTED, message)
                .limit(INSTANTIATION_FUEL, INSTANTIATION_FUEL)
        }
        Stop::Fuel => {
            let message = format!(
                "used up its {} fuel: a loop without an end, or work for a higher fuel limit",
                limits.fuel
            );
            CallError::sandbox(code::FUEL_EXHAUSTED, message).limit(limits.fuel, limits.fuel)
        }
        Stop::Deadline => {
            let message = format!(
                "still running after {} ms; how far it came is not deterministic: use less time, or raise \
                 wall_ms",
                limits.wall_ms
            );
            let mut error = CallError::sandbox(code::DEADLINE, message).limit(limits.wall_ms, known.wall_ms);
            error.retryable = true;
            error
        }
        Stop::SleepLimit => {
            let message = format!(
                "slept until {} ms of its time had passed, and the limit is {}: wait in the workflow instead, \
                 or raise virtual_ms",
                known.virtual_ms, limits.virtual_ms
            );
            CallError::sandbox(code::SLEEP_LIMIT, message).limit(limits.virtual_ms, known.virtual_ms)
        }
        Stop::OutputTooLarge { wanted } => output_too_large(limits, *wanted),
        Stop::ArgumentTooLarge { what, limit, size } => {
            let message = format!("{what}: {size}, and at most {limit}");
            CallError::sandbox(code::ARGUMENT_TOO_LARGE, message).limit(*limit, *size)
        }
        // One that was called has an outcome of its own.
        Stop::Exit(status) => {
            let message = format!("while the module was starting it {}", ended(*status, &known.stderr));
            CallError::new(ErrorSource::Action, code::START_EXIT, message)
                .details(json!({ "status": status, "stderr": known.stderr }))
        }
        Stop::Refused(name) => {
            let name = names::said(name);
            let message = format!("{name} was called, which is not there for a code action");
            CallError::sandbox(code::TRAP, message)
        }
    }
}

/// Handles that a guest may hold at once: of all resources in its own tables, and in the host's.
pub(crate) const MAX_HANDLES: usize = 1_000;

/// How many bytes a guest may pass the host in one call.
pub(crate) fn hostcall_bytes(limits: &Limits) -> u64 {
    limits.output_bytes.saturating_add(64 << 10)
}

pub(crate) fn output_too_large(limits: &Limits, wanted: u64) -> CallError {
    let message = format!(
        "the output has at least {wanted} bytes, and the limit is {}: return less, or raise output_bytes",
        limits.output_bytes
    );
    CallError::sandbox(code::OUTPUT_TOO_LARGE, message).limit(limits.output_bytes, wanted)
}

/// Checks an output by the rules and takes the JSON text out of it.
pub(crate) fn check_output(bytes: &[u8], limits: &Limits) -> Result<String, CallError> {
    if bytes.len() as u64 > limits.output_bytes {
        return Err(output_too_large(limits, bytes.len() as u64));
    }
    json::check(bytes, json::OUTPUT_DEPTH).map(str::to_owned).map_err(|fault| {
        let message = format!("the output must be exactly one JSON value, and it is not: {fault}");
        let start: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
        CallError::sandbox(code::INVALID_OUTPUT, message).details(json!({ "output_starts_with": start }))
    })
}

/// The most that is kept of the details of a guest's failure.
const DETAILS_BYTES: usize = 64 << 10;
/// How much is shown of details that are longer.
const DETAILS_SHOWN: usize = 8 << 10;

/// The details of a guest's failure, from their JSON text.
pub(crate) fn details(text: &str) -> Value {
    if text.len() <= DETAILS_BYTES {
        return json::attached(text);
    }
    cut(text, DETAILS_SHOWN, DETAILS_BYTES, "details have").into()
}

/// The most that is kept of the message of a guest's failure, or of a panic.
const MESSAGE_BYTES: usize = 8 << 10;

/// The message of a guest's failure, or of a panic.
pub(crate) fn message(text: String) -> String {
    if text.len() <= MESSAGE_BYTES {
        return text;
    }
    cut(&text, MESSAGE_BYTES, MESSAGE_BYTES, "message has")
}

fn cut(text: &str, shown: usize, kept: usize, have: &str) -> String {
    let start = &text[..text.floor_char_boundary(shown)];
    format!("{start}… [cut here: the {have} {} bytes, and at most {kept} are kept]", text.len())
}

/// The longest code of a guest's own.
const CODE_BYTES: usize = 64;

/// A failure that the guest tells about itself.
pub(crate) fn own(code: &str, message: String) -> CallError {
    let message = self::message(message);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:/".contains(&byte);
    if (1..=CODE_BYTES).contains(&code.len()) && code.bytes().all(plain) {
        return CallError::new(ErrorSource::Action, code, message);
    }
    let code = names::shown(code, CODE_BYTES);
    let message = format!(
        "{message} [the failure's code is \"{code}\", and a code has 1 to {CODE_BYTES} characters out of a-z, A-Z, 0-9 \
         and _.-:/]"
    );
    CallError::new(ErrorSource::Action, code::GUEST_ERROR, message)
}

/// A command that ended with a status other than 0: a failure in JSON on its stdout, else what it
/// wrote to stderr last.
pub(crate) fn exited(status: i32, stdout: &[u8], stderr: &str) -> CallError {
    #[derive(serde::Deserialize)]
    struct Exit {
        error: Failure,
    }
    #[derive(serde::Deserialize)]
    struct Failure {
        code: String,
        message: String,
        #[serde(default)]
        retryable: bool,
        #[serde(default)]
        retry_after_ms: Option<u64>,
        #[serde(default)]
        details: Option<Value>,
    }
    let told = json::check(stdout, json::OUTPUT_DEPTH).ok();
    if let Some(Exit { error }) = told.and_then(|text| serde_json::from_str(text).ok()) {
        return CallError {
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            ..own(&error.code, error.message)
                .details(error.details.map(|details| self::details(&json::canonical_json(&details))))
        };
    }
    CallError::new(ErrorSource::Action, code::EXIT, ended(status, stderr))
        .details(json!({ "status": status, "stderr": stderr }))
}

fn ended(status: i32, stderr: &str) -> String {
    match stderr.lines().next_back().unwrap_or_default() {
        "" => format!("ended with status {status} and said nothing on stderr"),
        line => format!("ended with status {status}: {line}"),
    }
}

/// What happened besides, where a limit explains it.
fn after_all(error: &wasmtime::Error, known: &Circumstances<'_>) -> Value {
    let mut details = json!({ "then": names::said(error.root_cause()), "backtrace": backtrace(error) });
    if let Some((message, location)) = &known.panic {
        details["panic"] = json!({ "message": message, "location": location });
    }
    details
}

/// The names of the functions on the stack, the innermost first.
pub(crate) fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    frames.iter().map(|frame| names::function(frame.func_name(), frame.func_index())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_a_value_or_a_text_of_bounded_size() {
        assert_eq!(details(r#"{"iso": ["FR"]}"#), json!({"iso": ["FR"]}));
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert_eq!(details(&deep), json!(deep));
        let long = format!("[\"{}\"]", "é".repeat(100_000));
        let Value::String(cut) = details(&long) else { panic!() };
        assert!(cut.starts_with("[\"éé") && cut.len() < 9_000, "{}", cut.len());
        assert!(cut.ends_with("é… [cut here: the details have 200004 bytes, and at most 65536 are kept]"));
        let error = exited(
            1,
            format!(r#"{{"error": {{"code": "x", "message": "y", "details": {long}}}}}"#).as_bytes(),
            "",
        );
        assert_eq!(error.details, Some(cut.into()));
    }

    #[test]
    fn a_guests_own_code_and_message_have_bounds() {
        for code in ["no_country", "HTTP.404", "acme:stock/none", &"x".repeat(64)] {
            let error = own(code, "m".to_owned());
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, "m"));
        }
        for (code, shown) in [
            ("", String::new()),
            ("no country", "no country".into()),
            ("größe", "größe".into()),
            ("a\nb", "a\\nb".into()),
            (&"x".repeat(65), "x".repeat(64) + "…"),
        ] {
            let error = own(code, "it failed".to_owned());
            assert_eq!((error.source, error.code.as_str()), (ErrorSource::Action, "guest_error"));
            assert_eq!(
                error.message,
                format!(
                    "it failed [the failure's code is \"{shown}\", and a code has 1 to 64 characters out of a-z, A-Z, 0-9 and _.-:/]"
                )
            );
        }
        assert_eq!(own("x", "é".repeat(4_096)).message.len(), 8_192);
        let message = own("x", "é".repeat(5_000)).message;
        assert!(message.ends_with("éé… [cut here: the message has 10000 bytes, and at most 8192 are kept]"));
        assert!(message.starts_with(&"é".repeat(4_096)) && message.len() < 8_300);
        let error = exited(
            1,
            format!(r#"{{"error": {{"code": "a b", "message": "{}"}}}}"#, "x".repeat(9_000)).as_bytes(),
            "",
        );
        assert!(error.code == "guest_error" && error.message.len() < 8_500, "{error}");
    }
}
