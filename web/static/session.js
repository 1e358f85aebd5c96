// One WebRTC session: from its offer to its end. It never tries again; connection.js decides that.

const ANSWER_TIMEOUT_MS = 8000;
const GATHERING_TIMEOUT_MS = 1000;

/** The server answered an offer, but not with an answer. */
export class Refused extends Error {
  constructor(status, reason, retryAfterMs, isFull = false) {
    super(reason);
    this.name = 'Refused';
    this.status = status;
    this.retryAfterMs = retryAfterMs;
    /** Whether all places for viewers are taken. */
    this.isFull = isFull;
  }
}

export class Session {
  #iceServers;
  #address;
  #abort = new AbortController();
  #closed = false;

  /** The server's name for this session; empty until it answered. */
  id = '';
  /** When things happened, in ms since the page was opened. */
  timings = {};

  /** `address` takes the offer. `onStream` gets the picture's stream as soon as the answer promises one. */
  constructor(iceServers, address, onStream) {
    this.#iceServers = iceServers;
    this.#address = address;
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    const transceiver = this.pc.addTransceiver('video', { direction: 'recvonly' });
    preferH264(transceiver);
    // A camera one talks to or steers by wants the newest picture, not the smoothest.
    if ('jitterBufferTarget' in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0;
    this.pc.addEventListener('track', (event) => onStream(new MediaStream([event.track])));
  }

  /** Exchanges offer and answer. Throws `Refused`, or what `fetch` throws when nobody answers. */
  async open() {
    const offer = await this.pc.createOffer();
    this.mark('offer');
    const described = this.pc.setLocalDescription(offer);
    let sdp = offer.sdp;
    if (this.#iceServers.length > 0) {
      // Through a relay the server must know our candidates to let them in, so here they are worth waiting for.
      await described;
      await gathered(this.pc);
      sdp = this.pc.localDescription.sdp;
    }
    // Without ICE servers the offer leaves at once: the server learns our address from our first check (peer-reflexive).
    const [answer] = await Promise.all([this.#post(sdp), described]);
    this.mark('answer');
    this.id = answer.session ?? '';
    if (this.#closed) {
      release(this.id);
      throw new DOMException('closed while opening', 'AbortError');
    }
    await this.pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
  }

  /** Frames decoded so far. Unlike a video element's callbacks, this also counts in a hidden tab. */
  async framesDecoded() {
    if (this.#closed) return 0;
    for (const entry of (await this.pc.getStats()).values()) {
      if (entry.type === 'inbound-rtp' && entry.kind === 'video') return entry.framesDecoded ?? 0;
    }
    return 0;
  }

  /** Ends this session, here and on the server, and no other one. Also works while the page is being left. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort();
    this.pc.close();
    release(this.id);
  }

  mark(name) {
    performance.clearMarks(name);
    this.timings[name] = performance.mark(name).startTime;
  }

  async #post(sdp) {
    const timeout = setTimeout(() => this.#abort.abort(), ANSWER_TIMEOUT_MS);
    try {
      const response = await fetch(this.#address, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ sdp, type: 'offer' }),
        signal: this.#abort.signal,
      });
      if (!response.ok) throw await refusal(response);
      return await response.json();
    } finally {
      clearTimeout(timeout);
    }
  }
}

/** H.264 is what the camera's hardware makes. The other codecs stay on offer. */
function preferH264(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities?.('video')?.codecs;
  if (!codecs || !transceiver.setCodecPreferences) return;
  const isH264 = (codec) => codec.mimeType.toLowerCase() === 'video/h264';
  transceiver.setCodecPreferences([...codecs.filter(isH264), ...codecs.filter((codec) => !isH264(codec))]);
}

function gathered(pc) {
  return new Promise((resolve) => {
    const check = () => pc.iceGatheringState === 'complete' && resolve();
    pc.addEventListener('icegatheringstatechange', check);
    setTimeout(resolve, GATHERING_TIMEOUT_MS);
    check();
  });
}

async function refusal(response) {
  // The session has ended, or never was.
  if (response.status === 401) location.replace('login');
  const body = await response.json().catch(() => ({}));
  const seconds = Number(response.headers.get('Retry-After'));
  const reason = body.error || `${response.status} ${response.statusText}`;
  return new Refused(response.status, reason, seconds > 0 ? seconds * 1000 : null, Boolean(body.limit));
}

function release(id) {
  // A beacon, because only that outlives a page that is being left.
  if (id) navigator.sendBeacon('close_connection', new Blob([JSON.stringify({ session: id })], { type: 'application/json' }));
}
