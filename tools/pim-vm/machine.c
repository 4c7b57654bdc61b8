// SPDX-License-Identifier: MIT
/*
 * The processes of a run: pim-emu and a stock QEMU, joined by sockets that have no name in the file system, so that nothing is left
 * behind whatever ends first. Both die with this process, even when it is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vm.h"

#define QEMU "qemu-system-x86_64"
#define MAX_ARGS 96
#define PROBE_SECONDS 6

#define IVSHMEM_VECTORS "3" /* PIM_HW_VECTORS, as text */

struct args {
	char *v[MAX_ARGS];
	unsigned int n;
	bool bad;
};

static void arg(struct args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void arg(struct args *a, const char *fmt, ...)
{
	va_list ap;

	if (a->n == MAX_ARGS - 1) {
		a->bad = true;
		return;
	}
	va_start(ap, fmt);
	if (vasprintf(&a->v[a->n], fmt, ap) < 0)
		a->bad = true;
	else
		a->n++;
	va_end(ap);
}

static void free_args(struct args *a)
{
	while (a->n)
		free(a->v[--a->n]);
}

/* The child's side between fork and exec: own process group, so that Ctrl-C reaches us alone; killed when we are. */
static void become_child(pid_t parent, int log)
{
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(open("/dev/null", O_RDWR), STDIN_FILENO);
	if (log >= 0) {
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
	}
}

static int keep_open(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags < 0 || fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) ? -errno : 0;
}

static pid_t spawn(struct args *a, const int *inherit, unsigned int n, int log)
{
	pid_t parent = getpid(), pid;
	unsigned int i;

	if (a->bad)
		return -ENOMEM;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid)
		return pid;
	become_child(parent, log);
	for (i = 0; i < n; i++)
		keep_open(inherit[i]);
	execvp(a->v[0], a->v);
	fprintf(stderr, "%s: %s\n", a->v[0], strerror(errno));
	_exit(127);
}

static void arg_kernel(struct args *a, const struct vm_kernel *k, int initrd, bool kvm)
{
	arg(a, QEMU);
	arg(a, "-nodefaults");
	arg(a, "-no-user-config");
	arg(a, "-display");
	arg(a, "none");
	arg(a, "-M");
	arg(a, "q35");
	arg(a, "-accel");
	arg(a, "%s", kvm ? "kvm" : "tcg,thread=multi");
	arg(a, "-cpu");
	/* TCG's fast-string instructions are slow and hang newer QEMUs at boot; the card's BAR needs more than 40 address bits. */
	arg(a, "%s", kvm ? "max" : "max,-erms,-fsrm,phys-bits=46");
	arg(a, "-kernel");
	arg(a, "%s", k->image);
	arg(a, "-initrd");
	arg(a, "/proc/self/fd/%d", initrd);
	arg(a, "-append");
	arg(a, "console=ttyS0 quiet cryptomgr.notests panic=-1 tsc=reliable no_timer_check iomem=relaxed");
}

static void arg_machine(struct args *a, const struct vm_options *opt, const int *port, const int *card)
{
	static const char *const name[VM_CONSOLE] = { "pim.out", "pim.err", "pim.log", "pim.ctl" };
	unsigned int i;

	if (!opt->reboot)
		arg(a, "-no-reboot");
	arg(a, "-m");
	arg(a, "%u", opt->memory_mib);
	/* Never one CPU: QEMU then leaves out the atomicity that the card's process on the other side relies on. */
	arg(a, "-smp");
	arg(a, "%u", opt->cpus);
	for (i = 0; i < VM_PORTS; i++) {
		arg(a, "-chardev");
		arg(a, "socket,id=port%u,fd=%d", i, port[i]);
	}
	arg(a, "-serial");
	arg(a, "chardev:port%u", VM_CONSOLE);
	arg(a, "-device");
	arg(a, "virtio-serial-pci");
	for (i = 0; i < VM_CONSOLE; i++) {
		arg(a, "-device");
		arg(a, "virtserialport,chardev=port%u,name=%s", i, name[i]);
	}
	arg(a, "-fsdev");
	arg(a, "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap");
	arg(a, "-device");
	arg(a, "virtio-9p-pci,fsdev=root,mount_tag=root");
	for (i = 0; i < opt->nrw; i++) {
		arg(a, "-fsdev");
		arg(a, "local,id=rw%u,path=%s,security_model=none,multidevs=remap", i, opt->rw[i]);
		arg(a, "-device");
		arg(a, "virtio-9p-pci,fsdev=rw%u,mount_tag=rw%u", i, i);
	}
	for (i = 0; i < opt->ncards; i++) {
		arg(a, "-chardev");
		arg(a, "socket,id=card%u,fd=%d", i, card[i]);
		arg(a, "-device");
		arg(a, "ivshmem-doorbell,chardev=card%u,vectors=" IVSHMEM_VECTORS, i);
	}
}

static int start_emu(const struct vm_options *opt, const struct vm_places *at, const char *card, int sock, pid_t *pid)
{
	struct args a = { 0 };

	arg(&a, "%s/pim-emu", at->bin);
	arg(&a, "--card");
	arg(&a, "%s", card);
	arg(&a, "--fd");
	arg(&a, "%d", sock);
	if (opt->verbose)
		arg(&a, "--verbose");
	*pid = spawn(&a, &sock, 1, -1);
	free_args(&a);
	if (*pid < 0) {
		int ret = (int)*pid;

		vm_say("cannot start pim-emu: %s", strerror(-ret));
		*pid = 0;
		return ret;
	}
	return 0;
}

int vm_machine_start(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, bool kvm, int initrd,
		     struct vm_machine *m)
{
	int far[VM_PORTS + 1 + VM_MAX_CARDS], near[VM_MAX_CARDS], card[VM_MAX_CARDS], pair[2], ret = 0;
	unsigned int n = 0, cards = 0, i;
	struct args a = { 0 };

	memset(m, 0, sizeof(*m));
	for (i = 0; i < VM_PORTS; i++)
		m->port[i] = -1;
	m->qemu_log = memfd_create("qemu-log", MFD_CLOEXEC);
	for (i = 0; !ret && i < VM_PORTS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
			ret = -errno;
			break;
		}
		m->port[i] = pair[0];
		far[n++] = pair[1];
	}
	for (i = 0; !ret && i < opt->ncards; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
			ret = -errno;
			break;
		}
		near[cards] = pair[0];
		card[cards++] = pair[1];
	}
	if (ret) {
		vm_say("cannot make sockets: %s", strerror(-ret));
		goto out;
	}
	arg_kernel(&a, k, initrd, kvm);
	arg_machine(&a, opt, far, card);
	for (i = 0; !ret && i < cards; i++)
		ret = start_emu(opt, at, opt->card[i], near[i], &m->emu[i]);
	if (ret)
		goto out;
	far[n++] = initrd;
	for (i = 0; i < cards; i++)
		far[n++] = card[i];
	m->qemu = spawn(&a, far, n, m->qemu_log);
	if (m->qemu < 0) {
		ret = (int)m->qemu;
		m->qemu = 0;
		vm_say("cannot start QEMU: %s", strerror(-ret));
	}
out:
	free_args(&a);
	for (i = 0; i < n && i < VM_PORTS; i++)
		close(far[i]);
	for (i = 0; i < cards; i++) {
		close(near[i]);
		close(card[i]);
	}
	if (ret)
		vm_machine_stop(m);
	return ret;
}

static void end(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = 0;
}

void vm_machine_stop(struct vm_machine *m)
{
	const struct timespec tick = { .tv_nsec = 5000000 };
	unsigned int i, k;

	end(&m->qemu);
	/* They end by themselves now, and can still take their own children with them. */
	for (k = 0; k < VM_MAX_CARDS; k++)
		if (m->emu[k] > 0)
			kill(m->emu[k], SIGTERM);
	for (k = 0; k < VM_MAX_CARDS; k++) {
		for (i = 0; m->emu[k] > 0 && i < 200; i++) {
			if (waitpid(m->emu[k], NULL, WNOHANG) == m->emu[k])
				m->emu[k] = 0;
			else
				nanosleep(&tick, NULL);
		}
		end(&m->emu[k]);
	}
	for (i = 0; i < VM_PORTS; i++)
		if (m->port[i] >= 0)
			close(m->port[i]);
	if (m->qemu_log >= 0)
		close(m->qemu_log);
}

int vm_kvm_works(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, char *why, size_t len)
{
	struct timespec tick = { .tv_nsec = 10000000 };
	struct args a = { 0 };
	int initrd, status = 0, i, null;
	pid_t pid;

	if (access("/dev/kvm", R_OK | W_OK)) {
		snprintf(why, len, "/dev/kvm: %s", strerror(errno));
		return 0;
	}
	initrd = vm_initramfs(opt, at, k, true);
	if (initrd < 0)
		return initrd;
	arg_kernel(&a, k, initrd, true);
	arg(&a, "-no-reboot");
	arg(&a, "-m");
	arg(&a, "256");
	arg(&a, "-smp");
	arg(&a, "2");
	arg(&a, "-device");
	arg(&a, "isa-debug-exit,iobase=0xf4,iosize=4");
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	pid = spawn(&a, &initrd, 1, null);
	free_args(&a);
	close(null);
	close(initrd);
	if (pid < 0) {
		snprintf(why, len, "cannot start QEMU: %s", strerror(-pid));
		return 0;
	}
	for (i = 0; i < PROBE_SECONDS * 100; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			if (WIFEXITED(status) && WEXITSTATUS(status) == ((0x10 << 1) | 1))
				return 1;
			snprintf(why, len, "a guest did not boot with KVM");
			return 0;
		}
		nanosleep(&tick, NULL);
	}
	end(&pid);
	snprintf(why, len, "a guest hung with KVM for %d s", PROBE_SECONDS);
	return 0;
}
