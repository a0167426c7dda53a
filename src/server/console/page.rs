//! The files of the page.
//!
//! They are embedded as gzip, as `console/scripts/pack.js` writes them: browsers take them so, and the binary has one
//! copy. For a client that does not accept gzip a file is unpacked when it is first asked for.

use std::io::Read;
use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use flate2::read::GzDecoder;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::files;

/// A file of the page.
struct Asset {
    name: &'static str,
    content_type: HeaderValue,
    packed: Representation,
    plain: OnceLock<Representation>,
}

/// A file in one coding, with the tag of these bytes.
struct Representation {
    body: Bytes,
    etag: HeaderValue,
}

macro_rules! assets {
    ($($name:literal: $content_type:literal,)*) => {
        static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| vec![$(Asset {
            name: $name,
            content_type: HeaderValue::from_static($content_type),
            packed: Representation::of(Bytes::from_static(include_bytes!(
                concat!("../../../console/dist/", $name, ".gz")
            ))),
            plain: OnceLock::new(),
        },)*]);
    };
}

assets! {
    "index.html": "text/html; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "operate.js": "text/javascript; charset=utf-8",
    "studio.js": "text/javascript; charset=utf-8",
    "shared.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "licences.txt": "text/plain; charset=utf-8",
}

/// The page's policy: load its own files, call its own server, and not be embedded in other pages. Editors write their
/// styles into the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
     style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

impl Representation {
    fn of(body: Bytes) -> Representation {
        let etag = HeaderValue::from_str(&format!("\"{}\"", files::hash(&body)));
        Representation { body, etag: etag.expect("hexadecimal digits make a header") }
    }
}

impl Asset {
    fn plain(&self) -> &Representation {
        self.plain.get_or_init(|| {
            let mut body = Vec::new();
            let unpacked = GzDecoder::new(&*self.packed.body).read_to_end(&mut body);
            assert!(unpacked.is_ok(), "{} is embedded as gzip, whole: {unpacked:?}", self.name);
            Representation::of(body.into())
        })
    }
}

/// Whether this is for the page: its files, or the server's root, opened in a browser.
pub(in crate::server) fn is_page(head: &Parts) -> bool {
    let path = head.uri.path();
    path == "/console" || path.starts_with("/console/") || (path == "/" && wants_html(head))
}

fn wants_html(head: &Parts) -> bool {
    head.headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|it| it.contains("text/html"))
}

/// The items of a header that is a list, on one line or several.
fn items(head: &Parts, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = head.headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Whether gzip is accepted (RFC 9110, section 12.5.3). A request without the header accepts any coding, but who sends
/// none seldom unpacks one.
fn accepts_gzip(head: &Parts) -> bool {
    let mut all_others = false;
    for item in items(head, ACCEPT_ENCODING) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or("").to_ascii_lowercase();
        let weight = parts.find_map(|it| it.strip_prefix("q=").or_else(|| it.strip_prefix("Q=")));
        let is_accepted = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|it| it > 0.0));
        match &*coding {
            "gzip" | "x-gzip" => return is_accepted,
            "*" => all_others = is_accepted,
            _ => {}
        }
    }
    all_others
}

/// The response to a GET. A missing file is an error; it is never replaced by the page.
pub(in crate::server) fn page(head: &Parts) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let name = match head.uri.path().strip_prefix("/console/") {
        Some("") => "index.html",
        Some(name) => name,
        None => {
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("/console/"));
            return response;
        }
    };
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let is_packed = accepts_gzip(head);
    let Representation { body, etag } = if is_packed { &asset.packed } else { asset.plain() };
    let is_known = |known: &str| known == "*" || known.trim_start_matches("W/").as_bytes() == etag.as_bytes();
    if items(head, IF_NONE_MATCH).any(is_known) {
        *response.status_mut() = StatusCode::NOT_MODIFIED
    } else {
        *response.body_mut() = body.clone();
        if is_packed {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, asset.content_type.clone());
    headers.insert(ETAG, etag.clone());
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in
        [("cross-origin-opener-policy", "same-origin"), ("cross-origin-resource-policy", "same-origin")]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
