//! Which keys exist: asked of the settings' own `serde` definitions, never written down a second time.
//!
//! `serde` answers an unknown key with the names it knows in that place. Offering it a key that cannot
//! exist, place by place, brings out all of them, optional ones too.

use toml::de::Deserializer;

use super::Config;
use super::document::quoted_after_expected;

/// A key that no section has.
const NO_KEY: &str = "\"?\" = 0";

/// How alike two names must be, from 0 to 1, for one to be what was meant by the other.
const ALIKE: f64 = 0.75;

/// Every key there is, as `section.key`; keys of a table in it, or of the tables in a list, as `section.list.key`.
#[must_use]
pub fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    for section in expected_names("") {
        for key in expected_names(&format!("[{section}]")) {
            let path = format!("{section}.{key}");
            let headers = [format!("[[{path}]]"), format!("[{path}]")];
            let inner: Vec<_> = headers.iter().flat_map(|header| expected_names(header)).collect();
            if inner.is_empty() {
                keys.push(path);
            } else {
                keys.extend(inner.iter().map(|name| format!("{path}.{name}")));
            }
        }
    }
    keys
}

/// The names that may stand under a header such as `[camera]`; none if there is no such table.
pub fn expected_names(header: &str) -> Vec<String> {
    let text = format!("{header}\n{NO_KEY}");
    match Deserializer::parse(&text).and_then(<Config as serde::Deserialize>::deserialize) {
        Err(error) if error.message().starts_with("unknown field") => quoted_after_expected(error.message()),
        _ => Vec::new(),
    }
}

/// Which of `names` was probably meant by `given`.
pub fn nearest(given: &str, names: &[String]) -> Option<String> {
    let alike = |name: &str| strsim::jaro_winkler(&given.to_lowercase(), name);
    names
        .iter()
        .map(|name| (alike(name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name.clone())
}

/// A key of another section that has exactly this name: for keys written under the wrong header.
pub fn same_elsewhere(given: &str) -> Option<String> {
    known_keys().into_iter().find(|path| path.rsplit('.').next() == Some(given))
}
