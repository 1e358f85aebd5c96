//! The documented settings are the real ones: every key, every default, every flag.

use clap::CommandFactory;
use perch::cli::Cli;
use perch::config::{Config, known_keys};

const REFERENCE: &str = include_str!("../docs/configuration.md");
const EXAMPLE: &str = include_str!("../docs/perch.example.toml");

/// The value of a key such as `http.tls.redirect` as TOML, where it has one by default.
fn default_of(path: &str) -> Option<String> {
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    let found = path.split('.').try_fold(toml::Value::Table(defaults), |value, key| value.get(key).cloned());
    found.map(|value| value.to_string())
}

/// The reference's row of a key, cell by cell.
fn row(first_cell: &str) -> Vec<&'static str> {
    let rows: Vec<_> = REFERENCE.lines().filter(|line| line.starts_with(&format!("| `{first_cell}"))).collect();
    assert_eq!(rows.len(), 1, "docs/configuration.md needs one row of `{first_cell}`");
    rows[0].split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn the_reference_has_every_key_with_its_default() {
    for key in known_keys() {
        let documented = row(&format!("{key}`"))[2];
        match default_of(&key) {
            Some(default) => assert_eq!(documented, format!("`{default}`"), "{key}"),
            None => assert!(["not set", "required"].contains(&documented), "{key}: {documented}"),
        }
    }
}

#[test]
fn the_reference_has_no_key_that_does_not_exist() {
    let keys = known_keys();
    let table = REFERENCE.split("## ").find(|part| part.starts_with("Keys")).unwrap();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let key = line.split('`').nth(1).unwrap();
        assert!(keys.iter().any(|known| known == key || known.starts_with(&format!("{key}."))), "{key} does not exist");
    }
}

#[test]
fn the_reference_has_every_flag_and_command() {
    fn check(command: &clap::Command, name: &str) {
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(REFERENCE.contains(&format!("`--{flag}")), "--{flag} of `{name}` is not documented");
        }
        // What is hidden is not for people.
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let name = format!("{name} {}", inner.get_name());
            assert!(REFERENCE.contains(&format!("`{name}")) || inner.has_subcommands(), "`{name}` is not documented");
            check(inner, &name);
        }
    }
    check(&Cli::command(), "perch");
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(Config::parse(EXAMPLE, "perch.example.toml"), Ok(Config::default()));
    for key in known_keys().iter().filter(|key| default_of(key).is_some()) {
        let name = key.rsplit('.').next().unwrap();
        assert!(EXAMPLE.lines().any(|line| line.starts_with(&format!("{name} = "))), "the example lacks {key}");
    }
}

#[test]
fn the_examples_optional_keys_are_right_once_uncommented() {
    // Optional lines have no space after the `#`; comments have one.
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = Config::parse(&uncommented, "perch.example.toml").unwrap_or_else(|error| panic!("{error}"));
    assert!(config.webrtc.udp_ports.is_some() && config.web.data_dir.is_some());
    assert!(config.webrtc.ice_servers.iter().any(|server| !server.credential.is_empty()));
    for key in known_keys() {
        let name = key.rsplit('.').next().unwrap();
        assert!(uncommented.lines().any(|line| line.starts_with(&format!("{name} = "))), "the example lacks {key}");
    }
}
