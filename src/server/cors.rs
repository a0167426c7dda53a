//! CORS: what pages in a browser may do; by default nothing.
//!
//! A browser sends a page's origin in `Origin`. Any page can send requests to a server on the user's machine, and a
//! server that does not check host names would take them for the user's own.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, VARY,
};
use hyper::{Response, StatusCode};

use super::reply::Rest;

/// The origin, if its pages may use the API.
pub(super) fn allowed(origins: &[String], origin: &HeaderValue) -> Option<HeaderValue> {
    let is_allowed = origins.iter().any(|it| it == "*" || it.as_bytes() == origin.as_bytes());
    is_allowed.then(|| origin.clone())
}

/// Lets the page see the response.
pub(super) fn grant(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(VARY, HeaderValue::from_static("origin"));
    let seen = "x-amzn-requestid, x-amzn-errortype, x-amz-retry-after";
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(seen));
}

/// The response to a browser's preflight request.
pub(super) fn preflight() -> Response<Rest> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, authorization"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
