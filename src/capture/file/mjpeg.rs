//! JPEG pictures: one after another in a stream (MJPEG, also with multipart headers between them), or one per file.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clip::{Clip, Picture};
use crate::capture::CaptureError;
use crate::capture::jpeg_cutter::{JpegCutter, LARGEST_PICTURE, size_of};
use crate::media::frame::PixelFormat;

const PIECE: usize = 64 << 10;
/// The most files a sequence may have.
const MOST_FILES: usize = 1_000_000;

/// JPEG pictures, one after another.
pub struct MjpegClip<R> {
    input: R,
    cutter: JpegCutter,
    piece: Vec<u8>,
    shown_for: Duration,
    size: (usize, usize),
}

impl<R: Read> MjpegClip<R> {
    pub fn new(input: R, shown_for: Duration) -> Self {
        Self { input, cutter: JpegCutter::default(), piece: vec![0; PIECE], shown_for, size: (0, 0) }
    }
}

impl<R: Read + Send> Clip for MjpegClip<R> {
    fn next_picture(&mut self) -> Result<Option<Picture>, CaptureError> {
        loop {
            if let Some((file, size)) = self.cutter.next_picture() {
                self.size = size;
                return Ok(Some(picture(file, size, self.shown_for)));
            }
            let read = self.input.read(&mut self.piece);
            match read.map_err(|error| CaptureError::Lost(format!("cannot read on: {error}")))? {
                0 => return Ok(None),
                length => self.cutter.push(&self.piece[..length]),
            }
        }
    }

    fn describe(&self) -> String {
        format!("MJPEG {}×{} at {:.4} fps", self.size.0, self.size.1, 1.0 / self.shown_for.as_secs_f64().max(1e-6))
    }
}

fn picture(file: Vec<u8>, size: (usize, usize), shown_for: Duration) -> Picture {
    Picture { format: PixelFormat::Mjpeg, size, memory: Box::new(file), shown_for }
}

/// JPEG files, one picture each.
pub struct StillsClip {
    files: std::vec::IntoIter<PathBuf>,
    count: usize,
    shown_for: Duration,
}

impl StillsClip {
    /// The files that `pattern` stands for: a directory's JPEG files by name, `img%04d.jpg` by number, or `img*.jpg` by
    /// name.
    pub fn open(pattern: &Path, shown_for: Duration) -> Result<Self, CaptureError> {
        let files = find(pattern).map_err(|error| {
            CaptureError::Unusable(format!("cannot list the pictures of {}: {error}", pattern.display()))
        })?;
        if files.is_empty() {
            return Err(CaptureError::Unusable(format!("there are no .jpg files for {}", pattern.display())));
        }
        Ok(Self { count: files.len(), files: files.into_iter(), shown_for })
    }
}

impl Clip for StillsClip {
    fn next_picture(&mut self) -> Result<Option<Picture>, CaptureError> {
        let Some(path) = self.files.next() else { return Ok(None) };
        let problem = |problem: &dyn std::fmt::Display| CaptureError::Lost(format!("{}: {problem}", path.display()));
        let mut file = Vec::new();
        let opened = fs::File::open(&path).map_err(|error| problem(&error))?;
        opened.take(LARGEST_PICTURE as u64).read_to_end(&mut file).map_err(|error| problem(&error))?;
        match size_of(&file) {
            Some(size) => Ok(Some(picture(file, size, self.shown_for))),
            None => Err(problem(&"not a whole JPEG picture")),
        }
    }

    fn describe(&self) -> String {
        format!("{} JPEG pictures at {:.4} fps", self.count, 1.0 / self.shown_for.as_secs_f64().max(1e-6))
    }
}

/// Whether `path` is a pattern that stands for several files.
pub fn is_pattern(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.contains('*') || split_printf(name).is_some())
}

/// `img%04d.jpg` as `("img", ".jpg")`.
fn split_printf(name: &str) -> Option<(&str, &str)> {
    let (before, after) = name.split_once('%')?;
    let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix('d')?;
    Some((before, rest))
}

fn find(pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_directory = pattern.is_dir();
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let directory = match pattern.parent() {
        _ if is_directory => pattern,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)?.take(MOST_FILES) {
        let path = entry?.path();
        let Some(file) = path.file_name().and_then(|file| file.to_str()) else { continue };
        let within = |before: &str, after: &str| {
            file.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).map(str::to_owned)
        };
        let number = if is_directory {
            let lower = file.to_ascii_lowercase();
            (lower.ends_with(".jpg") || lower.ends_with(".jpeg")).then_some(0)
        } else if let Some((before, after)) = split_printf(name) {
            within(before, after)
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
        } else {
            name.split_once('*').and_then(|(before, after)| within(before, after)).map(|_| 0)
        };
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::jpeg_cutter::tests::jpeg;

    #[test]
    fn patterns_are_told_from_names() {
        assert!(is_pattern(Path::new("dir/img%04d.jpg")));
        assert!(is_pattern(Path::new("img*.jpg")));
        assert!(!is_pattern(Path::new("100%.jpg")));
        assert!(!is_pattern(Path::new("dir*/one.jpg")));
    }

    #[test]
    fn a_numbered_sequence_is_in_order_of_its_numbers() {
        let directory = std::env::temp_dir().join(format!("perch-stills-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for number in [10, 9, 1] {
            fs::write(directory.join(format!("img{number}.jpg")), jpeg(number)).unwrap();
        }
        fs::write(directory.join("imgx.jpg"), b"").unwrap();
        let files = find(&directory.join("img%d.jpg")).unwrap();
        let mut clip = StillsClip::open(&directory.join("img%d.jpg"), Duration::from_millis(1)).unwrap();
        let first = clip.next_picture().unwrap().unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["img1.jpg", "img9.jpg", "img10.jpg"]);
        assert_eq!((first.memory.bytes(), first.size), (&jpeg(1)[..], (64, 48)));
    }
}
