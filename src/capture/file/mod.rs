//! Files, FIFOs and standard input as sources.
//!
//! A file plays at its own speed; a pipe as fast as it is written. What perch does not read itself is named
//! together with the ffmpeg command that turns it into something it does. Decoding happens elsewhere: JPEG and
//! H.264 leave here as they are.

mod boxes;
mod clip;
mod h264;
mod mjpeg;
mod mp4;
mod mp4_stream;
mod pipe;
mod playback;
mod sniff;
mod y4m;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use self::clip::{Clip, interval};
use self::mjpeg::StillsClip;
use self::mp4::Mp4Clip;
use self::pipe::PipeSource;
use self::playback::Playback;
use self::sniff::Kind;
use super::{CameraSource, CaptureError, Config};

pub(super) use self::clip::Picture;
pub(super) use self::mp4_stream::Mp4Stream;
pub(super) use self::playback::Pace;
pub use y4m::{Y4mError, Y4mReader};

/// Reads an MP4 file to its end, for a fuzz target; how many pictures there were. Not part of the interface.
#[doc(hidden)]
#[must_use]
pub fn count_mp4_pictures(file: File) -> usize {
    let Ok(mut clip) = Mp4Clip::open(file, 30, "fuzzed") else { return 0 };
    std::iter::from_fn(|| clip.next_picture().ok().flatten()).count()
}

/// Takes an MP4 file apart as it arrives, in pieces of `piece` bytes (at least 1), for a fuzz target.
#[doc(hidden)]
pub fn count_mp4_pictures_as_they_arrive(bytes: &[u8], piece: usize) -> usize {
    let mut stream = mp4_stream::Mp4Stream::new(30);
    let mut count = 0;
    for piece in bytes.chunks(piece.max(1)) {
        stream.push(piece);
        while let Ok(Some(_)) = stream.next_picture() {
            count += 1;
        }
    }
    count
}

/// Opens `path`: a video file, a FIFO, `-` for standard input, a directory of JPEG files, or a pattern for their names
/// (`img%04d.jpg`, `img*.jpg`).
///
/// # Errors
/// When there is nothing playable at `path`; the message says what to do.
pub fn open(path: &Path, config: &Config) -> Result<Box<dyn CameraSource>, CaptureError> {
    if path == Path::new("-") {
        return Ok(Box::new(PipeSource::open(None, config)?));
    }
    let name = path.display().to_string();
    let framerate = config.framerate;
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(_) if mjpeg::is_pattern(path) => return stills(path.to_owned(), name, config),
        Err(error) => return Err(CaptureError::Unusable(format!("cannot open {name}: {error}"))),
    };
    let kind = metadata.file_type();
    if metadata.is_dir() {
        return stills(path.to_owned(), name, config);
    }
    if kind.is_fifo() {
        return Ok(Box::new(PipeSource::open(Some(path), config)?));
    }
    if !metadata.is_file() {
        return Err(CaptureError::Unusable(format!("{name} is neither a file, a directory nor a FIFO")));
    }
    if metadata.len() == 0 {
        return Err(CaptureError::Unusable(format!("{name} is empty")));
    }
    let (path, clip_name) = (path.to_owned(), name.clone());
    let reopen = move || open_clip(&path, &clip_name, framerate);
    Ok(Box::new(Playback::open(name, config.repeat, Box::new(reopen))?))
}

fn stills(pattern: PathBuf, name: String, config: &Config) -> Result<Box<dyn CameraSource>, CaptureError> {
    let shown_for = interval(config.framerate);
    let reopen = move || Ok(Box::new(StillsClip::open(&pattern, shown_for)?) as Box<dyn Clip>);
    Ok(Box::new(Playback::open(name, config.repeat, Box::new(reopen))?))
}

fn open_clip(path: &Path, name: &str, framerate: u32) -> Result<Box<dyn Clip>, CaptureError> {
    let cannot = |error: std::io::Error| CaptureError::Unusable(format!("cannot read {name}: {error}"));
    let mut file = File::open(path).map_err(cannot)?;
    let head = sniff::head(&mut file).map_err(cannot)?;
    file.seek(SeekFrom::Start(0)).map_err(cannot)?;
    let by_name = || Kind::of_name(path);
    let kind = match Kind::of(&head).and_then(|kind| kind.map_or_else(by_name, |kind| Ok(Some(kind)))) {
        Ok(Some(kind)) => kind,
        Ok(None) => return Err(sniff::not_played(name, "of an unknown kind")),
        Err(what) => return Err(sniff::not_played(name, what)),
    };
    match kind {
        Kind::Mp4 => Ok(Box::new(Mp4Clip::open(file, framerate, name)?)),
        kind => kind.clip(file, framerate, name),
    }
}
