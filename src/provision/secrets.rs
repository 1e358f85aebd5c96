//! Which settings are secrets: taken off the card, and put back where stars stand for them.
//!
//! Wi-Fi's passwords, the access point's, relays' credentials, and passwords in the addresses of cameras.

use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use log::info;
use serde::Deserialize;
use serde_spanned::Spanned;
use toml::{Table, Value};

use crate::base::one_or_more::OneOrMore;
use crate::capture::SourceSpec;
use crate::platform::device::is_blanked;

/// Each kind of secret that has a key of its own: its section, the list in it, what it belongs to, and its key.
const SECRETS: [(&str, &str, &str, &str); 2] =
    [("device", "wifi", "ssid", "password"), ("webrtc", "ice_servers", "urls", "credential")];

/// The one secret that stands in its section by itself.
const SETUP: (&str, &str) = ("device", "setup_password");

/// The tables of a list, such as `device.wifi`.
fn tables<'a>(settings: &'a Table, section: &str, list: &str) -> impl Iterator<Item = &'a Table> {
    settings
        .get(section)
        .and_then(|section| section.get(list)?.as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
}

/// Puts secrets back that were taken before, where stars stand for them. Which are never told apart by more than what they
/// belong to. Returns what the first that is not kept belongs to.
pub(super) fn restore(settings: &mut Table, kept: &Table) -> Option<String> {
    for (section, list, name, secret) in SECRETS {
        let Some(now) = settings.get_mut(section).and_then(|now| now.get_mut(list)?.as_array_mut()) else { continue };
        for table in now.iter_mut().filter_map(Value::as_table_mut) {
            let Some(now) = table.get(secret).and_then(Value::as_str) else { continue };
            let owner = table.get(name).cloned();
            let known = tables(kept, section, list).find(|kept| kept.get(name) == owner.as_ref());
            let known = known.and_then(|kept| kept.get(secret)).filter(|kept| stands_for(now, kept.as_str()));
            match known {
                Some(value) => {
                    table.insert(secret.to_owned(), value.clone());
                }
                None if is_blanked(now) => return Some(owner.map_or_else(String::new, |owner| owner.to_string())),
                None => (),
            }
        }
    }
    restore_setup(settings, kept).or_else(|| restore_cameras(settings, kept))
}

fn restore_setup(settings: &mut Table, kept: &Table) -> Option<String> {
    let (section, key) = SETUP;
    let now = settings.get_mut(section)?.get_mut(key)?;
    let known = kept.get(section).and_then(|kept| kept.get(key)?.as_str());
    let shown = now.as_str().unwrap_or_default();
    match known.filter(|known| stands_for(shown, Some(known))) {
        Some(known) => *now = Value::String(known.to_owned()),
        None if is_blanked(shown) => return Some(key.to_owned()),
        None => (),
    }
    None
}

/// Whether what stands on the card is the secret that was kept, with stars over it: all of it, or its one end, which is what a
/// power cut can leave of the overwriting where a secret lies across two of the card's sectors.
fn stands_for(now: &str, kept: Option<&str>) -> bool {
    let is_torn = |kept: &str| {
        let (head, tail) = (now.trim_end_matches('*'), now.trim_start_matches('*'));
        now.len() == kept.len()
            && head.len().min(tail.len()) < now.len()
            && (kept.starts_with(head) || kept.ends_with(tail))
    };
    is_blanked(now) || kept.is_some_and(is_torn)
}

fn restore_cameras(settings: &mut Table, kept: &Table) -> Option<String> {
    let known: Vec<String> = kept.get("camera").into_iter().flat_map(each).filter_map(source).collect();
    let cameras: Vec<&mut Value> = match settings.get_mut("camera") {
        Some(Value::Array(cameras)) => cameras.iter_mut().collect(),
        camera => camera.into_iter().collect(),
    };
    for camera in cameras {
        let Some(now) = source(camera) else { continue };
        let Some(secret) = password(&now).map(|range| &now[range]) else { continue };
        let (Ok(shown), Some(camera)) = (now.parse::<SourceSpec>(), camera.as_table_mut()) else { continue };
        let is_same = |known: &String| known.parse().is_ok_and(|known: SourceSpec| known.masked() == shown.masked());
        let is_meant = |known: &String| stands_for(secret, password(known).map(|range| &known[range]));
        match known.iter().find(|known| is_same(known) && is_meant(known)) {
            Some(known) => {
                camera.insert("source".to_owned(), Value::String(known.clone()));
            }
            None if is_blanked(secret) => return Some(shown.to_string()),
            None => (),
        }
    }
    None
}

/// One table, or each of several.
fn each(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn source(camera: &Value) -> Option<String> {
    camera.get("source")?.as_str().map(str::to_owned)
}

/// Where the password stands in an address such as `rtsp://me:password@camera/`, in whatever text it is.
fn password(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let authority = &text[start..];
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    let end = authority.rfind('@')?;
    let colon = authority[..end].find(':')?;
    (colon + 1 < end).then_some(start + colon + 1..start + end)
}

/// Overwrites the secrets in a file whose text is known, in place: bytes of the same number, so that neither the file's
/// size nor its place on the card changes and no copy stays behind.
pub(super) fn blank(path: &Path, text: &str) -> io::Result<()> {
    let spans = secrets(text);
    if spans.is_empty() {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    for (span, is_quoted) in spans {
        let mut stars = vec![b'*'; span.len()];
        if let [first, .., last] = &mut *stars
            && is_quoted
        {
            (*first, *last) = (b'"', b'"');
        }
        file.write_all_at(&stars, span.start as u64)?;
    }
    file.sync_all()?;
    info!("the secrets on the card were overwritten");
    Ok(())
}

/// Where secrets stand in a text that are more than stars, and whether quotation marks around them are included.
fn secrets(text: &str) -> Vec<(Range<usize>, bool)> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Sections {
        device: Device,
        webrtc: WebRtc,
        camera: Option<OneOrMore<Camera>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Device {
        setup_password: Option<Spanned<String>>,
        wifi: Vec<Holder>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct WebRtc {
        ice_servers: Vec<Holder>,
    }
    #[derive(Deserialize)]
    struct Holder {
        #[serde(alias = "credential")]
        password: Option<Spanned<String>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Camera {
        source: Option<Spanned<String>>,
    }
    let sections: Sections = toml::from_str(text).unwrap_or_default();
    let holders = sections.device.wifi.into_iter().chain(sections.webrtc.ice_servers);
    let is_secret = |secret: &str| !secret.is_empty() && !is_blanked(secret);
    let own = holders
        .filter_map(|holder| holder.password)
        .chain(sections.device.setup_password)
        .filter(|secret| is_secret(secret.get_ref()));
    let own = own.map(|secret| (secret.span(), true));
    let sources = sections.camera.iter().flat_map(OneOrMore::iter).filter_map(|camera| camera.source.as_ref());
    let in_addresses = sources.filter_map(|source| {
        let span = source.span();
        let password = password(text.get(span.clone())?)?;
        let password = span.start + password.start..span.start + password.end;
        is_secret(text.get(password.clone())?).then_some((password, false))
    });
    own.chain(in_addresses).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_in_an_address_is_found() {
        for (text, found) in [
            ("rtsp://me:secret@camera:554/a:b@c", Some("secret")),
            ("\"http://me:s:cr@t@camera?x=@\"", Some("s:cr@t")),
            ("rtsp://me@camera/", None),
            ("rtsp://me:@camera/", None),
            ("rtsp://camera:554/me:secret@", None),
            ("/dev/video0", None),
        ] {
            assert_eq!(password(text).map(|range| &text[range]), found, "{text}");
        }
    }
}
