//! Who is let in. Without a token whoever reaches the port is, which is then on loopback; with one,
//! whoever has shown it. Other sites that the user has open are not: their requests carry his
//! cookies, but say where they come from.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::{Console, answered, read, refused};

const COOKIE: &str = "ensemble_session";

/// The token, and what the cookie of those must hold who have shown it.
#[derive(Debug)]
pub(crate) struct Session {
    token: Option<String>,
    cookie: String,
    secure: bool,
}

impl Session {
    /// With TLS a browser is told to send the cookie by TLS alone.
    pub(crate) fn new(token: Option<String>, secure: bool) -> Self {
        // Another one after every start: who was let in before shows the token again.
        Self { token, cookie: chassis::secret(), secure }
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(_) = &self.token else { return true };
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
        cookies.flat_map(|cookies| cookies.split(';')).any(|cookie| {
            let value = cookie.trim().strip_prefix(COOKIE).and_then(|it| it.strip_prefix('='));
            value.is_some_and(|value| is_same(value, &self.cookie))
        })
    }
}

/// Takes as long wherever two texts differ.
fn is_same(one: &str, other: &str) -> bool {
    let pairs = one.bytes().zip(other.bytes());
    let differing = pairs.fold(0, |differing, (one, other)| differing | (one ^ other));
    one.len() == other.len() && differing == 0
}

/// Lets nobody pass who has not shown the token.
pub(super) async fn guard(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    if !console.0.session.lets_in(request.headers()) {
        return refused(StatusCode::UNAUTHORIZED, "show the token first: POST /login");
    }
    next.run(request).await
}

/// Lets nothing pass that another site has sent, or that came by a name that leads here by deceit.
pub(super) async fn same_site(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let from = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if from.is_some_and(|from| ![&b"same-origin"[..], b"none"].contains(&from))
        && request.uri().path() != "/"
    {
        return refused(StatusCode::FORBIDDEN, "another site has sent this");
    }
    let host = request.uri().host().or_else(|| headers.get(header::HOST)?.to_str().ok());
    if console.0.session.token.is_none() && !host.is_some_and(is_loopback) {
        let wrong = "without CONSOLE_TOKEN it is reached as localhost or 127.0.0.1 alone";
        return refused(StatusCode::FORBIDDEN, wrong);
    }
    next.run(request).await
}

/// Whether a host, perhaps with a port, is this machine by its own name.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

pub(super) async fn session(State(console): State<Console>, headers: HeaderMap) -> Response {
    let session = &console.0.session;
    answered(&json!({
        "needs_token": session.token.is_some(),
        "authorized": session.lets_in(&headers),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

#[derive(Debug, Deserialize)]
struct Login {
    token: String,
}

pub(super) async fn login(
    State(console): State<Console>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Login { token } = match read(&headers, &body) {
        Ok(login) => login,
        Err((status, reason)) => return refused(status, &reason),
    };
    let session = &console.0.session;
    if session.token.as_ref().is_some_and(|right| !is_same(&token, right)) {
        return refused(
            StatusCode::UNAUTHORIZED,
            "that is not the token: see CONSOLE_TOKEN, or the console's log",
        );
    }
    let secure = if session.secure { "; Secure" } else { "" };
    let cookie = &session.cookie;
    let cookie = format!("{COOKIE}={cookie}; HttpOnly; SameSite=Strict; Path=/{secure}");
    ([(header::SET_COOKIE, cookie)], answered(&json!({ "authorized": true }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(cookies: &str) -> HeaderMap {
        let value = HeaderValue::from_str(cookies).expect("well formed");
        [(header::COOKIE, value)].into_iter().collect()
    }

    #[test]
    fn only_the_cookie_of_this_start_lets_in() {
        let session = Session::new(Some("0123456789abcdef".into()), false);
        let right = format!("a=b; {COOKIE}={}; c=d", session.cookie);
        assert!(session.lets_in(&cookies(&right)));
        let before = Session::new(Some("0123456789abcdef".into()), false);
        assert!(!before.lets_in(&cookies(&right)));
        let short = &right[..right.len() - 8];
        for wrong in ["", "a=b", COOKIE, &format!("{COOKIE}="), short] {
            assert!(!session.lets_in(&cookies(wrong)), "{wrong}");
        }
        assert!(!session.lets_in(&HeaderMap::new()));
        assert!(Session::new(None, false).lets_in(&HeaderMap::new()));
    }

    #[test]
    fn names_that_lead_here_by_deceit_are_not_this_machine() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "127.3.2.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
