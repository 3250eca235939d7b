//! The parts of a request's path, or a problem document that says which of them cannot be read.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Like axum's, whose refusals are plain text.
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(refused) => Err(Problem::bad_request(
                "invalid_path",
                format!(
                    "the path `{}` cannot be read: {}; percent-encode names as UTF-8",
                    parts.uri.path(),
                    refused.body_text()
                ),
            )),
        }
    }
}
