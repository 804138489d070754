//! JSON bodies, path parameters and queries, with errors in the API's envelope.

use super::error::ApiError;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use web_api::error::ErrorCode;

/// A JSON body.
#[derive(FromRequest)]
#[from_request(via(Json), rejection(ApiError))]
pub struct Body<T>(pub T);

/// Parameters in the URL's path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

/// Parameters behind the `?`.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let code = match &rejection {
            JsonRejection::MissingJsonContentType(_) => ErrorCode::UnsupportedMedia,
            JsonRejection::BytesRejection(_) if rejection.status().as_u16() == ErrorCode::TooLarge.status() => {
                ErrorCode::TooLarge
            }
            _ => ErrorCode::BadRequest,
        };
        Self::new(code, "the request's body cannot be used").why(rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    /// What is no id names nothing.
    fn from(rejection: PathRejection) -> Self {
        Self::new(ErrorCode::NotFound, "there is nothing at this URL").why(rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ErrorCode::BadRequest, "the URL's parameters cannot be used").why(rejection.body_text())
    }
}
