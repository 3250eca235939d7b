//! The body of a webhook's request as its run sees it: JSON, a form's fields, or text, as its content type says.
use super::{header, pairs};
use crate::api::HookRequest;
use crate::error::{EngineError, ErrorKind, Problem};
use crate::hash;
use crate::start::{shallow, too_deep};
use crate::weight;
use futures::stream;
use serde_json::Value;
use std::convert::Infallible;
use stepwell_workflow::depth;

/// Fields of a form.
const MAX_FIELDS: usize = 10_000;

/// What the content type says: the type itself, in small letters.
fn kind(request: &HookRequest) -> String {
    let kind = header(request, "content-type").and_then(|kind| kind.split(';').next());
    kind.unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) async fn read(request: &HookRequest) -> Result<Value, EngineError> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    if let Some(encoding) = header(request, "content-encoding").map(str::trim)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        let message = format!("the body is compressed (`content-encoding: {encoding}`); send it as it is");
        return Err(EngineError::invalid("invalid_body", message));
    }
    match sort(request) {
        Sort::Form => {
            let fields = || url::form_urlencoded::parse(&request.body);
            few_enough(fields().take(MAX_FIELDS + 1).count())?;
            // What is no UTF-8 is replaced as it is read.
            let replaced = |text: &str| text.contains('\u{fffd}');
            if fields().any(|(name, value)| replaced(&name) || replaced(&value))
                && !sends_replaced(&request.body)
            {
                let message = "the form is not UTF-8 text; send it as UTF-8";
                return Err(EngineError::invalid("invalid_form", message));
            }
            Ok(pairs(fields()))
        }
        Sort::Parts => multipart(request).await,
        Sort::Text => text(request),
        Sort::Json => json(request),
    }
}

/// What a body is read as.
enum Sort {
    Json,
    Form,
    Parts,
    Text,
}

fn sort(request: &HookRequest) -> Sort {
    // `curl -d` calls everything a form. In one, `{` and `[` would be percent-encoded.
    let is_json =
        || request.body.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['));
    match kind(request).as_str() {
        "application/x-www-form-urlencoded" if !is_json() => Sort::Form,
        "multipart/form-data" => Sort::Parts,
        "application/xml" => Sort::Text,
        other if other.starts_with("text/") || other.ends_with("+xml") => Sort::Text,
        _ => Sort::Json,
    }
}

/// About what a body takes in memory once it is read; an error when that is more than it may.
pub(super) fn weight(request: &HookRequest) -> Result<u64, EngineError> {
    match sort(request) {
        Sort::Json => weight::check(&request.body).map_err(|heavy| {
            let message = format!("the body has {} bytes, and {heavy}; send it in parts", request.body.len());
            let problem = Problem {
                code: "body_too_large".into(),
                message: "lists and objects take far more memory than their bytes".into(),
                limit: Some(heavy.most),
                used: Some(heavy.weight),
                ..Problem::default()
            };
            EngineError::new(ErrorKind::TooLarge, "body_too_large", message).with_problems(vec![problem])
        }),
        // Of a form's fields there are not many, and its texts and others take what they have.
        _ => Ok(request.body.len() as u64),
    }
}

/// What repeats of a request with an idempotency key have to have in common.
pub(super) fn digest(request: &HookRequest, body: &Value) -> String {
    // Whoever sends a multipart form again draws another boundary.
    match kind(request).as_str() {
        "multipart/form-data" => hash::hex(&hash::sha256(body.to_string().as_bytes())),
        _ => hash::hex(&hash::sha256(&request.body)),
    }
}

/// Whether a form's sender wrote the character itself that stands for what cannot be read.
fn sends_replaced(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_uppercase();
    text.contains("%EF%BF%BD") || body.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes())
}

fn few_enough(fields: usize) -> Result<(), EngineError> {
    if fields <= MAX_FIELDS {
        return Ok(());
    }
    let message = format!("the form has more than {MAX_FIELDS} fields");
    Err(EngineError::invalid("invalid_form", message))
}

fn text(request: &HookRequest) -> Result<Value, EngineError> {
    match std::str::from_utf8(&request.body) {
        Ok(text) => Ok(text.into()),
        Err(error) => {
            let message =
                format!("the body is not UTF-8 text from byte {} on; send it as UTF-8", error.valid_up_to());
            Err(EngineError::invalid("invalid_text", message))
        }
    }
}

async fn multipart(request: &HookRequest) -> Result<Value, EngineError> {
    let wrong = |why: String| EngineError::invalid("invalid_form", format!("the form cannot be read: {why}"));
    let boundary = multer::parse_boundary(header(request, "content-type").unwrap_or_default());
    let boundary = boundary.map_err(|error| wrong(error.to_string()))?;
    let whole = stream::iter([Ok::<_, Infallible>(request.body.clone())]);
    let mut form = multer::Multipart::new(whole, boundary);
    let mut fields: Vec<(String, String)> = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| wrong(error.to_string()))? {
        let Some(name) = field.name().map(str::to_owned) else {
            return Err(wrong(format!("part {} has no name", fields.len() + 1)));
        };
        if let Some(file) = field.file_name() {
            let problem = Problem {
                code: "file_in_form".into(),
                message: format!("`{name}` is the file `{}`", shortened(file)),
                path: Some(name),
                hint: Some("send text fields, and files by an address where they can be fetched".into()),
                ..Problem::default()
            };
            let message = "a webhook takes no files; it takes the text fields of a form";
            return Err(EngineError::invalid("file_in_form", message).with_problems(vec![problem]));
        }
        let bytes = field.bytes().await.map_err(|error| wrong(error.to_string()))?;
        let value = String::from_utf8(bytes.to_vec())
            .map_err(|_| wrong(format!("the field `{}` is not UTF-8 text", shortened(&name))))?;
        fields.push((name, value));
        few_enough(fields.len())?;
    }
    Ok(pairs(fields.into_iter()))
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

fn json(request: &HookRequest) -> Result<Value, EngineError> {
    // A byte order mark is no part of what follows it (RFC 8259).
    let text = request.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&request.body);
    let body = serde_json::from_slice(text).map_err(|error| {
        // A parser of JSON stops far below that, and only says that there is too much.
        if depth::text_too_deep(&request.body).is_some() {
            return too_deep("the body");
        }
        let place = (u32::try_from(error.line()).ok(), u32::try_from(error.column()).ok());
        let problem = Problem {
            code: "invalid_json".into(),
            message: error.to_string(),
            line: place.0.filter(|line| *line > 0),
            column: place.1.filter(|column| *column > 0),
            hint: Some("send one JSON value as the body, or say by `content-type` what else it is".into()),
            ..Problem::default()
        };
        EngineError::invalid("invalid_json", format!("the body is not JSON: {error}"))
            .with_problems(vec![problem])
    })?;
    shallow(body, "the body")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(kind: &str, body: &[u8]) -> HookRequest {
        let headers = if kind.is_empty() { Vec::new() } else { vec![("content-type".into(), kind.into())] };
        HookRequest { headers, body: body.to_vec().into(), ..HookRequest::default() }
    }

    async fn body(kind: &str, body: &str) -> Result<Value, EngineError> {
        read(&request(kind, body.as_bytes())).await
    }

    #[tokio::test]
    async fn the_content_type_says_how_a_body_is_read() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        assert_eq!(body("", "").await.unwrap(), Value::Null);
        assert_eq!(body("", "[1]").await.unwrap(), json!([1]));
        assert_eq!(body("application/json", "\"a\"").await.unwrap(), json!("a"));
        assert_eq!(body("application/vnd.api+json", "{\"a\": 1}").await.unwrap(), json!({"a": 1}));
        assert_eq!(
            body(form, "a=1&b=x+y%26&a=2&c=").await.unwrap(),
            json!({"a": ["1", "2"], "b": "x y&", "c": ""})
        );
        assert_eq!(body(form, "{\"a\": 1}").await.unwrap(), json!({"a": 1}), "as curl -d sends it");
        assert_eq!(body("text/plain", "{\"a\": 1}").await.unwrap(), json!("{\"a\": 1}"));
        assert_eq!(body("", "\u{feff}{\"a\": 1}").await.unwrap(), json!({"a": 1}), "with a byte order mark");
        assert_eq!(&*body(form, "a=%E9").await.unwrap_err().code, "invalid_form");
        assert_eq!(body(form, "a=%EF%bf%BD&b=%C3%A9").await.unwrap(), json!({"a": "\u{fffd}", "b": "é"}));
        assert_eq!(body("application/xml", "<a/>").await.unwrap(), json!("<a/>"));
        assert_eq!(body("", "no").await.unwrap_err().code, "invalid_json");
        let mut packed = request("application/json", b"\x1f\x8b");
        packed.headers.push(("content-encoding".into(), "gzip".into()));
        let error = read(&packed).await.unwrap_err();
        assert_eq!((&*error.code, error.message.contains("gzip")), ("invalid_body", true));
        let error = read(&request("text/plain", b"a\xff")).await.unwrap_err();
        assert_eq!((&*error.code, error.message.contains("byte 1")), ("invalid_text", true));
    }

    #[tokio::test]
    async fn a_multipart_form_has_text_fields_and_no_files() {
        let kind = "multipart/form-data; boundary=XX";
        let part =
            |head: &str, value: &str| format!("--XX\r\ncontent-disposition: {head}\r\n\r\n{value}\r\n");
        let form = |parts: &[String]| format!("{}--XX--\r\n", parts.concat());
        let text = form(&[
            part("form-data; name=\"a\"", "1"),
            part("form-data; name=\"b\"", "é\r\n2"),
            part("form-data; name=\"a\"", ""),
        ]);
        let read = body(kind, &text).await.unwrap();
        assert_eq!(read, json!({"a": ["1", ""], "b": "é\r\n2"}));
        let file = form(&[part("form-data; name=\"cv\"; filename=\"cv.pdf\"", "%PDF")]);
        let error = body(kind, &file).await.unwrap_err();
        assert_eq!(&*error.code, "file_in_form");
        assert!(error.problems[0].message.contains("`cv` is the file `cv.pdf`"), "{error}");
        let whole = form(&[part("form-data; name=\"a\"", "1")]);
        for cut in [&whole[..whole.len() - 6], "--XX\r\n", "nothing"] {
            assert_eq!(&*body(kind, cut).await.unwrap_err().code, "invalid_form", "{cut}");
        }
        assert_eq!(&*body("multipart/form-data", &whole).await.unwrap_err().code, "invalid_form");
        // Another boundary, the same form.
        let other = whole.replace("XX", "YY");
        let again = request("multipart/form-data; boundary=YY", other.as_bytes());
        let first = request(kind, whole.as_bytes());
        assert_eq!(
            digest(&first, &super::read(&first).await.unwrap()),
            digest(&again, &super::read(&again).await.unwrap())
        );
    }
}
