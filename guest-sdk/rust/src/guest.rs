//! The guest side of the contract: logs and panics to the host, results in the contract's types.

use std::fmt::Write;
use std::panic::PanicHookInfo;

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

use crate::bindings::stepwell::action::{log as host, types};
use crate::{Failure, json};

/// Sends logs and panics to the host. Called at the start of every call.
pub fn start() {
    static LOGGER: HostLog = HostLog;
    // An author who set a logger of their own keeps it.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
    std::panic::set_hook(Box::new(report_panic));
}

fn report_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("the panic carries no text");
    let mut place = String::new();
    if let Some(location) = info.location() {
        // Writing to a string does not fail.
        let _ = write!(place, "{}:{}:{}", location.file(), location.line(), location.column());
    }
    host::panic(message, &place);
}

/// The answer in the contract's types.
pub fn answer(result: Result<String, Failure>) -> Result<String, types::Failure> {
    result.map_err(|failure| types::Failure {
        code: failure.code,
        message: failure.message,
        retryable: failure.retryable,
        retry_after_ms: failure.retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        details: failure.details,
    })
}

struct HostLog;

impl Log for HostLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // The contract counts from 0 for trace to 4 for error; the log crate from 1 for error.
        let level = 5 - record.level() as u8;
        let fields = fields(record);
        match record.args().as_str() {
            Some(message) => host::log(level, message, &fields),
            None => host::log(level, &record.args().to_string(), &fields),
        }
    }

    fn flush(&self) {}
}

/// The record's key-value pairs as a JSON object, or nothing.
fn fields(record: &Record<'_>) -> String {
    struct Collect(String);
    impl<'kvs> VisitSource<'kvs> for Collect {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            self.0.push(if self.0.is_empty() { '{' } else { ',' });
            json::push_text(&mut self.0, key.as_str());
            self.0.push(':');
            // Writing to a string does not fail.
            let _ = if let Some(value) = value.to_bool() {
                write!(self.0, "{value}")
            } else if let Some(value) = value.to_u64() {
                write!(self.0, "{value}")
            } else if let Some(value) = value.to_i64() {
                write!(self.0, "{value}")
            } else if let Some(value) = value.to_f64() {
                // The standard library's way to write a float is several times as large.
                self.0.push_str(&serde_json::to_string(&value).unwrap_or_default());
                Ok(())
            } else {
                json::push_text(&mut self.0, &value.to_string());
                Ok(())
            };
            Ok(())
        }
    }
    if record.key_values().count() == 0 {
        return String::new();
    }
    let mut collected = Collect(String::new());
    match record.key_values().visit(&mut collected) {
        Ok(()) => collected.0 + "}",
        Err(_) => String::new(),
    }
}
