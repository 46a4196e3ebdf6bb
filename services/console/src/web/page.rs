//! The page and its modules, as they were when this program was built, and what a browser is told
//! to make of everything that comes from here.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tower_http::compression::CompressionLayer;

use super::refused;

/// What is loaded, is loaded from here; nothing is run that is not a file of this page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'none'; \
                      base-uri 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../page/", $name)))),*]
    };
}

/// Every file of the page.
const FILES: &[(&str, &str)] = files![
    "acts.js",
    "ask.js",
    "bar.js",
    "breaks.js",
    "chord.js",
    "circle.js",
    "dom.js",
    "favicon.svg",
    "feed.js",
    "flights.js",
    "format.js",
    "history.js",
    "index.html",
    "layout.js",
    "lines.js",
    "links.js",
    "log.js",
    "login.js",
    "main.js",
    "other.js",
    "overlay.js",
    "panel.js",
    "plan.js",
    "promises.js",
    "raft.js",
    "spans.js",
    "sse.js",
    "state.js",
    "stream.js",
    "strip.js",
    "style.css",
    "tape.js",
    "terms.js",
    "timers.js",
    "token.js",
    "traces.js",
    "tree.js",
    "values.js",
    "waterfall.js",
];

/// Answers with the page and its files, compressed: how long they are tells nothing that is secret.
pub(super) fn files<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || answer("index.html")))
        .route("/page/{file}", get(async |Path(name): Path<String>| answer(&name)))
        .layer(CompressionLayer::new())
}

fn answer(name: &str) -> Response {
    let Some((_, text)) = FILES.iter().find(|(known, _)| *known == name) else {
        return refused(StatusCode::NOT_FOUND, "the page has no such file");
    };
    let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    ([(header::CONTENT_TYPE, kind)], *text).into_response()
}

/// Tells the browser what it may do with an answer.
pub(super) async fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A console that was started anew may have another page.
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use axum::body::{self, Body};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_there_and_all_together_are_small() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let entries = fs::read_dir(folder).expect("a folder");
        let names = entries.map(|entry| entry.expect("readable").file_name().into_string());
        let names = names.map(|name| name.expect("a name")).collect::<BTreeSet<_>>();
        let known = FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(names, known);
        let bytes = FILES.iter().map(|(_, text)| text.len()).sum::<usize>();
        assert!(bytes < 250_000, "{bytes} bytes");
    }

    #[tokio::test]
    async fn whoever_can_unpack_gets_a_file_in_a_third_of_its_length() {
        let whole = FILES.iter().find(|(name, _)| *name == "style.css").expect("it is there").1;
        for (accepts, coding, most) in
            [("gzip", Some("gzip"), whole.len() / 3), ("identity", None, whole.len())]
        {
            let request = Request::get("/page/style.css").header(header::ACCEPT_ENCODING, accepts);
            let request = request.body(Body::empty()).expect("well formed");
            let answer = files::<()>().oneshot(request).await.expect("it cannot fail");
            let told = answer.headers().get(header::CONTENT_ENCODING);
            assert_eq!(told.map(|told| told.to_str().expect("ASCII")), coding);
            let bytes = body::to_bytes(answer.into_body(), whole.len()).await.expect("it ends");
            assert!(!bytes.is_empty() && bytes.len() <= most, "{} bytes", bytes.len());
        }
    }
}
