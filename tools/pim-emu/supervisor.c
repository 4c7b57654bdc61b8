// SPDX-License-Identifier: MIT
/*
 * The supervisor: holds the card's memory and eventfds, talks to QEMU, and starts a card process that died again over that memory,
 * so that a crash of the model costs the guest its jobs in flight and nothing else.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emu.h"

struct supervisor {
	const struct emu *emu;
	struct emu_service *svc;
	sigset_t mask;
	int sigfd;
	pid_t worker;
	unsigned int died;
};

static int start_worker(struct supervisor *sv)
{
	pid_t parent = getpid();

	sv->worker = fork();
	if (sv->worker < 0) {
		emu_say("cannot start the card's process: %s", strerror(errno));
		return -errno;
	}
	if (!sv->worker) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		prctl(PR_SET_NAME, "pim-emu-card");
		signal(SIGINT, SIG_IGN); /* Ctrl-C: the supervisor decides */
		sigprocmask(SIG_UNBLOCK, &sv->mask, NULL);
		close(sv->sigfd);
		if (sv->svc->client >= 0)
			close(sv->svc->client);
		if (sv->svc->listener >= 0)
			close(sv->svc->listener);
		_exit(emu_worker(sv->emu, sv->died > 0));
	}
	if (sv->emu->verbose)
		emu_say("card %s: process %d, %llu MiB", sv->emu->card.name, (int)sv->worker,
			(unsigned long long)sv->emu->bar_bytes >> 20);
	return 0;
}

static void stop_worker(struct supervisor *sv)
{
	if (sv->worker <= 0)
		return;
	kill(sv->worker, SIGKILL);
	waitpid(sv->worker, NULL, 0);
	sv->worker = 0;
}

/* No worker will come any more: say so in the register file, so that the guest fails at once and not by a time-out. */
static void declare_dead(const struct emu *emu)
{
	struct pim_hw_state *state;
	uint64_t one = 1;

	state = mmap(NULL, PIM_HW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, emu->memfd, PIM_HW_STATE_OFF);
	if (state == MAP_FAILED)
		return;
	state->generation = 0;
	state->state = PIM_HW_CARD_DEAD;
	atomic_thread_fence(memory_order_seq_cst);
	munmap(state, PIM_HW_PAGE);
	if (write(emu->irq[PIM_HW_IRQ_EVENT], &one, sizeof(one)) < 0)
		emu_say("interrupt: %s", strerror(errno));
}

/* A child ended. Returns 0 to go on, else the negative exit status. */
static int reap(struct supervisor *sv)
{
	int status;

	if (sv->worker <= 0 || waitpid(sv->worker, &status, WNOHANG) != sv->worker)
		return 0;
	sv->worker = 0;
	if (WIFEXITED(status)) {
		/* It has said why; the next one would say the same. */
		declare_dead(sv->emu);
		return -1;
	}
	sv->died++;
	if (sv->died > sv->svc->restarts) {
		emu_say("the card's process died (%s) for the %uth time: giving up; raise --restarts or report the crash",
			strsignal(WTERMSIG(status)), sv->died);
		declare_dead(sv->emu);
		return -1;
	}
	emu_say("the card's process died (%s): started again over the same memory (%u of %u); jobs in flight are lost",
		strsignal(WTERMSIG(status)), sv->died, sv->svc->restarts);
	return start_worker(sv) ? -1 : 0;
}

static void admit(struct supervisor *sv)
{
	int sock = accept4(sv->svc->listener, NULL, NULL, SOCK_CLOEXEC);
	int ret;

	if (sock < 0)
		return;
	if (sv->svc->client >= 0) {
		emu_say("a second QEMU wants the card: refused, one at a time");
		close(sock);
		return;
	}
	ret = emu_introduce(sv->emu, sock);
	if (ret) {
		emu_say("QEMU left during the handshake: %s", strerror(-ret));
		close(sock);
		return;
	}
	sv->svc->client = sock;
	if (sv->emu->verbose)
		emu_say("QEMU connected");
}

/* QEMU never says anything, so readable means gone. Returns true to end. */
static bool departed(struct supervisor *sv)
{
	char byte;

	if (recv(sv->svc->client, &byte, 1, MSG_DONTWAIT) > 0)
		return false;
	if (errno == EAGAIN || errno == EINTR)
		return false;
	close(sv->svc->client);
	sv->svc->client = -1;
	if (sv->emu->verbose)
		emu_say("QEMU disconnected");
	return sv->svc->once;
}

static int loop(struct supervisor *sv)
{
	struct signalfd_siginfo si;
	int ret;

	for (;;) {
		struct pollfd pfd[] = {
			{ .fd = sv->sigfd, .events = POLLIN },
			{ .fd = sv->svc->listener, .events = POLLIN },
			{ .fd = sv->svc->client, .events = POLLIN },
		};

		if (poll(pfd, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			emu_say("poll: %s", strerror(errno));
			return 1;
		}
		if (pfd[0].revents && read(sv->sigfd, &si, sizeof(si)) == sizeof(si)) {
			if (si.ssi_signo != SIGCHLD)
				return 0;
			ret = reap(sv);
			if (ret)
				return -ret;
		}
		if (pfd[1].revents)
			admit(sv);
		if (pfd[2].revents) {
			errno = 0;
			if (departed(sv))
				return 0;
		}
	}
}

int emu_supervise(const struct emu *emu, struct emu_service *svc)
{
	struct supervisor sv = { .emu = emu, .svc = svc };
	int ret = 1;

	sigemptyset(&sv.mask);
	sigaddset(&sv.mask, SIGTERM);
	sigaddset(&sv.mask, SIGINT);
	sigaddset(&sv.mask, SIGHUP);
	sigaddset(&sv.mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &sv.mask, NULL);
	sv.sigfd = signalfd(-1, &sv.mask, SFD_CLOEXEC);
	if (sv.sigfd < 0) {
		emu_say("signalfd: %s", strerror(errno));
		return 1;
	}
	if (start_worker(&sv))
		goto out;
	if (svc->client >= 0 && emu_introduce(emu, svc->client)) {
		emu_say("nobody at the other end of --fd %d", svc->client);
		goto out;
	}
	ret = loop(&sv);
out:
	stop_worker(&sv);
	close(sv.sigfd);
	return ret;
}
