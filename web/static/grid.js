// All cameras at once, each in a tile that leads to it alone.

import { Connection } from './connection.js';

export class Grid {
  #container;
  #tiles;

  /** `words` says what each state of a connection is called. */
  constructor(container, cameras, iceServers, words) {
    this.#container = container;
    this.#tiles = cameras.map((name) => new Tile(name, iceServers, words));
    // For the style sheet: as many columns as make the picture of tiles about as wide as it is high.
    container.dataset.columns = String(Math.ceil(Math.sqrt(cameras.length)));
    container.replaceChildren(...this.#tiles.map((tile) => tile.element));
  }

  /** Each camera's state, by name. */
  get states() {
    return Object.fromEntries(this.#tiles.map((tile) => [tile.name, tile.connection.state]));
  }

  open() {
    for (const tile of this.#tiles) tile.connection.connect();
  }

  close() {
    for (const tile of this.#tiles) tile.close();
  }

  hurry() {
    for (const tile of this.#tiles) tile.connection.hurry();
  }
}

class Tile {
  #video = Object.assign(document.createElement('video'), { autoplay: true, muted: true, playsInline: true });
  #stills = Object.assign(document.createElement('img'), { alt: '', hidden: true });
  #title = document.createElement('strong');
  #detail = document.createElement('small');
  #words;

  element = document.createElement('a');

  constructor(name, iceServers, words) {
    this.name = name;
    this.#words = words;
    const label = document.createElement('span');
    label.append(name, this.#title, this.#detail);
    this.element.className = 'tile';
    this.element.href = `#${encodeURIComponent(name)}`;
    this.element.append(this.#video, this.#stills, label);
    this.connection = new Connection(iceServers, {
      changed: (state, detail) => this.#show(state, detail),
      streamArrived: (stream) => this.#play(stream),
      fallbackChanged: (address) => this.#showStills(address),
    }, name);
    this.#stills.addEventListener('error', () => this.connection.fallbackFailed());
    this.#show('connecting', '');
  }

  close() {
    this.connection.leave();
    this.#showStills('');
  }

  #show(state, detail) {
    this.element.dataset.state = state;
    this.#title.textContent = this.#words[state].title;
    this.#detail.textContent = detail;
  }

  #play(stream) {
    this.#video.srcObject = stream;
    this.#video.requestVideoFrameCallback?.(() => this.connection.frameShown());
    // A refusal to play leaves the tile dark; the touch that opens it is the touch that is wanted.
    this.#video.play().catch(() => {});
  }

  #showStills(address) {
    this.#stills.hidden = !address;
    this.#video.hidden = Boolean(address);
    if (address) this.#stills.src = `${address}&at=${Date.now()}`;
    else this.#stills.removeAttribute('src');
  }
}
