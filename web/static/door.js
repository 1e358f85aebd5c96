// Shows the way to the list of who has access, to the owner, where there is a lock.

const response = await fetch('api/door').catch(() => null);
const door = response?.ok ? await response.json() : { locked: false };
const account = document.getElementById('account');
const leave = document.getElementById('log-out');
account.hidden = !door.locked || door.scope !== 'admin';
leave.hidden = !door.locked || door.scope === 'admin' || !door.role;
leave.addEventListener('click', async () => {
  await fetch('api/logout', { method: 'POST' }).catch(() => null);
  location.replace('login');
});
