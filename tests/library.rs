//! perch as a library: routes, wrappers, folders and origins beside its own, over real HTTP.

mod common;

use std::path::{Path, PathBuf};

use common::{Client, error};
use perch::app::App;
use perch::capture::SourceSpec;
use perch::config::Config;
use perch::http::{AuthMode, Method, Mount, Response, Router, StatusCode, header};

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
