// The camera's controls: a panel made of what the camera says can be set, live while a slider is dragged.

import { PictureSettings } from './picture.js';

// A camera that is still being opened cannot be asked yet; one that warms up takes up to a minute.
const ASK_AGAIN_MS = 5000;
const MOST_QUESTIONS = 12;

export class CameraControls {
  #parts;
  #picture;
  #controls = [];
  #rows = new Map();
  #camera;
  #address = null;
  #wanted = {};
  #sending = false;
  #timer = 0;
  // Counts requests, so that an answer that was overtaken by a newer one is not shown.
  #latest = 0;

  /**
   * `parts`: the elements `panel`, `button`, `rows`, `problem` and `resetAll`, the `stage` that everything lies on, and
   * `picture`, which gives the element that shows the camera.
   */
  constructor(parts) {
    this.#parts = parts;
    this.#picture = new PictureSettings(parts.stage, parts.picture, (problem) => this.#say(problem));
    parts.resetAll.addEventListener('click', () => this.#resetAll());
    parts.panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      this.close();
      parts.button.focus();
    });
  }

  /** Asks the camera of this name what can be set; the button is there only if something can. */
  async ask(camera, questions = MOST_QUESTIONS) {
    clearTimeout(this.#timer);
    if (camera !== this.#camera) this.#turnTo(camera);
    try {
      this.#address ??= await addressOf(camera);
      const number = ++this.#latest;
      const [response] = await Promise.all([fetch(`${this.#address}/controls`), this.#picture.ask(this.#address)]);
      if (response.ok) this.#show((await response.json()).controls, number);
      else if (response.status === 503 && questions > 1) this.#timer = setTimeout(() => this.ask(camera, questions - 1), ASK_AGAIN_MS);
    } catch {
      // Without a server there are no controls; the page says so elsewhere, and asks again when it is back.
    }
  }

  /** Opens or closes the panel; true when it is open now. */
  toggle() {
    if (!this.#parts.panel.hidden) this.close();
    else if (!this.#parts.button.hidden) this.#open();
    return !this.#parts.panel.hidden;
  }

  close() {
    this.#parts.panel.hidden = true;
    this.#parts.button.setAttribute('aria-pressed', 'false');
  }

  #turnTo(camera) {
    this.#camera = camera;
    this.#address = null;
    this.#wanted = {};
    this.#parts.button.hidden = true;
    this.close();
  }

  #open() {
    this.#parts.panel.hidden = false;
    this.#parts.button.setAttribute('aria-pressed', 'true');
    this.#say('');
    this.ask(this.#camera);
  }

  #show(controls, number) {
    if (number !== this.#latest) return;
    const shown = controls.filter((control) => control.type !== 'other');
    if (shapeOf(shown) !== shapeOf(this.#controls)) this.#build(shown);
    this.#controls = shown;
    for (const control of shown) this.#rows.get(control.key).show(control, control.key in this.#wanted);
    this.#parts.button.hidden = shown.length === 0;
    this.#parts.resetAll.disabled = !shown.some(canBeReset);
    if (shown.length === 0) this.close();
  }

  #build(controls) {
    this.#rows.clear();
    for (const control of controls) {
      this.#rows.set(control.key, new Row(control, (value) => this.#want({ [control.key]: value })));
    }
    this.#parts.rows.replaceChildren(...[...this.#rows.values()].map((row) => row.element), this.#picture.element);
  }

  #resetAll() {
    this.#want(Object.fromEntries(this.#controls.filter(canBeReset).map((control) => [control.key, null])));
  }

  /** What is wanted while the camera is being told goes with the next request; of each control the last value counts. */
  async #want(values) {
    Object.assign(this.#wanted, values);
    if (this.#sending) return;
    this.#sending = true;
    while (Object.keys(this.#wanted).length > 0) {
      const body = JSON.stringify(this.#wanted);
      this.#wanted = {};
      await this.#send(body);
    }
    this.#sending = false;
  }

  async #send(body) {
    const number = ++this.#latest;
    try {
      const response = await fetch(`${this.#address}/controls`, { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body });
      const answer = await response.json();
      if (response.ok) {
        this.#say('');
        this.#show(answer.controls, number);
        return;
      }
      this.#say(answer.error);
    } catch {
      this.#say('The server does not answer.');
    }
    // Nothing was changed: back to what is.
    if (Object.keys(this.#wanted).length === 0) await this.ask(this.#camera);
  }

  #say(problem) {
    this.#parts.problem.textContent = problem.charAt(0).toUpperCase() + problem.slice(1);
  }
}

/** A page of the owner's own may not know what its camera is called. */
async function addressOf(camera) {
  const name = camera ?? (await (await fetch('api/status')).json()).name;
  return `api/cameras/${encodeURIComponent(name)}`;
}

/** Everything about controls that does not change by setting them. */
function shapeOf(controls) {
  return JSON.stringify(controls.map(({ value, inactive, changeable, ...shape }) => shape));
}

function canBeReset({ type, value, default: usual, changeable, inactive }) {
  return changeable && !inactive && type !== 'button' && value !== usual;
}

/** One control: its name, its value, what sets it, and what puts the default back. */
class Row {
  #input;
  #output = document.createElement('output');
  #reset = document.createElement('button');

  constructor(control, want) {
    const id = `control-${control.key}`;
    this.#input = INPUTS[control.type](control, want);
    this.#input.id = id;
    const label = document.createElement('label');
    label.htmlFor = id;
    label.textContent = control.name;
    this.#output.htmlFor.add(id);
    this.#reset.type = 'button';
    this.#reset.textContent = '↺';
    this.#reset.title = 'Back to default';
    this.#reset.setAttribute('aria-label', `${control.name} back to default`);
    this.#reset.addEventListener('click', () => want(null));
    this.element = document.createElement('div');
    this.element.className = `control ${control.type}`;
    this.element.append(label, this.#output, this.#input, this.#reset);
    this.#input.addEventListener('input', () => { this.#output.textContent = this.#input.type === 'range' ? inWords(Number(this.#input.value)) : ''; });
  }

  show(control, isBeingSet) {
    this.#input.disabled = !control.changeable;
    this.#reset.disabled = !canBeReset(control);
    this.#reset.hidden = control.type === 'button' || control.read_only;
    this.element.classList.toggle('inactive', control.inactive || !control.changeable);
    this.element.title = control.read_only ? 'Read-only' : control.inactive ? 'No effect now: an automatic mode is on' : '';
    if (isBeingSet) return;
    if (control.type === 'boolean') this.#input.checked = control.value === true;
    else if (control.type === 'menu') this.#input.selectedIndex = control.items.findIndex((item) => item.value === control.value);
    else if (control.type !== 'button') this.#input.value = control.value ?? control.minimum ?? '';
    if (['integer', 'number'].includes(control.type)) this.#output.textContent = inWords(control.value);
  }
}

const INPUTS = {
  integer: (control, want) => slider(control, control.step || 1, want),
  number: (control, want) => slider(control, 'any', want),
  boolean: (control, want) => {
    const box = input('checkbox', 'change', () => want(box.checked));
    box.setAttribute('role', 'switch');
    return box;
  },
  area: (control, want) => {
    const field = input('text', 'change', () => want(field.value));
    field.placeholder = control.within;
    return field;
  },
  button: (control, want) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = control.name;
    button.addEventListener('click', () => want(true));
    return button;
  },
  menu: (control, want) => {
    const select = document.createElement('select');
    select.append(...control.items.map((item) => new Option(item.name)));
    select.addEventListener('change', () => want(control.items[select.selectedIndex].value));
    return select;
  },
};

function slider({ minimum, maximum }, step, want) {
  const range = input('range', 'input', () => want(Number(range.value)));
  Object.assign(range, { min: minimum, max: maximum, step });
  return range;
}

function input(type, event, react) {
  const element = document.createElement('input');
  element.type = type;
  element.autocomplete = 'off';
  element.addEventListener(event, react);
  return element;
}

function inWords(number) {
  return number === null ? 'automatic' : String(Math.round(number * 1000) / 1000);
}
