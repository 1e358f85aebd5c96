// Claiming and logging in: sends the password, and says in words what came of it.

const find = (id) => document.getElementById(id);
const form = find('form');
const isClaim = find('again') !== null;
/** Where whoever is let in goes on. */
const next = location.hash === '#wifi' ? 'wifi' : './';

form.addEventListener('submit', (event) => {
  event.preventDefault();
  send();
});
// Until here the browser itself would send the form, and lead back to it with empty fields.
form.querySelector('button').disabled = false;
for (const account of form.querySelectorAll('[name="account"]')) {
  // A password manager keeps one password for each.
  account.addEventListener('change', () => { find('username').value = account.value; });
}
prepare();

async function prepare() {
  const response = await fetch('api/door').catch(() => null);
  if (!response?.ok) return;
  const door = await response.json();
  // Whoever followed another site's link is logged in, but the browser kept the cookie back (SameSite=Strict).
  if (door.scope) return location.replace(next);
  if (isClaim) {
    const minutes = Math.ceil(door.claim_open_s / 60);
    find('time').textContent = minutes > 0
      ? `This is possible for ${minutes} more ${minutes === 1 ? 'minute' : 'minutes'}, from this network only.`
      : 'The time for this is over. Restart perch or press its button, or run "perch auth set-password" on its machine.';
  } else {
    find('accounts').hidden = !door.accounts.includes('viewer');
  }
}

async function send() {
  if (isClaim && find('password').value !== find('again').value) return complain('The two passwords differ.');
  const button = form.querySelector('button');
  button.disabled = true;
  complain('');
  try {
    const body = { password: find('password').value };
    if (!isClaim) body.account = find('username').value;
    const response = await fetch(form.getAttribute('action'), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (response.ok) return location.replace(next);
    const { error } = await response.json().catch(() => ({}));
    complain(asSentence(error || `${response.status} ${response.statusText}`));
  } catch {
    complain('The camera does not answer.');
  } finally {
    button.disabled = false;
  }
}

function complain(words) {
  find('problem').textContent = words;
  if (words) find('password').select();
}

function asSentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
