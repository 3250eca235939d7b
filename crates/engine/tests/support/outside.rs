//! Peers that keep what arrives, and answer as peers do: well, badly, late, or not at all after they have acted.
use super::Rng;
use async_trait::async_trait;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stepwell_engine::ports::{
    HttpClient, HttpRequest, HttpResponse, MailMessage, MailReceipt, Mailer, OutsideError,
};

/// How a peer behaves this time.
enum Mood {
    Well,
    /// Nothing arrives.
    Unreachable,
    /// It acts, and the answer is lost.
    Lost,
    /// It acts, and says that it did not.
    Busy,
}

struct Peer {
    rng: Rng,
    /// Out of 100 calls so many go wrong.
    trouble: AtomicU64,
    slow: AtomicU64,
}

impl Peer {
    async fn mood(&self) -> Mood {
        let slow = self.slow.load(SeqCst);
        if slow > 0 {
            tokio::time::sleep(Duration::from_millis(self.rng.below(slow))).await;
        }
        if self.rng.below(100) >= self.trouble.load(SeqCst) {
            return Mood::Well;
        }
        match self.rng.below(3) {
            0 => Mood::Unreachable,
            1 => Mood::Lost,
            _ => Mood::Busy,
        }
    }
}

fn error(code: &str, outcome_unknown: bool) -> OutsideError {
    OutsideError {
        code: code.into(),
        message: format!("the peer: {code}"),
        retryable: true,
        outcome_unknown,
        retry_after_ms: None,
        details: None,
    }
}

pub struct SimHttp {
    peer: Peer,
    pub sent: Mutex<Vec<HttpRequest>>,
    /// When each request was tried, by the clock of the world, and its address.
    pub tried: Mutex<Vec<(u64, String)>>,
    time: Arc<AtomicU64>,
    /// Answered first, in order.
    pub answers: Mutex<Vec<HttpResponse>>,
}

impl SimHttp {
    pub fn new(rng: Rng, time: Arc<AtomicU64>) -> Self {
        let peer = Peer { rng, trouble: AtomicU64::new(0), slow: AtomicU64::new(0) };
        Self { peer, sent: Mutex::default(), tried: Mutex::default(), time, answers: Mutex::default() }
    }

    /// The most requests to addresses that begin so, in any stretch of so many milliseconds.
    pub fn most_within(&self, begin: &str, span: u64) -> usize {
        let tried = self.tried.lock().unwrap();
        let mut times: Vec<u64> =
            tried.iter().filter(|(_, url)| url.starts_with(begin)).map(|(at, _)| *at).collect();
        times.sort_unstable();
        let from = |at: u64| times.iter().filter(|time| (at..at + span).contains(time)).count();
        times.iter().map(|at| from(*at)).max().unwrap_or(0)
    }

    pub fn behave(&self, trouble: u64, slow_ms: u64) {
        self.peer.trouble.store(trouble, SeqCst);
        self.peer.slow.store(slow_ms, SeqCst);
    }
}

#[async_trait]
impl HttpClient for SimHttp {
    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, OutsideError> {
        self.tried.lock().unwrap().push((self.time.load(SeqCst), request.url.clone()));
        let mood = self.peer.mood().await;
        if matches!(mood, Mood::Unreachable) {
            return Err(error("connect_failed", false));
        }
        self.sent.lock().unwrap().push(request.clone());
        let canned = {
            let mut answers = self.answers.lock().unwrap();
            (!answers.is_empty()).then(|| answers.remove(0))
        };
        if let Some(answer) = canned {
            return Ok(answer);
        }
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        match mood {
            Mood::Lost => Err(error("connection_lost", true)),
            Mood::Busy => Ok(HttpResponse { status: 503, headers, body: b"{}".as_slice().into() }),
            _ => Ok(HttpResponse { status: 200, headers, body: body(&request.url) }),
        }
    }
}

/// Three pages at one host, and a short answer at the others.
fn body(url: &str) -> bytes::Bytes {
    match url.strip_prefix("https://pages.example.com/").and_then(|rest| rest.split_once("page=")) {
        Some((_, page)) => format!("{{\"items\":[{page}],\"more\":{}}}", page != "3").into(),
        None => b"{\"ok\":true}".as_slice().into(),
    }
}

pub struct SimMail {
    peer: Peer,
    pub sent: Mutex<Vec<MailMessage>>,
}

impl SimMail {
    pub fn new(rng: Rng) -> Self {
        let peer = Peer { rng, trouble: AtomicU64::new(0), slow: AtomicU64::new(0) };
        Self { peer, sent: Mutex::default() }
    }

    pub fn behave(&self, trouble: u64, slow_ms: u64) {
        self.peer.trouble.store(trouble, SeqCst);
        self.peer.slow.store(slow_ms, SeqCst);
    }
}

#[async_trait]
impl Mailer for SimMail {
    async fn send(&self, message: &MailMessage) -> Result<MailReceipt, OutsideError> {
        let mood = self.peer.mood().await;
        if matches!(mood, Mood::Unreachable) {
            return Err(error("connect_failed", false));
        }
        self.sent.lock().unwrap().push(message.clone());
        match mood {
            Mood::Lost => Err(error("connection_lost", true)),
            Mood::Busy => Err(error("mail_busy", false)),
            _ => Ok(MailReceipt { accepted: message.to.clone(), response: "250 ok".into() }),
        }
    }
}
