//! A TOML text that remembers where everything stands, to say `perch.toml:12` when something is wrong.
//!
//! What is right and wrong is `serde`'s and the sections' business; this only finds the place and the words.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::known_keys::{expected_names, nearest, same_elsewhere};
use super::{BadValue, ConfigError};

/// A text that is TOML, though maybe not settings.
pub struct Document<'a> {
    text: &'a str,
    file: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// Reads a text's form.
    pub fn parse(text: &'a str, file: &'a str) -> Result<Self, ConfigError> {
        let root = DeTable::parse(text).map_err(|error| at(text, file, error.span(), one_line(error.message())))?;
        Ok(Self { text, file, root })
    }

    /// Reads the settings.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        // A list would be taken for a section's values in order, unless it is of such sections.
        for (name, value) in self.root.get_ref() {
            let is_list = |items: &DeArray<'_>| !items.is_empty() && items.iter().all(|item| item.get_ref().is_table());
            let is_section = match value.get_ref() {
                DeValue::Table(_) => true,
                DeValue::Array(items) => {
                    is_list(items) && !expected_names(&format!("[[{}]]", name.get_ref())).is_empty()
                }
                _ => false,
            };
            if !is_section && expected_names("").iter().any(|known| known == name.get_ref()) {
                let message = format!("`{0}` is a section: write `[{0}]` and its keys below", name.get_ref());
                return Err(self.at(Some(name.span()), message));
            }
        }
        T::deserialize(Deserializer::from(self.root.clone()))
            .map_err(|error| self.at(error.span(), self.explain(error.message(), error.span())))
    }

    /// The error for a value that has the right form and is not allowed.
    pub fn bad_value(&self, bad: &BadValue) -> ConfigError {
        let mut table = Some(self.root.get_ref());
        let mut place = None;
        // As far as the file goes: a value that it does not set is at its section.
        for wanted in bad.section.split('.').chain([bad.key]) {
            let Some((name, value)) = table.and_then(|table| table.iter().find(|(name, _)| name.get_ref() == wanted))
            else {
                break;
            };
            place = Some(name.span());
            table = match value.get_ref() {
                DeValue::Array(items) => items.get(bad.index).and_then(|item| {
                    let table = item.get_ref().as_table()?;
                    place = Some(item.span());
                    Some(table)
                }),
                value => value.as_table(),
            };
        }
        self.at(place, bad.message())
    }

    fn at(&self, span: Option<Range<usize>>, message: String) -> ConfigError {
        at(self.text, self.file, span, message)
    }

    /// Says in the owner's terms what `serde` reports.
    fn explain(&self, message: &str, span: Option<Range<usize>>) -> String {
        let path = span.map(|span| path_at(self.root.get_ref(), span.start)).unwrap_or_default();
        let key = path.join(".");
        if message.starts_with("unknown field") {
            let (unknown, sections) = path.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
            let parent = sections.join(".");
            let what = if sections.is_empty() { "unknown key or section" } else { "unknown key" };
            let names = quoted_after_expected(message);
            return match same_elsewhere(unknown).or_else(|| nearest(unknown, &names)) {
                Some(meant) => format!("{what} `{key}`: did you mean `{meant}`?"),
                None if parent.is_empty() => format!("{what} `{key}`: sections are {}", list(&names)),
                None => format!("{what} `{key}`: `{parent}` has {}", list(&names)),
            };
        }
        if let Some(rest) = message.strip_prefix("unknown variant ") {
            let names = quoted_after_expected(message);
            let given = rest.split('`').nth(1).unwrap_or_default();
            let meant = nearest(given, &names).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
            return bad_value_message(&key, &format!("`{given}` is not known: {meant}It is one of {}", list(&names)));
        }
        bad_value_message(&key, &one_line(message))
    }
}

/// What is wrong with the value of `key`.
pub fn bad_value_message(key: &str, reason: &str) -> String {
    if key.is_empty() { reason.to_owned() } else { format!("`{key}`: {reason}") }
}

/// The line, from 1, that byte `offset` of `text` stands in.
pub fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

fn at(text: &str, file: &str, span: Option<Range<usize>>, message: String) -> ConfigError {
    let file = file.to_owned();
    match span {
        Some(span) => ConfigError::AtLine { file, line: line_of(text.as_bytes(), span.start), message },
        None => ConfigError::Value { origin: file, message },
    }
}

/// The names of the keys around byte `offset`, outermost first.
fn path_at(table: &DeTable<'_>, offset: usize) -> Vec<String> {
    for (name, value) in table {
        let here = || vec![name.get_ref().to_string()];
        if name.span().contains(&offset) {
            return here();
        }
        let inner = match value.get_ref() {
            DeValue::Table(inner) => path_at(inner, offset),
            DeValue::Array(items) => items
                .iter()
                .filter_map(|item| item.get_ref().as_table())
                .map(|inner| path_at(inner, offset))
                .find(|path| !path.is_empty())
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        if !inner.is_empty() || value.span().contains(&offset) {
            return here().into_iter().chain(inner).collect();
        }
    }
    Vec::new()
}

/// The names that `serde` lists: ``unknown field `x`, expected one of `a`, `b` ``.
pub fn quoted_after_expected(message: &str) -> Vec<String> {
    let list = message.rsplit_once("`, expected ").map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(": ")
}
