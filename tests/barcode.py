"""Reads the timestamp that perch's test pattern draws across the top twentieth of its picture.

40 equal cells, black 16 or white 235 in luma: sync cells 1 0 1 0, then Unix time in milliseconds mod 2^32,
most significant bit first, then a 4-bit xor of its eight nibbles.
"""

from __future__ import annotations

import time

CELLS = 40


def decode(luma, stride: int, width: int, height: int) -> int | None:
    """Milliseconds (mod 2^32) from a luma plane, or None when the cells do not make sense."""
    row = (height // 40) * stride
    bits = [luma[row + (2 * cell + 1) * width // (2 * CELLS)] for cell in range(CELLS)]
    if any(64 < value < 192 for value in bits):
        return None
    word = 0
    for value in bits:
        word = word << 1 | (value > 128)
    stamp, check = word >> 4 & 0xFFFFFFFF, word & 15
    for nibble in range(8):
        check ^= stamp >> 4 * nibble & 15
    return stamp if word >> 36 == 0b1010 and check == 0 else None


def age_ms(stamp: int) -> int:
    """How long ago, by this machine's clock, a stamp was drawn."""
    age = (int(time.time() * 1000) - stamp) & 0xFFFFFFFF
    return age - (1 << 32) if age >> 31 else age


# The same for a page: `perchBarcode(video)` resolves to the stamp or null. It copies two rows of luma out of
# the decoded picture, which costs next to nothing; drawing to a canvas would convert the whole picture.
JAVASCRIPT = """
window.perchBarcode = async video => {
  const frame = new VideoFrame(video);
  try {
    const {width, height} = frame.visibleRect;
    const rect = {x: 0, y: Math.floor(height / 40) & ~1, width, height: 2};
    const bytes = new Uint8Array(frame.allocationSize({rect}));
    const [luma] = await frame.copyTo(bytes, {rect});
    const step = /^(I4|NV)/.test(frame.format) ? 1 : 4;
    let word = 0n;
    for (let cell = 0; cell < 40; cell++) {
      const value = bytes[luma.offset + step * Math.floor((2 * cell + 1) * width / 80)];
      if (value > 64 && value < 192) return null;
      word = word << 1n | BigInt(value > 128);
    }
    let check = word & 15n;
    const stamp = word >> 4n & 0xffffffffn;
    for (let nibble = 0n; nibble < 8n; nibble++) check ^= stamp >> 4n * nibble & 15n;
    return word >> 36n === 0b1010n && check === 0n ? Number(stamp) : null;
  } finally {
    frame.close();
  }
};
"""
