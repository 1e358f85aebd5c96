// Choosing the Wi-Fi that the camera joins. In the camera's own access point this page is cut off while another network is
// tried: what is to be known then is said before, and when the access point is back, what came of it.

const REFRESH_MS = 3000;
/** For so long what is told may be from before the camera has noticed what it was asked for. */
const STALE_MS = 10000;
const PROBLEMS = {
  wrong_password: 'the password is wrong.',
  not_found: 'there is no such network near the camera.',
  no_address: 'the network gives the camera no address.',
  not_joined: 'it did not let the camera in. Is the password right?',
};

const find = (id) => document.getElementById(id);
const form = find('form');
/** The name that was asked for, until it is known what came of it; and when. */
let tried = null;
let triedAt = 0;
let shown = null;
/** The last that was heard. */
let known = {};

form.addEventListener('submit', (event) => {
  event.preventDefault();
  send();
});
form.addEventListener('change', fit);
find('show').addEventListener('change', () => { find('password').type = find('show').checked ? 'text' : 'password'; });
keepShowing();

async function keepShowing() {
  const response = await fetch('api/wifi', { cache: 'no-store', signal: AbortSignal.timeout(REFRESH_MS) }).catch(() => null);
  if (response?.status === 401) return location.replace('login#wifi');
  const answer = await response?.json().catch(() => null);
  if (response?.ok && answer) {
    show(answer);
  } else if (tried === null) {
    say(answer ? asSentence(answer.error) : 'The camera does not answer.', true);
  }
  setTimeout(keepShowing, REFRESH_MS);
}

function show(answer) {
  const { phase, ssid, networks, result, hostname, access_point: own } = answer;
  if (phase === 'trying') {
    known.hostname ||= hostname;
    return wait(ssid);
  }
  const isSame = JSON.stringify(result) === JSON.stringify(known.result);
  if (tried !== null && isSame && Date.now() - triedAt < STALE_MS) return;
  tried = null;
  known = answer;
  form.hidden = !own;
  const words = JSON.stringify(networks.map((network) => [network.ssid, network.is_protected]));
  // What is chosen stays chosen while the list is as it was.
  if (words !== shown) {
    shown = words;
    list(networks);
  }
  if (result) {
    say(result.problem === null
      ? `The camera is in ${result.ssid}: find it there at http://${hostname}.local/`
      : `${result.ssid} was not joined: ${PROBLEMS[result.problem] ?? PROBLEMS.not_joined}`, result.problem !== null);
  } else if (phase === 'online') {
    say(ssid ? `The camera is in ${ssid}.` : 'The camera is connected by a cable.');
  } else {
    say(own ? '' : 'This machine has no Wi-Fi, or it is not ready yet.');
  }
  find('note').textContent = own?.password
    ? `While the camera has no network it opens its own: ${own.ssid}, with the password ${own.password}`
    : '';
}

/** From now on the page may be cut off. */
function wait(ssid) {
  tried = ssid;
  form.hidden = true;
  say(`The camera tries ${ssid} now. If it gets in, find it there at http://${known.hostname}.local/. `
    + (known.phase === 'online' ? 'If not, this page says why.' : `If not, ${known.access_point?.ssid ?? 'its own network'} is back within a minute, and this page says why.`));
}

/** The networks to choose from, and one that is not to be seen. */
function list(networks) {
  const chosen = form.elements.network?.value;
  find('networks').querySelectorAll('label').forEach((label) => label.remove());
  for (const network of [...networks, null]) {
    const [label, input, words] = ['label', 'input', 'span'].map((name) => document.createElement(name));
    label.className = 'choice';
    Object.assign(input, { type: 'radio', name: 'network', required: true, value: network ? `+${network.ssid}` : '' });
    input.checked = input.value === chosen;
    input.dataset.protected = network?.is_protected ?? true;
    words.textContent = network ? network.ssid + (network.is_protected ? '' : ' (open)') : 'Another one';
    label.append(input, words);
    find('networks').append(label);
  }
  fit();
}

/** Asks for what the chosen network needs. */
function fit() {
  const chosen = form.querySelector('[name="network"]:checked');
  find('named').hidden = !chosen || chosen.value !== '';
  find('ssid').required = !find('named').hidden;
  find('protected').hidden = chosen?.dataset.protected !== 'true';
}

async function send() {
  const chosen = form.elements.network.value;
  const ssid = chosen ? chosen.slice(1) : find('ssid').value;
  const password = find('protected').hidden ? '' : find('password').value;
  const button = form.querySelector('button');
  button.disabled = true;
  find('problem').textContent = '';
  try {
    const response = await fetch('api/wifi', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ ssid, password }),
    });
    if (response.ok) {
      triedAt = Date.now();
      return wait(ssid);
    }
    const { error } = await response.json().catch(() => ({}));
    find('problem').textContent = asSentence(error || `${response.status} ${response.statusText}`);
  } catch {
    find('problem').textContent = 'The camera does not answer.';
  } finally {
    button.disabled = false;
  }
}

function say(words, isBad = false) {
  // A screen reader reads what has changed.
  if (find('result').textContent !== words) find('result').textContent = words;
  find('result').classList.toggle('bad', isBad);
}

function asSentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
