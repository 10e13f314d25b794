//! Who may ask what. On loopback everybody on the machine may read; a web page in a browser there may not
//! (its name would be rebound to loopback, or it would post across origins). Beyond loopback a token decides.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::{failure, page};
use crate::config::settings::AdminSettings;

/// What a request may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Everything.
    Full,
    /// That something is well or not, without the reasons.
    Probe,
}

type Refusal = (StatusCode, &'static str);

/// The rules of one server.
pub struct Guard {
    token: Option<SecretString>,
    address: IpAddr,
    allow_unauthenticated: bool,
}

impl Guard {
    pub fn new(settings: &AdminSettings, address: SocketAddr) -> Self {
        Guard {
            token: settings.token.clone(),
            address: address.ip(),
            allow_unauthenticated: settings.allow_unauthenticated,
        }
    }

    /// What a request may see, or why it is refused.
    pub fn judge(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Trust, Refusal> {
        let is_local = self.address.is_loopback();
        if is_local && !self.is_our_name(host(headers).unwrap_or_default()) {
            return Err((
                StatusCode::FORBIDDEN,
                "the Host header doesn't name this machine",
            ));
        }
        if is_cross_origin(headers) {
            return Err((
                StatusCode::FORBIDDEN,
                "requests from other sites' pages aren't taken",
            ));
        }
        if self.has_token(headers) {
            return Ok(Trust::Full);
        }
        let may_read = is_local || self.allow_unauthenticated;
        match (matches!(*method, Method::GET | Method::HEAD), &self.token) {
            (true, _) if may_read => Ok(Trust::Full),
            (true, _) if is_probe(path) => Ok(Trust::Probe),
            (false, None) if is_local => Ok(Trust::Full),
            (false, None) => Err((
                StatusCode::FORBIDDEN,
                "actions need a token: configure admin.token_file",
            )),
            _ => Err((
                StatusCode::UNAUTHORIZED,
                "the token is missing or wrong: send Authorization: Bearer <token>",
            )),
        }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        match (
            &self.token,
            given.and_then(|value| value.strip_prefix(b"Bearer ")),
        ) {
            (Some(token), Some(given)) => token.expose_secret().as_bytes().ct_eq(given).into(),
            _ => false,
        }
    }

    fn is_our_name(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|ip| ip == self.address || ip.is_loopback())
    }
}

/// That something is well may be known without a token; and the page's files hold no data.
fn is_probe(path: &str) -> bool {
    let is_health = matches!(
        path,
        "/livez" | "/readyz" | "/burrow/admin" | "/burrow/admin/ready"
    );
    is_health || page::is_page(path)
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Browsers say where a request comes from; nothing else does.
fn is_cross_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let parts = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    parts.is_none_or(|(_, authority)| Some(authority) != host(headers))
}

/// Refuses what may not be asked, and tells the others what they may see.
pub async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    match guard.judge(request.method(), request.uri().path(), request.headers()) {
        Ok(trust) => {
            request.extensions_mut().insert(trust);
            next.run(request).await
        }
        Err((code, what)) => {
            let mut response = failure(code, what);
            if code == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer");
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}
