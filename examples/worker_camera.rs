//! A perch whose camera is the test picture in a worker process, with controls of every kind: what controls are tried
//! on where there is no camera.
//!
//! `cargo run --example worker_camera`, with the flags of `perch`, then browse to the address that is logged.

use std::process::ExitCode;

use clap::Parser as _;
use perch::app::App;
use perch::base::logging;
use perch::capture::Opened;
use perch::capture::worker::{self, Backend, WorkerCommand, WorkerSource};
use perch::cli::{Cli, Command};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let cli = Cli::parse();
    // The worker is this program once more.
    if let Some(Command::CameraWorker { backend }) = cli.command {
        logging::start(cli.flags.log.unwrap_or_default());
        return worker::run(backend);
    }
    let config = cli.load_config().map_err(|error| error.to_string())?;
    logging::start(config.log.level.clone());
    let camera = config.camera.first().clone();
    let factory = move || {
        let source = WorkerSource::open(&WorkerCommand::this_program(Backend::Test), &camera)?;
        Ok(Opened { source: Box::new(source), is_live: true })
    };
    App::builder(config).with_source(Box::new(factory)).run().map_err(|error| error.to_string())
}
