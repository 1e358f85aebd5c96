// Who has access: sessions, tokens and passwords, for the owner.

const find = (id) => document.getElementById(id);

find('log-out').addEventListener('click', () => attempt(async () => {
  await ask('POST', 'api/logout');
  location.replace('login');
}));
find('add-token').addEventListener('submit', (event) => {
  event.preventDefault();
  attempt(async () => {
    const made = await ask('POST', 'api/tokens', { name: find('token-name').value, scope: find('token-scope').value });
    find('add-token').reset();
    const code = document.createElement('code');
    code.textContent = made.token;
    find('new-token').replaceChildren('Copy it now, it is shown this once: ', code);
    await show();
  });
});
find('set-password').addEventListener('submit', (event) => {
  event.preventDefault();
  attempt(async () => {
    const role = find('role').value;
    await ask('PUT', `api/accounts/${role}`, { password: find('new-password').value });
    find('set-password').reset();
    find('done').textContent = `The ${role}'s password is set.`;
    // The owner's own session has ended with it.
    if (role === 'owner') location.replace('login');
    else await show();
  });
});
find('remove-viewer').addEventListener('click', () => attempt(async () => {
  await ask('DELETE', 'api/accounts/viewer');
  find('done').textContent = 'There is no viewer any more.';
  await show();
}));
attempt(show);

async function show() {
  const [sessions, tokens] = await Promise.all([ask('GET', 'api/sessions'), ask('GET', 'api/tokens')]);
  list('sessions', 'Sign out', 'api/sessions', sessions.map(({ id, role, address, browser, last_used, current }) => ({
    id,
    title: `The ${role}, from ${address}${current ? ' (this browser)' : ''}`,
    detail: `${browser || 'a program'}, last seen ${when(last_used)}`,
  })));
  list('tokens', 'Revoke', 'api/tokens', tokens.map(({ id, name, scope, created, last_used }) => ({
    id,
    title: `${name}: ${scope}`,
    detail: `made ${when(created)}, ${last_used ? `last used ${when(last_used)}` : 'never used'}`,
  })));
}

function list(id, verb, path, entries) {
  find(id).replaceChildren(...entries.map((entry) => {
    const [item, words, detail, button] = ['li', 'span', 'small', 'button'].map((name) => document.createElement(name));
    words.textContent = entry.title;
    detail.textContent = entry.detail;
    words.append(detail);
    button.type = 'button';
    button.textContent = verb;
    button.setAttribute('aria-label', `${verb}: ${entry.title}`);
    button.addEventListener('click', () => attempt(async () => {
      await ask('DELETE', `${path}/${entry.id}`);
      await show();
    }));
    item.append(words, button);
    return item;
  }));
}

function when(seconds) {
  return new Date(seconds * 1000).toLocaleString();
}

async function attempt(deed) {
  find('problem').textContent = '';
  try {
    await deed();
  } catch (error) {
    find('problem').textContent = error.message;
  }
}

async function ask(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: body ? { 'Content-Type': 'application/json' } : {},
    body: body && JSON.stringify(body),
  });
  if (response.status === 401) location.replace('login');
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `${response.status} ${response.statusText}`);
  return answer;
}
