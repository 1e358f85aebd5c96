// Shows the owner the way to the list of who has access, which leads on to the machine; without a lock, to the machine itself.

const response = await fetch('api/door').catch(() => null);
const door = response?.ok ? await response.json() : { locked: false };
const account = document.getElementById('account');
const system = document.getElementById('system');
const leave = document.getElementById('log-out');
account.hidden = !door.locked || door.scope !== 'admin';
system.hidden = door.locked;
leave.hidden = !door.locked || door.scope === 'admin' || !door.role;
leave.addEventListener('click', async () => {
  await fetch('api/logout', { method: 'POST' }).catch(() => null);
  location.replace('login');
});
