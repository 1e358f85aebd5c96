//! Routes, a request wrapper and a folder of your own beside perch's.
//!
//! `cargo run --example own_routes`, then `curl -i http://127.0.0.1:8000/hello/Ada`.

use std::path::Path;
use std::process::ExitCode;

use perch::app::{App, StartError};
use perch::config::Config;
use perch::http::{self, Method, Response, RouteError, Router, StatusCode, header};

fn router() -> Result<Router, RouteError> {
    let router = Router::new()
        .route(Method::GET, "/hello/{name}", |request| Response::text(format!("hello {}", request.param("name"))))?
        .mount("/docs", Path::new("docs"))?;
    // Wrappers see every request, also those for perch's own routes: here, snapshots are for this machine alone.
    Ok(router.wrap(|request, next| {
        let is_near = request.peer.is_some_and(|peer| peer.ip().is_loopback());
        if request.path == "/snapshot.jpg" && !is_near {
            return Response::error(StatusCode::FORBIDDEN, "snapshots are for this machine alone");
        }
        next.run(request).with(header::HeaderName::from_static("x-hello"), "from my wrapper")
    }))
}

fn main() -> ExitCode {
    let run = || -> Result<(), StartError> {
        let router = router().map_err(http::StartError::from)?;
        App::builder(Config::default()).with_router(router).run()
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
