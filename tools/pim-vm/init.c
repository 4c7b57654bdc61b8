// SPDX-License-Identifier: MIT
/*
 * The guest's init: one static program in an initramfs. Loads the modules packed beside it, mounts the host's files below an
 * overlay, runs one command and tells pim-vm how it ended. Everything it needs to know is in /pim, written by pim-vm (initramfs.c):
 *
 *	/pim/modules	module files to load, one per line, in order; "?" before a name: the product's own, reported when it fails
 *	/pim/mounts	directories to mount read-write, one per line; the n-th has the 9p tag rwN
 *	/pim/cwd	directory to run in
 *	/pim/argv	NUL-terminated strings
 *	/pim/env	NUL-terminated strings
 *	/pim/probe	present: the guest only has to show that it boots
 *
 * Four virtio-serial ports lead to pim-vm: pim.out, pim.err, pim.log (the kernel's log, at the end), pim.ctl (a line per event).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEBUG_EXIT_PORT 0xf4
#define DEBUG_EXIT_OK 0x10

enum port { OUT, ERR, LOG, CTL, PORTS };
static const char *const port_name[PORTS] = { "pim.out", "pim.err", "pim.log", "pim.ctl" };

static struct {
	int fd[PORTS];
	unsigned long long sent[PORTS];
} port = { .fd = { -1, -1, -1, -1 } };

static void port_write(enum port p, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(port.fd[p], buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		port.sent[p] += (unsigned long long)n;
		buf += n;
		len -= (size_t)n;
	}
}

static void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (port.fd[CTL] >= 0)
		port_write(CTL, line, (size_t)n);
	else if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* the console: nowhere else to say it */
}

/* The end: pim-vm kills the machine once it has everything. Powering off is for a machine that nobody watches. */
static void finish(void) __attribute__((noreturn));
static void finish(void)
{
	for (int i = 0; i < 3000; i++)
		usleep(10000);
	reboot(RB_POWER_OFF);
	_exit(1);
}

static void send_kernel_log(void)
{
	int size = klogctl(10, NULL, 0); /* SYSLOG_ACTION_SIZE_BUFFER */
	char *buf = size > 0 ? malloc((size_t)size) : NULL;
	int n = buf ? klogctl(3, buf, size) : 0; /* SYSLOG_ACTION_READ_ALL */

	if (n > 0)
		port_write(LOG, buf, (size_t)n);
	free(buf);
}

static void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void fail(const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (port.fd[LOG] >= 0)
		send_kernel_log();
	tell("fail %llu %s", port.sent[LOG], text);
	if (port.fd[CTL] < 0)
		reboot(RB_POWER_OFF);
	finish();
}

static void stage(const char *name)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	tell("stage %s %lld", name, (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

/* A whole file of the initramfs, NUL-terminated. */
static char *slurp(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t done = 0;
	ssize_t n;
	char *buf;

	if (fd < 0 || fstat(fd, &st))
		fail("%s: %s", path, strerror(errno));
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		fail("%s: out of memory", path);
	while (done < (size_t)st.st_size && (n = read(fd, buf + done, (size_t)st.st_size - done)) > 0)
		done += (size_t)n;
	close(fd);
	buf[done] = '\0';
	*len = done;
	return buf;
}

static void mount_or_fail(const char *src, const char *dst, const char *type, unsigned long flags, const char *data)
{
	if (mount(src, dst, type, flags, data))
		fail("cannot mount %s on %s: %s", src, dst, strerror(errno));
}

/* Own modules are listed last, and their failure is the answer to the user's question: tell it apart. */
static void load_modules(bool own)
{
	size_t len;
	char *list = slurp("/pim/modules", &len), *line, *save;

	for (line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool is_own = line[0] == '?';
		const char *path = line + is_own;
		int fd, err;

		if (is_own != own)
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			fail("%s: %s", path, strerror(errno));
		err = syscall(SYS_finit_module, fd, "", 0) ? errno : 0;
		close(fd);
		if (err && err != EEXIST)
			fail("%s %s: %s", own ? "module" : "guest kernel's module", strrchr(path, '/') + 1,
			     err == ENOEXEC  ? "made for another kernel: build it against this one's headers"
			     : err == ENODEV ? "found no card (no PCI function 1af4:1110, or it is not a PIM card)"
			     : err == ENOENT ? "needs a symbol that no loaded module has (see the kernel log)"
					     : strerror(err));
	}
	free(list);
}

/* Ports appear some time after virtio_console is loaded, and no udev gives them names. */
static bool open_ports(void)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *ent;
	char path[300], name[64];
	int found = 0, p;

	if (!dir)
		return false;
	while ((ent = readdir(dir))) {
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", ent->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, name, sizeof(name) - 1);
		close(fd);
		if (n <= 0)
			continue;
		name[n] = '\0';
		name[strcspn(name, "\n")] = '\0';
		snprintf(path, sizeof(path), "/dev/%s", ent->d_name);
		for (p = 0; p < PORTS; p++)
			if (!strcmp(name, port_name[p]) && port.fd[p] < 0)
				port.fd[p] = open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(dir);
	for (p = 0; p < PORTS; p++)
		found += port.fd[p] >= 0;
	return found == PORTS;
}

static void connect_ports(void)
{
	for (int i = 0; i < 5000; i++) {
		if (open_ports())
			return;
		usleep(1000);
	}
	fail("no virtio-serial ports");
}

/* The host's files, read-only, below a layer in memory: the command may write anywhere, and the host never sees it. */
static void mount_host(void)
{
	static const char options[] = "trans=virtio,version=9p2000.L,msize=262144,cache=";
	char data[200], tag[16], path[4200];
	size_t len;
	char *list, *line, *save;
	int i = 0;

	mkdir("/host", 0755);
	mkdir("/layer", 0755);
	mkdir("/root", 0755);
	snprintf(data, sizeof(data), "%sloose", options);
	mount_or_fail("root", "/host", "9p", MS_RDONLY, data);
	mount_or_fail("layer", "/layer", "tmpfs", 0, "mode=0755");
	mkdir("/layer/upper", 0755);
	mkdir("/layer/work", 0755);
	mount_or_fail("overlay", "/root", "overlay", 0, "lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work");
	list = slurp("/pim/mounts", &len);
	for (line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		snprintf(tag, sizeof(tag), "rw%d", i++);
		snprintf(path, sizeof(path), "/root%s", line);
		snprintf(data, sizeof(data), "%smmap", options);
		mount_or_fail(tag, path, "9p", 0, data);
	}
	free(list);
}

static void enter_root(void)
{
	static const char *const moved[] = { "/proc", "/sys", "/dev" };
	char path[32];
	unsigned int i;

	for (i = 0; i < sizeof(moved) / sizeof(*moved); i++) {
		snprintf(path, sizeof(path), "/root%s", moved[i]);
		mkdir(path, 0755);
		mount_or_fail(moved[i], path, NULL, MS_MOVE, NULL);
	}
	if (chdir("/root"))
		fail("/root: %s", strerror(errno));
	mount_or_fail(".", "/", NULL, MS_MOVE, NULL);
	if (chroot(".") || chdir("/"))
		fail("cannot enter the host's files: %s", strerror(errno));
	sethostname("pim-vm", 6);
	mkdir("/dev/pts", 0755);
	mkdir("/dev/shm", 01777);
	mount("devpts", "/dev/pts", "devpts", 0, "mode=0620,ptmxmode=0666");
	mount("shm", "/dev/shm", "tmpfs", 0, "mode=1777");
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	if (symlink("/proc/self/fd", "/dev/fd") || symlink("/proc/self/fd/0", "/dev/stdin") ||
	    symlink("/proc/self/fd/1", "/dev/stdout") || symlink("/proc/self/fd/2", "/dev/stderr"))
		fail("/dev/fd: %s", strerror(errno));
}

static char **strings(char *buf, size_t len)
{
	size_t n = 0, i;
	char **list;

	for (i = 0; i < len; i++)
		n += !buf[i];
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		fail("out of memory");
	for (i = 0, n = 0; i < len; i += strlen(buf + i) + 1)
		list[n++] = buf + i;
	return list;
}

struct command {
	char **argv, **env, *cwd;
};

static void read_command(struct command *cmd)
{
	size_t len;
	char *buf;

	buf = slurp("/pim/argv", &len);
	cmd->argv = strings(buf, len);
	buf = slurp("/pim/env", &len);
	cmd->env = strings(buf, len);
	cmd->cwd = slurp("/pim/cwd", &len);
}

static void exec_command(const struct command *cmd, int out, int err) __attribute__((noreturn));
static void exec_command(const struct command *cmd, int out, int err)
{
	int null = open("/dev/null", O_RDONLY);

	setsid();
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	if (chdir(cmd->cwd)) {
		fprintf(stderr, "pim-vm: %s: %s in the guest\n", cmd->cwd, strerror(errno));
		_exit(126);
	}
	environ = cmd->env;
	execvp(cmd->argv[0], cmd->argv);
	fprintf(stderr, "pim-vm: %s: %s\n", cmd->argv[0], errno == ENOENT ? "no such command in the guest" : strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Pass on what there is; true while the pipe is open. */
static bool relay(int fd, enum port p)
{
	static char buf[65536];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0)
		port_write(p, buf, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_child(int sig)
{
	(void)sig; /* only there to end poll() */
}

/* Reap whatever init inherited too. Returns true once the command itself has ended. */
static bool ended(pid_t pid, int *status)
{
	bool done = false;
	int st;
	pid_t p;

	while ((p = waitpid(-1, &st, WNOHANG)) > 0) {
		if (p != pid)
			continue;
		*status = st;
		done = true;
	}
	return done;
}

static int run_command(const struct command *cmd)
{
	struct sigaction sa = { .sa_handler = on_child };
	int out[2], err[2], status = 0;
	bool open_out = true, open_err = true, done = false;
	sigset_t chld, none;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		fail("no pipe: %s", strerror(errno));
	sigemptyset(&none);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigaction(SIGCHLD, &sa, NULL);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	pid = fork();
	if (pid < 0)
		fail("cannot start the command: %s", strerror(errno));
	if (!pid) {
		sigprocmask(SIG_UNBLOCK, &chld, NULL);
		exec_command(cmd, out[1], err[1]);
	}
	close(out[1]);
	close(err[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	/* Children that the command leaves behind may keep the pipes open for ever: its own end is the end. */
	while (!done) {
		struct pollfd pfd[] = { { .fd = open_out ? out[0] : -1, .events = POLLIN },
					{ .fd = open_err ? err[0] : -1, .events = POLLIN } };

		if (ppoll(pfd, 2, NULL, &none) < 0 && errno != EINTR)
			fail("poll: %s", strerror(errno));
		if (pfd[0].revents)
			open_out = relay(out[0], OUT);
		if (pfd[1].revents)
			open_err = relay(err[0], ERR);
		done = ended(pid, &status);
	}
	errno = 0;
	while (open_out && relay(out[0], OUT) && errno != EAGAIN)
		errno = 0;
	errno = 0;
	while (open_err && relay(err[0], ERR) && errno != EAGAIN)
		errno = 0;
	return status;
}

int main(void)
{
	struct command cmd;
	int status, fd;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount_or_fail("proc", "/proc", "proc", 0, NULL);
	mount_or_fail("sys", "/sys", "sysfs", 0, NULL);
	if (mount("dev", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY)
		fail("cannot mount /dev: %s", strerror(errno));
	/* Without a console the first descriptors are free, and would be taken for standard input and output. */
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close(fd);
	if (!access("/pim/probe", F_OK)) {
		if (!ioperm(DEBUG_EXIT_PORT, 4, 1))
			outl(DEBUG_EXIT_OK, DEBUG_EXIT_PORT);
		reboot(RB_POWER_OFF);
	}
	load_modules(false);
	connect_ports();
	stage("init");
	mount_host();
	stage("files");
	load_modules(true);
	stage("module");
	read_command(&cmd);
	enter_root();
	stage("start");
	status = run_command(&cmd);
	stage("end");
	sync();
	send_kernel_log();
	tell("exit %d %d %llu %llu %llu", WIFSIGNALED(status), WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
	     port.sent[OUT], port.sent[ERR], port.sent[LOG]);
	finish();
}
