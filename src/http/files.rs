//! Files from folders: read so that nothing outside of the folder is served, answered with an entity tag.
//!
//! Which folder belongs to which path is said by `assets` (the page) and `router` (mounts).

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Component, Path};

use bytes::Bytes;
use hyper::{StatusCode, header};

use super::message::{Request, Response};

/// Larger files are not served.
pub(super) const MAX_BYTES: u64 = 8 << 20;

/// Whether `path` only leads downwards.
pub(super) fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// The file of that name in `folder`; what keeps a file that is there from being served is logged.
pub(super) fn read(folder: &Path, path: &Path) -> Option<Bytes> {
    if !is_plain(path) {
        return None;
    }
    match read_below(folder, path) {
        Ok(content) => Some(content),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::warn!("{} is not served from {}: {error}", path.display(), folder.display());
            }
            None
        }
    }
}

/// Answers with `content`, or that the client has it already.
pub(super) fn respond(request: &Request, path: &Path, content: Bytes) -> Response {
    let tag = entity_tag(&content);
    let known = request.headers.get_all(header::IF_NONE_MATCH).iter();
    let response = match known.filter_map(|value| value.to_str().ok()).any(|known| is_known(known, &tag)) {
        true => Response::empty(StatusCode::NOT_MODIFIED),
        false => Response::new(StatusCode::OK, content_type(path), content),
    };
    response.with(header::ETAG, tag).with(header::CACHE_CONTROL, "no-cache")
}

/// Reads a file that really is in `folder`.
fn read_below(folder: &Path, path: &Path) -> io::Result<Bytes> {
    let folder = folder.canonicalize()?;
    let path = folder.join(path).canonicalize()?;
    if !path.starts_with(&folder) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is a link that leaves the folder"));
    }
    if !fs::metadata(&path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into()); // A pipe would block whoever opens it.
    }
    let file = File::open(&path)?;
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(content.into())
}

fn entity_tag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    format!("\"{:x}-{:016x}\"", content.len(), hasher.finish())
}

/// RFC 9110, section 13.1.2: the comparison is the weak one.
fn is_known(list: &str, tag: &str) -> bool {
    list.split(',').map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "mp4" => "video/mp4",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
