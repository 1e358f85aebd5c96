//! The H.264 level that a size, a rate and a bitrate need (Rec. ITU-T H.264, table A-1).
//!
//! Raspberry Pi's encoder does not start when the level is too low, and hardware decoders may refuse a level that is
//! higher than they know: so the lowest that fits.

/// A level: its number times ten, and its place in V4L2's menu (`V4L2_MPEG_VIDEO_H264_LEVEL_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// 31 is level 3.1.
    pub(super) times_ten: u8,
    /// The value of the control.
    pub(super) menu_value: i64,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.times_ten / 10, self.times_ten % 10)
    }
}

/// Level × 10, menu value, macroblocks per second, macroblocks per picture, kbit/s (Baseline and Main). Level 1b, which
/// only differs in bitrate, and those below 2 are left out: nothing is gained by them.
const TABLE: [(u8, i64, u64, u64, u64); 12] = [
    (20, 5, 11_880, 396, 2_000),
    (21, 6, 19_800, 792, 4_000),
    (22, 7, 20_250, 1_620, 4_000),
    (30, 8, 40_500, 1_620, 10_000),
    (31, 9, 108_000, 3_600, 14_000),
    (32, 10, 216_000, 5_120, 20_000),
    (40, 11, 245_760, 8_192, 20_000),
    (41, 12, 245_760, 8_192, 50_000),
    (42, 13, 522_240, 8_704, 50_000),
    (50, 14, 589_824, 22_080, 135_000),
    (51, 15, 983_040, 36_864, 240_000),
    (52, 16, 2_073_600, 36_864, 240_000),
];

/// The lowest level for pictures of `size` at `framerate` and `bitrate_bps`; `None` if they are larger than any.
pub(super) fn lowest(size: (usize, usize), framerate: u32, bitrate_bps: u32) -> Option<Level> {
    let blocks = (size.0.div_ceil(16) as u64, size.1.div_ceil(16) as u64);
    let per_picture = blocks.0 * blocks.1;
    let per_second = per_picture * u64::from(framerate);
    let fits = |&&(_, _, most_per_second, most_per_picture, most_kbps): &&(u8, i64, u64, u64, u64)| {
        // No side may be longer than the square root of 8 times the picture.
        let longest = |side: u64| side * side <= 8 * most_per_picture;
        per_second <= most_per_second
            && per_picture <= most_per_picture
            && u64::from(bitrate_bps) <= most_kbps * 1000
            && longest(blocks.0)
            && longest(blocks.1)
    };
    TABLE.iter().find(fits).map(|&(times_ten, menu_value, ..)| Level { times_ten, menu_value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(size: (usize, usize), framerate: u32, bitrate_bps: u32) -> Option<u8> {
        lowest(size, framerate, bitrate_bps).map(|level| level.times_ten)
    }

    #[test]
    fn common_pictures_get_their_well_known_levels() {
        assert_eq!(level((640, 480), 30, 2_000_000), Some(30));
        assert_eq!(level((1280, 720), 30, 2_000_000), Some(31));
        assert_eq!(level((1280, 720), 60, 2_000_000), Some(32));
        assert_eq!(level((1920, 1080), 30, 4_000_000), Some(40));
        assert_eq!(level((1920, 1080), 60, 4_000_000), Some(42));
    }

    #[test]
    fn a_high_bitrate_needs_a_higher_level() {
        assert_eq!(level((640, 480), 30, 10_000_001), Some(31));
        assert_eq!(level((1920, 1080), 30, 25_000_000), Some(41));
    }

    #[test]
    fn what_is_larger_than_any_level_has_none() {
        assert_eq!(level((16_384, 16_384), 30, 2_000_000), None);
        assert_eq!(level((4096, 2304), 240, 2_000_000), None);
    }

    #[test]
    fn a_long_narrow_picture_needs_a_level_that_allows_its_side() {
        // 128 blocks side by side are few, but level 2 allows a side of 56.
        assert_eq!(level((2048, 16), 30, 1_000_000), Some(31));
        assert_eq!(level((16, 2048), 30, 1_000_000), Some(31));
    }
}
