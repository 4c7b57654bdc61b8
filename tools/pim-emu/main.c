// SPDX-License-Identifier: MIT
/* pim-emu: an emulated PIM card for a stock QEMU's ivshmem-doorbell device. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "emu.h"

static const char usage[] =
	"usage: pim-emu --card FILE (--socket PATH | --fd N) [options]\n"
	"The emulated PIM card, for QEMU's  -chardev socket,path=PATH,id=pim -device ivshmem-doorbell,chardev=pim,vectors=3\n"
	"  --card FILE      card description (see cards/)\n"
	"  --socket PATH    listen here for QEMU\n"
	"  --fd N           QEMU is at the other end of this inherited socket\n"
	"  --once           end when QEMU disconnects (always with --fd)\n"
	"  --restarts N     start a card process that died again, at most N times (default 8)\n"
	"  --verbose        say what happens\n"
	"  --help\n";

void emu_say(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "pim-emu: %s\n", line);
}

int emu_setup(struct emu *emu)
{
	char err[256] = "";
	int i, ret;

	ret = pim_cardfile_read(emu->cardfile, &emu->card, err, sizeof(err));
	if (ret) {
		emu_say("card file %s", err[0] ? err : strerror(-ret));
		return ret;
	}
	emu->bar_bytes = pim_card_bar_bytes(&emu->card);
	emu->memfd = memfd_create("pim-card", MFD_CLOEXEC);
	if (emu->memfd < 0 || ftruncate(emu->memfd, (off_t)emu->bar_bytes)) {
		ret = -errno;
		emu_say("no memory file of %llu MiB for the card: %s", (unsigned long long)emu->bar_bytes >> 20, strerror(-ret));
		return ret;
	}
	for (i = 0; i < (int)PIM_HW_VECTORS; i++) {
		emu->doorbell[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		emu->irq[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (emu->doorbell[i] < 0 || emu->irq[i] < 0) {
			ret = -errno;
			emu_say("no eventfd: %s", strerror(-ret));
			return ret;
		}
	}
	return 0;
}

static int number(const char *arg, const char *option, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(arg, &end, 10);
	if (errno || end == arg || *end || *out < 0 || *out > max) {
		emu_say("%s %s: not a number from 0 to %ld", option, arg, max);
		return -EINVAL;
	}
	return 0;
}

static int parse(int argc, char **argv, struct emu *emu, struct emu_service *svc)
{
	static const struct option options[] = {
		{ "card", required_argument, NULL, 'c' },     { "socket", required_argument, NULL, 's' },
		{ "fd", required_argument, NULL, 'f' },	      { "once", no_argument, NULL, 'o' },
		{ "restarts", required_argument, NULL, 'r' }, { "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },	      { 0 },
	};
	long n;
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			emu->cardfile = optarg;
			break;
		case 's':
			svc->path = optarg;
			break;
		case 'f':
			if (number(optarg, "--fd", 1 << 20, &n))
				return 2;
			svc->client = (int)n;
			break;
		case 'o':
			svc->once = true;
			break;
		case 'r':
			if (number(optarg, "--restarts", 1000000, &n))
				return 2;
			svc->restarts = (unsigned int)n;
			break;
		case 'v':
			emu->verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			emu_say("try --help");
			return 2;
		}
	}
	if (optind < argc) {
		emu_say("unexpected argument %s; try --help", argv[optind]);
		return 2;
	}
	if (!emu->cardfile) {
		emu_say("no card: give --card FILE (the stock cards are in cards/)");
		return 2;
	}
	if (!svc->path == (svc->client < 0)) {
		emu_say("give one of --socket PATH and --fd N");
		return 2;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct emu emu = { 0 };
	struct emu_service svc = { .listener = -1, .client = -1, .restarts = 8 };
	pid_t parent = getppid();
	int ret;

	/* A card must not outlive whoever started it: it may hold gigabytes. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		return 1;
	ret = parse(argc, argv, &emu, &svc);
	if (ret)
		return ret;
	if (emu_setup(&emu))
		return 1;
	if (svc.path) {
		svc.listener = emu_listen(svc.path);
		if (svc.listener < 0)
			return 1;
	} else {
		svc.once = true;
	}
	ret = emu_supervise(&emu, &svc);
	if (svc.path)
		unlink(svc.path);
	return ret;
}
