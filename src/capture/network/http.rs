//! One `GET` after another to a camera's HTTP server, within bounds (RFC 9110, RFC 9112).
//!
//! Follows a few redirects, answers a demand for a password (RFC 7616, RFC 7617), and keeps the connection for the next
//! request. Redirects lead nowhere but to HTTP, and a password goes only to the host that it was written for.

use std::sync::Arc;

use bytes::Bytes;
use http_auth::{PasswordClient, PasswordParams};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::url::NetworkUrl;

/// Most redirects that are followed.
const REDIRECTS: usize = 5;
/// Most bytes and lines of an answer's head.
const HEAD_BYTES: usize = 16 << 10;
const HEAD_LINES: usize = 64;

/// Asks for one address, again and again.
pub(super) struct Client {
    url: Url,
    /// The host that the password is for.
    origin: url::Origin,
    credentials: Option<(String, String)>,
    challenge: Option<PasswordClient>,
    connection: Option<(url::Origin, SendRequest<Empty<Bytes>>)>,
}

impl Client {
    pub(super) fn new(url: &NetworkUrl) -> Self {
        let bare = url.bare();
        Self { origin: bare.origin(), url: bare, credentials: url.credentials(), challenge: None, connection: None }
    }

    /// The answer to a `GET`, if it is 200. A connection is opened where there is none that can be used again.
    ///
    /// # Errors
    /// In words: when the server cannot be reached, refuses, or leads in circles.
    pub(super) async fn get(&mut self) -> Result<Response<Incoming>, String> {
        let mut url = self.url.clone();
        let mut is_answered = false;
        for _ in 0..=REDIRECTS + 1 {
            let response = self.ask(&url).await?;
            match response.status() {
                StatusCode::OK => {
                    self.url = url;
                    return Ok(response);
                }
                StatusCode::UNAUTHORIZED if !is_answered && self.may_tell_password(&url) => {
                    self.challenge = Some(challenge(&response)?);
                    is_answered = true;
                    self.connection = None;
                }
                StatusCode::UNAUTHORIZED if self.credentials.is_none() => {
                    return Err("it wants a password: write it into the address, as in http://USER:PASSWORD@…".into());
                }
                StatusCode::UNAUTHORIZED => return Err("it refuses the password".into()),
                status if status.is_redirection() => {
                    url = target(&url, &response)?;
                    self.connection = None;
                }
                status => return Err(format!("it answers {status}")),
            }
        }
        Err(format!("it redirects more than {REDIRECTS} times"))
    }

    fn may_tell_password(&self, url: &Url) -> bool {
        self.credentials.is_some() && url.origin() == self.origin
    }

    async fn ask(&mut self, url: &Url) -> Result<Response<Incoming>, String> {
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, concat!("perch/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "multipart/x-mixed-replace, image/jpeg, video/mp4");
        if self.may_tell_password(url)
            && let (Some((username, password)), Some(challenge)) = (&self.credentials, &mut self.challenge)
        {
            let answer =
                challenge.respond(&PasswordParams { username, password, uri: path, method: "GET", body: Some(&[]) })?;
            let mut value = HeaderValue::from_str(&answer).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        // One that is kept may have been closed meanwhile: then another is opened.
        if let Some((origin, mut sender)) = self.connection.take().filter(|(origin, _)| *origin == url.origin())
            && sender.ready().await.is_ok()
            && let Ok(response) = sender.send_request(request.clone()).await
        {
            self.connection = Some((origin, sender));
            return Ok(response);
        }
        let mut sender = connect(url).await?;
        let response = sender.send_request(request).await.map_err(|error| format!("no HTTP answer: {error}"))?;
        self.connection = Some((url.origin(), sender));
        Ok(response)
    }
}

/// What the server calls what it sends, in small letters.
pub(super) fn content_type(response: &Response<Incoming>) -> String {
    let value = response.headers().get(header::CONTENT_TYPE);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().trim().to_ascii_lowercase()
}

/// Where a redirect leads.
fn target(url: &Url, response: &Response<Incoming>) -> Result<Url, String> {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let location = location.ok_or("it redirects to nowhere")?;
    let target = url.join(location).map_err(|error| format!("it redirects to what is no address: {error}"))?;
    match target.scheme() {
        "https" => Ok(target),
        "http" if url.scheme() == "http" => Ok(target),
        scheme => Err(format!("it redirects from {} to {scheme}, which is not followed", url.scheme())),
    }
}

fn challenge(response: &Response<Incoming>) -> Result<PasswordClient, String> {
    let mut builder = PasswordClient::builder();
    for value in response.headers().get_all(header::WWW_AUTHENTICATE) {
        builder = builder.challenges(value.to_str().map_err(|error| error.to_string())?);
    }
    builder.build().map_err(|error| format!("it wants a password in a way that is not known: {error}"))
}

async fn connect(url: &Url) -> Result<SendRequest<Empty<Bytes>>, String> {
    let host = url.host_str().ok_or("it names no host")?;
    // IPv6 addresses stand in brackets.
    let bare_host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().ok_or("it names no port")?;
    let stream =
        TcpStream::connect((bare_host, port)).await.map_err(|error| format!("it cannot be reached: {error}"))?;
    // Requests are small, and waited for.
    let _ = stream.set_nodelay(true);
    if url.scheme() != "https" {
        return handshake(stream).await;
    }
    let name = rustls::pki_types::ServerName::try_from(bare_host.to_owned()).map_err(|error| error.to_string())?;
    let stream = tls()?.connect(name, stream).await.map_err(|error| format!("no TLS connection: {error}"))?;
    handshake(stream).await
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Empty<Bytes>>, String> {
    let mut builder = Builder::new();
    builder.max_buf_size(HEAD_BYTES).max_headers(HEAD_LINES);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Ends with the runtime, or when the sender is dropped; what goes wrong, the answers tell.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// TLS that trusts what this machine trusts.
fn tls() -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine trusts no certificates: install ca-certificates".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
