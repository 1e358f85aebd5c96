//! `tiny_http` and the threads that answer.
//!
//! One thread takes requests from `tiny_http` and never waits; eight named workers answer, because an
//! offer may take its time; a stream gets a thread of its own. `tiny_http` listens on a socket file in a
//! folder that only this user can enter, so nobody gets around the front.

use std::fs::{self, DirBuilder};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use super::front::{BODY_BYTES, PEER, SECURE};
use super::message::{Body, Request, Response, StreamBody};
use super::routes::{Routes, without_body};
use super::stream::Parts;
use crate::base::shutdown::Shutdown;

/// Threads that answer.
const WORKERS: usize = 8;
/// Requests that may wait for a worker. The front has fewer connections, so this never fills.
const QUEUE: usize = 256;
/// How the names of our folders begin, before 16 hex digits.
const FOLDER: &str = "perch-http-";
/// The socket file's name.
const SOCKET: &str = "socket";
/// Most left-behind folders that one start looks at.
const MAX_SWEPT: usize = 64;
/// Younger folders may belong to a perch that is starting.
const SWEPT_AGE: Duration = Duration::from_secs(60);

/// `tiny_http`'s server and the folder its socket file is in. The order matters: the server wakes its own
/// accepting thread through the file when it is dropped, and the folder can go after that.
struct Listening {
    server: tiny_http::Server,
    folder: Folder,
}

struct Folder(PathBuf);

impl Folder {
    fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            log::debug!("{} stays behind: {error}", self.0.display());
        }
    }
}

/// The running threads.
pub(super) struct Dispatch {
    listening: Arc<Listening>,
    stop: Shutdown,
    warm_up: String,
    ended: Receiver<()>,
}

/// What each thread holds: when the last one is gone, all threads have ended.
#[derive(Clone)]
struct Worker {
    routes: Arc<Routes>,
    stop: Shutdown,
    _alive: SyncSender<()>,
}

impl Dispatch {
    /// Starts `tiny_http` and the threads.
    ///
    /// # Errors
    /// When no socket can be made or no thread started.
    pub(super) fn start(routes: Arc<Routes>, stop: Shutdown) -> io::Result<Self> {
        let listening = Arc::new(listen()?);
        let warm_up = format!("/{:032x}", rand::random::<u128>());
        let (alive, ended) = mpsc::sync_channel(0);
        let (requests, waiting) = mpsc::sync_channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        let worker = Worker { routes, stop: stop.clone(), _alive: alive.clone() };
        for at in 0..WORKERS {
            let (worker, waiting) = (worker.clone(), waiting.clone());
            thread::Builder::new().name(format!("http-{at}")).spawn(move || worker.run(&waiting))?;
        }
        let receiver = (listening.clone(), stop.clone(), warm_up.clone());
        thread::Builder::new().name("http-recv".into()).spawn(move || {
            let (listening, stop, warm_up) = receiver;
            receive(&listening.server, &stop, &warm_up, &requests);
            drop((listening, requests));
            drop(alive);
        })?;
        Ok(Self { listening, stop, warm_up, ended })
    }

    /// The socket that `tiny_http` listens on.
    pub(super) fn socket(&self) -> PathBuf {
        self.listening.folder.socket()
    }

    /// The path that is answered 204 at once.
    pub(super) fn warm_up(&self) -> String {
        self.warm_up.clone()
    }

    /// Ends the threads and waits for them, but no longer than `patience`; returns whether they have ended.
    pub(super) fn stop(self, patience: Duration) -> bool {
        self.stop.request();
        self.listening.server.unblock();
        self.ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

/// Listens in the first folder where that works.
fn listen() -> io::Result<Listening> {
    let runtime = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].into_iter().filter_map(std::env::var_os);
    let places = runtime.map(PathBuf::from).filter(|path| path.is_absolute()).chain([std::env::temp_dir()]);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in places {
        sweep(&place);
        let path = place.join(format!("{FOLDER}{:016x}", rand::random::<u64>()));
        if let Err(error) = DirBuilder::new().mode(0o700).create(&path) {
            last = error;
            continue;
        }
        let folder = Folder(path);
        match tiny_http::Server::http_unix(&folder.socket()) {
            Ok(server) => return Ok(Listening { server, folder }),
            Err(error) => last = io::Error::other(error),
        }
    }
    Err(last)
}

/// Removes what a killed perch left behind: folders of ours, older than a start takes, that nobody serves.
fn sweep(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    let ours = entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(FOLDER.as_bytes()));
    for entry in ours.take(MAX_SWEPT) {
        let old = entry.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        let socket = entry.path().join(SOCKET);
        let unserved =
            || UnixStream::connect(&socket).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if old.is_some_and(|age| age > SWEPT_AGE) && unserved() {
            let removed = fs::remove_file(&socket).and_then(|()| fs::remove_dir(entry.path()));
            log::debug!("{} was left behind; removing it: {removed:?}", entry.path().display());
        }
    }
}

/// Takes requests until it is time to stop. Never waits for a worker.
fn receive(server: &tiny_http::Server, stop: &Shutdown, warm_up: &str, requests: &SyncSender<tiny_http::Request>) {
    while !stop.is_requested() {
        match server.recv() {
            Ok(request) if request.url() == warm_up => {
                let _ = request.respond(tiny_http::Response::empty(204));
            }
            Ok(request) => match requests.try_send(request) {
                Ok(()) => {}
                Err(mpsc::TrySendError::Full(request)) => {
                    send(request, Response::error(StatusCode::SERVICE_UNAVAILABLE, "perch is busy"));
                }
                Err(mpsc::TrySendError::Disconnected(_)) => return,
            },
            Err(error) if stop.is_requested() => log::debug!("the server stops: {error}"),
            Err(error) => {
                log::error!("the server takes no more requests: {error}");
                return;
            }
        }
    }
}

impl Worker {
    fn run(self, waiting: &Mutex<Receiver<tiny_http::Request>>) {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match next {
                Ok(request) if !self.stop.is_requested() => self.answer(request),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn answer(&self, mut from: tiny_http::Request) {
        let request = match read(&mut from) {
            Ok(request) => request,
            Err(error) => {
                log::debug!("a request broke off: {error}");
                return send(from, Response::error(StatusCode::BAD_REQUEST, "the request is malformed"));
            }
        };
        let (path, head_only) = (request.path.clone(), request.method == Method::HEAD);
        let mut response = catch_unwind(AssertUnwindSafe(|| self.routes.answer(request))).unwrap_or_else(|_| {
            log::error!("the handler of {path} panicked");
            self.routes.failed(&path)
        });
        if head_only {
            response = without_body(response);
        }
        let response = response.hardened();
        match response.body {
            Body::Stream(body) => self.stream(from, response.headers, body),
            Body::Whole(_) => send(from, response),
        }
    }

    fn stream(&self, from: tiny_http::Request, headers: HeaderMap, body: StreamBody) {
        let worker = self.clone();
        let thread = thread::Builder::new().name("http-stream".into()).spawn(move || {
            let mut writer = from.into_writer();
            let streamed = Parts::begin(&mut writer, &headers, &worker.stop).and_then(|mut parts| {
                body(&mut parts)?;
                parts.finish()
            });
            if let Err(error) = streamed {
                log::debug!("a stream ended: {error}");
            }
            drop(writer);
            drop(worker);
        });
        if let Err(error) = thread {
            log::error!("no thread for a stream: {error}"); // The dropped request is answered 500.
        }
    }
}

/// The request as handlers see it.
fn read(from: &mut tiny_http::Request) -> io::Result<Request> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut headers = HeaderMap::new();
    for header in from.headers() {
        let name = HeaderName::from_bytes(header.field.as_str().as_str().as_bytes()).map_err(|_| malformed())?;
        let value = HeaderValue::from_str(header.value.as_str()).map_err(|_| malformed())?;
        headers.append(name, value);
    }
    let peer = headers.remove(PEER).and_then(|peer| peer.to_str().ok()?.parse().ok());
    let is_secure = headers.remove(SECURE).is_some();
    let method = Method::from_bytes(from.method().as_str().as_bytes()).map_err(|_| malformed())?;
    let (path, query) = from.url().split_once('?').unwrap_or((from.url(), ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut body = Vec::new();
    from.as_reader().take(BODY_BYTES as u64).read_to_end(&mut body)?;
    Ok(Request { method, path, query, headers, body: body.into(), peer, is_secure, ..Request::default() })
}

fn send(to: tiny_http::Request, response: Response) {
    let Body::Whole(body) = response.body else { return };
    let headers = response
        .headers
        .iter()
        .filter_map(|(name, value)| tiny_http::Header::from_bytes(name.as_str().as_bytes(), value.as_bytes()).ok());
    let (length, status) = (body.len(), tiny_http::StatusCode(response.status.as_u16()));
    let answer = tiny_http::Response::new(status, headers.collect(), Cursor::new(body), Some(length), None);
    if let Err(error) = to.respond(answer.with_chunked_threshold(usize::MAX)) {
        log::debug!("an answer could not be sent: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::SystemTime;

    #[test]
    fn only_old_folders_that_nobody_serves_are_swept() {
        let place = std::env::temp_dir().join(format!("perch-sweep-{:016x}", rand::random::<u64>()));
        let make = |name: &str, old: bool| {
            let folder = place.join(format!("{FOLDER}{name}"));
            fs::create_dir_all(&folder).unwrap();
            let listener = UnixListener::bind(folder.join(SOCKET)).unwrap();
            let age = if old { SWEPT_AGE * 2 } else { Duration::ZERO };
            fs::File::open(&folder).unwrap().set_modified(SystemTime::now() - age).unwrap();
            (folder, listener)
        };
        let (served, _listener) = make("served", true);
        let (left, listener) = make("left", true);
        drop(listener);
        let (young, listener) = make("young", false);
        drop(listener);
        sweep(&place);
        assert_eq!([&served, &left, &young].map(|folder| folder.exists()), [true, false, true]);
        fs::remove_dir_all(&place).unwrap();
    }
}
