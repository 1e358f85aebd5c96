//! Where perch keeps what must survive a restart.

use std::ffi::OsString;
use std::path::PathBuf;

/// What is kept of HTTPS there: perch's own authority and its certificate.
pub const TLS_FILE: &str = "tls.json";

/// systemd's `StateDirectory=`, else the user's (<https://specifications.freedesktop.org/basedir-spec/latest/>); `None`
/// when there is neither. The folder may not exist yet.
#[must_use]
pub fn find() -> Option<PathBuf> {
    choose(|name| std::env::var_os(name))
}

fn choose(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd may name several, with colons between them.
    let systemd = variable("STATE_DIRECTORY").and_then(|all| all.to_str()?.split(':').next().map(PathBuf::from));
    systemd
        .filter(|path| path.is_absolute())
        .or_else(|| folder("XDG_STATE_HOME").map(|home| home.join("perch")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state/perch")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> Option<PathBuf> {
        choose(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn systemds_folder_wins_over_the_users() {
        let all = [("HOME", "/home/a"), ("XDG_STATE_HOME", "/x"), ("STATE_DIRECTORY", "/var/lib/perch:/var/lib/b")];
        assert_eq!(chosen(&all), Some("/var/lib/perch".into()));
        assert_eq!(chosen(&all[..2]), Some("/x/perch".into()));
        assert_eq!(chosen(&all[..1]), Some("/home/a/.local/state/perch".into()));
        assert_eq!(chosen(&[("HOME", "relative")]), None);
    }
}
