// The page: puts the picture and the words on the screen, and turns keys and buttons into deeds.

import { Connection } from './connection.js';

const BAR_HIDES_AFTER_MS = 3000;
// With nothing to show for this long, the page says so.
const SILENT_FOR_MS = 400;
const TOAST_STAYS_MS = 4000;
const SNAPSHOT_QUALITY = 0.92;

// What each state is called, what to add to it (unless the reason is known), and what the button offers.
const WORDS = {
  'connecting': { title: 'Connecting' },
  'live': { title: 'Live' },
  'no-input': { title: 'No input', detail: 'The camera gives no picture. It is being retried.' },
  'private': { title: 'Privacy', detail: 'The camera was switched off.' },
  'ended': { title: 'The end', detail: 'The recording is over.' },
  'reconnecting': { title: 'Reconnecting', action: 'Try now' },
  'full': { title: 'Too many viewers', detail: 'Every place is taken.', more: 'This page goes on trying.', action: 'Try now' },
  'refused': { title: 'The server refused', action: 'Try now' },
  'gone': { title: 'Server gone', detail: 'The camera does not answer. This page comes back by itself when it does.', action: 'Try now' },
  'replaced': { title: 'Watched elsewhere', detail: 'A newer viewer took this camera over.', action: 'Watch here' },
  'mjpeg': { title: 'Motion JPEG', detail: 'These are JPEG pictures instead of WebRTC video.', action: 'Try WebRTC again' },
  'blocked': { title: 'Ready', detail: 'The browser wants a touch before it plays.', action: 'Play' },
};

// Here the last picture stays, but dark: one that no longer moves must not look like one that does.
const STATES_WITH_OLD_PICTURE = ['reconnecting', 'gone', 'full', 'refused', 'replaced'];

const find = (id) => document.getElementById(id);
const fact = (name) => JSON.parse(document.querySelector(`meta[name="perch-${name}"]`)?.content || '[]');
const iceServers = fact('ice-servers');
const cameras = fact('cameras');
const several = cameras.length > 1;
const documentReady = new Promise((resolve) => {
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', resolve, { once: true });
  else resolve();
});

let playBlocked = false;
let statistics = null;
let grid = null;
let cameraControls = null;
let door = null;
let barTimer = 0;
let toastTimer = 0;

const connection = new Connection(iceServers, {
  changed: (state, detail) => documentReady.then(() => showState(state, detail)),
  streamArrived: (stream) => documentReady.then(() => play(stream)),
  fallbackChanged: (address) => documentReady.then(() => showStills(address)),
});
if (several) documentReady.then(showChosen);
else connection.connect();

Object.defineProperty(window, 'perch', {
  value: Object.freeze({
    get state() { return connection.state; },
    get pc() { return connection.session?.pc ?? null; },
    get session() { return connection.session?.id ?? ''; },
    get timings() { return { ...connection.session?.timings }; },
    get cameras() { return grid?.states ?? {}; },
  }),
});

documentReady.then(() => {
  setTimeout(unveil, several ? 0 : SILENT_FOR_MS);
  bindButtons();
  bindKeys();
  bindBar();
  bindBrowserEvents();
});

/** The camera that the address names, such as `#door`; null where it names none and all of several are shown. */
function chosenCamera() {
  const name = decodeURIComponent(location.hash.slice(1));
  return cameras.includes(name) ? name : null;
}

async function showChosen() {
  const name = chosenCamera();
  document.body.dataset.view = name === null ? 'all' : 'one';
  for (const element of document.querySelectorAll('.several')) element.hidden = false;
  find('show-cameras').hidden = name === null;
  find('cameras').hidden = name !== null;
  find('camera').hidden = name === null;
  find('camera').textContent = name ?? '';
  havePicture('none');
  if (name !== null) {
    grid?.close();
    connection.watch(name);
    return;
  }
  connection.leave();
  showStills('');
  document.title = 'perch';
  const { Grid } = await import('./grid.js');
  grid ??= new Grid(find('cameras'), cameras, iceServers, WORDS);
  // Another one may have been chosen meanwhile.
  if (chosenCamera() === null) grid.open();
}

function showState(connectionState, detail) {
  // Frames may arrive while the browser still refuses to play them.
  const state = playBlocked && connectionState === 'live' ? 'blocked' : connectionState;
  const { title, detail: usual = '', more = '', action } = WORDS[state];
  if (state !== 'connecting') unveil();
  document.body.dataset.state = state;
  document.title = [several && chosenCamera(), state !== 'live' && title, 'perch'].filter(Boolean).join(' – ');
  find('title').textContent = title;
  find('detail').textContent = [detail ? asSentence(detail) : usual, more].filter(Boolean).join(' ');
  find('action').hidden = !action;
  find('action').textContent = action ?? '';
  if (STATES_WITH_OLD_PICTURE.includes(state)) keepLastPicture();
  else find('last-picture').hidden = true;
  // Who has access is no hurry: the first picture is.
  if (state !== 'connecting') door ??= import('./door.js').catch(() => null);
  // Another camera may be there now, or the same one with other values.
  if (state === 'live' || state === 'mjpeg') loadControls().then((view) => view?.ask(chosenCamera() ?? cameras[0]));
  wakeBar();
}

function unveil() {
  document.body.classList.remove('fresh');
}

/** A video element goes black with its session, so what it showed is copied in time. */
function keepLastPicture() {
  const video = find('video');
  const copy = find('last-picture');
  if (!copy.hidden || document.body.dataset.picture !== 'video') return;
  copy.width = video.videoWidth;
  copy.height = video.videoHeight;
  copy.getContext('2d').drawImage(video, 0, 0);
  copy.hidden = false;
}

function asSentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? '' : '.');
}

async function play(stream) {
  const video = find('video');
  video.srcObject = stream;
  video.requestVideoFrameCallback?.(() => connection.frameShown());
  try {
    await video.play();
    playBlocked = false;
  } catch (error) {
    // Anything else is a stream that was replaced before it played.
    playBlocked = error.name === 'NotAllowedError';
  }
  if (connection.state === 'live') showState('live', '');
}

function showStills(address) {
  const stills = find('stills');
  stills.hidden = !address;
  find('video').hidden = Boolean(address);
  // A new address each time, because the same one would not be fetched again.
  if (address) stills.src = `${address}${address.includes('?') ? '&' : '?'}at=${Date.now()}`;
  else stills.removeAttribute('src');
  havePicture(address ? 'stills' : 'none');
}

function havePicture(kind) {
  document.body.dataset.picture = kind;
  find('snapshot').disabled = kind === 'none';
}

function bindButtons() {
  const video = find('video');
  find('action').addEventListener('click', () => {
    if (document.body.dataset.state === 'blocked') play(video.srcObject);
    else connection.connect();
  });
  find('snapshot').addEventListener('click', saveSnapshot);
  find('toggle-statistics').addEventListener('click', toggleStatistics);
  find('toggle-controls').addEventListener('click', toggleControls);
  find('picture-in-picture').addEventListener('click', togglePictureInPicture);
  find('fullscreen').addEventListener('click', toggleFullscreen);
  find('show-help').addEventListener('click', toggleHelp);
  find('picture-in-picture').hidden = !document.pictureInPictureEnabled;
  find('fullscreen').hidden = !document.fullscreenEnabled && !video.webkitEnterFullscreen;
  find('stills').addEventListener('error', () => connection.fallbackFailed());
  for (const picture of [video, find('stills')]) picture.addEventListener('dblclick', toggleFullscreen);
  video.addEventListener('loadeddata', () => {
    havePicture('video');
    // Fetched now, while the server is surely there, so that opening the statistics never waits.
    loadStatistics();
  });
}

function bindKeys() {
  const deeds = { f: toggleFullscreen, p: togglePictureInPicture, s: saveSnapshot, i: toggleStatistics, c: toggleControls, '?': toggleHelp };
  if (several) {
    deeds.g = () => { location.hash = ''; };
    cameras.forEach((name, index) => { deeds[index + 1] = () => { location.hash = encodeURIComponent(name); }; });
  }
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (find('help').open && key !== '?') return;
    // Letters are for whoever types them.
    if (event.target.matches?.('select, textarea, input[type="text"]')) return;
    deeds[key]?.();
    wakeBar();
  });
}

/** The controls leave a live picture alone when nobody reaches for them. */
function bindBar() {
  document.addEventListener('pointermove', (event) => event.pointerType === 'mouse' && wakeBar());
  find('stage').addEventListener('pointerup', (event) => {
    const onPicture = ['VIDEO', 'IMG', 'MAIN'].includes(event.target.tagName);
    if (event.pointerType === 'touch' && onPicture && !document.body.classList.contains('idle')) document.body.classList.add('idle');
    else wakeBar();
  });
  document.addEventListener('focusin', wakeBar);
}

function wakeBar() {
  document.body.classList.remove('idle');
  clearTimeout(barTimer);
  barTimer = setTimeout(() => document.body.classList.add('idle'), BAR_HIDES_AFTER_MS);
}

function bindBrowserEvents() {
  const hurry = () => {
    connection.hurry();
    grid?.hurry();
  };
  window.addEventListener('online', hurry);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) hurry();
  });
  if (several) window.addEventListener('hashchange', showChosen);
  window.addEventListener('pagehide', () => {
    connection.leave();
    grid?.close();
  });
  window.addEventListener('pageshow', (event) => {
    // Back from the browser's memory of pages: the sessions were closed when the page was left.
    if (!event.persisted) return;
    if (several) showChosen();
    else connection.connect();
  });
}

async function saveSnapshot() {
  const kind = document.body.dataset.picture;
  if (kind === 'none') {
    toast('There is no picture to save yet.');
    return;
  }
  const source = find(kind);
  const canvas = document.createElement('canvas');
  canvas.width = source.videoWidth ?? source.naturalWidth;
  canvas.height = source.videoHeight ?? source.naturalHeight;
  canvas.getContext('2d').drawImage(source, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', SNAPSHOT_QUALITY));
  if (!blob) {
    toast('The picture could not be saved.');
    return;
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = [several ? `perch-${chosenCamera()}` : 'perch', `${timeInFileName(new Date())}.jpg`].join('-');
  link.click();
  // Some browsers start reading only after the click was handled.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  toast(`Saved ${link.download}`);
}

function timeInFileName(time) {
  const digits = (number) => String(number).padStart(2, '0');
  const date = `${time.getFullYear()}${digits(time.getMonth() + 1)}${digits(time.getDate())}`;
  return `${date}-${digits(time.getHours())}${digits(time.getMinutes())}${digits(time.getSeconds())}`;
}

function loadStatistics() {
  statistics ??= import('./statistics.js').then(
    ({ Statistics }) => new Statistics(find('statistics'), find('figures'), find('video'), () => connection.session),
    () => { statistics = null; },
  );
  return statistics;
}

async function toggleStatistics() {
  const view = await loadStatistics();
  if (!view) {
    toast('The statistics could not be loaded.');
    return;
  }
  const isOpen = view.toggle();
  find('toggle-statistics').setAttribute('aria-pressed', String(isOpen));
  // Both lie in the same place.
  if (isOpen) (await cameraControls)?.close();
}

function loadControls() {
  const parts = {
    panel: find('controls'),
    button: find('toggle-controls'),
    rows: find('control-rows'),
    problem: find('controls-problem'),
    resetAll: find('reset-controls'),
    stage: find('stage'),
    picture: () => find(document.body.dataset.picture === 'stills' ? 'stills' : 'video'),
  };
  cameraControls ??= import('./controls.js').then(
    ({ CameraControls }) => new CameraControls(parts),
    () => { cameraControls = null; },
  );
  return cameraControls;
}

async function toggleControls() {
  const view = await cameraControls;
  if (!view || find('toggle-controls').hidden) toast('There is nothing to set on this camera now.');
  else if (view.toggle() && !find('statistics').hidden) toggleStatistics();
}

async function togglePictureInPicture() {
  try {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else await find('video').requestPictureInPicture();
  } catch {
    toast('Picture in picture is not possible now.');
  }
}

async function toggleFullscreen() {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (document.documentElement.requestFullscreen) await document.documentElement.requestFullscreen();
    else find('video').webkitEnterFullscreen(); // iPhones let only the video itself fill the screen
  } catch {
    toast('Full screen is not possible here.');
  }
}

function toggleHelp() {
  const help = find('help');
  if (help.open) help.close();
  else help.showModal();
}

function toast(text) {
  find('toast').textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { find('toast').textContent = ''; }, TOAST_STAYS_MS);
}
