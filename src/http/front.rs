//! What stands between clients and `tiny_http`, which has no timeouts and no limits of its own.
//!
//! Each connection is one task: hyper reads a request within deadlines and limits, the request goes to
//! `tiny_http` over one of a few private connections ([`super::upstream`]), and the answer comes back.
//! A small answer is taken over whole, so that a slow client holds nothing but its own connection; a
//! stream passes through piece by piece, as fast as its reader reads. What is asked for is not looked at
//! here: that is `routes`' matter. TLS ends here, by rustls; which certificate is shown is `tls`' matter.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::message::{self, Body as MessageBody};
use super::patience::{Patient, Phase};
use super::places::Places;
use super::upstream::{Lease, Upstream};
use crate::base::bucket::Buckets;
use crate::base::clock::Timestamp;

/// For the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes that one address may begin at once, and how soon one more: each costs a key exchange and a signature.
const HANDSHAKES: u32 = 128;
const HANDSHAKE_REFILL: Duration = Duration::from_millis(25);
/// Most bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Most bytes of a request's body.
pub(super) const BODY_BYTES: usize = 64 << 10;
/// For a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// For the head of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers up to this size are taken over whole.
const WHOLE_ANSWER_BYTES: u64 = 256 << 10;
/// Says to `dispatch` who asks; a client cannot set it.
pub(super) const PEER: HeaderName = HeaderName::from_static("x-perch-peer");
/// Says to `dispatch` that the request came over TLS; a client cannot set it.
pub(super) const SECURE: HeaderName = HeaderName::from_static("x-perch-secure");

/// Headers that mean one connection and not the request.
const OF_THE_CONNECTION: [HeaderName; 10] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    PEER,
    SECURE,
];

/// Accepts connections, over TLS where there is a `tls` for it, until it is aborted; then all connections end with it.
pub(super) async fn run(listener: TcpListener, tls: Option<TlsAcceptor>, upstream: Arc<Upstream>, places: Places) {
    let mut connections = JoinSet::new();
    let mut handshakes = Buckets::default();
    let mut may_begin = |address| match tls {
        None => Ok(()),
        Some(_) => {
            let now = Timestamp::now();
            handshakes.of(address, now).take(HANDSHAKES, HANDSHAKE_REFILL, now)
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((_, peer)) if may_begin(peer.ip()).is_err() => {
                log::debug!("{peer} was turned away: too many TLS handshakes from there");
            }
            Ok((stream, peer)) => match places.take(peer) {
                Ok(place) => {
                    let (upstream, tls) = (upstream.clone(), tls.clone());
                    connections.spawn(async move {
                        begin(stream, peer, tls, upstream).await;
                        drop(place);
                    });
                }
                Err(why) => log::warn!("{peer} was turned away: {why}"),
            },
            // Out of file descriptors, or a connection that ended before it was accepted.
            Err(error) => {
                log::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn begin(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, upstream: Arc<Upstream>) {
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("{peer}: no TCP_NODELAY: {error}");
    }
    let Some(tls) = tls else { return serve(stream, peer, false, upstream).await };
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, peer, true, upstream).await,
        Ok(Err(error)) => log::debug!("{peer}: no TLS: {error}"),
        Err(_) => log::debug!("{peer}: the TLS handshake took too long"),
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, is_secure: bool, upstream: Arc<Upstream>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let phase = Phase::default();
    let io = TokioIo::new(Patient::new(stream, phase.clone()));
    let service = service_fn(move |request| {
        let (phase, upstream) = (phase.clone(), upstream.clone());
        async move {
            phase.busy();
            let keep = Keep(phase);
            let method = request.method().clone();
            let response = match forward(request, peer, is_secure, &upstream).await {
                Ok((response, lease)) => relay(response, lease, &method).await,
                Err(refusal) => refuse(refusal),
            };
            Ok::<_, std::convert::Infallible>(response.map(|content| Answer { content, _keep: keep }))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(HEAD_BYTES * 2)
        .serve_connection(io, service)
        .await;
    if let Err(error) = served {
        log::debug!("{peer}: the connection ended: {error}");
    }
}

/// Marks the connection idle when the answer has been sent.
struct Keep(Phase);

impl Drop for Keep {
    fn drop(&mut self) {
        self.0.idle();
    }
}

/// A refusal by the front itself.
struct Refusal(StatusCode, &'static str);

fn refuse(Refusal(status, what): Refusal) -> Response<Content> {
    let mut refusal = message::Response::error(status, what).hardened();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        refusal = refusal.with(header::RETRY_AFTER, "1");
    }
    let body = match refusal.body {
        MessageBody::Whole(bytes) => bytes,
        MessageBody::Stream(_) => Bytes::new(),
    };
    let mut response = Response::new(Content::Whole(Full::new(body)));
    *response.status_mut() = refusal.status;
    *response.headers_mut() = refusal.headers;
    if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_REQUEST) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn forward(
    request: Request<Incoming>,
    peer: SocketAddr,
    is_secure: bool,
    upstream: &Arc<Upstream>,
) -> Result<(Response<Incoming>, Lease), Refusal> {
    let (head, body) = request.into_parts();
    let target = match head.uri.path_and_query() {
        _ if head.method == Method::CONNECT => return Err(Refusal(StatusCode::NOT_IMPLEMENTED, "perch is no proxy")),
        Some(target) if target.as_str().bytes().all(|byte| byte.is_ascii_graphic()) => target.as_str(),
        _ => return Err(Refusal(StatusCode::BAD_REQUEST, "the path holds characters that must be percent-encoded")),
    };
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal(StatusCode::BAD_REQUEST, "there is more than one Host")),
        (None, None) if head.version == Version::HTTP_11 => {
            return Err(Refusal(StatusCode::BAD_REQUEST, "there is no Host"));
        }
        // `tiny_http` closes the connection when a header is not ASCII.
        (Some(host), None) if host.to_str().is_err() => {
            return Err(Refusal(StatusCode::BAD_REQUEST, "the Host is malformed"));
        }
        (host, None) => host.cloned(),
    };
    let body = collect(body).await?;
    let mut forwarded = Request::new(Full::new(body));
    *forwarded.method_mut() = head.method;
    *forwarded.uri_mut() = target.parse().map_err(|_| Refusal(StatusCode::BAD_REQUEST, "the path is malformed"))?;
    let headers = forwarded.headers_mut();
    *headers = end_to_end(&head.headers);
    // RFC 9112, section 3.2.2: a target with a host outweighs the Host header.
    let host = head.uri.authority().and_then(|host| host.as_str().parse().ok()).or(host);
    headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("")));
    headers.insert(PEER, peer.to_string().parse().map_err(|_| Refusal(StatusCode::BAD_REQUEST, "unknown peer"))?);
    if is_secure {
        headers.insert(SECURE, HeaderValue::from_static("1"));
    }
    match timeout(ANSWER_TIMEOUT, upstream.send(forwarded)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "perch is busy"))
        }
        Ok(Err(error)) => {
            log::error!("a request from {peer} could not be forwarded: {error}");
            Err(Refusal(StatusCode::BAD_GATEWAY, "perch failed here; its log says why"))
        }
        Err(_) => {
            log::error!("a request from {peer} was not answered in {ANSWER_TIMEOUT:?}");
            Err(Refusal(StatusCode::GATEWAY_TIMEOUT, "perch took too long"))
        }
    }
}

/// The request's body, within limits.
async fn collect(body: Incoming) -> Result<Bytes, Refusal> {
    const TOO_LARGE: Refusal = Refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB");
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(TOO_LARGE);
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TOO_LARGE),
        Ok(Err(_)) => Err(Refusal(StatusCode::BAD_REQUEST, "the body is malformed")),
        Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

/// The headers that go on: none of the connection's, none that `tiny_http` would choke on.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> =
        named.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect();
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        // What a client names in Connection it could use to strip what a check relies on.
        let dropped = OF_THE_CONNECTION.contains(name)
            || named.iter().any(|named| named == name.as_str() && *name != header::ORIGIN && *name != header::HOST);
        if !dropped && value.to_str().is_ok() {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// The answer for the client.
async fn relay(response: Response<Incoming>, mut lease: Lease, method: &Method) -> Response<Content> {
    let (mut head, body) = response.into_parts();
    let length = head.headers.remove(header::CONTENT_LENGTH);
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::SERVER] {
        head.headers.remove(name);
    }
    let no_body = *method == Method::HEAD
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || head.status.is_informational();
    if let (true, Some(length)) = (*method == Method::HEAD, length) {
        head.headers.insert(header::CONTENT_LENGTH, length);
    }
    if !no_body && body.size_hint().exact().is_none_or(|length| length > WHOLE_ANSWER_BYTES) {
        return Response::from_parts(head, Content::Streamed(body, Some(lease)));
    }
    match timeout(ANSWER_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => {
            lease.done();
            Response::from_parts(head, Content::Whole(Full::new(body.to_bytes())))
        }
        _ => refuse(Refusal(StatusCode::BAD_GATEWAY, "perch failed here; its log says why")),
    }
}

/// The body of an answer.
enum Content {
    Whole(Full<Bytes>),
    /// From upstream as it comes; the lease goes back when all has come.
    Streamed(Incoming, Option<Lease>),
}

struct Answer {
    content: Content,
    _keep: Keep,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().content {
            Content::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Content::Streamed(body, lease) => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(context));
                let ended = frame.is_none() || matches!(frame, Some(Ok(_)) if body.is_end_stream());
                if let (true, Some(mut lease)) = (ended, if ended { lease.take() } else { None }) {
                    lease.done();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(body) => body.is_end_stream(),
            Content::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(body) => body.size_hint(),
            Content::Streamed(body, _) => body.size_hint(),
        }
    }
}
