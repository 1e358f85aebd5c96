// Reads the clock that the test picture carries: 40 black or white cells over the top twentieth of the picture.
// They are four cells to find it by (white, black, white, black), the Unix time in ms modulo 2^32 with the highest bit
// first, and four bits of checksum: the exclusive or of the time's eight nibbles.

const CELLS = 40;
const PIXELS_PER_CELL = 4;
const SYNC = 0b1010;
const BRIGHT = 128;

let context = null;

/** The time in the picture, or null when there is none. */
export function readClock(video) {
  if (!video.videoWidth) return null;
  context ??= makeContext();
  const stripHeight = video.videoHeight / 20;
  // The middle half of the strip, so that neither its edge nor the compression around it is read.
  context.drawImage(video, 0, stripHeight / 4, video.videoWidth, stripHeight / 2, 0, 0, CELLS * PIXELS_PER_CELL, 1);
  const { data } = context.getImageData(0, 0, CELLS * PIXELS_PER_CELL, 1);
  return decode(Array.from({ length: CELLS }, (_, cell) => brightness(data, cell) >= BRIGHT));
}

function makeContext() {
  const canvas = document.createElement('canvas');
  canvas.width = CELLS * PIXELS_PER_CELL;
  canvas.height = 1;
  return canvas.getContext('2d', { willReadFrequently: true });
}

/** The green of the two pixels in the middle of a cell; the cells have no colour. */
function brightness(data, cell) {
  const middle = cell * PIXELS_PER_CELL + PIXELS_PER_CELL / 2;
  return (data[4 * middle + 1] + data[4 * (middle - 1) + 1]) / 2;
}

function decode(bits) {
  const number = (from, count) => bits.slice(from, from + count).reduce((value, bit) => value * 2 + Number(bit), 0);
  if (number(0, 4) !== SYNC) return null;
  let checksum = 0;
  for (let nibble = 0; nibble < 8; nibble += 1) checksum ^= number(4 + 4 * nibble, 4);
  return checksum === number(36, 4) ? number(4, 32) : null;
}
