//! The command line: flags that win over perch.toml, and the commands beside serving.
//!
//! Flags parse with the types of the parts that they set, so a flag takes exactly what its key takes. What
//! a command does is not here; a wrong flag exits with clap's 2, a wrong file with
//! [`ConfigError::EXIT_CODE`].

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::auth::commands::AuthArgs;
use crate::base::logging::LogFilter;
use crate::capture::worker::Backend;
use crate::capture::{self, Resolution, SourceSpec};
use crate::config::{Config, ConfigError};
use crate::http;
use crate::network;
use crate::process::colorspace::Colorspace;
use crate::provision::Places;

/// A camera you browse to: streams a Raspberry Pi or USB camera to browsers.
///
/// Without a command it serves the camera. Settings come from /etc/perch/perch.toml if that is there, and
/// flags win over them.
#[derive(Clone, Debug, Parser)]
#[command(name = "perch", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Settings given as flags.
    #[command(flatten)]
    pub flags: Flags,
}

/// Flags that win over perch.toml.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// Where pictures come from: auto, test, libcamera, 0, /dev/video0, file:PATH, file:- for standard input, rtsp://… or http://…
    #[arg(long, global = true, value_name = "SOURCE")]
    pub source: Option<SourceSpec>,

    /// Wished picture size, as in 1280x720
    #[arg(long, global = true, value_name = "WIDTHxHEIGHT")]
    pub resolution: Option<Resolution>,

    /// Wished frames per second, 1 to 120
    #[arg(long, global = true, value_name = "FPS", value_parser = framerate, allow_negative_numbers = true)]
    pub framerate: Option<u32>,

    /// How pictures are served: webrtc (video), or mjpeg (single pictures only)
    #[arg(long, global = true, value_name = "MODE")]
    pub mode: Option<http::Mode>,

    /// Seconds that a camera warms up before its pictures are shown, 0 to 60
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=60))]
    pub time_delay: Option<u32>,

    /// Hold a shaking picture still; see [camera.stabilizer] for how
    #[arg(long, global = true)]
    pub stabilize: bool,

    /// Show the channels of another colour space: gray, hsv, hls, lab, luv, ycrcb, yuv, xyz, rgb
    #[arg(long, global = true, value_name = "SPACE")]
    pub colorspace: Option<Colorspace>,

    /// Address and port to serve on, as in 0.0.0.0:8000
    #[arg(long, global = true, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// How much to log: off, error, warn, info, debug or trace, or by module as in info,perch::webrtc=debug
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<LogFilter>,

    /// A text that is shown in front of the page, if the file is there
    #[arg(long, value_name = "FILE")]
    pub notice: Option<PathBuf>,

    /// A folder in which the appliance is asked to start again or to forget everything; its image sets this
    #[arg(long, value_name = "DIR")]
    pub wishes: Option<PathBuf>,

    /// What the appliance's `perch network` says about Wi-Fi; its image sets this
    #[arg(long, value_name = "FILE", requires = "wishes")]
    pub wifi: Option<PathBuf>,

    /// Settings file to read instead of /etc/perch/perch.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What perch does instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check or show the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Work on the web page
    #[command(subcommand)]
    Web(WebCommand),
    /// Set the password, reset it, or make tokens for programs
    Auth(AuthArgs),
    /// Take the settings from the appliance's card; the image's own start runs it
    Provision(Places),
    /// Look after the appliance's network: its name, and Wi-Fi with the access point; its image runs it
    Network(network::Places),
    /// Say which cameras and encoders this machine has
    Probe,
    /// Print what somebody needs who is to help: settings and logs, without secrets
    SupportBundle,
    /// Run a camera for the perch that started this one; not for people
    #[command(hide = true)]
    CameraWorker {
        /// Which cameras it has
        #[arg(long)]
        backend: Backend,
    },
}

/// What to do with the settings.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a settings file without serving; exits 78 when it is wrong
    Check {
        /// The file, instead of the one that perch would read
        file: Option<PathBuf>,
    },
    /// Print the settings in use as TOML, secrets as ***
    Show,
}

/// What to do with the page.
#[derive(Clone, Debug, Subcommand)]
pub enum WebCommand {
    /// Write the built-in page's files into a folder, to change them and name it as web.data_dir
    Export {
        /// The folder, made if it is not there
        dir: PathBuf,
        /// Replace files that are already there
        #[arg(long)]
        force: bool,
    },
}

impl Cli {
    /// The settings file in use, if any: the one named, else the default one if it is there.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        match &self.command {
            Some(Command::Config(ConfigCommand::Check { file: Some(file) })) => Some(file.clone()),
            _ => self.flags.config.clone().or_else(Config::default_file),
        }
    }

    /// Reads the settings file in use, or the defaults without one, and sets what the flags say.
    ///
    /// # Errors
    /// When the file cannot be read or is wrong, or the flags do not go with it.
    pub fn load_config(&self) -> Result<Config, ConfigError> {
        let mut config = match self.config_file() {
            Some(file) => Config::load(&file)?,
            None => Config::default(),
        };
        self.flags.apply(&mut config)?;
        config.validate("command line")?;
        Ok(config)
    }
}

impl Flags {
    const fn is_about_a_camera(&self) -> bool {
        let picture = self.stabilize || self.colorspace.is_some() || self.resolution.is_some();
        picture || self.source.is_some() || self.framerate.is_some() || self.time_delay.is_some()
    }

    fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        fn set<T: Clone>(flag: Option<&T>, value: &mut T) {
            if let Some(flag) = flag {
                value.clone_from(flag);
            }
        }
        let cameras = config.camera.len();
        if cameras > 1 && self.is_about_a_camera() {
            return Err(ConfigError::Value {
                origin: "command line".into(),
                message: format!(
                    "--source, --resolution, --framerate, --time-delay, --stabilize and --colorspace are for one camera, and \
                     the settings file \
                     has {cameras}: set this there"
                ),
            });
        }
        let camera = config.camera.first_mut();
        set(self.source.as_ref(), &mut camera.source);
        set(self.resolution.as_ref(), &mut camera.resolution);
        set(self.framerate.as_ref(), &mut camera.framerate);
        set(self.time_delay.as_ref(), &mut camera.time_delay_s);
        camera.stabilize |= self.stabilize;
        camera.colorspace = self.colorspace.or(camera.colorspace);
        set(self.mode.as_ref(), &mut config.http.mode);
        set(self.listen.as_ref(), &mut config.http.listen);
        set(self.log.as_ref(), &mut config.log.level);
        Ok(())
    }
}

/// A framerate that the camera's own settings allow.
fn framerate(text: &str) -> Result<u32, String> {
    let framerate = text.parse().map_err(|_| "not a whole number: write frames per second, as in 30".to_owned())?;
    let camera = capture::Config { framerate, ..capture::Config::default() };
    camera.validate().map(|()| framerate).map_err(|(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("perch").chain(args.iter().copied()))
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = std::env::temp_dir().join(format!("perch-cli-test-{}.toml", std::process::id()));
        std::fs::write(&file, "[camera]\nsource = \"test\"\nframerate = 15\n[http]\nlisten = \"[::1]:80\"").unwrap();
        let path = file.to_str().unwrap();
        let cli = parse(&["--config", path, "--framerate", "60", "--resolution", "640x480", "--log", "warn"]).unwrap();
        let config = cli.load_config().unwrap();
        assert_eq!(config.camera.first().source, SourceSpec::Test);
        assert_eq!(config.camera.first().framerate, 60);
        assert_eq!(config.camera.first().resolution, Resolution { width: 640, height: 480 });
        assert_eq!(config.http.listen, SocketAddr::new("::1".parse().unwrap(), 80));
        assert_eq!(config.log.level, "warn".parse().unwrap());

        let check = parse(&["config", "check", path]).unwrap();
        assert_eq!(check.config_file(), Some(file.clone()));
        assert_eq!(check.load_config().unwrap().camera.first().framerate, 15);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn flags_of_a_camera_are_refused_when_there_are_several() {
        let two = "[[camera]]\nname = \"a\"\nsource = \"test\"\n[[camera]]\nname = \"b\"\nsource = \"test\"";
        let file = std::env::temp_dir().join(format!("perch-cli-test-two-{}.toml", std::process::id()));
        std::fs::write(&file, two).unwrap();
        let path = file.to_str().unwrap();
        let refused = parse(&["--config", path, "--framerate", "15"]).unwrap().load_config().unwrap_err().to_string();
        assert!(refused.contains("--framerate") && refused.contains("has 2"), "{refused}");
        assert_eq!(parse(&["--config", path, "--log", "warn"]).unwrap().load_config().unwrap().camera.len(), 2);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn flags_may_stand_before_and_after_a_command() {
        for args in [["--source", "test", "config", "show"], ["config", "show", "--source", "test"]] {
            assert_eq!(parse(&args).unwrap().flags.source, Some(SourceSpec::Test), "{args:?}");
        }
        assert!(matches!(
            parse(&["web", "export", "page", "--force"]).unwrap().command,
            Some(Command::Web(WebCommand::Export { force: true, .. }))
        ));
    }

    #[test]
    fn what_the_keys_refuse_the_flags_refuse_with_exit_code_2() {
        for args in [
            ["--framerate", "0"],
            ["--framerate", "-1"],
            ["--framerate", "x"],
            ["--resolution", "720p"],
            ["--source", "webcam"],
            ["--listen", "8000"],
            ["--mode", "flash"],
            ["--time-delay", "61"],
            ["--log", "loud"],
            ["--sorce", "test"],
            ["--colorspace", "hvs"],
        ] {
            let error = parse(&args).expect_err(args[1]);
            assert_eq!(error.exit_code(), 2, "{args:?}");
        }
        let error = parse(&["--source", "rtmp://cam/1"]).unwrap_err().to_string();
        assert!(error.contains("ffmpeg"), "{error}");
    }

    #[test]
    fn a_named_file_that_is_not_there_is_an_error() {
        let error = parse(&["--config", "/no/such/perch.toml"]).unwrap().load_config().unwrap_err();
        assert!(error.to_string().starts_with("/no/such/perch.toml: cannot be read"), "{error}");
    }
}
