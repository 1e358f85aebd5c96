/*
 * The guest's first process once it is up: runs what the host asks for.
 *
 * A client sends the length of a shell script as a line, then the script. What the script prints comes back, then a
 * zero byte and its exit code as a line. A client that goes away has its script ended. What a script leaves in the
 * background with `setsid` stays.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PORT = 9000, TICK_MS = 5, LONGEST = 1 << 20 };

/* Reads up to `length` bytes; how many came. */
static size_t read_all(int fd, char *bytes, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = read(fd, bytes + done, length - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static char *read_script(int client)
{
	char line[16] = "";
	size_t length, i = 0;
	char *script;

	while (i < sizeof line - 1 && read(client, &line[i], 1) == 1 && line[i] != '\n')
		i++;
	length = strtoul(line, NULL, 10);
	if (!length || length > LONGEST)
		return NULL;
	script = calloc(1, length + 1);
	if (!script || read_all(client, script, length) != length)
		return NULL;
	return script;
}

static void serve(int client)
{
	struct pollfd hangup = { .fd = client, .events = POLLRDHUP };
	char *script = read_script(client);
	int status;
	pid_t shell;

	if (!script)
		return;
	signal(SIGCHLD, SIG_DFL);
	shell = fork();
	if (shell == 0) {
		setpgid(0, 0);
		if (!freopen("/dev/null", "r", stdin))
			_exit(127);
		dup2(client, 1);
		dup2(client, 2);
		close(client);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(127);
	}
	while (waitpid(shell, &status, WNOHANG) == 0) {
		if (poll(&hangup, 1, TICK_MS) > 0) {
			kill(-shell, SIGKILL);
			return;
		}
	}
	dprintf(client, "%c%d\n", 0, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	shutdown(client, SHUT_RDWR);
}

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Whatever loses its parent becomes ours, and needs no wait. */
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	setenv("HOME", "/root", 1);
	/* busybox's commands only where there is no better one: its modprobe -r takes too much along. */
	setenv("PATH", "/usr/sbin:/usr/bin:/usr/local/bin", 1);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) {
		perror("agent");
		return 1;
	}
	puts("agent: ready");
	fflush(stdout);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			continue;
		if (fork() == 0) {
			serve(client);
			_exit(0);
		}
		close(client);
	}
}
