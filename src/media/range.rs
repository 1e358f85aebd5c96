//! Sample ranges: JPEG and some webcams use all of 0 to 255 ("full"), video 16 to 235 for luma and 16 to 240 for
//! chroma ("limited", ITU-R BT.601, 2.5.3).
//!
//! Every I420 frame in perch is limited: it is what encoders and browsers assume of a stream that says nothing,
//! and some decoders ignore a stream that says otherwise. Full samples are mapped where they come in.

/// Full luma to limited.
pub const LUMA_TO_LIMITED: [u8; 256] = table(0, 16, 219, 255);
/// Full chroma to limited.
pub const CHROMA_TO_LIMITED: [u8; 256] = table(128, 128, 224, 255);
/// Limited luma to full.
pub const LUMA_TO_FULL: [u8; 256] = table(16, 0, 255, 219);
/// Limited chroma to full.
pub const CHROMA_TO_FULL: [u8; 256] = table(128, 128, 255, 224);
/// Leaves samples as they are.
pub const UNCHANGED: [u8; 256] = table(0, 0, 1, 1);

/// `to_zero + (value - from_zero) × numerator / denominator`, rounded and clamped, for every value.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
const fn table(from_zero: i32, to_zero: i32, numerator: i32, denominator: i32) -> [u8; 256] {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        let scaled = (value - from_zero) * numerator;
        let half = if scaled < 0 { -denominator / 2 } else { denominator / 2 };
        let mapped = to_zero + (scaled + half) / denominator;
        table[value as usize] = if mapped < 0 {
            0
        } else if mapped > 255 {
            255
        } else {
            mapped as u8
        };
        value += 1;
    }
    table
}

/// Copies `from` to `to`, mapping each sample by `table`; what one has more than the other is left alone.
pub fn map_row(to: &mut [u8], from: impl IntoIterator<Item = u8>, table: &[u8; 256]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = table[usize::from(from)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_white_and_grey_land_where_the_standard_puts_them() {
        assert_eq!([LUMA_TO_LIMITED[0], LUMA_TO_LIMITED[255]], [16, 235]);
        assert_eq!([CHROMA_TO_LIMITED[0], CHROMA_TO_LIMITED[128], CHROMA_TO_LIMITED[255]], [16, 128, 240]);
        assert_eq!([LUMA_TO_FULL[0], LUMA_TO_FULL[16], LUMA_TO_FULL[235], LUMA_TO_FULL[255]], [0, 0, 255, 255]);
        assert_eq!([CHROMA_TO_FULL[16], CHROMA_TO_FULL[128], CHROMA_TO_FULL[240]], [0, 128, 255]);
    }

    #[test]
    fn there_and_back_is_off_by_one_at_most() {
        for value in 0..=255_u8 {
            let back = LUMA_TO_FULL[usize::from(LUMA_TO_LIMITED[usize::from(value)])];
            assert!(back.abs_diff(value) <= 1, "{value} came back as {back}");
        }
    }
}
