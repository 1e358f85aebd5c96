// How the machine is doing, for the owner; starting it again, and forgetting everything.

const REFRESH_MS = 5000;
/** A machine that starts again is asked this often whether it is back. */
const RETURN_MS = 2000;

const find = (id) => document.getElementById(id);
const dialog = find('confirm');
let wish = null;

const WISHES = {
  reboot: {
    title: 'Restart?',
    words: 'Nobody can watch for a minute or two.',
    yes: 'Restart',
  },
  'factory-reset': {
    title: 'Forget everything?',
    words: 'Passwords, tokens, Wi-Fi and all settings are lost, on the card too. Whoever comes first becomes the new owner.',
    yes: 'Forget everything',
  },
};

for (const name of Object.keys(WISHES)) {
  find(name).addEventListener('click', () => {
    wish = name;
    find('confirm-title').textContent = WISHES[name].title;
    find('confirm-words').textContent = WISHES[name].words;
    find('confirm-yes').textContent = WISHES[name].yes;
    dialog.returnValue = '';
    dialog.showModal();
  });
}
dialog.addEventListener('close', () => {
  if (dialog.returnValue === 'yes') restart(wish);
});
keepShowing();

async function keepShowing() {
  if (!document.hidden) {
    try {
      show(await ask('GET', 'api/system'));
      find('problem').textContent = '';
    } catch (error) {
      find('problem').textContent = error.message;
    }
  }
  if (!find('restart').inert) setTimeout(keepShowing, REFRESH_MS);
}

function show(system) {
  facts('machine', [
    ['Board', system.board],
    ['Name', system.hostname],
    ['Addresses', system.addresses.join(', ')],
    ['Network', system.network.map(connection).join(', ')],
    ['Running for', duration(system.uptime_s)],
    ['Temperature', system.temperature_c === null ? null : `${system.temperature_c.toFixed(1)} °C`],
    ['Held back', system.throttled && (system.throttled.join(', ') || 'no')],
    ['Load', system.load?.toFixed(2)],
    ['Memory', space(system.memory)],
    ['Storage', space(system.disk)],
    ['perch', system.version],
    ['System', [system.system, system.kernel && `Linux ${system.kernel}`].filter(Boolean).join(', ')],
  ]);
  find('cameras-in-use').replaceChildren(...system.cameras.map((camera) => {
    const [item, words, detail] = ['li', 'span', 'small'].map((name) => document.createElement(name));
    words.textContent = `${camera.name}: ${camera.source}`;
    detail.textContent = [camera.state.replace('_', ' '), camera.encoder || 'nothing encoded yet'].join(', ');
    words.append(detail);
    item.append(words);
    return item;
  }));
  find('wifi').hidden = !system.has_wifi;
  find('restart').hidden = !system.can_restart;
  find('cannot-restart').hidden = system.can_restart;
}

/** What is not known is not shown. */
function facts(id, pairs) {
  find(id).replaceChildren(...pairs.filter(([, value]) => value).flatMap(([name, value]) => {
    const [term, text] = ['dt', 'dd'].map((kind) => document.createElement(kind));
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

function connection({ name, state, signal_dbm }) {
  return `${name} ${state}${signal_dbm === null ? '' : ` (${signal_dbm} dBm)`}`;
}

function space(amount) {
  if (!amount) return null;
  const words = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`);
  return `${words(amount.available_bytes)} free of ${words(amount.total_bytes)}`;
}

function duration(seconds) {
  if (seconds === null) return null;
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min`;
}

async function restart(name) {
  find('restart').inert = true;
  find('problem').textContent = '';
  try {
    await ask('POST', `api/system/${name}`);
  } catch (error) {
    find('restart').inert = false;
    find('problem').textContent = error.message;
    setTimeout(keepShowing, REFRESH_MS);
    return;
  }
  if (name === 'factory-reset') {
    // It comes back with another name, another certificate and no owner.
    find('done').textContent = 'It starts again as if it were new: open http://perch.local/ in a minute or two.';
    return;
  }
  find('done').textContent = 'It starts again. The picture comes back by itself.';
  await answers(false);
  await answers(true);
  location.replace('./');
}

/** Waits until the camera answers, or no longer does. */
async function answers(wanted) {
  for (;;) {
    const response = await fetch('healthz', { cache: 'no-store', signal: AbortSignal.timeout(RETURN_MS) }).catch(() => null);
    if (Boolean(response?.ok) === wanted) return;
    await new Promise((resolve) => { setTimeout(resolve, RETURN_MS); });
  }
}

async function ask(method, path) {
  const response = await fetch(path, { method });
  if (response.status === 401) location.replace('login');
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `${response.status} ${response.statusText}`);
  return answer;
}
