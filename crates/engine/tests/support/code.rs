//! A sandbox of pure functions. A module's bytes are JSON that names the function.
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use stepwell_engine::ports::CodeRunner;
use stepwell_sandbox::{
    ActionInfo, Call, CallError, ErrorSource, GuestKind, Limits, LoadError, LogLevel, LogLine, Metadata,
    Outcome, Refusal, Usage,
};

/// A module, as a test uploads it.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    pub name: &'static str,
    /// None: it says nothing of itself.
    pub version: Option<&'static str>,
    /// `normalize`, `echo`, `slow` (sleeps `ms` of its input), `fail`, `trap`, `moody` (fails as often as `fails` says).
    pub function: &'static str,
    /// Makes bytes differ.
    pub salt: u32,
}

impl Module {
    pub const fn new(name: &'static str, version: &'static str, function: &'static str) -> Self {
        Self { name, version: Some(version), function, salt: 0 }
    }

    pub fn bytes(&self) -> Bytes {
        let module = json!({ "name": self.name, "version": self.version, "function": self.function, "salt": self.salt });
        module.to_string().into()
    }
}

#[derive(Default)]
pub struct SimCode {
    loaded: Mutex<BTreeMap<String, String>>,
    /// Every call, in the order in which they began: the function and its input.
    pub calls: Mutex<Vec<(String, Value)>>,
    moods: Mutex<BTreeMap<String, u64>>,
    /// As of another release of the sandbox, in a test that has several.
    pub semantics: Mutex<Option<&'static str>>,
    /// So many of the modules loaded next are gone again at once, as when somebody only looked at them.
    pub vanish: AtomicU32,
}

impl SimCode {
    /// As after a restart: nothing is loaded.
    pub fn restart(&self) {
        self.loaded.lock().unwrap().clear();
    }

    pub fn calls_of(&self, function: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(name, _)| name == function).map(|(_, input)| input.clone()).collect()
    }

    async fn run(&self, function: &str, input: Value) -> Result<Value, CallError> {
        match function {
            "echo" => Ok(input),
            "slow" => {
                tokio::time::sleep(Duration::from_millis(input["ms"].as_u64().unwrap_or(0))).await;
                Ok(input)
            }
            "normalize" => {
                let email = input["email"].as_str().unwrap_or("").trim().to_lowercase();
                let Some((_, domain)) = email.split_once('@') else {
                    let message = format!("`{email}` is not an e-mail address");
                    return Err(CallError::new(ErrorSource::Action, "bad_email", message));
                };
                let first = input["name"].as_str().unwrap_or("").split(' ').next().unwrap_or("").to_owned();
                Ok(
                    json!({ "email": email, "domain": domain, "firstName": first, "n": input["n"], "company": domain }),
                )
            }
            "moody" => {
                let key = input.to_string();
                let mut moods = self.moods.lock().unwrap();
                let seen = moods.entry(key).or_default();
                *seen += 1;
                if *seen <= input["fails"].as_u64().unwrap_or(0) {
                    let mut error = CallError::new(ErrorSource::Action, "busy", "not now");
                    error.retryable = true;
                    return Err(error);
                }
                Ok(json!({ "calls": *seen }))
            }
            "big" => Ok(json!({ "text": "x".repeat(input["bytes"].as_u64().unwrap_or(0) as usize) })),
            "many" => Ok(vec![json!({ "": 0 }); input["objects"].as_u64().unwrap_or(0) as usize].into()),
            "huge_error" => {
                let mut error = CallError::new(ErrorSource::Action, "huge", "y".repeat(1 << 20));
                error.details = Some(json!({ "text": "x".repeat(1 << 20) }));
                Err(error)
            }
            "deepfail" => {
                let mut error = CallError::new(ErrorSource::Action, "deep", "too deep to be read back");
                error.details = Some((0..200).fold(json!(1), |inner, _| json!([inner])));
                Err(error)
            }
            "panic" => panic!("a defect of the host"),
            "trap" => Err(CallError::new(ErrorSource::Sandbox, "trap", "unreachable code")),
            _ => Err(CallError::new(ErrorSource::Action, "no", "it always fails")),
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl CodeRunner for SimCode {
    async fn load(&self, module: Bytes) -> Result<ActionInfo, LoadError> {
        let refused = || {
            let message = "this is no WebAssembly module".to_owned();
            LoadError::Refused(Refusal {
                rule: "format".into(),
                message,
                hint: None,
                limit: None,
                found: None,
            })
        };
        let read: Value = serde_json::from_slice(&module).map_err(|_| refused())?;
        let function = read["function"].as_str().ok_or_else(refused)?;
        let sha256 = hash(&module);
        if self.vanish.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err() {
            self.loaded.lock().unwrap().insert(sha256.clone(), function.to_owned());
        }
        let metadata = read["version"].as_str().map(|version| Metadata {
            name: read["name"].as_str().map(str::to_owned),
            version: version.parse().ok(),
            ..Metadata::default()
        });
        Ok(ActionInfo {
            kind: GuestKind::Component,
            sha256,
            size: module.len() as u64,
            metadata,
            imports: Vec::new(),
            exports: Vec::new(),
        })
    }

    fn loaded(&self, sha256: &str) -> bool {
        self.loaded.lock().unwrap().contains_key(sha256)
    }

    async fn call(&self, sha256: &str, call: Call) -> Outcome {
        let function =
            self.loaded.lock().unwrap().get(sha256).cloned().expect("only loaded modules are called");
        let input: Value = serde_json::from_str(&call.input).expect("input is JSON");
        self.calls.lock().unwrap().push((function.clone(), input.clone()));
        let result = self.run(&function, input).await.map(|output| output.to_string());
        let usage = Usage { fuel: Some(1000), peak_memory_bytes: 65536, wall_us: 10, ..Usage::default() };
        let line = LogLine { level: LogLevel::Info, message: function, fields: None, at: call.start_ms };
        Outcome { result, logs: vec![line], logs_truncated: false, usage }
    }

    fn maxima(&self) -> Limits {
        Limits::HOST_MAXIMA
    }

    fn semantics(&self) -> &str {
        self.semantics.lock().unwrap().unwrap_or("51a0000000000051")
    }
}
