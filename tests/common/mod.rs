//! Runs the real binary for a test, and talks HTTP to it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use perch::capture::CameraSource;
use perch::media::frame::Frame;

/// For anything a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Talks HTTP to a running perch.
pub struct Client {
    /// Where it serves.
    pub addr: SocketAddr,
}

/// A running perch; killed when dropped.
pub struct Perch {
    client: Client,
    child: Child,
}

impl Deref for Perch {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Starts perch with its test picture on a free port, and `args` besides.
pub fn start_perch(args: &[&str]) -> Perch {
    let mut child = Command::new(env!("CARGO_BIN_EXE_perch"))
        .args(["--source", "test", "--listen", "127.0.0.1:0"])
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .expect("perch starts");
    let stderr = child.stderr.take().expect("stderr is piped");
    let (found, addr) = mpsc::channel();
    // The reader goes on to the end, so that perch never blocks on a full pipe.
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            eprintln!("perch: {line}");
            if let Some((_, rest)) = line.split_once("listening on http://") {
                let _ = found.send(rest.trim_end_matches('/').parse::<SocketAddr>());
            }
        }
    });
    match addr.recv_timeout(PATIENCE) {
        Ok(Ok(addr)) => Perch { client: Client { addr }, child },
        other => {
            let _ = child.kill();
            let _ = child.wait();
            panic!("perch did not say where it listens: {other:?}");
        }
    }
}

impl Perch {
    /// Asks it to end as systemd would; returns how long that took, or `None` when it did not end in time.
    pub fn terminate(mut self) -> Option<Duration> {
        let started = Instant::now();
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        while started.elapsed() < PATIENCE {
            if self.child.try_wait().expect("the child can be waited for").is_some() {
                return Some(started.elapsed());
            }
            thread::sleep(Duration::from_millis(5)); // std can wait for a child only without a limit.
        }
        None
    }
}

impl Client {
    /// Opens a connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("perch accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        stream
    }

    /// Sends `bytes` on a new connection and reads one answer.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // perch may refuse and close before all is sent.
        let _ = stream.write_all(bytes);
        Answer::read(&mut BufReader::new(stream), false).expect("an answer")
    }

    /// One request with headers (`Name: value` lines) and a body.
    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&self.request(method, path, headers, body)).expect("the request is sent");
        Answer::read(&mut BufReader::new(stream), method == "HEAD").expect("an answer")
    }

    /// The bytes of a request.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.addr);
        for header in headers {
            request += header;
            request += "\r\n";
        }
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        request
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// A POST.
    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.send("POST", path, &[], body)
    }
}

impl Drop for Perch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads the head of an answer.
    pub fn read_head(from: &mut impl BufRead) -> Option<Self> {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => return Some(Self { status, headers, body: Vec::new() }),
            }
        }
    }

    /// Reads one answer with its body.
    pub fn read(from: &mut impl BufRead, head_only: bool) -> Option<Self> {
        let mut answer = Self::read_head(from)?;
        if head_only || matches!(answer.status, 204 | 304) {
            return Some(answer);
        }
        match answer.header("content-length") {
            Some(length) => {
                answer.body = vec![0; length.parse().ok()?];
                from.read_exact(&mut answer.body).ok()?;
            }
            None if answer.header("transfer-encoding") == Some("chunked") => {
                while let Some(chunk) = read_chunk(from) {
                    answer.body.extend(chunk);
                }
            }
            None => drop(from.read_to_end(&mut answer.body).ok()?),
        }
        Some(answer)
    }

    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Reads one chunk of a body; `None` at its end.
pub fn read_chunk(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    let mut chunk = vec![0; usize::from_str_radix(line.trim_end(), 16).ok()? + 2];
    from.read_exact(&mut chunk).ok()?;
    chunk.truncate(chunk.len() - 2);
    (!chunk.is_empty()).then_some(chunk)
}

/// The source's next picture.
pub fn next_frame(source: &mut dyn CameraSource) -> Frame {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match source.next_frame(Duration::from_millis(200)) {
            Ok(Some(frame)) => return frame,
            Ok(None) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no picture within {PATIENCE:?}");
}

/// What a JSON error says.
pub fn error(answer: &Answer) -> String {
    let json = answer.json();
    json["error"].as_str().unwrap_or_else(|| panic!("no error in {json}")).to_owned()
}
