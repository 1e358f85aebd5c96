//! What a client may rely on over real TCP: deadlines, limits, statuses, and that bursts are served.

mod common;

use std::io::{BufReader, Read, Write};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use common::{Answer, PATIENCE, error, read_chunk, start_perch};

#[test]
fn a_burst_of_64_new_connections_is_answered_at_once() {
    let perch = Arc::new(start_perch(&[]));
    for round in 0..3 {
        let barrier = Arc::new(Barrier::new(64));
        let clients: Vec<_> = (0..64)
            .map(|_| {
                let (perch, barrier) = (perch.clone(), barrier.clone());
                thread::spawn(move || {
                    barrier.wait();
                    let started = Instant::now();
                    assert_eq!(perch.get("/").status, 200);
                    started.elapsed()
                })
            })
            .collect();
        let slowest = clients.into_iter().map(|client| client.join().unwrap()).max().unwrap();
        assert!(slowest < Duration::from_millis(250), "round {round}: the slowest took {slowest:?}");
    }
}

#[test]
fn a_head_that_does_not_come_is_given_up_after_5_s() {
    let perch = start_perch(&[]);
    let started = Instant::now();
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\nHos"] {
        let mut stream = perch.connect();
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest); // Closed or reset, but not silent until the test's own timeout.
        assert!(started.elapsed() < PATIENCE, "the connection stayed open");
    }
    assert!((9..14).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[test]
fn a_body_that_does_not_come_is_given_up_after_10_s() {
    let perch = start_perch(&[]);
    let started = Instant::now();
    let answer = perch.raw(b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    assert_eq!(answer.status, 408);
    assert!((9..14).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[test]
fn a_body_above_64_kib_is_refused_whether_declared_or_chunked() {
    let perch = start_perch(&[]);
    let large = vec![b' '; 300 << 10];
    let answer = perch.post("/offer", &large);
    assert_eq!(answer.status, 413);
    assert!(error(&answer).contains("64 KiB"));
    let mut chunked = b"POST /whep HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4b000\r\n".to_vec();
    chunked.extend_from_slice(&large);
    assert_eq!(perch.raw(&chunked).status, 413);
    assert_eq!(perch.post("/offer", &large[..64 << 10]).status, 400);
}

#[test]
fn a_chunked_body_is_read() {
    let perch = start_perch(&[]);
    let request = b"POST /offer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n";
    let answer = perch.raw(request);
    assert_eq!(answer.status, 400);
    assert!(error(&answer).contains("JSON object"), "{}", answer.text());
}

#[test]
fn garbage_is_answered_400_and_a_head_too_large_431() {
    let perch = start_perch(&[]);
    assert_eq!(perch.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").status, 400);
    assert_eq!(perch.raw(b"one two three four\r\n\r\n").status, 400);
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20 << 10));
    assert_eq!(perch.raw(large.as_bytes()).status, 431);
    assert_eq!(perch.raw(b"GET / HTTP/1.1\r\n\r\n").status, 400, "HTTP/1.1 without Host");
    assert_eq!(perch.raw(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").status, 501);
    assert_eq!(perch.get("/healthz").status, 200);
}

#[test]
fn http_1_0_gets_its_answer_and_the_connection_ends() {
    let perch = start_perch(&[]);
    let mut stream = perch.connect();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.0 200") && all.ends_with("\r\n\r\nok"), "{all}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let perch = start_perch(&[]);
    let mut stream = perch.connect();
    let mut requests = perch.request("GET", "/healthz", &[], b"");
    requests.extend(perch.request("POST", "/offer", &[], b"[]"));
    requests.extend(perch.request("GET", "/test", &[], b""));
    stream.write_all(&requests).unwrap();
    let mut answers = BufReader::new(stream);
    let statuses = [(); 3].map(|()| Answer::read(&mut answers, false).unwrap().status);
    assert_eq!(statuses, [200, 400, 404]);
}

#[test]
fn head_is_answered_like_get_without_a_body() {
    let perch = start_perch(&[]);
    for path in ["/", "/static/player.js", "/healthz", "/api/status", "/test"] {
        let (get, head) = (perch.get(path), perch.send("HEAD", path, &[], b""));
        assert_eq!((head.status, head.header("content-type")), (get.status, get.header("content-type")), "{path}");
    }
    for path in ["/snapshot.jpg", "/stream.mjpg"] {
        assert_eq!(perch.send("HEAD", path, &[], b"").status, 200, "{path}");
    }
}

#[test]
fn a_method_that_is_not_allowed_gets_the_list_of_those_that_are() {
    let perch = start_perch(&[]);
    for (method, path, allow) in [
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("DELETE", "/offer", "GET, HEAD, OPTIONS, POST"),
        ("GET", "/close_connection", "OPTIONS, POST"),
        ("GET", "/whep", "OPTIONS, POST"),
        ("GET", "/whep/x", "DELETE, OPTIONS, PATCH, POST"),
        ("TRACE", "/healthz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = perch.send(method, path, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    let options = perch.send("OPTIONS", "/whep", &[], b"");
    assert_eq!((options.status, options.header("accept-post")), (204, Some("application/sdp")));
    assert_eq!(perch.send("OPTIONS", "/", &[], b"").header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn a_missing_page_is_html_and_a_missing_api_json() {
    let perch = start_perch(&[]);
    for path in ["/test", "/static/none.js", "/static/../Cargo.toml", "/static/%2e%2e/index.html"] {
        let answer = perch.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (404, Some("text/html; charset=utf-8")), "{path}");
    }
    assert_eq!(perch.get("/api/none").status, 404);
    error(&perch.get("/api/none"));
}

#[test]
fn every_answer_is_hardened() {
    let perch = start_perch(&[]);
    for path in ["/", "/healthz", "/test", "/api/none", "/static/player.js"] {
        let answer = perch.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(answer.header("server"), None, "{path}");
    }
    let policy = perch.get("/");
    assert!(policy.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
}

#[test]
fn a_page_that_is_known_is_not_sent_again() {
    let perch = start_perch(&[]);
    let first = perch.get("/");
    assert_eq!((first.status, first.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let condition = format!("If-None-Match: {}", first.header("etag").unwrap());
    let again = perch.send("GET", "/", &[&condition], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn a_bad_offer_is_answered_400_with_what_is_wrong() {
    let perch = start_perch(&[]);
    for (body, what) in [("", "empty"), ("{", "not JSON"), ("[]", "object"), ("{}", "`type`"), ("7", "object")] {
        for method in ["POST", "GET"] {
            let answer = perch.send(method, "/offer", &[], body.as_bytes());
            assert_eq!(answer.status, 400, "{method} {body}");
            assert!(error(&answer).contains(what), "{method} {body}: {}", answer.text());
        }
    }
    let garbage = perch.post("/offer", br#"{"type":"offer","sdp":"garbage"}"#);
    assert_eq!(garbage.status, 400, "{}", garbage.text());
}

#[test]
fn close_connection_is_disabled_in_broadcast_mode() {
    let perch = start_perch(&[]);
    for body in ["0", "1", "\"all\""] {
        let answer = perch.post("/close_connection", body.as_bytes());
        assert_eq!((answer.status, answer.text().as_str()), (200, "DISABLED"), "{body}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(perch.post("/close_connection", b"{").status, 400);
    let unknown = format!("{{\"session\":\"{}\"}}", "0".repeat(32));
    let answer = perch.send("POST", "/close_connection", &["Content-Type: text/plain"], unknown.as_bytes());
    assert_eq!((answer.status, answer.text().as_str()), (200, "OK"));
}

#[test]
fn whep_refuses_other_types_and_unknown_sessions() {
    let perch = start_perch(&[]);
    let unknown = format!("/whep/{}", "0".repeat(32));
    let send = |method, path, content_type: &str, body: &str| {
        perch.send(method, path, &[&format!("Content-Type: {content_type}")], body.as_bytes()).status
    };
    let fragment = "application/trickle-ice-sdpfrag";
    assert_eq!(send("POST", "/whep", "application/json", "{}"), 415);
    assert_eq!(send("POST", "/whep", "application/sdp", ""), 400);
    assert_eq!(send("POST", "/whep", "application/sdp; charset=utf-8", "garbage"), 400);
    assert_eq!(send("DELETE", &unknown, "", ""), 404);
    assert_eq!(send("DELETE", "/whep/other", "", ""), 404);
    assert_eq!(send("PATCH", &unknown, "application/sdp", "a=candidate:1"), 415);
    assert_eq!(send("PATCH", &unknown, fragment, "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n"), 404);
    assert_eq!(send("PATCH", &unknown, fragment, "{}"), 404);
}

#[test]
fn pages_of_other_sites_can_neither_offer_nor_close_nor_look() {
    let perch = start_perch(&[]);
    let foreign = ["Origin: http://evil.example"];
    for (method, path) in [
        ("POST", "/offer"),
        ("GET", "/offer"),
        ("POST", "/close_connection"),
        ("POST", "/whep"),
        ("GET", "/snapshot.jpg"),
    ] {
        assert_eq!(perch.send(method, path, &foreign, b"0").status, 403, "{method} {path}");
    }
    let own = format!("Origin: http://{}", perch.addr);
    assert_eq!(perch.send("POST", "/close_connection", &[&own], b"0").status, 200);
    assert_eq!(perch.send("GET", "/healthz", &foreign, b"").status, 200);
}

#[test]
fn status_and_metrics_say_how_perch_is_doing() {
    let perch = start_perch(&[]);
    let status = perch.get("/api/status").json();
    assert_eq!(status["viewers"], 0);
    assert!(status["max_viewers"].as_u64().unwrap() >= 1);
    assert!(status["ice_servers"].is_array() && status["camera"]["state"].is_string());
    let metrics = perch.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for name in [
        "perch_frames_captured_total{camera=\"main\"} ",
        "perch_frame_copies_total{camera=\"main\",stage=\"jpeg\"} ",
        "perch_viewers{",
    ] {
        assert!(metrics.text().contains(name), "{name} is missing");
    }
}

#[test]
fn a_snapshot_is_a_jpeg() {
    let perch = start_perch(&[]);
    let answer = perch.get("/snapshot.jpg");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/jpeg")));
    assert!(answer.body.starts_with(b"\xff\xd8") && answer.body.ends_with(b"\xff\xd9"));
}

#[test]
fn stream_readers_are_limited_and_a_place_comes_back_when_one_goes() {
    let perch = start_perch(&[]);
    let open = || {
        let mut stream = perch.connect();
        stream.write_all(&perch.request("GET", "/stream.mjpg", &[], b"")).unwrap();
        let mut reader = BufReader::new(stream);
        (Answer::read_head(&mut reader).unwrap(), reader)
    };
    let mut readers: Vec<_> = (0..4).map(|_| open()).collect();
    for (head, reader) in &mut readers {
        assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
        let mut text = Vec::new();
        while !text.windows(2).any(|pair| pair == b"\xff\xd8") {
            text.extend(read_chunk(reader).expect("a part"));
        }
        assert!(text.starts_with(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: "));
    }
    let (refused, _reader) = open();
    assert_eq!(refused.status, 503);
    readers.pop();
    let deadline = Instant::now() + PATIENCE;
    let mjpeg_viewers = || perch.get("/api/status").json()["mjpeg_viewers"].as_u64();
    while mjpeg_viewers() != Some(3) {
        assert!(Instant::now() < deadline, "the reader that went still counts");
        thread::sleep(Duration::from_millis(20)); // The event is inside of another process.
    }
    assert_eq!(open().0.status, 200);
}

#[test]
fn readers_that_do_not_read_hold_nobody_up() {
    let perch = start_perch(&[]);
    let _stuck: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = perch.connect();
            stream.write_all(&perch.request("GET", "/stream.mjpg", &[], b"")).unwrap();
            stream
        })
        .collect();
    let started = Instant::now();
    for _ in 0..32 {
        assert_eq!(perch.get("/").status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_reader_that_takes_nothing_is_ended() {
    let perch = start_perch(&[]);
    let stuck = perch.connect();
    socket2::SockRef::from(&stuck).set_recv_buffer_size(4096).unwrap();
    (&stuck).write_all(&perch.request("GET", "/stream.mjpg", &[], b"")).unwrap();
    let viewers = |wanted| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while perch.get("/api/status").json()["mjpeg_viewers"] != wanted {
            assert!(Instant::now() < deadline, "mjpeg_viewers never became {wanted}");
            thread::sleep(Duration::from_millis(50)); // The event is inside of another process.
        }
    };
    viewers(1);
    viewers(0);
}

#[test]
fn perch_ends_within_3_s_with_readers_and_hung_clients() {
    let perch = start_perch(&[]);
    let mut reading = perch.connect();
    reading.write_all(&perch.request("GET", "/stream.mjpg", &[], b"")).unwrap();
    let mut reader = BufReader::new(reading);
    assert_eq!(Answer::read_head(&mut reader).unwrap().status, 200);
    let mut hung = perch.connect();
    hung.write_all(b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{").unwrap();
    let took = perch.terminate().expect("perch ends");
    assert!(took < Duration::from_secs(3), "{took:?}");
}
