//! Requests whose head is too long to be read. HTTP's parser answers them by itself, with a status and not a word; here
//! that answer gets the problem document that every other one has, on its way to the client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::to_bytes;
use axum::response::IntoResponse;
use bytes::{Buf, Bytes, BytesMut};
use futures::FutureExt;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::problem::Problem;

/// How the parser's own answers begin, and what is wrong with the request.
const ANSWERS: [(&[u8], StatusCode, &str, &str); 2] = [
    (
        b"HTTP/1.1 414 ",
        StatusCode::URI_TOO_LONG,
        "url_too_long",
        "path and query are longer than the 65,534 bytes that are read; send what is long in a body",
    ),
    (
        b"HTTP/1.1 431 ",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        "the request has more than 100 headers, or more of them than are read; send fewer, and shorter ones",
    ),
];
/// What tells them from an answer with a body.
const EMPTY: &[u8] = b"content-length: 0\r\n";

/// A connection that tells its client what the parser does not.
pub struct Telling<I> {
    inner: I,
    /// What goes out in the place of the answer that is being written.
    instead: Bytes,
}

impl<I> Telling<I> {
    pub fn new(inner: I) -> Self {
        Self { inner, instead: Bytes::new() }
    }
}

/// The whole answer to send in the place of this one.
fn instead_of(answer: &[u8]) -> Option<Bytes> {
    let (_, status, code, detail) = ANSWERS.iter().find(|(start, ..)| answer.starts_with(start))?;
    if !answer.ends_with(b"\r\n\r\n") || !answer.windows(EMPTY.len()).any(|line| line == EMPTY) {
        return None;
    }
    let response = Problem::new(*status, code, *detail).into_response();
    let (parts, body) = response.into_parts();
    // It is there already, so nothing is waited for.
    let body = to_bytes(body, usize::MAX).now_or_never()?.ok()?;
    let mut text = BytesMut::new();
    text.extend_from_slice(format!("HTTP/1.1 {status}\r\nconnection: close\r\n").as_bytes());
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != http::header::CONTENT_LENGTH) {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    text.extend_from_slice(&body);
    Some(text.freeze())
}

impl<I: AsyncWrite + Unpin> Telling<I> {
    /// Writes all of what stands for an answer of so many bytes, and says then that these are written.
    fn tell(&mut self, context: &mut Context<'_>, stands_for: usize) -> Poll<io::Result<usize>> {
        while !self.instead.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(context, &self.instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(stands_for))
    }

    /// Whether something else goes out than `answer`.
    fn tells(&mut self, answer: &[u8]) -> bool {
        if self.instead.is_empty() {
            self.instead = instead_of(answer).unwrap_or_default();
        }
        !self.instead.is_empty()
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Telling<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.tells(bytes) {
            return this.tell(context, bytes.len());
        }
        Pin::new(&mut this.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match parts {
            [only] if this.tells(only) => this.tell(context, only.len()),
            _ => Pin::new(&mut this.inner).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Telling<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_parser_says_by_itself_is_said_better() {
        let own = b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let told = String::from_utf8(instead_of(own).unwrap().to_vec()).unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 414 URI Too Long\r\nconnection: close\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "url_too_long");
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 414 URI Too Long\r\ncontent-length: 3\r\n\r\nabc",
            b"HTTP/1.1 414 URI Too Long\r\nconten",
        ] {
            assert_eq!(instead_of(other), None);
        }
    }
}
