//! perch on pictures that cost nothing to make: what `scripts/bench` holds against the bare encoder on the same ones.
//!
//! It takes the flags of perch. The pictures, those of `--source test`, are drawn first: that takes three seconds, and then
//! the same ones come again and again.

#[path = "pictures/drawn_ahead.rs"]
mod pictures;

use std::process::ExitCode;

use clap::Parser as _;
use perch::app::App;
use perch::base::logging;
use perch::capture::{Opened, Resolution};
use perch::cli::Cli;

use pictures::DrawnAhead;

const RESOLUTION: Resolution = Resolution { width: 1280, height: 720 };
const FRAMERATE: u16 = 30;

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
    let config = Cli::parse().load_config().map_err(|error| error.to_string())?;
    logging::start(config.log.level.clone());
    let source = DrawnAhead::new(RESOLUTION, FRAMERATE).map_err(|error| error.to_string())?;
    let factory = move || Ok(Opened { source: Box::new(source.clone()), is_live: true });
    App::builder(config).with_source(Box::new(factory)).run().map_err(|error| error.to_string())
}
