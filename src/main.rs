//! The `perch` command: reads the flags, does what they say, and turns failures into exit codes.

use std::process::ExitCode;

use clap::Parser as _;
use perch::app::App;
use perch::base::{allocator, logging};
use perch::capture::worker;
use perch::cli::{Cli, Command, ConfigCommand, WebCommand};
use perch::config::{Config, ConfigError};
use perch::platform::state_dir;
use perch::platform::wifi::WifiSetup;
use perch::platform::wishes::Wishes;
use perch::{app, auth, http, network, probe, provision, support};

fn main() -> ExitCode {
    allocator::set_up();
    let cli = Cli::parse();
    // Its settings come from the perch that started it.
    if let Some(Command::CameraWorker { backend }) = cli.command {
        logging::start(cli.flags.log.unwrap_or_default());
        return worker::run(backend).map_or_else(|error| fail(&error, 1), |()| ExitCode::SUCCESS);
    }
    if let Some(Command::Provision(places)) = &cli.command {
        logging::start(cli.flags.log.unwrap_or_default());
        return provision::run(places).map_or_else(|error| fail(&error, 1), |()| ExitCode::SUCCESS);
    }
    if let Some(Command::Network(places)) = &cli.command {
        logging::start(cli.flags.log.unwrap_or_default());
        return network::run(places).map_or_else(|error| fail(&error, 1), |()| ExitCode::SUCCESS);
    }
    let config = match cli.load_config() {
        Ok(config) => config,
        Err(error) => return fail(&error, ConfigError::EXIT_CODE),
    };
    match &cli.command {
        None | Some(Command::CameraWorker { .. } | Command::Provision(_) | Command::Network(_)) => serve(&config, &cli),
        Some(Command::Auth(args)) => match auth::commands::run(args, state_dir::find()) {
            Ok(text) => print(&text),
            Err(error) => fail(&error, 1),
        },
        Some(Command::Probe) => print(&probe::report()),
        Some(Command::SupportBundle) => print(&support::bundle(&config, &probe::report())),
        Some(Command::Config(ConfigCommand::Check { .. })) => {
            let file = cli.config_file();
            print(&file.map_or_else(|| "the defaults are in use".into(), |file| format!("{}: ok", file.display())))
        }
        Some(Command::Config(ConfigCommand::Show)) => match config.to_toml_masked() {
            Ok(text) => print(&text),
            Err(error) => fail(&error, ConfigError::EXIT_CODE),
        },
        Some(Command::Web(WebCommand::Export { dir, force })) => match http::export(dir, *force) {
            Ok(files) => print(&format!("{} files written to {}", files.len(), dir.display())),
            Err(error) => fail(&error, 1),
        },
    }
}

fn serve(config: &Config, cli: &Cli) -> ExitCode {
    logging::start(config.log.level.clone());
    let router = app::notice::router(cli.flags.notice.as_deref());
    let wishes = cli.flags.wishes.clone().map(Wishes::in_folder);
    let flags = &cli.flags;
    let wifi = flags.wifi.clone().zip(flags.wishes.clone()).map(|(status, wishes)| WifiSetup::new(status, wishes));
    let builder = App::builder(app::fitted_to_machine(config)).with_router(router);
    match builder.with_wishes(wishes).with_wifi(wifi).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    // A reader that went away (`perch probe | head -1`) is no failure.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    ExitCode::SUCCESS
}

fn fail(error: &(impl std::fmt::Display + ?Sized), code: u8) -> ExitCode {
    eprintln!("perch: {error}");
    ExitCode::from(code)
}
