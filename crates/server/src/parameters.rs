//! Query parameters: each call of the API takes those that the OpenAPI document names, and no others. Nor does one that
//! writes take the conditions of HTTP, which would be ignored.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::str::FromStr;
use stepwell_engine::innermost;

use crate::openapi;
use crate::problem::{Answer, Problem};

/// Conditions of a write (RFC 9110, 13.1). There are no entity tags here to hold them against.
const CONDITIONS: [HeaderName; 3] = [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE];

/// Middleware: a parameter that a call does not know would be ignored, and so not do what its sender believes.
pub async fn known_only(request: Request, next: Next) -> Response {
    let query = request.uri().query();
    let condition = condition(request.method(), request.headers());
    // Most calls have neither.
    if (query.is_some() || condition.is_some())
        && let Some(path) = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)
        && path.starts_with("/api/")
        && let Some(known) = openapi::parameters(request.method(), path)
        && let Err(problem) = check(query.unwrap_or_default(), &known)
            .and_then(|()| condition.map_or(Ok(()), |name| Err(unknown(name, &known))))
    {
        return problem.into_response();
    }
    next.run(request).await
}

/// The first condition that a write comes with.
fn condition(method: &Method, headers: &HeaderMap) -> Option<&'static HeaderName> {
    CONDITIONS.iter().find(|name| !method.is_safe() && headers.contains_key(*name))
}

fn unknown(condition: &HeaderName, known: &[&str]) -> Problem {
    let instead = match known.contains(&"if_version") {
        true => "write `?if_version=N` with the record's `version`",
        false => "leave it out",
    };
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "unknown_condition",
        format!("the header `{condition}` is not looked at by this call, so nothing was done; {instead}"),
    )
}

fn check(query: &str, known: &[&str]) -> Answer<()> {
    let unknown =
        url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !known.contains(&name.as_ref()));
    let Some((name, _)) = unknown else { return Ok(()) };
    let near = stepwell_records::nearest(&name, known.iter().copied());
    let hint = match (near, known) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "this call takes none".to_owned(),
        (None, known) => format!("this call takes `{}`", known.join("`, `")),
    };
    Err(Problem::bad_request("invalid_query", format!("there is no query parameter `{name}` here; {hint}")))
}

/// Into a struct.
pub fn read<T: DeserializeOwned>(query: Option<&str>) -> Answer<T> {
    axum::extract::Query::<T>::try_from_uri(&uri_of(query)).map(|q| q.0).map_err(|e| {
        Problem::bad_request("invalid_query", format!("the query is not understood: {}", innermost(&e)))
    })
}

/// A whole number from 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String", bound = "T: FromStr")]
pub struct Whole<T>(pub T);

impl<T: FromStr> TryFrom<String> for Whole<T> {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        text.parse().map(Self).map_err(|_| "a whole number is needed")
    }
}

fn uri_of(query: Option<&str>) -> http::Uri {
    // A query that came in a request's URI is valid in another.
    format!("/?{}", query.unwrap_or_default()).parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limit: Option<Whole<u32>>,
    }

    #[test]
    fn query_faults_name_the_parameter() {
        assert_eq!(read::<Page>(Some("limit=3")).unwrap().limit, Some(Whole(3)));
        assert_eq!(read::<Page>(None).unwrap().limit, None);
        let number = "limit: a whole number is needed";
        for (text, says) in [
            ("limt=3", "`limt`"),
            ("limit=x", number),
            ("limit=", number),
            ("limit=-1", number),
            ("limit=4294967296", number),
        ] {
            let problem = read::<Page>(Some(text)).unwrap_err();
            assert!(problem.detail.contains(says), "{}", problem.detail);
        }
    }

    #[test]
    fn an_unknown_parameter_is_told_what_there_is() {
        let detail = |query, known: &[&str]| check(query, known).unwrap_err().detail;
        assert!(check("limit=3&cursor=", &["limit", "cursor"]).is_ok());
        insta::assert_snapshot!(detail("limt=3", &["limit", "cursor"]), @"there is no query parameter `limt` here; did you mean `limit`?");
        insta::assert_snapshot!(detail("colour=3", &["limit", "cursor"]), @"there is no query parameter `colour` here; this call takes `limit`, `cursor`");
        insta::assert_snapshot!(detail("colour", &[]), @"there is no query parameter `colour` here; this call takes none");
    }

    #[test]
    fn a_write_s_condition_that_nobody_looks_at_is_refused() {
        for name in &CONDITIONS {
            let headers = HeaderMap::from_iter([(name.clone(), "\"1\"".parse().unwrap())]);
            assert_eq!(condition(&Method::GET, &headers), None);
            assert_eq!(condition(&Method::PUT, &headers), Some(name));
        }
        assert_eq!(condition(&Method::PUT, &HeaderMap::new()), None);
        assert_eq!(unknown(&IF_MATCH, &[]).status.as_u16(), 412);
        let said = |known| unknown(&IF_MATCH, known).detail;
        insta::assert_snapshot!(said(&["if_version"]), @"the header `if-match` is not looked at by this call, so nothing was done; write `?if_version=N` with the record's `version`");
        insta::assert_snapshot!(said(&[]), @"the header `if-match` is not looked at by this call, so nothing was done; leave it out");
    }
}
