//! What a file is, from its first bytes. Names lie; only where the bytes do not tell does the name count.

use std::io::{self, Read};
use std::path::Path;

use super::clip::{Clip, interval};
use super::h264::H264Clip;
use super::mjpeg::MjpegClip;
use super::y4m::Y4mClip;
use crate::capture::CaptureError;
use crate::media::annex_b::{self, NalKind};

/// Enough of a file to tell what it is.
const HEAD: usize = 64;

/// What perch plays by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Y4m,
    Jpeg,
    H264,
    Mp4,
}

impl Kind {
    /// By the first bytes. `Err` names a format that is known and not played.
    pub fn of(head: &[u8]) -> Result<Option<Self>, &'static str> {
        let first_nal = annex_b::nal_units(head).next().and_then(NalKind::of);
        let at_start = head.starts_with(&[0, 0, 0, 1]) || head.starts_with(&[0, 0, 1]);
        Ok(Some(match head {
            _ if head.starts_with(b"YUV4MPEG2 ") => Self::Y4m,
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] => Self::Mp4,
            [0x1a, 0x45, 0xdf, 0xa3, ..] => return Err("Matroska or WebM"),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..] => return Err("AVI"),
            [b'F', b'L', b'V', ..] => return Err("Flash video"),
            [b'O', b'g', b'g', b'S', ..] => return Err("Ogg"),
            [b'G', b'I', b'F', b'8', ..] => return Err("GIF"),
            [0x89, b'P', b'N', b'G', ..] => return Err("PNG"),
            [0, 0, 1, 0xba, ..] => return Err("MPEG program stream"),
            // HEVC's VPS (type 32) and delimiter (35), in another kind of header.
            [0, 0, 0, 1, 0x40 | 0x46, 0x01, ..] | [0, 0, 1, 0x40 | 0x46, 0x01, ..] => return Err("H.265"),
            _ if at_start
                && matches!(
                    first_nal,
                    Some(
                        NalKind::Sps | NalKind::Delimiter | NalKind::Sei | NalKind::Pps | NalKind::Idr | NalKind::Slice
                    )
                ) =>
            {
                Self::H264
            }
            _ => return Ok(None),
        }))
    }

    /// By the name's extension.
    pub fn of_name(path: &Path) -> Result<Option<Self>, &'static str> {
        let extension =
            path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
        Ok(Some(match &*extension {
            "y4m" => Self::Y4m,
            "jpg" | "jpeg" | "mjpg" | "mjpeg" => Self::Jpeg,
            "h264" | "264" | "avc" => Self::H264,
            "mp4" | "m4v" | "mov" => Self::Mp4,
            "mkv" | "webm" => return Err("Matroska or WebM"),
            "avi" => return Err("AVI"),
            "h265" | "265" | "hevc" => return Err("H.265"),
            "ts" | "m2ts" | "mts" => return Err("MPEG transport stream"),
            _ => return Ok(None),
        }))
    }

    /// A clip that reads `input` from its beginning to its end, and never back.
    pub fn clip(
        self,
        input: impl Read + Send + 'static,
        framerate: u32,
        name: &str,
    ) -> Result<Box<dyn Clip>, CaptureError> {
        Ok(match self {
            Self::Y4m => Box::new(
                Y4mClip::new(input, framerate).map_err(|error| CaptureError::Unusable(format!("{name}: {error}")))?,
            ),
            Self::Jpeg => Box::new(MjpegClip::new(input, interval(framerate))),
            Self::H264 => Box::new(H264Clip::new(input, framerate)),
            Self::Mp4 => return Err(CaptureError::Unusable(format!("{name}: MP4 cannot be read from a pipe"))),
        })
    }
}

/// The first bytes of `input`: fewer than asked for only at its end.
pub fn head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    input.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// `name` as a shell takes it.
fn quoted(name: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+=:,@%".contains(letter);
    if name.chars().all(is_plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

/// What to say of a file that is not played.
pub fn not_played(name: &str, what: &str) -> CaptureError {
    let quoted = quoted(name);
    CaptureError::Unusable(format!(
        "{name} is {what}, which perch does not read itself: use `ffmpeg -re -i {quoted} -f yuv4mpegpipe -pix_fmt yuv420p - | perch --source file:-`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_tell_what_a_file_is() {
        assert_eq!(Kind::of(b"YUV4MPEG2 W2"), Ok(Some(Kind::Y4m)));
        assert_eq!(Kind::of(&[0xff, 0xd8, 0xff, 0xe0]), Ok(Some(Kind::Jpeg)));
        assert_eq!(Kind::of(&[0, 0, 0, 1, 0x67, 0x42]), Ok(Some(Kind::H264)));
        assert_eq!(Kind::of(&[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x67]), Ok(Some(Kind::H264)));
        assert_eq!(Kind::of(b"\0\0\0\x20ftypisom"), Ok(Some(Kind::Mp4)));
        assert_eq!(Kind::of(&[0, 0, 0, 1, 0x40, 1, 12]), Err("H.265"));
        assert_eq!(Kind::of(&[0x1a, 0x45, 0xdf, 0xa3]), Err("Matroska or WebM"));
        assert_eq!(Kind::of(b"hello"), Ok(None));
        assert_eq!(Kind::of(b""), Ok(None));
    }

    #[test]
    fn what_is_not_played_comes_with_the_command_that_helps() {
        let error = not_played("a.mkv", "Matroska or WebM").to_string();
        let command = "ffmpeg -re -i a.mkv -f yuv4mpegpipe -pix_fmt yuv420p - | perch --source file:-";
        assert!(error.contains(command), "{error}");
        assert!(not_played("it's me.mkv", "AVI").to_string().contains(r"-i 'it'\''s me.mkv' -f"));
    }
}
