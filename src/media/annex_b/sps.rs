//! What a sequence parameter set says about the pictures that follow it.

use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::{BitReader, decode_nal};

use super::NalKind;

/// The parts of a sequence parameter set (7.3.2.1.1, Annex E) that decide who can play a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// `profile_idc`: 66 baseline, 77 main, 100 high.
    pub profile_idc: u8,
    /// The constraint flags' byte; flag 0 is its highest bit.
    pub constraints: u8,
    /// Ten times the level: 31 is level 3.1.
    pub level_idc: u8,
    /// Width in pixels, after cropping.
    pub width: usize,
    /// Height in pixels, after cropping.
    pub height: usize,
    /// Whether pictures are never interlaced (`frame_mbs_only_flag`).
    pub is_progressive: bool,
    /// Whether pictures are 4:2:0 with 8 bits per sample.
    pub is_420_8bit: bool,
    /// Whether pictures may come in another order than they are shown in (B-frames).
    pub may_reorder: bool,
    /// Whether luma uses 0 to 255 and not 16 to 235.
    pub is_full_range: bool,
    /// Pictures per second, if the stream says so.
    pub framerate: Option<f64>,
}

impl Sps {
    /// Reads an SPS NAL unit (without start code); `None` when it is not one, or breaks the rules.
    #[must_use]
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if NalKind::of(nal) != Some(NalKind::Sps) {
            return None;
        }
        let rbsp = decode_nal(nal).ok()?;
        let sps = SeqParameterSet::from_bits(BitReader::new(&*rbsp)).ok()?;
        let (width, height) = sps.pixel_dimensions().ok()?;
        let vui = sps.vui_parameters.as_ref();
        let chroma = &sps.chroma_info;
        let [profile_idc, constraints] = [*nal.get(1)?, *nal.get(2)?];
        // E.2.1: max_num_reorder_frames; without it, only baseline (no B slices, A.2.1) and order type 2 (output
        // order is decoding order, 8.2.1.3) promise not to reorder.
        let may_reorder = match vui.and_then(|vui| vui.bitstream_restrictions.as_ref()) {
            Some(restrictions) => restrictions.max_num_reorder_frames > 0,
            None => profile_idc != 66 && !matches!(sps.pic_order_cnt, PicOrderCntType::TypeTwo),
        };
        Some(Self {
            profile_idc,
            constraints,
            level_idc: sps.level_idc,
            width: usize::try_from(width).ok()?,
            height: usize::try_from(height).ok()?,
            is_progressive: matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames),
            is_420_8bit: chroma.chroma_format == ChromaFormat::YUV420
                && chroma.bit_depth_luma_minus8 == 0
                && chroma.bit_depth_chroma_minus8 == 0,
            may_reorder,
            is_full_range: vui
                .and_then(|vui| vui.video_signal_type.as_ref())
                .is_some_and(|signal| signal.video_full_range_flag),
            framerate: sps.fps().filter(|rate| rate.is_finite() && *rate > 0.0),
        })
    }
}

/// Whether browsers play such a stream over WebRTC as it is: baseline, main or high profile, 4:2:0 with 8 bits,
/// progressive, shown in the order it is sent in, at most level 5.1. Anything else has to be decoded and encoded
/// again.
#[must_use]
pub const fn browser_playable(sps: &Sps) -> bool {
    matches!(sps.profile_idc, 66 | 77 | 100)
        && sps.is_420_8bit
        && sps.is_progressive
        && !sps.may_reorder
        && sps.level_idc <= 51
}

#[cfg(test)]
mod tests {
    use super::*;

    // What x264 wrote: 160×120 at 10 fps.
    const BASELINE: &[u8] = &[
        0x67, 0x42, 0xc0, 0x0c, 0xa6, 0x11, 0x0a, 0x11, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
        0x03, 0x00, 0x14, 0x0f, 0x14, 0x2a, 0x11, 0x80,
    ];
    const MAIN_WITHOUT_B: &[u8] = &[
        0x67, 0x4d, 0x40, 0x0c, 0xa6, 0x11, 0x0a, 0x11, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
        0x03, 0x00, 0x14, 0x0f, 0x14, 0x2a, 0x11, 0x80,
    ];
    const HIGH_WITH_B: &[u8] = &[
        0x67, 0x64, 0x00, 0x0c, 0xac, 0x76, 0x11, 0x0a, 0x11, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,
        0x00, 0x03, 0x00, 0x14, 0x0f, 0x14, 0x29, 0x84, 0x60,
    ];
    const HIGH_422: &[u8] = &[
        0x67, 0x7a, 0x00, 0x0a, 0xbc, 0xb2, 0x05, 0x08, 0xfc, 0x4e, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x20, 0x00,
        0x00, 0x03, 0x02, 0x81, 0xe2, 0x44, 0xc9,
    ];

    #[test]
    fn size_rate_and_profile_are_read() {
        let sps = Sps::parse(BASELINE).unwrap();
        assert_eq!((sps.width, sps.height, sps.framerate), (160, 120, Some(10.0)));
        assert_eq!((sps.profile_idc, sps.constraints, sps.level_idc), (66, 0xc0, 12));
    }

    #[test]
    fn browsers_play_what_needs_no_reordering_and_no_rare_profile() {
        let playable = |nal| browser_playable(&Sps::parse(nal).unwrap());
        assert!(playable(BASELINE));
        assert!(playable(MAIN_WITHOUT_B));
        assert!(!playable(HIGH_WITH_B));
        assert!(!playable(HIGH_422));
    }

    #[test]
    fn interlaced_and_very_large_streams_are_not_for_browsers() {
        let sps = Sps::parse(BASELINE).unwrap();
        assert!(!browser_playable(&Sps { is_progressive: false, ..sps }));
        assert!(!browser_playable(&Sps { level_idc: 52, ..sps }));
        assert!(!browser_playable(&Sps { is_420_8bit: false, ..sps }));
    }

    #[test]
    fn an_sps_cut_short_or_garbage_is_refused() {
        assert!((0..BASELINE.len() - 2).all(|length| Sps::parse(&BASELINE[..length]).is_none()));
        assert_eq!(Sps::parse(&[0x68, 1, 2, 3]), None);
        assert_eq!(Sps::parse(&[0x67, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
