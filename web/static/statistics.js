// The statistics view. It measures only while it is open.

import { readClock } from './barcode.js';

const INTERVAL_MS = 1000;
const SAMPLES_PER_SECOND = 4;
// Beyond this, the clocks of camera and viewer differ, and the number says nothing about the way between them.
const PLAUSIBLE_AGE_MS = 60_000;

export class Statistics {
  #panel;
  #figures;
  #video;
  #currentSession;
  #timer = 0;
  #sampledAt = 0;
  #ages = [];
  #before = null;

  constructor(panel, figures, video, currentSession) {
    this.#panel = panel;
    this.#figures = figures;
    this.#video = video;
    this.#currentSession = currentSession;
  }

  /** Opens or closes the view; true when it is open now. */
  toggle() {
    if (this.#panel.hidden) this.#open();
    else this.#close();
    return !this.#panel.hidden;
  }

  #open() {
    this.#panel.hidden = false;
    this.#before = null;
    this.#timer = setInterval(() => this.#update(), INTERVAL_MS);
    this.#update();
    this.#watchFrames();
  }

  #close() {
    this.#panel.hidden = true;
    clearInterval(this.#timer);
    this.#ages = [];
  }

  #watchFrames() {
    this.#video.requestVideoFrameCallback?.((now, { expectedDisplayTime }) => {
      if (this.#panel.hidden) return;
      if (now - this.#sampledAt >= 1000 / SAMPLES_PER_SECOND) {
        this.#sampledAt = now;
        this.#sampleAge(expectedDisplayTime);
      }
      this.#watchFrames();
    });
  }

  #sampleAge(displayTime) {
    const stamp = readClock(this.#video);
    if (stamp === null) {
      this.#ages = [];
      return;
    }
    const displayedAt = Date.now() + Math.max(0, displayTime - performance.now());
    // The stamp holds the time modulo 2^32, so the difference is taken in 32 bits, too.
    this.#ages.push((Math.round(displayedAt) - stamp) | 0);
    this.#ages.splice(0, this.#ages.length - 2 * SAMPLES_PER_SECOND);
  }

  async #update() {
    const session = this.#currentSession();
    const report = session ? collect(await session.pc.getStats()) : {};
    if (!report.video) {
      this.#before = null;
      this.#show([['Session', session ? 'no video yet' : 'none']]);
      return;
    }
    const before = this.#before?.session === session ? this.#before.report : null;
    this.#before = { session, report };
    this.#show(rows(report, before, this.#age(), session));
  }

  #age() {
    if (this.#ages.length === 0) return null;
    const sorted = [...this.#ages].sort((a, b) => a - b);
    const age = sorted[Math.floor(sorted.length / 2)];
    return Math.abs(age) < PLAUSIBLE_AGE_MS ? `${age} ms` : 'clocks differ';
  }

  #show(lines) {
    this.#figures.replaceChildren(
      ...lines.flatMap(([name, value]) => {
        const term = document.createElement('dt');
        const figure = document.createElement('dd');
        term.textContent = name;
        figure.textContent = value;
        return [term, figure];
      }),
    );
  }
}

function collect(entries) {
  const report = {};
  for (const entry of entries.values()) {
    if (entry.type === 'inbound-rtp' && entry.kind === 'video') report.video = entry;
    if (entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') report.pair = entry;
  }
  report.codec = entries.get(report.video?.codecId);
  report.candidate = entries.get(report.pair?.remoteCandidateId);
  return report;
}

function rows({ video, pair, codec, candidate }, before, age, session) {
  const since = (name) => (video[name] ?? 0) - (before?.video[name] ?? 0);
  const seconds = before ? (video.timestamp - before.video.timestamp) / 1000 : 0;
  const roundTripMs = pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000;
  const emitted = since('jitterBufferEmittedCount');
  const bufferMs = emitted > 0 ? (since('jitterBufferDelay') / emitted) * 1000 : null;
  const decoded = since('framesDecoded');
  const expected = since('packetsReceived') + since('packetsLost');
  const lossPercent = expected > 0 ? Math.max(0, (since('packetsLost') / expected) * 100) : 0;
  const unknown = '–';
  const lines = [
    ['Picture', `${video.frameWidth ?? 0} × ${video.frameHeight ?? 0}`],
    ['Frame rate', seconds > 0 ? `${(decoded / seconds).toFixed(1)} fps` : unknown],
    ['Bitrate', seconds > 0 ? bitrate((since('bytesReceived') * 8) / seconds) : unknown],
    ['Codec', codecName(codec)],
    ['Delay (buffer + way)', bufferMs === null || roundTripMs === null ? unknown : `${(bufferMs + roundTripMs / 2).toFixed(1)} ms`],
    ['Glass to glass', age],
    ['Decoding', decoded > 0 ? `${((since('totalDecodeTime') / decoded) * 1000).toFixed(1)} ms` : unknown],
    ['Loss', `${lossPercent.toFixed(1)} % now, ${Math.max(0, video.packetsLost ?? 0)} packets`],
    ['Freezes', `${video.freezeCount ?? 0} (${(video.totalFreezesDuration ?? 0).toFixed(1)} s)`],
    ['Dropped frames', String(video.framesDropped ?? 0)],
    ['First frame', session.timings.frame ? `${Math.round(session.timings.frame - session.timings.offer)} ms after the offer` : unknown],
    ['Way', candidate ? `${candidate.candidateType} ${candidate.protocol}` : unknown],
  ];
  return lines.filter(([, value]) => value !== null);
}

function bitrate(bitsPerSecond) {
  return bitsPerSecond >= 1e6 ? `${(bitsPerSecond / 1e6).toFixed(2)} Mbit/s` : `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

function codecName(codec) {
  if (!codec) return '–';
  const name = codec.mimeType.replace('video/', '').replace('H264', 'H.264');
  const profile = /profile-level-id=([0-9a-f]{6})/i.exec(codec.sdpFmtpLine ?? '')?.[1];
  return profile ? `${name} ${h264Profile(profile)}` : name;
}

/** RFC 6184, section 8.1: profile_idc, the constraint flags and level_idc, one byte each. */
function h264Profile(profileLevelId) {
  const [profile, constraints, level] = profileLevelId.match(/../g).map((byte) => parseInt(byte, 16));
  const constrained = (constraints & 0x40) !== 0;
  const name = { 0x42: constrained ? 'Constrained Baseline' : 'Baseline', 0x4d: 'Main', 0x58: 'Extended', 0x64: 'High' }[profile];
  return `${name ?? `profile ${profile}`}, level ${Math.floor(level / 10)}.${level % 10}`;
}
