// Keeps a picture on the page: opens a session, watches it, replaces it when it dies, and says in one word how things are.

import { Refused, Session } from './session.js';

const WATCH_INTERVAL_MS = 500;
const CONNECT_TIMEOUT_MS = 8000;
// The way is there, but the encryption's handshake is not: a packet of it was lost, and a new try is quicker than the wait.
const HANDSHAKE_TIMEOUT_MS = 2500;
const DISCONNECTED_TIMEOUT_MS = 2000;
const NO_FRAME_TIMEOUT_MS = 3000;
// Frames missing for this long are worth asking the server what is going on.
const HESITATION_MS = 700;
const STATUS_TIMEOUT_MS = 4000;
const STATUS_INTERVAL_MS = { live: 5000, waiting: 2000, hesitating: 1000 };
const BACKOFF_MS = { first: 500, longest: 5000 };
const FULL_RETRY_MS = 5000;
// After this many sessions without one picture, while HTTP works, single JPEG pictures are better than hope.
const FAILURES_BEFORE_FALLBACK = 3;
// Refusals that a second try cannot change: no such route, or nothing in our offer that the server could use.
const HOPELESS_STATUSES = [404, 405, 422];

/** States: connecting, live, no-input, ended, private, reconnecting, full, refused, gone, replaced, mjpeg. */
export class Connection {
  #session = null;
  #openedAt = 0;
  #retryTimer = 0;
  #backoffMs = BACKOFF_MS.first;
  #failures = 0;
  #everLive = false;
  #frames = 0;
  #lastFrameAt = 0;
  #disconnectedAt = null;
  #wayFoundAt = null;
  #camera = null;
  #takenOver = false;
  #fallbackBroken = false;
  #statusAskedAt = -Infinity;
  #answer = null;
  #iceServers;
  #listener;
  #name;

  state = 'connecting';

  /** `name` is the camera's, '' the first one's. `listener` has `changed(state, detail)`, `streamArrived(stream)` and `fallbackChanged(address)`, which gets '' when it ends. */
  constructor(iceServers, listener, name = '') {
    this.#iceServers = iceServers;
    this.#listener = listener;
    this.#name = name;
    setInterval(() => this.#watch(), WATCH_INTERVAL_MS);
  }

  get session() {
    return this.#session;
  }

  /** Starts, or starts afresh, with the camera of this name. */
  watch(name) {
    this.#name = name;
    this.#camera = null;
    this.#everLive = false;
    this.#failures = 0;
    this.#backoffMs = BACKOFF_MS.first;
    this.connect();
  }

  /** Starts, or starts afresh, at once. */
  connect() {
    const wasFallback = this.state === 'mjpeg';
    this.#drop();
    if (wasFallback) {
      this.#failures = 0;
      this.#listener.fallbackChanged('');
    }
    if (!window.RTCPeerConnection) {
      this.#fallBack('This browser has no WebRTC');
      return;
    }
    this.#say(this.#everLive ? 'reconnecting' : 'connecting');
    this.#open();
  }

  /** Does not wait any longer for the next try, if that is what is going on. */
  hurry() {
    if (this.#retryTimer) {
      this.#backoffMs = BACKOFF_MS.first;
      this.connect();
    }
  }

  /** Ends the session; nothing is tried again before `connect`. */
  leave() {
    this.#drop();
  }

  /** The video element showed a frame: earlier news than the next look at the counters. */
  frameShown() {
    if (this.#session) this.#framesFlow();
  }

  /** The single pictures did not come. */
  fallbackFailed() {
    if (this.state !== 'mjpeg') return;
    this.#fallbackBroken = true;
    this.#say('mjpeg', 'The server gives no single pictures right now. Trying again.');
  }

  async #open() {
    let session = null;
    this.#frames = 0;
    this.#disconnectedAt = null;
    this.#wayFoundAt = null;
    this.#openedAt = this.#lastFrameAt = performance.now();
    try {
      session = new Session(this.#iceServers, this.#address('offer'), (stream) => session === this.#session && this.#listener.streamArrived(stream));
      this.#session = session;
      await session.open();
    } catch (error) {
      if (session === this.#session) this.#failedToOpen(error);
    }
  }

  #failedToOpen(error) {
    this.#drop();
    if (error instanceof Refused && error.isFull) {
      this.#retryAfter(error.retryAfterMs ?? FULL_RETRY_MS, 'full', error.message);
    } else if (error instanceof Refused && HOPELESS_STATUSES.includes(error.status)) {
      this.#fallBack(error.message);
    } else if (error instanceof Refused) {
      this.#retry('refused', error.message);
    } else if (error instanceof TypeError || error.name === 'AbortError') {
      this.#retry('gone');
    } else {
      // The answer was there, but this browser could not use it.
      this.#lost(error.message);
    }
  }

  #lost(reason) {
    const sawFrames = Boolean(this.#session?.timings.frame);
    this.#drop();
    this.#failures = sawFrames ? 0 : this.#failures + 1;
    if (this.#failures >= FAILURES_BEFORE_FALLBACK) {
      this.#fallBack(reason);
    } else {
      this.#retry('reconnecting', reason);
    }
  }

  #drop() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    this.#session?.close();
    this.#session = null;
  }

  #retry(state, detail = '') {
    // Spread out, so that a restarted server does not meet all its viewers in the same instant.
    this.#retryAfter(this.#backoffMs * (0.8 + 0.4 * Math.random()), state, detail);
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MS.longest);
  }

  #retryAfter(delayMs, state, detail) {
    this.#say(state, detail);
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = 0;
      this.#open();
    }, delayMs);
  }

  #fallBack(reason) {
    this.#fallbackBroken = false;
    this.#say('mjpeg', reason && `${reason}, so these are JPEG pictures instead of WebRTC video`);
    this.#listener.fallbackChanged(this.#address('stream.mjpg'));
  }

  /** Where `path` is about this camera. */
  #address(path) {
    return this.#name ? `${path}?camera=${encodeURIComponent(this.#name)}` : path;
  }

  #say(state, detail = '') {
    this.state = state;
    this.#listener.changed(state, detail);
  }

  #framesFlow() {
    if (!this.#session.timings.frame) this.#session.mark('frame');
    this.#lastFrameAt = performance.now();
    this.#everLive = true;
    this.#backoffMs = BACKOFF_MS.first;
    this.#failures = 0;
    this.#sayWhatTheCameraDoes();
  }

  #sayWhatTheCameraDoes() {
    const { state, reason } = this.#camera ?? { state: 'live', reason: '' };
    const words = { no_input: 'no-input', ended: 'ended', private: 'private' }[state] ?? 'live';
    if (this.state !== words) this.#say(words, words === 'live' ? '' : reason);
  }

  async #watch() {
    const session = this.#session;
    const now = performance.now();
    if (!session) {
      if (this.state === 'mjpeg' && now - this.#statusAskedAt > STATUS_INTERVAL_MS.live) await this.#watchFallback();
      return;
    }
    const frames = await session.framesDecoded();
    if (session !== this.#session) return;
    if (frames > this.#frames) {
      this.#frames = frames;
      this.#framesFlow();
    }
    const { connectionState } = session.pc;
    this.#disconnectedAt = connectionState === 'disconnected' ? (this.#disconnectedAt ?? now) : null;
    const broken = this.#disconnectedAt !== null && now - this.#disconnectedAt > DISCONNECTED_TIMEOUT_MS;
    const shakesHands = connectionState === 'connecting' && ['connected', 'completed'].includes(session.pc.iceConnectionState);
    this.#wayFoundAt = shakesHands ? (this.#wayFoundAt ?? now) : null;
    const stuck = shakesHands && now - this.#wayFoundAt > HANDSHAKE_TIMEOUT_MS;
    const underWay = session.id && ['new', 'connecting'].includes(connectionState);
    if (session.pc.getReceivers()[0]?.transport?.state === 'closed') await this.#serverEnded(session);
    else if (connectionState === 'failed') this.#lost('The connection failed');
    else if (broken) this.#lost('The connection broke');
    else if (stuck) this.#lost('The connection was not completed');
    else if (underWay && now - this.#openedAt > CONNECT_TIMEOUT_MS) this.#lost('No way through to the server was found');
    else await this.#watchFrames(session, now);
  }

  async #watchFrames(session, now) {
    const withoutFrames = now - this.#lastFrameAt;
    const interval =
      this.state === 'live' ? STATUS_INTERVAL_MS[withoutFrames > HESITATION_MS ? 'hesitating' : 'live'] : STATUS_INTERVAL_MS.waiting;
    // While a session is young, everything there is to know comes with its answer and its first frame.
    const young = now - this.#openedAt < STATUS_INTERVAL_MS.hesitating;
    if (!session.id || young || now - this.#statusAskedAt < interval) return;
    const reachable = await this.#askStatus();
    if (session !== this.#session) return;
    const stillWithoutFrames = performance.now() - this.#lastFrameAt;
    if (!reachable && stillWithoutFrames > HESITATION_MS) {
      this.#drop();
      this.#retry('gone');
    } else if (reachable && this.#camera?.state === 'live' && session.pc.connectionState === 'connected' && stillWithoutFrames > NO_FRAME_TIMEOUT_MS) {
      this.#lost('The picture stopped');
    }
  }

  /** An image element does not tell when its stream ends, so the server is asked whether it is still there. */
  async #watchFallback() {
    const reachable = await this.#askStatus();
    if (this.state !== 'mjpeg') return;
    if (!reachable) this.fallbackFailed();
    else if (this.#fallbackBroken) this.#fallBack('');
  }

  async #serverEnded(session) {
    await this.#askStatus();
    if (session !== this.#session) return;
    if (this.#takenOver) {
      // Coming back would throw the newer viewer out, and that one's page would do the same.
      this.#drop();
      this.#say('replaced');
    } else {
      this.#lost('The server ended the session');
    }
  }

  /** Asks what the camera does; false when nobody answers. */
  #askStatus() {
    this.#answer ??= this.#fetchStatus().finally(() => { this.#answer = null; });
    return this.#answer;
  }

  async #fetchStatus() {
    this.#statusAskedAt = performance.now();
    try {
      const response = await fetch(this.#address('api/status'), { cache: 'no-store', signal: AbortSignal.timeout(STATUS_TIMEOUT_MS) });
      if (!response.ok) return true;
      const status = await response.json();
      this.#camera = status.camera ?? null;
      const viewers = status.cameras?.find(({ name }) => name === status.name)?.viewers ?? status.viewers;
      this.#takenOver = status.mode === 'single' && viewers > 0;
      if (Array.isArray(status.ice_servers)) this.#iceServers = status.ice_servers;
      if (this.#session && this.#camera) this.#heardFromCamera();
      return true;
    } catch {
      return false;
    }
  }

  #heardFromCamera() {
    const framesFlow = this.#session.timings.frame && performance.now() - this.#lastFrameAt < NO_FRAME_TIMEOUT_MS;
    if (framesFlow || ['no_input', 'ended', 'private'].includes(this.#camera.state)) this.#sayWhatTheCameraDoes();
    else if (this.#camera.state === 'starting') this.#say(this.state, 'The camera is starting');
  }
}
