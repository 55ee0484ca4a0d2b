//! Who may ask: the Host header on a loopback address, a token beyond it; and the headers of every answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::error::DashboardError;

const COOKIE: &str = "patchwork_token";

/// Nothing is loaded from anywhere else, no script stands in a page, nothing frames it, no form leaves it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Which requests are answered.
#[derive(Clone, Debug)]
pub enum Access {
    /// Those that reach a loopback address under its own name. A page elsewhere that has its name point to this machine
    /// (DNS rebinding) comes with a Host header of its own and is refused.
    Loopback {
        /// The port that is listened on.
        port: u16,
    },
    /// Those with this token, once in the address (`?token=`), then in a cookie.
    Token(String),
}

impl Access {
    /// Loopback addresses are open to this machine; any other wants a new token.
    ///
    /// # Errors
    /// [`DashboardError::Token`] if the system gives no random numbers.
    pub fn for_address(address: SocketAddr) -> Result<Self, DashboardError> {
        if address.ip().is_loopback() {
            return Ok(Self::Loopback {
                port: address.port(),
            });
        }
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(DashboardError::Token)?;
        let digits = u128::from_be_bytes(bytes);
        Ok(Self::Token(format!("{digits:032x}")))
    }
}

/// Refuses what may not be asked, and sets the headers of every answer.
pub(crate) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match refusal(&access, &request) {
        Some(response) => response,
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    response
}

fn refusal(access: &Access, request: &Request) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "nothing can be changed here: only GET is answered\n";
        return Some((StatusCode::METHOD_NOT_ALLOWED, text).into_response());
    }
    match access {
        Access::Loopback { port } => {
            let host = request.headers().get(header::HOST);
            let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
            if is_own_name(host, *port) {
                return None;
            }
            let text = "this server answers to localhost alone; to reach it under another name, start it with `--host`\n";
            Some((StatusCode::MISDIRECTED_REQUEST, text).into_response())
        }
        Access::Token(token) => with_token(token, request),
    }
}

/// Whether a Host header names the loopback address, with the right port where it names one.
fn is_own_name(host: &str, port: u16) -> bool {
    let (name, given) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.contains(']') => (name, digits.parse::<u16>().ok()),
        _ => (host, Some(port)),
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    // A forwarded port (ssh -L) is another one, and as harmless: what a hostile page cannot have is the name.
    is_loopback && given.is_some()
}

fn with_token(token: &str, request: &Request) -> Option<Response> {
    let headers = request.headers();
    let has_cookie = headers.get_all(header::COOKIE).iter().any(|line| {
        let line = line.to_str().unwrap_or_default();
        let mut pairs = line
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == COOKIE && is_same(value, token))
    });
    if has_cookie {
        return None;
    }
    let query = request.uri().query().unwrap_or_default();
    let (given, rest): (Vec<&str>, Vec<&str>) = query
        .split('&')
        .partition(|pair| pair.starts_with("token="));
    let is_given = given
        .iter()
        .any(|pair| is_same(pair.trim_start_matches("token="), token));
    if !is_given {
        let text = "this server wants the token that it printed when it started: open the address with `?token=…`\n";
        return Some((StatusCode::UNAUTHORIZED, text).into_response());
    }
    // The token leaves the address bar, where it would be seen and remembered.
    let path = request.uri().path();
    // Two slashes at the start would name another host.
    let path = format!("/{}", path.trim_start_matches(['/', '\\']));
    let target = match rest.join("&") {
        rest if rest.is_empty() => path,
        rest => format!("{path}?{rest}"),
    };
    let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict");
    let mut response = Redirect::to(&target).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Some(response)
}

/// Takes as long for any wrong token of the right length.
fn is_same(given: &str, token: &str) -> bool {
    let differing = given
        .bytes()
        .zip(token.bytes())
        .fold(0, |differing, (one, other)| differing | (one ^ other));
    given.len() == token.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_its_own() {
        for host in [
            "localhost",
            "localhost:7860",
            "127.0.0.1:7860",
            "LOCALHOST:1",
            "[::1]:7860",
            "[::1]",
            "127.9.9.9",
        ] {
            assert!(is_own_name(host, 7860), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:7860",
            "192.168.0.4",
            "[::2]:7860",
            "localhost:x",
            "user@localhost",
        ] {
            assert!(!is_own_name(host, 7860), "{host}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same("abc", "abc"));
        for wrong in ["", "ab", "abd", "abcd", "ABC"] {
            assert!(!is_same(wrong, "abc"), "{wrong}");
        }
    }
}
