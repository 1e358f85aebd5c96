// What lies on the camera's picture: parts that are hidden, and words. A part of the panel for the camera's controls.

import { make } from './make.js';
import { MaskEditor } from './masks.js';

const POSITIONS = {
  top_left: 'Top left', top: 'Top', top_right: 'Top right',
  bottom_left: 'Bottom left', bottom: 'Bottom', bottom_right: 'Bottom right',
};

export class PictureSettings {
  #camera = null;
  #masks = [];
  /** What is wanted; the same as what is, once the server was told. */
  #overlay = {};
  #changes = 0;
  #sending = false;
  #say;
  #editor;
  #list = make('ul', { id: 'mask-list' });
  #draw = make('button', { id: 'draw-masks', type: 'button', textContent: 'Draw on the picture' });
  #fields = {
    text: make('textarea', { id: 'overlay-text', rows: 2, maxLength: 200, placeholder: '{camera} %Y-%m-%d %H:%M:%S' }),
    position: make('select', { id: 'overlay-position' }, ...Object.values(POSITIONS).map((name) => new Option(name))),
    size_percent: make('input', { id: 'overlay-size', type: 'range', min: 2, max: 20, step: 1 }),
    outline: make('input', { id: 'overlay-outline', type: 'checkbox' }),
  };
  #size = make('output', { id: 'overlay-size-shown' });

  /** `say` shows what is wrong, '' for nothing; `picture` gives the element that shows the camera now. */
  constructor(stage, picture, say) {
    this.#say = say;
    this.#editor = new MaskEditor(stage, picture);
    const { text, position, size_percent: size, outline } = this.#fields;
    outline.setAttribute('role', 'switch');
    this.element = make('div', { id: 'picture-settings' },
      make('h3', { textContent: 'Privacy masks' }), this.#list, this.#draw,
      make('h3', { textContent: 'Words in the picture' }),
      row('text', text, 'Text'), row('menu', position, 'Position'),
      row('integer', size, 'Size (%)', this.#size), row('boolean', outline, 'Dark edge'));
    this.#draw.addEventListener('click', () => this.#edit());
    const change = (wish) => this.#want({ ...this.#overlay, ...wish });
    text.addEventListener('change', () => change({ text: text.value }));
    position.addEventListener('change', () => change({ position: Object.keys(POSITIONS)[position.selectedIndex] }));
    size.addEventListener('input', () => {
      this.#size.textContent = size.value;
      change({ size_percent: Number(size.value) });
    });
    outline.addEventListener('change', () => change({ outline: outline.checked }));
  }

  /** Asks what lies on the picture of the camera at this address, such as `api/cameras/main`. */
  async ask(camera) {
    if (camera !== this.#camera) this.#editor.close();
    this.#camera = camera;
    const changes = this.#changes;
    const answers = await Promise.all(['masks', 'overlay'].map((what) => fetch(`${camera}/${what}`)));
    if (!answers.every((answer) => answer.ok)) return;
    const [{ masks }, { camera: _, ...overlay }] = await Promise.all(answers.map((answer) => answer.json()));
    // Another camera may have been chosen meanwhile.
    if (camera !== this.#camera) return;
    this.#showMasks(masks);
    // What was changed meanwhile is newer.
    if (changes === this.#changes && !this.#sending) this.#showOverlay(overlay);
  }

  async #edit() {
    // From what is hidden now, not when the panel was opened.
    await this.ask(this.#camera);
    this.#editor.open(this.#masks, (masks) => this.#saveMasks(masks));
  }

  /** Hides this and nothing else; what is wrong in words, '' when it is done. */
  async #saveMasks(masks) {
    const { answer, problem } = await put(`${this.#camera}/masks`, { masks });
    if (answer) this.#showMasks(answer.masks);
    return problem;
  }

  #showMasks(masks) {
    this.#masks = masks;
    this.#list.replaceChildren(...masks.map(({ points, cover }, index) => {
      const remove = make('button', { type: 'button', textContent: 'Remove' });
      remove.setAttribute('aria-label', `Remove mask ${index + 1}`);
      remove.addEventListener('click', async () => {
        this.#say(await this.#saveMasks(this.#masks.filter((_, other) => other !== index)));
        this.#draw.focus();
      });
      return make('li', {}, make('span', { textContent: `Mask ${index + 1}: ${cover}, ${points.length} corners` }), remove);
    }));
  }

  #showOverlay(overlay) {
    this.#overlay = overlay;
    const { text, position, size_percent: size, outline } = this.#fields;
    if (document.activeElement !== text) text.value = overlay.text;
    position.selectedIndex = Object.keys(POSITIONS).indexOf(overlay.position);
    size.value = overlay.size_percent;
    this.#size.textContent = overlay.size_percent;
    outline.checked = overlay.outline;
  }

  /** Of what is wanted while the server is being told, the last counts. */
  async #want(overlay) {
    this.#overlay = overlay;
    this.#changes += 1;
    if (this.#sending) return;
    this.#sending = true;
    let told = null;
    let problem = '';
    while (told !== this.#overlay) {
      told = this.#overlay;
      ({ problem } = await put(`${this.#camera}/overlay`, told));
      this.#say(problem);
    }
    this.#sending = false;
    // Nothing was changed: back to what is.
    if (problem) await this.ask(this.#camera).catch(() => {});
  }
}

function row(kind, input, name, output = make('output', {})) {
  return make('div', { className: `control ${kind}` }, make('label', { htmlFor: input.id, textContent: name }), output, input);
}

async function put(address, body) {
  try {
    const response = await fetch(address, { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    const answer = await response.json();
    return response.ok ? { answer, problem: '' } : { problem: answer.error };
  } catch {
    return { problem: 'The server does not answer.' };
  }
}
