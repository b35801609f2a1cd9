//! The console's files, as `web/` is built, from the binary.

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::problem;

/// What `npm run build` leaves; nothing where the console was not built.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Files;

/// Nothing comes from elsewhere, and no script stands in a page. PatternFly and the editor set styles
/// of elements.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Files whose names change with their contents.
const HASHED: &str = "assets/";
const PAGE: &str = "index.html";
const NOT_BUILT: &str = "the console is not in this binary: `npm ci && npm run build` in web/, then build \
    netverdict again; the API is at /api/v1";

/// Whether the console's files are in this binary.
pub fn has_console() -> bool {
    Files::get(PAGE).is_some()
}

/// Whether a path is the console's: a page or a file, which tell nothing of anybody.
pub(crate) fn owns(path: &str) -> bool {
    !path.starts_with("/api/") && !["/api", "/metrics"].contains(&path)
}

/// A file, or the page that shows what the path names.
pub(crate) async fn serve(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    if !owns(path) {
        return problem::no_such_path().await.into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return problem::no_such_method().await.into_response();
    }
    let path = path.trim_start_matches('/');
    if let Some(file) = Files::get(path) {
        return response(file, path.starts_with(HASHED));
    }
    if path.starts_with(HASHED) {
        return problem::no_such_path().await.into_response();
    }
    match Files::get(PAGE) {
        Some(page) => response(page, false),
        None => (StatusCode::NOT_FOUND, NOT_BUILT).into_response(),
    }
}

fn response(file: EmbeddedFile, hashed: bool) -> Response {
    let kind = HeaderValue::from_str(file.metadata.mimetype())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let keep = match hashed {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ];
    (headers, file.data).into_response()
}
