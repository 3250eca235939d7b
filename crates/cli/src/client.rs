//! Talking to a server: addresses, the key, and problem documents as errors that a person can read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::args::Global;

/// A server and how to speak to it.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<String>,
    workspace: Option<String>,
}

/// Why a request brought no result.
#[derive(Debug)]
pub enum ClientError {
    Unreachable {
        server: String,
        cause: String,
    },
    Refused(Box<ProblemDocument>),
    /// Something answered that is not Stepwell.
    Foreign {
        server: String,
        what: String,
    },
}

/// RFC 9457, as the server sends it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProblemDocument {
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub errors: Vec<stepwell_engine::Problem>,
    #[serde(default)]
    pub run_id: Option<String>,
}

impl std::error::Error for ClientError {}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { server, cause } => write!(
                f,
                "no server at {server} ({cause}); start one with `stepwell serve --dev`, or name another with --server"
            ),
            Self::Foreign { server, what } => write!(f, "{server} does not answer like Stepwell: {what}"),
            Self::Refused(problem) => {
                write!(f, "{}", problem.detail)?;
                // One fault alone is often told whole by the detail.
                let told = |message: &str| problem.errors.len() == 1 && problem.detail.contains(message);
                for place in problem.errors.iter().filter(|place| !told(&place.message)) {
                    write!(f, "\n{}", crate::output::place(place))?;
                }
                if let Some(run) = &problem.run_id {
                    write!(f, "\n  see it with: stepwell run show {run}")?;
                }
                if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
                    f.write_str(
                        "\n  give a key with --key or STEPWELL_KEY; the first one of a server is in admin.key of its data \
                         folder, where the CLI finds it with STEPWELL_DATA",
                    )?;
                }
                Ok(())
            }
        }
    }
}

type Outcome<T> = Result<T, ClientError>;

impl Client {
    pub fn new(global: &Global) -> anyhow::Result<Self> {
        let base = Url::parse(&global.server).map_err(|e| {
            anyhow::anyhow!("--server `{}` is not a URL: {e}; write http://127.0.0.1:7878", global.server)
        })?;
        if !matches!(base.scheme(), "http" | "https") {
            anyhow::bail!("--server `{0}` is not a URL; write http://{0}", global.server);
        }
        let key = global.key.clone().or_else(|| key_of_this_host(&base));
        let http = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(5)).build()?;
        Ok(Self { http, base, key, workspace: global.workspace.clone() })
    }

    /// A request to `/api/v1/<segments>`; each segment is encoded.
    pub fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        let mut request = self.http.request(method, url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(workspace) = &self.workspace {
            request = request.header("stepwell-workspace", workspace);
        }
        request
    }

    /// For requests outside the API, such as webhooks.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub fn get(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::GET, segments)
    }

    pub fn post(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::POST, segments)
    }

    /// Sends, and gives the answer if it is a success.
    pub async fn send(&self, request: RequestBuilder) -> Outcome<Response> {
        let answer = request.send().await.map_err(|e| self.broken(&e))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.bytes().await.map_err(|e| self.broken(&e))?;
        let problem = serde_json::from_slice::<ProblemDocument>(&body).ok().filter(|p| !p.code.is_empty());
        Err(match problem {
            Some(problem) => ClientError::Refused(Box::new(problem)),
            None => self.foreign(format!("status {status}")),
        })
    }

    /// Sends, and reads the answer's JSON.
    pub async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Outcome<T> {
        let body = self.bytes(request).await?;
        serde_json::from_slice(&body).map_err(|e| self.foreign(e.to_string()))
    }

    /// Every item of a list, page by page; `noun` is its path and the answer's member.
    pub async fn all<T: DeserializeOwned>(&self, noun: &str) -> Outcome<Vec<T>> {
        #[derive(Deserialize)]
        struct Page {
            next_cursor: Option<String>,
            #[serde(flatten)]
            members: serde_json::Map<String, serde_json::Value>,
        }
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = self.get(&[noun]).query(&[("limit", "500")]);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let mut page: Page = self.json(request).await?;
            let items = page.members.remove(noun).unwrap_or_default();
            found.extend(serde_json::from_value::<Vec<T>>(items).map_err(|e| self.foreign(e.to_string()))?);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }

    pub async fn bytes(&self, request: RequestBuilder) -> Outcome<Bytes> {
        self.send(request).await?.bytes().await.map_err(|e| self.broken(&e))
    }

    /// The id of a run that is given whole, by a beginning that only one run has, or as `last`.
    pub async fn run_id(&self, given: &str) -> anyhow::Result<String> {
        /// As long as ids are.
        const WHOLE: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
        #[derive(Deserialize)]
        struct Page {
            runs: Vec<stepwell_engine::RunSummary>,
        }
        let is_beginning = given.len() < WHOLE.len()
            && given.chars().zip(WHOLE.chars()).all(|(c, at)| match at {
                '-' => c == '-',
                _ => c.is_ascii_hexdigit(),
            });
        let mut request = self.get(&["runs"]);
        if given == "last" {
            request = request.query(&[("limit", "1")]);
        } else if is_beginning && !given.is_empty() {
            // Lists go backwards from an id: from the last that could begin so.
            let after = format!("{given}{}", &WHOLE[given.len()..]);
            request = request.query(&[("limit", "2"), ("cursor", &after)]);
        } else {
            return Ok(given.to_owned());
        }
        let page: Page = self.json(request).await?;
        let begins = |run: &&stepwell_engine::RunSummary| given == "last" || run.id.starts_with(given);
        let found: Vec<&str> = page.runs.iter().filter(begins).map(|run| run.id.as_str()).collect();
        match found.as_slice() {
            [] if given == "last" => anyhow::bail!("there is no run yet"),
            [] => anyhow::bail!("there is no run whose id begins with `{given}`"),
            [one] => Ok((*one).to_owned()),
            several => anyhow::bail!(
                "several runs have an id that begins with `{given}`, such as {}: give more of it",
                several.join(" and ")
            ),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { server: self.base.to_string(), cause: stepwell_engine::innermost(error) }
    }

    fn foreign(&self, what: String) -> ClientError {
        ClientError::Foreign { server: self.base.to_string(), what }
    }
}

/// A server on this host wrote its first key into its data folder; who may read that may use it.
fn key_of_this_host(base: &Url) -> Option<String> {
    let local = match base.host()? {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(a) => a.is_loopback(),
        url::Host::Ipv6(a) => a.is_loopback(),
    };
    if !local {
        return None;
    }
    let data =
        std::env::var_os("STEPWELL_DATA").map_or_else(|| PathBuf::from("stepwell-data"), PathBuf::from);
    let key = std::fs::read_to_string(data.join("admin.key")).ok()?;
    Some(key.trim().to_owned())
}
