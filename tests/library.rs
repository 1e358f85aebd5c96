//! perch as a library: routes, wrappers, folders and origins beside its own, over real HTTP.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Client, error};
use perch::app::App;
use perch::base::clock::Timestamp;
use perch::capture::{CameraSource, CaptureError, Opened, SourceSpec};
use perch::config::Config;
use perch::http::{AuthMode, Method, Mount, Response, Router, StatusCode, header};
use perch::media::frame::{Frame, FramePool, PixelFormat, packed_size};
use perch::process::jpeg::JpegDecoder;

/// A perch in this process, with the test picture.
struct Running {
    app: Option<App>,
    client: Client,
    folder: PathBuf,
}

impl Running {
    fn start(name: &str, router: Router) -> Self {
        Self::start_with(name, router, |_| ())
    }

    fn start_with(name: &str, router: Router, set: impl FnOnce(&mut Config)) -> Self {
        let folder = std::env::temp_dir().join(format!("perch-library-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("files/inner")).unwrap();
        std::fs::write(folder.join("files/index.html"), "<p>mounted").unwrap();
        std::fs::write(folder.join("files/inner/a.css"), "p {}").unwrap();
        std::fs::write(folder.join("secret"), "secret").unwrap();
        let mut config = Config::default();
        config.camera.first_mut().source = SourceSpec::Test;
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        config.http.allowed_origins = vec!["https://home.example".into()];
        config.http.mounts = vec![Mount { path: "/files".into(), folder: folder.join("files") }];
        set(&mut config);
        let app = App::builder(config).with_router(router).start().unwrap();
        let client = Client { addr: app.local_addr() };
        Self { app: Some(app), client, folder }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.app.take().unwrap().stop();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

#[test]
fn added_routes_answer_beside_perchs_own() {
    let router = Router::new()
        .route(Method::GET, "/hello/{name}", |request| Response::text(format!("hello {}", request.param("name"))))
        .unwrap();
    let perch = Running::start("routes", router);
    assert_eq!(perch.client.get("/hello/Ada%20L").text(), "hello Ada L");
    assert_eq!(perch.client.send("HEAD", "/hello/x", &[], b"").status, 200);
    let refused = perch.client.post("/hello/x", b"");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(perch.client.get("/healthz").text(), "ok");
}

#[test]
fn a_locked_perch_asks_for_a_login_on_added_routes_and_mounts_unless_they_are_public() {
    let router = Router::new()
        .route(Method::GET, "/mine", |_| Response::text("mine"))
        .unwrap()
        .route_for(None, Method::GET, "/everybodys", |_| Response::text("everybody's"))
        .unwrap();
    let perch = Running::start_with("locked", router, |config| config.http.auth = AuthMode::Required);
    for path in ["/mine", "/files/", "/files/inner/a.css"] {
        assert!([401, 403].contains(&perch.client.get(path).status), "{path}");
    }
    assert_eq!(perch.client.get("/everybodys").text(), "everybody's");
}

#[test]
fn wrappers_see_every_request_and_may_answer_it() {
    let router = Router::new().wrap(|request, next| match &*request.path {
        "/metrics" => Response::error(StatusCode::FORBIDDEN, "not for you"),
        _ => next.run(request).with(header::HeaderName::from_static("x-wrapped"), "mine"),
    });
    let perch = Running::start("wrappers", router);
    let refused = perch.client.get("/metrics");
    assert_eq!((refused.status, error(&refused)), (403, "not for you".to_owned()));
    for path in ["/", "/none", "/files/"] {
        assert_eq!(perch.client.get(path).header("x-wrapped"), Some("mine"), "{path}");
    }
}

#[test]
fn a_handler_that_panics_is_answered_500_and_the_next_request_is_served() {
    let panics = |_: &perch::http::Request| -> Response { panic!("a handler of the test's own") };
    let router =
        Router::new().route(Method::GET, "/broken", panics).unwrap().route(Method::GET, "/api/broken", panics).unwrap();
    let perch = Running::start("panics", router);
    for _ in 0..20 {
        let page = perch.client.get("/broken");
        assert_eq!((page.status, page.header("content-type")), (500, Some("text/html; charset=utf-8")));
        assert!(page.text().contains("<h1>"), "{}", page.text());
        let json = perch.client.get("/api/broken");
        assert!(json.status == 500 && error(&json).contains("log"), "{}", json.text());
    }
    assert_eq!(perch.client.get("/healthz").status, 200);
}

#[test]
fn a_mounted_folder_is_served_and_nothing_around_it() {
    let perch = Running::start("mounts", Router::new());
    std::os::unix::fs::symlink(perch.folder.join("secret"), perch.folder.join("files/link")).unwrap();
    let redirect = perch.client.get("/files");
    assert_eq!((redirect.status, redirect.header("location")), (308, Some("/files/")));
    assert_eq!(perch.client.get("/files/").text(), "<p>mounted");
    let style = perch.client.get("/files/inner/a.css");
    assert_eq!((style.text().as_str(), style.header("content-type")), ("p {}", Some("text/css; charset=utf-8")));
    let tag = format!("If-None-Match: {}", style.header("etag").unwrap());
    assert_eq!(perch.client.send("GET", "/files/inner/a.css", &[&tag], b"").status, 304);
    for path in
        ["/files/none", "/files/../secret", "/files/%2e%2e/secret", "/files/..%2fsecret", "/files/link", "/files//"]
    {
        let answer = perch.client.get(path);
        assert!(
            answer.status == 404 && !answer.text().contains("secret"),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
    }
}

#[test]
fn pages_of_an_allowed_origin_may_use_the_camera_and_no_others() {
    let perch = Running::start("origins", Router::new());
    let allowed = "Origin: https://home.example";
    let preflight = perch.client.send("OPTIONS", "/whep", &[allowed, "Access-Control-Request-Method: POST"], b"");
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://home.example"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Content-Type"));
    let offer = perch.client.send("POST", "/offer", &[allowed, "Content-Type: application/json"], b"{}");
    assert_eq!((offer.status, offer.header("access-control-allow-origin")), (400, Some("https://home.example")));
    assert_eq!(offer.header("vary"), Some("Origin"));
    for other in ["Origin: https://evil.example", "Origin: null", "Origin: http://home.example"] {
        let refused = perch.client.send("POST", "/offer", &[other], b"{}");
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None), "{other}");
    }
    assert_eq!(perch.client.get("/api/status").header("access-control-allow-origin"), None);
}

/// One picture again and again, of one colour.
struct OneColour(PixelFormat, (usize, usize), Vec<u8>);

impl CameraSource for OneColour {
    fn next_frame(&mut self, _: Duration) -> Result<Option<Frame>, CaptureError> {
        std::thread::sleep(Duration::from_millis(20)); // its rate
        let Self(format, size, bytes) = self;
        let frame = Frame::packed(*format, *size, Timestamp::now(), Box::new(bytes.clone()));
        frame.map(Some).map_err(|error| CaptureError::Lost(error.to_string()))
    }

    fn describe(&self) -> String {
        "one colour".into()
    }
}

#[test]
fn a_source_may_have_pixels_in_any_format_and_size() {
    // Orange: red 255, green 140, blue 0; and what it is in YUV.
    let (rgb, [y, u, v]) = ([255, 140, 0], [152, 49, 189]);
    let size = (65, 49);
    let formats = [
        (PixelFormat::Gray8, vec![255], [235, 128, 128]),
        (PixelFormat::Bgr24, vec![rgb[2], rgb[1], rgb[0]], [y, u, v]),
        (PixelFormat::Rgb24, rgb.to_vec(), [y, u, v]),
        (PixelFormat::Bgra, vec![rgb[2], rgb[1], rgb[0], 0], [y, u, v]),
        (PixelFormat::Rgba, vec![rgb[0], rgb[1], rgb[2], 0], [y, u, v]),
        (PixelFormat::Yuyv, vec![y, u, y, v], [y, u, v]),
        (PixelFormat::Nv12, vec![], [y, u, v]),
        (PixelFormat::I420, vec![], [y, u, v]),
    ];
    for (format, pixel, expected) in formats {
        let length = packed_size(format, size);
        let (luma, chroma) = (size.0 * size.1, size.0.div_ceil(2) * size.1.div_ceil(2));
        let bytes = match format {
            PixelFormat::Nv12 => [vec![y; luma], [u, v].repeat(chroma)].concat(),
            PixelFormat::I420 => [vec![y; luma], vec![u; chroma], vec![v; chroma]].concat(),
            _ => pixel.repeat(length / pixel.len()),
        };
        assert_eq!(bytes.len(), length, "{format}");
        let mut config = Config::default();
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        let factory = move || Ok(Opened { source: Box::new(OneColour(format, size, bytes.clone())), is_live: true });
        let app = App::builder(config).with_source(Box::new(factory)).start().unwrap();
        let answer = Client { addr: app.local_addr() }.get("/snapshot.jpg");
        assert_eq!(answer.status, 200, "{format}");
        let picture = JpegDecoder::new(FramePool::new(1)).decode(&answer.body, Timestamp::now()).unwrap();
        assert_eq!((picture.width(), picture.height()), (64, 48), "{format}");
        for (plane, expected) in expected.into_iter().enumerate() {
            let middle = picture.plane(plane)[picture.plane(plane).len() / 2];
            assert!(middle.abs_diff(expected) <= 3, "{format}, plane {plane}: {middle} and not {expected}");
        }
        app.stop();
    }
}

#[test]
fn a_picture_that_does_not_fit_its_format_is_an_error_when_it_is_made() {
    let frame = |format, bytes| Frame::packed(format, (64, 48), Timestamp::now(), Box::new(vec![0_u8; bytes]));
    assert!(frame(PixelFormat::Rgb24, 64 * 48 * 3).is_ok());
    let error = frame(PixelFormat::Rgba, 64 * 48 * 3).unwrap_err().to_string();
    assert_eq!(error, "a 64×48 RGBA frame needs 12288 bytes, the buffer has 9216");
}

#[test]
fn routes_and_wrappers_are_checked_when_they_are_added() {
    let route = |path| Router::new().route(Method::GET, path, |_| Response::text(""));
    for (path, words) in [
        ("mine", "`mine` is not a route: it must start with `/`"),
        ("/a/{}", "is not a route"),
        ("/offer", "the route `GET /offer` would collide with `/offer`"),
        ("/api/cameras/{camera}/masks", "would collide with `/api/cameras/{name}/masks`"),
    ] {
        let error = route(path).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
    let error = route("/mine").unwrap().merge(route("/mine").unwrap()).err().unwrap();
    assert_eq!(error.to_string(), "the route `GET /mine` would collide with `/mine`");
    assert!(Router::new().mount("/mine", Path::new("no such folder")).is_err());
}

#[test]
fn a_route_that_collides_with_a_mount_stops_the_start() {
    let mut config = Config::default();
    config.camera.first_mut().source = SourceSpec::Test;
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.http.mounts = vec![Mount { path: "/files".into(), folder: Path::new(".").into() }];
    let router = Router::new().route(Method::GET, "/files/{name}", |_| Response::text("")).unwrap();
    let refused = App::builder(config).with_router(router).start().err().unwrap().to_string();
    assert_eq!(refused, "the route `GET /files/{name}` would collide with `/files/{*file}`");
}
