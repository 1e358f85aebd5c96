// Masks drawn on the live picture, with a mouse or a finger: a stroke is a box, taps are the corners of any other shape.

import { make } from './make.js';

const MOST_CORNERS = 64;
const MOST_MASKS = 32;
// Who moves less has tapped.
const TAP_PX = 8;
// So near the first corner, a tap closes the shape.
const NEAR_PX = 22;
const DIGITS = 1e5;

export class MaskEditor {
  #picture;
  #element = make('div', { id: 'mask-editor', hidden: true });
  #board = svg('svg', { 'aria-label': 'The picture, to draw masks on', preserveAspectRatio: 'xMidYMid meet' });
  #hint = make('p', { id: 'mask-hint' });
  #cover = make('select', {}, new Option('Black', 'black'), new Option('Pixelated', 'pixelated'));
  #close = button('Close the shape', () => this.#closeShape());
  #remove = button('Remove', () => this.#removeSelected());
  #cancel = button('Cancel', () => this.close());
  #save = button('Save', () => this.#finish());
  /** The picture's, in pixels. */
  #size = [1, 1];
  #masks = [];
  #selected = null;
  /** Corners of a shape that is not closed yet. */
  #corners = [];
  /** Where a stroke began and where it is, and in which pixel of the window it began. */
  #stroke = null;
  #commit = null;
  #back = null;

  /** `picture` gives the element that shows the camera now. */
  constructor(stage, picture) {
    this.#picture = picture;
    this.#cover.setAttribute('aria-label', 'What is shown instead');
    this.#hint.setAttribute('role', 'status');
    const tools = make('div', { id: 'mask-tools' }, this.#hint, this.#cover, this.#close, this.#remove, this.#cancel, this.#save);
    tools.setAttribute('role', 'toolbar');
    tools.setAttribute('aria-label', 'Privacy masks');
    this.#element.append(this.#board, tools);
    stage.append(this.#element);
    this.#board.addEventListener('pointerdown', (event) => this.#down(event));
    this.#board.addEventListener('pointermove', (event) => this.#move(event));
    this.#board.addEventListener('pointerup', (event) => this.#up(event));
    this.#board.addEventListener('pointercancel', () => this.#drop());
    this.#cover.addEventListener('change', () => {
      if (this.#selected !== null) this.#masks[this.#selected].cover = this.#cover.value;
      this.#show();
    });
    this.#element.addEventListener('keydown', (event) => {
      // The page's own keys rest meanwhile.
      event.stopPropagation();
      if (event.key === 'Escape') this.close();
      if (event.key === 'Delete') this.#removeSelected();
    });
  }

  /** Begins with these masks. `commit` takes those that are wanted, and gives what is wrong in words, '' for nothing. */
  open(masks, commit) {
    const { videoWidth, videoHeight, naturalWidth, naturalHeight } = this.#picture();
    const [width, height] = [videoWidth ?? naturalWidth, videoHeight ?? naturalHeight];
    if (!width || !height) return;
    this.#size = [width, height];
    // Drawn as the picture is: as large as fits, in the middle.
    this.#board.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.#masks = structuredClone(masks);
    this.#selected = null;
    this.#corners = [];
    this.#stroke = null;
    this.#commit = commit;
    this.#back = document.activeElement;
    this.#element.hidden = false;
    this.#show();
    this.#cancel.focus();
  }

  close() {
    if (this.#element.hidden) return;
    this.#element.hidden = true;
    this.#board.replaceChildren();
    this.#back?.focus();
  }

  async #finish() {
    if (this.#corners.length > 0) this.#closeShape();
    this.#save.disabled = true;
    const problem = await this.#commit(this.#masks);
    this.#save.disabled = false;
    if (problem) this.#hint.textContent = `${problem.charAt(0).toUpperCase()}${problem.slice(1)}`;
    else this.close();
  }

  /** Where in the picture, in shares of it; what is beside it counts as its edge. */
  #place({ clientX, clientY }) {
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(this.#board.getScreenCTM().inverse());
    const share = (at, side) => Math.round(Math.min(Math.max(at / side, 0), 1) * DIGITS) / DIGITS;
    return [share(x, this.#size[0]), share(y, this.#size[1])];
  }

  #down(event) {
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault();
    this.#board.setPointerCapture(event.pointerId);
    const at = this.#place(event);
    this.#stroke = { from: at, to: at, pixel: [event.clientX, event.clientY], isBox: false };
  }

  #move(event) {
    if (!this.#stroke || !event.isPrimary) return;
    const [x, y] = this.#stroke.pixel;
    this.#stroke.isBox ||= Math.hypot(event.clientX - x, event.clientY - y) > TAP_PX;
    this.#stroke.to = this.#place(event);
    this.#show();
  }

  #up(event) {
    if (!this.#stroke || !event.isPrimary) return;
    this.#move(event);
    const { from, to, isBox } = this.#stroke;
    this.#stroke = null;
    if (isBox) {
      this.#corners = [];
      // One without an area hides nothing.
      if (from[0] !== to[0] && from[1] !== to[1]) this.#add(box(from, to));
    } else {
      this.#tap(event, from);
    }
    this.#show();
  }

  #drop() {
    this.#stroke = null;
    this.#show();
  }

  #tap(event, at) {
    const hit = this.#corners.length === 0 ? this.#masks.findLastIndex(({ points }) => contains(points, at)) : -1;
    if (hit >= 0) {
      this.#selected = hit === this.#selected ? null : hit;
      if (this.#selected !== null) this.#cover.value = this.#masks[hit].cover;
    } else if (this.#corners.length > 2 && this.#isNear(event, this.#corners[0])) {
      this.#closeShape();
    } else if (this.#corners.length < MOST_CORNERS) {
      this.#selected = null;
      this.#corners.push(at);
    }
  }

  #isNear({ clientX, clientY }, [x, y]) {
    const corner = new DOMPoint(x * this.#size[0], y * this.#size[1]).matrixTransform(this.#board.getScreenCTM());
    return Math.hypot(clientX - corner.x, clientY - corner.y) < NEAR_PX;
  }

  #closeShape() {
    if (this.#corners.length > 2) this.#add(this.#corners);
    this.#corners = [];
    this.#show();
  }

  #add(points) {
    if (this.#masks.length >= MOST_MASKS) return;
    this.#selected = this.#masks.push({ points, cover: this.#cover.value }) - 1;
  }

  #removeSelected() {
    if (this.#corners.length > 0) this.#corners.pop();
    else if (this.#selected !== null) this.#masks.splice(this.#selected, 1);
    this.#selected = null;
    this.#show();
  }

  #show() {
    const shapes = this.#masks.map(({ points, cover }, index) => this.#shape('polygon', points, `mask ${cover}${index === this.#selected ? ' selected' : ''}`));
    if (this.#stroke?.isBox) shapes.push(this.#shape('polygon', box(this.#stroke.from, this.#stroke.to), 'mask selected'));
    if (this.#corners.length > 0) {
      shapes.push(this.#shape('polyline', this.#corners, 'open'));
      // A line of no length with round ends is a dot of the same size in any picture.
      for (const corner of this.#corners) shapes.push(this.#shape('polyline', [corner, corner], 'corner'));
    }
    this.#board.replaceChildren(...shapes);
    this.#close.hidden = this.#corners.length < 3;
    this.#remove.disabled = this.#corners.length === 0 && this.#selected === null;
    this.#remove.textContent = this.#corners.length > 0 ? 'Last corner back' : 'Remove';
    this.#hint.textContent = this.#words();
  }

  #words() {
    if (this.#masks.length >= MOST_MASKS) return `These are ${MOST_MASKS} masks, which is the most.`;
    if (this.#corners.length > 2) return 'Tap the first corner to close the shape.';
    if (this.#corners.length > 0) return 'Tap the next corner.';
    if (this.#selected !== null) return 'Draw another one, or save.';
    return 'Draw a box over what nobody is to see, or tap the corners of a shape. Tap a mask to choose it.';
  }

  #shape(kind, points, classes) {
    const [width, height] = this.#size;
    return svg(kind, { points: points.map(([x, y]) => `${x * width},${y * height}`).join(' '), class: classes });
  }
}

function box([x1, y1], [x2, y2]) {
  const [left, right, top, bottom] = [Math.min(x1, x2), Math.max(x1, x2), Math.min(y1, y2), Math.max(y1, y2)];
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

/** Whether a line from the point to the right leaves the shape once more than it enters it. */
function contains(points, [x, y]) {
  return points.reduce((inside, [x1, y1], index) => {
    const [x2, y2] = points[(index + 1) % points.length];
    const crosses = (y1 > y) !== (y2 > y) && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1);
    return crosses ? !inside : inside;
  }, false);
}

function button(name, deed) {
  const element = make('button', { type: 'button', textContent: name });
  element.addEventListener('click', deed);
  return element;
}

function svg(name, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}
