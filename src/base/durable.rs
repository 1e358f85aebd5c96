//! A file that is there whole or not at all, also after a power cut.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Puts `content` in the place of the file at `path`, whose folder is made if it is not there. It is on the disk when
/// this returns. Only one thread at a time may do so with the same path.
///
/// # Errors
/// When the system refuses; then the file is as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    put(path, content, 0o666)
}

/// The same for what nobody else may read.
///
/// # Errors
/// When the system refuses; then the file is as it was.
pub fn replace_private(path: &Path, content: &[u8]) -> io::Result<()> {
    put(path, content, 0o600)
}

/// What is in the file at `path`.
///
/// # Errors
/// When it cannot be read, or is larger than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_from(File::open(path)?, most)
}

/// What is in `file`.
///
/// # Errors
/// When it cannot be read, or is larger than `most` bytes.
pub fn read_from(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {most} bytes")));
    }
    Ok(content)
}

fn put(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    DirBuilder::new().recursive(true).mode(if mode == 0o600 { 0o700 } else { 0o777 }).create(folder)?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let new = folder.join(hidden);
    // One that a power cut left behind.
    let _ = fs::remove_file(&new);
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new);
    let replaced = opened.and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced?;
    // The name is the folder's content.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_and_nothing_else_is_left() {
        let folder = std::env::temp_dir().join(format!("perch-durable-{:016x}", rand::random::<u64>()));
        let file = folder.join("inner/file");
        for content in [&b"first"[..], b"2"] {
            replace(&file, content).unwrap();
            assert_eq!(fs::read(&file).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.join("inner")).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays() {
        let folder = std::env::temp_dir().join(format!("perch-durable-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(folder.join("file")).unwrap();
        assert!(replace(&folder.join("file"), b"x").is_err(), "it is a folder");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
