//! JPEG pictures: one after another in a stream (MJPEG, also with multipart headers between them), or one per file.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clip::{Clip, Picture};
use crate::capture::CaptureError;
use crate::media::frame::PixelFormat;

/// No picture that perch decodes is larger.
const LARGEST_PICTURE: usize = 16 << 20;
const PIECE: usize = 64 << 10;
/// The most files a sequence may have.
const MOST_FILES: usize = 1_000_000;

/// What is known of the JPEG picture that a buffer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    /// It ends after `length` bytes.
    Whole { length: usize, size: (usize, usize) },
    /// Its end has not come yet.
    Open,
    /// It is none.
    Broken,
}

/// Walks the segments of a JPEG picture (ITU-T T.81, B.1.1) to its end. An end marker within a segment, as in an
/// embedded thumbnail, is not taken for the picture's.
fn scan(bytes: &[u8]) -> Scan {
    let mut size = None;
    let mut at = 2;
    loop {
        // Fill bytes (B.1.1.2) may stand before a marker.
        let Some(&[mark, kind]) = bytes.get(at..at + 2) else { return Scan::Open };
        match (mark, kind) {
            (0xff, 0xff) => at += 1,
            (0xff, 0xd9) => {
                return size.map_or(Scan::Broken, |size| Scan::Whole { length: at + 2, size });
            }
            // Markers without a segment.
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, 0x02..=0xfe) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return Scan::Open };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    return Scan::Broken;
                }
                // SOF0 to SOF15, without DHT, JPG and DAC.
                if matches!(kind, 0xc0..=0xcf) && !matches!(kind, 0xc4 | 0xc8 | 0xcc) {
                    let Some(&[h1, h0, w1, w0]) = bytes.get(at + 5..at + 9) else { return Scan::Open };
                    size = Some((usize::from(u16::from_be_bytes([w1, w0])), usize::from(u16::from_be_bytes([h1, h0]))));
                }
                at += 2 + length;
                if kind == 0xda {
                    // Coded data: until a marker that is neither a stuffed zero nor a restart.
                    let Some(coded) = bytes.get(at..) else { return Scan::Open };
                    let end =
                        coded.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff));
                    let Some(end) = end else { return Scan::Open };
                    at += end;
                }
            }
            _ => return Scan::Broken,
        }
    }
}

/// JPEG pictures, one after another.
pub struct MjpegClip<R> {
    input: R,
    buffer: Vec<u8>,
    shown_for: Duration,
    size: (usize, usize),
}

impl<R: Read> MjpegClip<R> {
    pub const fn new(input: R, shown_for: Duration) -> Self {
        Self { input, buffer: Vec::new(), shown_for, size: (0, 0) }
    }

    /// The next whole picture in the buffer. Drops what is none.
    fn take(&mut self) -> Option<Vec<u8>> {
        loop {
            let start = self.buffer.windows(3).position(|bytes| bytes == [0xff, 0xd8, 0xff]);
            self.buffer.drain(..start.unwrap_or(self.buffer.len().saturating_sub(2)));
            start?;
            match scan(&self.buffer) {
                Scan::Whole { length, size } => {
                    self.size = size;
                    let rest = self.buffer.split_off(length);
                    return Some(std::mem::replace(&mut self.buffer, rest));
                }
                Scan::Open if self.buffer.len() <= LARGEST_PICTURE => return None,
                Scan::Open | Scan::Broken => drop(self.buffer.drain(..2)),
            }
        }
    }
}

impl<R: Read + Send> Clip for MjpegClip<R> {
    fn next_picture(&mut self) -> Result<Option<Picture>, CaptureError> {
        loop {
            if let Some(file) = self.take() {
                return Ok(Some(picture(file, self.size, self.shown_for)));
            }
            let length = self.buffer.len();
            self.buffer.resize(length + PIECE, 0);
            let read = self.input.read(&mut self.buffer[length..]);
            self.buffer.truncate(length + read.as_ref().copied().unwrap_or(0));
            if read.map_err(|error| CaptureError::Lost(format!("cannot read on: {error}")))? == 0 {
                return Ok(None);
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
        match scan(&file) {
            Scan::Whole { size, .. } if file.starts_with(&[0xff, 0xd8]) => {
                Ok(Some(picture(file, size, self.shown_for)))
            }
            _ => Err(problem(&"not a whole JPEG picture")),
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

    /// A picture with an end marker inside a comment, stuffed zeros and a restart marker.
    fn jpeg(tag: u8) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8, 0xff, 0xfe, 0, 5, 0xff, 0xd9, tag];
        file.extend_from_slice(&[0xff, 0xc0, 0, 11, 8, 0, 48, 0, 64, 1, 1, 0x11, 0]);
        file.extend_from_slice(&[0xff, 0xda, 0, 4, 1, 1, 9, 0xff, 0, 9, 0xff, 0xd0, 7, 0xff, 0xd9]);
        file
    }

    fn pictures(stream: &[u8]) -> Vec<Picture> {
        let mut clip = MjpegClip::new(stream, Duration::from_millis(1));
        std::iter::from_fn(|| clip.next_picture().unwrap()).collect()
    }

    #[test]
    fn pictures_are_cut_at_their_own_end_markers() {
        let stream = [b"--frame\r\n\r\n".to_vec(), jpeg(1), b"\r\n--frame\r\n".to_vec(), jpeg(2)].concat();
        let pictures = pictures(&stream);
        assert_eq!(pictures.len(), 2);
        assert_eq!((pictures[0].memory.bytes(), pictures[1].memory.bytes()), (&jpeg(1)[..], &jpeg(2)[..]));
        assert_eq!(pictures[0].size, (64, 48));
    }

    #[test]
    fn a_broken_picture_is_skipped_and_the_next_one_found() {
        let mut stream = vec![0xff, 0xd8, 0xff, 0xfe, 0, 0];
        stream.extend_from_slice(&jpeg(3));
        assert_eq!(pictures(&stream).len(), 1);
    }

    #[test]
    fn a_picture_cut_short_anywhere_is_no_picture() {
        let whole = jpeg(1);
        assert!((0..whole.len()).all(|length| pictures(&whole[..length]).is_empty()));
    }

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
