//! How long the front waits for a client: a socket that fails when its peer takes too long.
//!
//! hyper has one timeout for headers, which would also end idle connections, and none for writing. Here
//! each phase of a connection has its own: the head of a request must be complete 5 s after its first
//! byte (or after the connection was opened), an idle connection is kept 30 s, and a reader that takes
//! nothing for 10 s has gone. Bodies of requests are limited by `front`, which knows when they begin.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// For a reader to take something.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// For a client to read a last answer and close, when it was still sending.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);
/// Most bytes that are read and thrown away while lingering.
const LINGER_BYTES: usize = 1 << 20;

const FRESH: u8 = 0; // Opened, or bytes of a head have come.
const BUSY: u8 = 1; // A request is being answered.
const IDLE: u8 = 2; // Answered; nothing has come since.
const ENTERED: u8 = 4; // The phase was entered and its timer is not set yet.

/// Where a connection stands; the service tells, the socket obeys.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<AtomicU8>);

impl Phase {
    /// A request has come whole (its head, that is).
    pub(super) fn busy(&self) {
        self.0.store(BUSY | ENTERED, Relaxed);
    }

    /// The answer has been sent.
    pub(super) fn idle(&self) {
        self.0.store(IDLE | ENTERED, Relaxed);
    }
}

/// A socket whose reads and writes fail when the peer takes too long.
pub(super) struct Patient<S> {
    socket: S,
    phase: Phase,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Patient<S> {
    pub(super) fn new(socket: S, phase: Phase) -> Self {
        phase.0.store(FRESH | ENTERED, Relaxed);
        Self { socket, phase, read_timer: None, write_timer: None, linger: None }
    }

    fn written<T>(&mut self, result: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_timer = None;
            return result;
        }
        let timer = self.write_timer.get_or_insert_with(|| timer(WRITE_TIMEOUT));
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn timer(time: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + time))
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.phase.0.fetch_and(!ENTERED, Relaxed);
        if phase & ENTERED != 0 {
            this.read_timer = match phase & !ENTERED {
                FRESH => Some(timer(HEAD_TIMEOUT)),
                IDLE => Some(timer(IDLE_TIMEOUT)),
                _ => None,
            };
        }
        let result = Pin::new(&mut this.socket).poll_read(context, buf);
        if result.is_ready() {
            if phase & !ENTERED == IDLE {
                this.phase.0.store(FRESH, Relaxed);
                this.read_timer = Some(timer(HEAD_TIMEOUT));
            }
            return result;
        }
        match &mut this.read_timer {
            Some(timer) => timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
            None => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.written(result, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_write_vectored(context, bytes);
        this.written(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_flush(context);
        this.written(result, context)
    }

    /// Ends the sending side, then waits a moment for the client to do the same: closing while bytes of a
    /// refused request are unread would reset the connection, and the client would not see the refusal.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
        }
        let (timer, total) = this.linger.get_or_insert_with(|| (timer(LINGER_TIMEOUT), 0));
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.socket).poll_read(context, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && *total < LINGER_BYTES => {
                    *total += buf.filled().len()
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return timer.as_mut().poll(context).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn an_idle_connection_outlives_the_time_for_a_head() {
        run(async {
            let (client, server) = duplex(64);
            let phase = Phase::default();
            let mut server = Patient::new(server, phase.clone());
            phase.idle();
            let waiting = tokio::time::timeout(Duration::from_millis(10), server.read_u8()).await;
            assert!(waiting.is_err());
            let left = server.read_timer.as_ref().unwrap().deadline() - Instant::now();
            assert!(left > HEAD_TIMEOUT && left <= IDLE_TIMEOUT);
            drop(client);
        });
    }

    #[test]
    fn the_time_for_a_head_runs_from_its_first_byte_and_is_not_renewed() {
        run(async {
            let (mut client, server) = duplex(64);
            let phase = Phase::default();
            let mut server = Patient::new(server, phase.clone());
            phase.idle();
            client.write_all(b"GE").await.unwrap();
            server.read_u8().await.unwrap();
            let first = server.read_timer.as_ref().unwrap().deadline();
            server.read_u8().await.unwrap();
            assert_eq!(server.read_timer.as_ref().unwrap().deadline(), first);
            assert!(first <= Instant::now() + HEAD_TIMEOUT);
        });
    }

    #[test]
    fn a_busy_connection_may_be_silent() {
        run(async {
            let (_client, server) = duplex(64);
            let phase = Phase::default();
            let mut server = Patient::new(server, phase.clone());
            phase.busy();
            assert!(tokio::time::timeout(Duration::from_millis(10), server.read_u8()).await.is_err());
            assert!(server.read_timer.is_none());
        });
    }
}
