//! YUV4MPEG2: a line of text, then raw pictures. What ffmpeg, rpicam-vid and mjpegtools put into pipes.
//!
//! There is no standard; this follows the manual page yuv4mpeg(5) and what ffmpeg writes. Interlaced streams are
//! taken as progressive. Pictures come out as limited-range I420, whatever they were.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::time::Duration;

use log::warn;

use super::clip::{Clip, Picture, interval};
use crate::capture::CaptureError;
use crate::media::frame::{FramePool, PixelFormat, PoolBuffer, packed_size};
use crate::media::range::{CHROMA_TO_LIMITED, LUMA_TO_LIMITED, UNCHANGED, map_row};

/// The longest header line; ffmpeg's have about 100 bytes.
const LONGEST_LINE: usize = 4096;
const SIDES: std::ops::RangeInclusive<usize> = 32..=4096;

/// Why a YUV4MPEG2 stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Y4mError {
    /// The header or a frame is not what it should be.
    #[error("not a usable YUV4MPEG2 stream: {0}")]
    Malformed(String),
    /// The pixels are of a kind that is not read.
    #[error(
        "YUV4MPEG2 pixels of kind `{0}` are not supported: make them 8 bit 4:2:0, with ffmpeg's `-pix_fmt yuv420p`"
    )]
    Pixels(String),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chroma {
    Yuv420,
    Yuv422,
    Yuv444,
    None,
}

/// Reads pictures from a YUV4MPEG2 stream.
pub struct Y4mReader<R> {
    input: BufReader<R>,
    width: usize,
    height: usize,
    chroma: Chroma,
    is_full_range: bool,
    shown_for: Option<Duration>,
    pool: FramePool,
    raw: Vec<u8>,
}

impl<R: Read> Y4mReader<R> {
    /// Reads the stream's header.
    ///
    /// # Errors
    /// When it is none, or promises pictures that perch cannot use.
    pub fn new(input: R) -> Result<Self, Y4mError> {
        let mut input = BufReader::with_capacity(64 << 10, input);
        let line = read_line(&mut input)?.unwrap_or_default();
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        if words.next() != Some("YUV4MPEG2") {
            return Err(Y4mError::Malformed("it does not begin with YUV4MPEG2".into()));
        }
        let (mut width, mut height, mut shown_for, mut is_full_range) = (None, None, None, false);
        let mut chroma = Chroma::Yuv420;
        for word in words {
            let (tag, value) = word.split_at_checked(1).unwrap_or_default();
            match tag {
                "W" => width = value.parse().ok(),
                "H" => height = value.parse().ok(),
                "F" => shown_for = frame_duration(value),
                "C" => {
                    chroma = match value {
                        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Chroma::Yuv420,
                        "422" => Chroma::Yuv422,
                        "444" => Chroma::Yuv444,
                        "mono" => Chroma::None,
                        _ => return Err(Y4mError::Pixels(value.into())),
                    }
                }
                "X" if value == "COLORRANGE=FULL" => is_full_range = true,
                // I (interlacing), A (aspect) and comments.
                _ => {}
            }
        }
        let (Some(width), Some(height)) = (width, height) else {
            return Err(Y4mError::Malformed("its header has no width and height".into()));
        };
        if !SIDES.contains(&width) || !SIDES.contains(&height) {
            return Err(Y4mError::Malformed(format!("{width}×{height} is outside 32×32 to 4096×4096")));
        }
        if width % 2 != 0 || height % 2 != 0 {
            warn!("{width}×{height} is odd: the last column or row is cut off");
        }
        let pool = FramePool::new(4);
        Ok(Self { input, width, height, chroma, is_full_range, shown_for, pool, raw: Vec::new() })
    }

    /// Width and height of the pictures that come out: even.
    #[must_use]
    pub const fn size(&self) -> (usize, usize) {
        (self.width & !1, self.height & !1)
    }

    /// The next picture as packed I420; `None` at the end, also when the stream breaks off within a picture.
    ///
    /// # Errors
    /// When reading fails or something else than a picture follows.
    pub fn read_frame(&mut self) -> Result<Option<PoolBuffer>, Y4mError> {
        match read_line(&mut self.input)? {
            None => return Ok(None),
            Some(line) if line == "FRAME" || line.starts_with("FRAME ") => {}
            Some(_) => return Err(Y4mError::Malformed("no FRAME where one should begin".into())),
        }
        let size = self.size();
        let mut picture = self.pool.take(packed_size(PixelFormat::I420, size));
        let is_as_wanted = self.chroma == Chroma::Yuv420 && !self.is_full_range && size == (self.width, self.height);
        let whole = if is_as_wanted {
            fill(&mut self.input, &mut picture)?
        } else {
            let (chroma_width, chroma_height) = self.chroma_size();
            self.raw.resize(self.width * self.height + 2 * chroma_width * chroma_height, 0);
            let whole = fill(&mut self.input, &mut self.raw)?;
            self.convert(&mut picture, size);
            whole
        };
        Ok(whole.then_some(picture))
    }

    const fn chroma_size(&self) -> (usize, usize) {
        match self.chroma {
            Chroma::Yuv420 => (self.width.div_ceil(2), self.height.div_ceil(2)),
            Chroma::Yuv422 => (self.width.div_ceil(2), self.height),
            Chroma::Yuv444 => (self.width, self.height),
            Chroma::None => (0, 0),
        }
    }

    fn convert(&self, picture: &mut [u8], (width, height): (usize, usize)) {
        let (luma_table, chroma_table) =
            if self.is_full_range { (&LUMA_TO_LIMITED, &CHROMA_TO_LIMITED) } else { (&UNCHANGED, &UNCHANGED) };
        let (from_luma, from_chroma) = self.raw.split_at(self.width * self.height);
        let (luma, chroma) = picture.split_at_mut(width * height);
        for (to, from) in luma.chunks_exact_mut(width).zip(from_luma.chunks_exact(self.width)) {
            map_row(to, from.iter().copied(), luma_table);
        }
        let (from_width, from_height) = self.chroma_size();
        if self.chroma == Chroma::None {
            return chroma.fill(128);
        }
        let (step_x, step_y) =
            (if self.chroma == Chroma::Yuv444 { 2 } else { 1 }, if self.chroma == Chroma::Yuv420 { 1 } else { 2 });
        let planes = from_chroma.chunks_exact(from_width * from_height);
        for (to, from) in chroma.chunks_exact_mut(width / 2 * (height / 2)).zip(planes) {
            for (to, rows) in to.chunks_exact_mut(width / 2).zip(from.chunks(from_width * step_y)) {
                // The mean of one, two or four samples.
                let count = step_x * step_y;
                let mean = |x: usize| {
                    let rows = rows.chunks(from_width).flat_map(|row| row.iter().skip(x * step_x).take(step_x));
                    let sum: usize = rows.map(|&sample| usize::from(sample)).sum();
                    u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX)
                };
                map_row(to, (0..width / 2).map(mean), chroma_table);
            }
        }
    }
}

/// `30000:1001` as the time that one picture is shown for.
fn frame_duration(ratio: &str) -> Option<Duration> {
    let (frames, seconds) = ratio.split_once(':')?;
    let (frames, seconds): (u32, u32) = (frames.parse().ok()?, seconds.parse().ok()?);
    (frames > 0 && seconds > 0).then(|| Duration::from_secs(seconds.into()) / frames)
}

/// A line without its end; `None` at the end of the stream.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>, Y4mError> {
    let mut line = Vec::new();
    input.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(Some(String::from_utf8_lossy(&line).into_owned())),
        Some(_) if line.len() + 1 == LONGEST_LINE => {
            Err(Y4mError::Malformed(format!("a header of more than {LONGEST_LINE} bytes")))
        }
        _ => Ok(None),
    }
}

/// Whether `buffer` could be filled before the stream ended.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<bool, Y4mError> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A YUV4MPEG2 stream as a clip.
pub struct Y4mClip<R> {
    reader: Y4mReader<R>,
    shown_for: Duration,
}

impl<R: Read> Y4mClip<R> {
    pub fn new(input: R, framerate: u32) -> Result<Self, Y4mError> {
        let reader = Y4mReader::new(input)?;
        let shown_for = reader.shown_for.unwrap_or_else(|| interval(framerate));
        Ok(Self { reader, shown_for })
    }
}

impl<R: Read + Send> Clip for Y4mClip<R> {
    fn next_picture(&mut self) -> Result<Option<Picture>, CaptureError> {
        let picture = self.reader.read_frame().map_err(|error| CaptureError::Lost(error.to_string()))?;
        let (size, shown_for) = (self.reader.size(), self.shown_for);
        Ok(picture.map(|memory| Picture { format: PixelFormat::I420, size, memory: Box::new(memory), shown_for }))
    }

    fn describe(&self) -> String {
        let (width, height) = self.reader.size();
        format!("YUV4MPEG2 {width}×{height} at {:.4} fps", 1.0 / self.shown_for.as_secs_f64().max(1e-6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(header: &str, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = format!("YUV4MPEG2 {header}\n").into_bytes();
        for frame in frames {
            stream.extend_from_slice(b"FRAME Ip\n");
            stream.extend_from_slice(frame);
        }
        stream
    }

    fn first(header: &str, frame: Vec<u8>) -> PoolBuffer {
        Y4mReader::new(&stream(header, &[frame])[..]).unwrap().read_frame().unwrap().expect("a frame")
    }

    #[test]
    fn plain_420_is_read_as_it_is_until_the_end() {
        let frames = [vec![1; 32 * 32 * 3 / 2], vec![2; 32 * 32 * 3 / 2]];
        let stream = stream("W32 H32 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG", &frames);
        let mut reader = Y4mReader::new(&stream[..]).unwrap();
        assert_eq!((reader.size(), reader.shown_for.unwrap().as_nanos()), ((32, 32), 33_366_666));
        for frame in &frames {
            assert_eq!(&reader.read_frame().unwrap().unwrap()[..], frame);
        }
        assert!(reader.read_frame().unwrap().is_none());
    }

    #[test]
    fn other_chroma_is_averaged_to_420() {
        let luma = vec![50; 1024];
        for (kind, u, v) in
            [("422", [[10, 10], [20, 20]].concat(), vec![7; 2]), ("444", [[10, 10], [20, 20]].concat(), vec![7; 2])]
        {
            // Rows of 10 and 20 by turns: the mean is 15.
            let width = if kind == "422" { 16 } else { 32 };
            let u_plane: Vec<u8> = (0..32).flat_map(|row| vec![u[row % 2 * 2]; width]).collect();
            let frame =
                first(&format!("W32 H32 F30:1 C{kind}"), [luma.clone(), u_plane, vec![v[0]; width * 32]].concat());
            assert!(frame[..1024].iter().all(|&sample| sample == 50), "{kind}");
            assert!(frame[1024..1280].iter().all(|&sample| sample == 15), "{kind}");
            assert!(frame[1280..].iter().all(|&sample| sample == 7), "{kind}");
        }
        assert!(first("W32 H32 F30:1 Cmono", luma)[1024..].iter().all(|&sample| sample == 128));
    }

    #[test]
    fn full_range_becomes_limited() {
        let frame = first("W32 H32 F30:1 C420jpeg XCOLORRANGE=FULL", [vec![255; 1024], vec![255; 512]].concat());
        assert_eq!((frame[0], frame[1024]), (235, 240));
    }

    #[test]
    fn odd_sizes_lose_their_last_row_and_column() {
        let stream = stream("W33 H35 F30:1", &[vec![9; 33 * 35 + 2 * 17 * 18]]);
        let mut reader = Y4mReader::new(&stream[..]).unwrap();
        assert_eq!(reader.size(), (32, 34));
        assert_eq!(reader.read_frame().unwrap().unwrap().len(), 32 * 34 * 3 / 2);
    }

    #[test]
    fn bad_headers_are_refused_with_the_reason() {
        for (header, reason) in [
            ("W32 F30:1", "no width and height"),
            ("W16 H16 F30:1", "16×16 is outside"),
            ("W99999 H32", "99999×32 is outside"),
            ("W32 H32 C420p10", "-pix_fmt yuv420p"),
            (&"X".repeat(5000), "more than 4096 bytes"),
        ] {
            let error = Y4mReader::new(&stream(header, &[])[..]).err().expect("an error").to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(Y4mReader::new(&b"RIFF\n"[..]).is_err());
        assert!(Y4mReader::new(&b""[..]).is_err());
    }

    #[test]
    fn a_picture_cut_short_is_the_end_and_junk_is_an_error() {
        let mut cut = stream("W32 H32 F30:1", &[vec![1; 1536]]);
        cut.truncate(cut.len() - 1);
        assert!(Y4mReader::new(&cut[..]).unwrap().read_frame().unwrap().is_none());
        let mut junk = stream("W32 H32 F30:1", &[]);
        junk.extend_from_slice(b"JUNK\n");
        assert!(Y4mReader::new(&junk[..]).unwrap().read_frame().is_err());
    }
}
