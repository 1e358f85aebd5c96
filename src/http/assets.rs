//! The page's files: built in, and replaced file by file by those in the owner's folder.
//!
//! The folder is read at each request, so an edited page shows at once. How a file is read and answered is `files`'
//! matter, which paths lead here that of `routes`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::StatusCode;
use include_dir::{Dir, include_dir};
use serde::Serialize;

use super::files;
use super::message::{Request, Response};
use crate::webrtc::IceServer;

static WEB: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/web");

/// The page's files.
pub(super) struct Assets {
    folder: Option<PathBuf>,
    /// What `index.html` holds of what the page must know, and what belongs there instead.
    facts: Vec<(String, String)>,
}

/// What stands in `index.html` where a list of `name` belongs, so that the page needs no request to learn it.
fn place(name: &str) -> String {
    format!(r#"<meta name="perch-{name}" content="[]">"#)
}

/// The place and what belongs there: the list as JSON, written so that it can stand in an HTML attribute.
fn fact(name: &str, list: &impl Serialize) -> (String, String) {
    let json = serde_json::to_string(list).unwrap_or_else(|_| "[]".to_owned());
    let json = json.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    (place(name), place(name).replace("[]", &json))
}

impl Assets {
    /// The built-in files, and those in `folder` before them.
    pub(super) fn new(folder: Option<PathBuf>, ice_servers: &[IceServer], cameras: &[&str]) -> Self {
        Self { folder, facts: vec![fact("cameras", &cameras), fact("ice-servers", &ice_servers)] }
    }

    /// `GET /`.
    pub(super) fn index(&self, request: &Request) -> Response {
        let path = Path::new("index.html");
        let Some(content) = self.read(path) else { return self.error_page(StatusCode::NOT_FOUND, "404.html") };
        let content = match std::str::from_utf8(&content) {
            Ok(html) => {
                let filled = self.facts.iter().fold(html.to_owned(), |html, (place, fact)| html.replace(place, fact));
                Bytes::from(filled)
            }
            Err(_) => content,
        };
        files::respond(request, path, content)
    }

    /// `GET /static/{*file}`.
    pub(super) fn file(&self, request: &Request) -> Response {
        self.answer(request, &Path::new("static").join(request.param("file")))
    }

    /// One of the files, by its name.
    pub(super) fn named(&self, request: &Request, path: &'static str) -> Response {
        self.answer(request, Path::new(path))
    }

    fn answer(&self, request: &Request, path: &Path) -> Response {
        match self.read(path) {
            Some(content) => files::respond(request, path, content),
            None => self.error_page(StatusCode::NOT_FOUND, "404.html"),
        }
    }

    /// One of the pages that say what went wrong.
    pub(super) fn error_page(&self, status: StatusCode, file: &str) -> Response {
        let content = self.read(Path::new(file)).unwrap_or_else(|| Bytes::from(status.to_string()));
        Response::new(status, "text/html; charset=utf-8", content)
    }

    fn read(&self, path: &Path) -> Option<Bytes> {
        if !files::is_plain(path) {
            return None;
        }
        let own = self.folder.as_deref().and_then(|folder| files::read(folder, path));
        own.or_else(|| WEB.get_file(path).map(|file| Bytes::from_static(file.contents())))
    }
}

/// Writes the built-in files to `folder`, to be edited there; returns what was written.
///
/// # Errors
/// When a file exists and `force` is not given (then nothing is written), or one cannot be written; the
/// message names it.
pub fn export(folder: &Path, force: bool) -> io::Result<Vec<PathBuf>> {
    let named = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut files = Vec::new();
    collect(&WEB, &mut files);
    if !force
        && let Some(there) =
            files.iter().map(|file| folder.join(file.path())).find(|path| path.symlink_metadata().is_ok())
    {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} exists; --force overwrites it", there.display()),
        ));
    }
    let mut written = Vec::new();
    for file in files {
        let path = folder.join(file.path());
        write_whole(&path, file.contents()).map_err(|error| named(&path, error))?;
        written.push(path);
    }
    Ok(written)
}

fn collect(dir: &Dir<'static>, files: &mut Vec<include_dir::File<'static>>) {
    files.extend(dir.files().cloned());
    dir.dirs().for_each(|dir| collect(dir, files));
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{}.{:016x}", name.to_string_lossy(), rand::random::<u64>()));
    let written = OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("perch-assets-{:016x}", rand::random::<u64>()));
            fs::create_dir_all(path.join("inside/static")).unwrap();
            fs::write(path.join("secret"), "secret").unwrap();
            Self(path)
        }

        fn assets(&self) -> Assets {
            Assets::new(Some(self.0.join("inside")), &[], &[])
        }

        fn write(&self, name: &str, content: &[u8]) {
            fs::write(self.0.join("inside").join(name), content).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn body(response: &Response) -> &[u8] {
        response.body().unwrap()
    }

    #[test]
    fn the_owners_file_replaces_the_built_in_one_and_shows_when_edited() {
        let folder = Folder::new();
        let assets = folder.assets();
        let built_in = assets.index(&Request::default());
        assert_eq!(built_in.status(), StatusCode::OK);
        for content in [&b"mine"[..], b"edited"] {
            folder.write("index.html", content);
            assert_eq!(body(&assets.index(&Request::default())), content);
        }
    }

    #[test]
    fn a_file_outside_of_the_folder_is_not_served() {
        let folder = Folder::new();
        std::os::unix::fs::symlink(folder.0.join("secret"), folder.0.join("inside/static/link")).unwrap();
        let assets = folder.assets();
        for path in ["static/link", "../secret", "static/../../secret", "/etc/hostname", ""] {
            assert!(assets.read(Path::new(path)).is_none(), "{path}");
        }
    }

    #[test]
    fn a_link_within_the_folder_is_served() {
        let folder = Folder::new();
        folder.write("static/a.css", b"a");
        std::os::unix::fs::symlink("a.css", folder.0.join("inside/static/b.css")).unwrap();
        assert_eq!(folder.assets().read(Path::new("static/b.css")).as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_served() {
        let folder = Folder::new();
        folder.write("static/large", &vec![0; usize::try_from(files::MAX_BYTES).unwrap() + 1]);
        assert!(folder.assets().read(Path::new("static/large")).is_none());
    }

    #[test]
    fn a_known_entity_tag_is_answered_without_a_body() {
        let assets = Assets::new(None, &[], &[]);
        let first = assets.index(&Request::default());
        let tag = first.headers()[header::ETAG].clone();
        for known in [tag.to_str().unwrap().to_owned(), format!("\"x\", W/{}", tag.to_str().unwrap()), "*".into()] {
            let mut request = Request::default();
            request.headers.insert(header::IF_NONE_MATCH, known.parse().unwrap());
            let again = assets.index(&request);
            assert_eq!((again.status(), body(&again)), (StatusCode::NOT_MODIFIED, &b""[..]));
            assert_eq!(again.headers()[header::ETAG], tag);
        }
    }

    #[test]
    fn export_overwrites_only_when_forced() {
        let folder = Folder::new();
        let target = folder.0.join("new/web");
        let written = export(&target, false).unwrap();
        assert!(written.contains(&target.join("index.html")));
        fs::write(target.join("index.html"), "mine").unwrap();
        let refused = export(&target, false).unwrap_err();
        assert!(refused.kind() == io::ErrorKind::AlreadyExists && refused.to_string().contains("exists; --force"));
        assert_eq!(fs::read(target.join("index.html")).unwrap(), b"mine");
        export(&target, true).unwrap();
        assert_ne!(fs::read(target.join("index.html")).unwrap(), b"mine");
    }
}
