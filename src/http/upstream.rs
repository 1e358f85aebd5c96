//! The connections from the front to `tiny_http`.
//!
//! `tiny_http` gives each connection a thread, and when several come at once it queues some behind
//! threads that only look idle; such a connection is served when another one *ends*. So connections are
//! opened one by one, each proves with a request of its own that a thread serves it, and then it is kept
//! and used again. There are at most as many as the pool allows; who finds none free waits.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// For a new connection to prove that it is served.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(1);
/// New connections that may fail to do so before the request is given up.
const WARM_UP_ATTEMPTS: usize = 4;
/// For a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// For a kept connection to be done with its last answer.
const READY_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections that are kept though nobody uses them; each holds a thread of `tiny_http`.
const KEPT: usize = 16;

struct Link {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Link {
    /// Closes the socket at once, so that whoever writes to it learns that nobody reads.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The pool.
pub(super) struct Upstream {
    socket: PathBuf,
    warm_up: String,
    free: Arc<Semaphore>,
    kept: Mutex<Vec<Link>>,
    opening: tokio::sync::Mutex<()>,
}

/// A connection in use. Dropping it closes it, unless its answer was read to the end.
pub(super) struct Lease {
    link: Option<Link>,
    pool: Arc<Upstream>,
    reusable: bool,
    _permit: OwnedSemaphorePermit,
}

impl Upstream {
    /// A pool of at most `limit` connections to `socket`; a GET of `warm_up` is answered 204 there.
    pub(super) fn new(socket: PathBuf, warm_up: String, limit: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(limit));
        Arc::new(Self { socket, warm_up, free, kept: Mutex::default(), opening: tokio::sync::Mutex::default() })
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Link>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// When no connection can be had in time, or it broke under the request.
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Request<Full<Bytes>>,
    ) -> io::Result<(Response<Incoming>, Lease)> {
        let acquiring = timeout(ACQUIRE_TIMEOUT, self.free.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = acquiring else {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "all connections to the server are in use"));
        };
        let mut lease = Lease { link: None, pool: self.clone(), reusable: false, _permit: permit };
        // A kept connection may have broken unseen. Then the request comes back, and a new one takes it.
        for _ in 0..2 {
            let link = lease.link.insert(self.link().await?);
            match link.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, lease)),
                Err(mut failed) => match failed.take_message() {
                    Some(message) => request = message,
                    None => return Err(io::Error::other(failed.into_error())),
                },
            }
        }
        Err(io::Error::new(io::ErrorKind::BrokenPipe, "connections to the server break"))
    }

    async fn link(&self) -> io::Result<Link> {
        loop {
            let Some(mut link) = self.kept().pop() else { break };
            if let Ok(Ok(())) = timeout(READY_TIMEOUT, link.sender.ready()).await {
                return Ok(link);
            }
        }
        let _one_by_one = self.opening.lock().await;
        for _ in 0..WARM_UP_ATTEMPTS {
            // Whoever waited for the lock may find that a connection has become free meanwhile.
            let kept = self.kept().pop_if(|link| link.sender.is_ready());
            if let Some(link) = kept {
                return Ok(link);
            }
            let mut link = self.open().await?;
            match timeout(WARM_UP_TIMEOUT, self.warm(&mut link)).await {
                Ok(Ok(())) => return Ok(link),
                Ok(Err(error)) => log::debug!("a new connection to the server broke: {error}"),
                Err(_) => log::debug!("a new connection to the server was not served; trying another"),
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the server serves no new connection"))
    }

    async fn open(&self) -> io::Result<Link> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("a connection to the server ended: {error}");
            }
        });
        Ok(Link { sender, task: task.abort_handle() })
    }

    async fn warm(&self, link: &mut Link) -> io::Result<()> {
        let request = Request::get(&self.warm_up).body(Full::default()).map_err(io::Error::other)?;
        let response = link.sender.send_request(request).await.map_err(io::Error::other)?;
        if response.status() != StatusCode::NO_CONTENT {
            return Err(io::Error::other(format!("the warm-up was answered {}", response.status())));
        }
        drop(response);
        link.sender.ready().await.map_err(io::Error::other)
    }

    /// Closes the connections that nobody uses.
    pub(super) fn close(&self) {
        self.free.close();
        self.kept().clear();
    }
}

impl Lease {
    /// The answer has been read to its end: the connection may serve the next request.
    pub(super) fn done(&mut self) {
        self.reusable = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(link) = self.link.take() else { return };
        if self.reusable && !self.pool.free.is_closed() {
            let mut kept = self.pool.kept();
            if kept.len() < KEPT {
                kept.push(link);
            }
        }
    }
}
