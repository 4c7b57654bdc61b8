// SPDX-License-Identifier: MIT
/* One run from boot to exit status: pass output on, watch the processes, keep the time limit, and clean up whatever happens. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vm.h"

#define MS 1000000ll
/*
 * From start to the command's first instruction: 2 to 4 s, under any accelerator. An emulated guest was seen to stall in its boot, once in a
 * hundred; it is started a second time then, and said so, and has longer.
 */
static const int boot_limit_ms[] = { 25000, 60000 }; /* times PIM_TIME_SCALE, for a kernel with checkers on */
#define BOOTS (int)(sizeof(boot_limit_ms) / sizeof(boot_limit_ms[0]))
#define DEAD_CARD_LIMIT_MS 30000 /* the driver's time-outs end the command long before */

struct text {
	char *buf;
	size_t len, cap;
};

struct session {
	const struct vm_options *opt;
	struct vm_machine m;
	int64_t begin, deadline, boot_deadline;
	int boot_ms; /* the limit that boot_deadline keeps */
	bool stalled; /* it did not */
	struct text ctl, log, console;
	unsigned long long got[VM_PORTS], want[VM_PORTS];
	bool started; /* the command */
	bool ended, failed; /* the guest said so */
	bool emu_gone;
	int how, code; /* of "exit": 1 signal, its number; 0 status */
	char reason[512];
	int status;
	bool over;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / MS;
}

static void append(struct text *t, const char *buf, size_t len)
{
	if (t->len + len + 1 > t->cap) {
		size_t cap = (t->len + len + 1) * 2;
		char *p = realloc(t->buf, cap);

		if (!p)
			return;
		t->buf = p;
		t->cap = cap;
	}
	memcpy(t->buf + t->len, buf, len);
	t->len += len;
	t->buf[t->len] = '\0';
}

static void forward(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			poll(&pfd, 1, 1000);
			continue;
		}
		if (n < 0)
			return; /* nobody reads any more; the guest goes on, as a command in a pipe may */
		buf += n;
		len -= (size_t)n;
	}
}

/* The last lines of a text, for the user to see what the guest had to say. */
static void print_tail(const char *title, const struct text *t, unsigned int lines)
{
	const char *p;

	if (!t->len)
		return;
	p = t->buf + t->len - (t->buf[t->len - 1] == '\n');
	while (p > t->buf && (p[-1] != '\n' || --lines))
		p--;
	fprintf(stderr, "pim-vm: %s:\n%s%s", title, p, t->buf[t->len - 1] == '\n' ? "" : "\n");
}

static void finish(struct session *s, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void finish(struct session *s, int status, const char *fmt, ...)
{
	va_list ap;

	if (s->over)
		return;
	s->over = true;
	s->status = status;
	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(s->reason, sizeof(s->reason), fmt, ap);
		va_end(ap);
	}
}

static void event(struct session *s, char *line)
{
	unsigned long long out, err, log;
	char name[32];
	long long ms;
	int off = 0;

	if (sscanf(line, "stage %31s %lld", name, &ms) == 2) {
		if (s->opt->verbose)
			vm_say("%-6s at %5lld ms (guest clock %lld ms)", name, (long long)(now_ms() - s->begin), ms);
		s->started |= !strcmp(name, "start");
	} else if (sscanf(line, "exit %d %d %llu %llu %llu", &s->how, &s->code, &out, &err, &log) == 5) {
		s->ended = true;
		s->want[VM_OUT] = out;
		s->want[VM_ERR] = err;
		s->want[VM_LOG] = log;
	} else if (sscanf(line, "fail %llu %n", &log, &off) == 1 && off) {
		s->ended = s->failed = true;
		s->want[VM_LOG] = log;
		snprintf(s->reason, sizeof(s->reason), "guest: %s", line + off);
	}
}

static void control(struct session *s, const char *buf, size_t len)
{
	char *line, *nl;

	append(&s->ctl, buf, len);
	for (line = s->ctl.buf; line && (nl = memchr(line, '\n', s->ctl.len - (size_t)(line - s->ctl.buf))); line = nl + 1) {
		*nl = '\0';
		event(s, line);
	}
	if (line) {
		s->ctl.len -= (size_t)(line - s->ctl.buf);
		memmove(s->ctl.buf, line, s->ctl.len + 1);
	}
}

static void receive(struct session *s, enum vm_port p)
{
	char buf[65536];
	ssize_t n = read(s->m.port[p], buf, sizeof(buf));

	if (n <= 0) {
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return;
		close(s->m.port[p]);
		s->m.port[p] = -1;
		return;
	}
	s->got[p] += (unsigned long long)n;
	switch (p) {
	case VM_OUT:
	case VM_ERR:
		forward(p == VM_OUT ? STDOUT_FILENO : STDERR_FILENO, buf, (size_t)n);
		break;
	case VM_LOG:
		append(&s->log, buf, (size_t)n);
		break;
	case VM_CTL:
		control(s, buf, (size_t)n);
		break;
	default:
		append(&s->console, buf, (size_t)n);
	}
}

static void qemu_messages(struct session *s)
{
	char buf[2048];
	ssize_t n = pread(s->m.qemu_log, buf, sizeof(buf) - 1, 0);

	if (n > 0) {
		buf[n] = '\0';
		fprintf(stderr, "%s%s", buf, buf[n - 1] == '\n' ? "" : "\n");
	}
}

static void describe(int status, char *buf, size_t len)
{
	if (WIFSIGNALED(status))
		snprintf(buf, len, "killed by signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(buf, len, "exit status %d", WEXITSTATUS(status));
}

static void qemu_ended(struct session *s, int status)
{
	char how[80];

	describe(status, how, sizeof(how));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !s->console.len)
		finish(s, VM_FAILED, "no qemu-system-x86_64: install package qemu-system-x86 (make deps does)");
	else if (s->emu_gone && !s->started)
		finish(s, VM_FAILED, "the card did not come up");
	else
		finish(s, VM_FAILED, "the guest ended before its command did (QEMU: %s)", how);
}

static void emu_ended(struct session *s, int status)
{
	char how[80];

	describe(status, how, sizeof(how));
	if (!s->started) {
		finish(s, VM_FAILED, "pim-emu, the card, did not come up or died early (%s)", how);
		return;
	}
	vm_say("pim-emu, the card, died (%s): the command has %d s to fail by itself", how, DEAD_CARD_LIMIT_MS / 1000);
	if (s->deadline > now_ms() + DEAD_CARD_LIMIT_MS)
		s->deadline = now_ms() + DEAD_CARD_LIMIT_MS;
}

static void reap(struct session *s)
{
	const struct timespec moment = { .tv_nsec = 100 * MS };
	int status, qemu = -1, emu = -1, tries;
	unsigned int i;
	pid_t pid;

	for (tries = 0; tries < 2; tries++) {
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			if (pid == s->m.qemu) {
				s->m.qemu = 0;
				qemu = status;
			}
			for (i = 0; i < VM_MAX_CARDS; i++) {
				if (pid == s->m.emu[i]) {
					s->m.emu[i] = 0;
					emu = status;
				}
			}
		}
		/* The emulator also ends because QEMU did: then QEMU is the one to talk about, and cannot be far. */
		if (emu == -1 || !s->m.qemu)
			break;
		nanosleep(&moment, NULL);
	}
	if (emu != -1 && !(WIFEXITED(emu) && !WEXITSTATUS(emu) && !s->m.qemu))
		s->emu_gone = true;
	if (s->ended)
		return;
	if (qemu != -1)
		qemu_ended(s, qemu);
	else if (emu != -1)
		emu_ended(s, emu);
}

static void check_clock(struct session *s)
{
	int64_t now = now_ms();

	if (!s->started && now >= s->boot_deadline) {
		s->stalled = !s->over;
		finish(s, VM_TIMED_OUT, "the guest did not come up within %d s (--accel tcg if KVM is at fault)", s->boot_ms / 1000);
	} else if (now >= s->deadline && s->emu_gone)
		finish(s, VM_FAILED, "the command hung after the card had died");
	else if (now >= s->deadline)
		finish(s, VM_TIMED_OUT, "time limit of %u s is over: guest ended (--timeout S gives it more)", s->opt->timeout_s);
}

static bool all_received(const struct session *s)
{
	return s->ended && s->got[VM_OUT] >= s->want[VM_OUT] && s->got[VM_ERR] >= s->want[VM_ERR] &&
	       s->got[VM_LOG] >= s->want[VM_LOG];
}

static void loop(struct session *s, int sigfd)
{
	struct signalfd_siginfo si;
	int64_t wait, next;
	int p;

	while (!s->over && !all_received(s)) {
		struct pollfd pfd[VM_PORTS + 1];

		for (p = 0; p < VM_PORTS; p++)
			pfd[p] = (struct pollfd){ .fd = s->m.port[p], .events = POLLIN };
		pfd[VM_PORTS] = (struct pollfd){ .fd = sigfd, .events = POLLIN };
		next = !s->started && s->boot_deadline < s->deadline ? s->boot_deadline : s->deadline;
		wait = next - now_ms();
		if (poll(pfd, VM_PORTS + 1, wait < 0 ? 0 : (int)wait) < 0 && errno != EINTR) {
			finish(s, VM_FAILED, "poll: %s", strerror(errno));
			return;
		}
		for (p = 0; p < VM_PORTS; p++)
			if (pfd[p].fd >= 0 && pfd[p].revents)
				receive(s, (enum vm_port)p);
		if (pfd[VM_PORTS].revents && read(sigfd, &si, sizeof(si)) == sizeof(si)) {
			if (si.ssi_signo == SIGCHLD)
				reap(s);
			else
				finish(s, 128 + (int)si.ssi_signo, "stopped by %s: guest ended", strsignal((int)si.ssi_signo));
		}
		check_clock(s);
	}
}

static void save_log(const struct session *s)
{
	FILE *f = fopen(s->opt->dmesg, "w");

	if (!f) {
		vm_say("--dmesg %s: %s", s->opt->dmesg, strerror(errno));
		return;
	}
	fwrite(s->log.buf ? s->log.buf : "", 1, s->log.len, f);
	/* Without the guest's farewell the console is all there is. */
	if (!s->log.len && s->console.len)
		fwrite(s->console.buf, 1, s->console.len, f);
	fclose(f);
}

static int conclude(struct session *s)
{
	if (s->over || s->failed) {
		vm_say("%s", s->reason);
		if (s->failed)
			print_tail("the guest's kernel log ends with", &s->log, 8);
		else if (!s->started || s->status == VM_FAILED)
			qemu_messages(s);
		print_tail("the guest's console ends with", &s->console, 30);
		return s->over ? s->status : VM_FAILED;
	}
	if (s->console.len)
		print_tail("the guest's kernel said", &s->console, 60);
	if (s->opt->verbose)
		vm_say("ended at %5lld ms", (long long)(now_ms() - s->begin));
	return s->how ? 128 + s->code : s->code;
}

static int run_once(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, bool kvm, int boot_ms, bool *stalled)
{
	struct session s = { .opt = opt, .begin = now_ms(), .boot_ms = boot_ms };
	sigset_t mask;
	int initrd, sigfd, ret;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGQUIT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigfd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sigfd < 0) {
		vm_say("signalfd: %s", strerror(errno));
		return VM_FAILED;
	}
	initrd = vm_initramfs(opt, at, k, false);
	if (initrd < 0)
		return VM_FAILED;
	ret = vm_machine_start(opt, at, k, kvm, initrd, &s.m);
	close(initrd);
	if (ret)
		return VM_FAILED;
	s.deadline = s.begin + (int64_t)opt->timeout_s * 1000;
	s.boot_deadline = s.begin + boot_ms;
	loop(&s, sigfd);
	if (opt->dmesg)
		save_log(&s);
	ret = conclude(&s);
	*stalled = s.stalled;
	vm_machine_stop(&s.m);
	close(sigfd);
	free(s.ctl.buf);
	free(s.log.buf);
	free(s.console.buf);
	return ret;
}

static int time_scale(void)
{
	const char *text = getenv("PIM_TIME_SCALE");
	int scale = text ? atoi(text) : 1;

	return scale < 1 ? 1 : scale > 100 ? 100 : scale;
}

int vm_session(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, bool kvm)
{
	bool stalled;
	int i, ret;

	for (i = 0;; i++) {
		stalled = false;
		ret = run_once(opt, at, k, kvm, boot_limit_ms[i] * time_scale(), &stalled);
		if (!stalled || i + 1 == BOOTS)
			return ret;
		vm_say("starting the guest once more");
	}
}
