// SPDX-License-Identifier: MIT
/* pim-vm: run one command in a guest that has the emulated card and the host's files. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

static const char usage[] =
	"usage: pim-vm run [options] -- COMMAND [ARGUMENT...]\n"
	"Boots a stock QEMU with the emulated PIM card and the host's files (read-only, writes stay in the guest), loads pim.ko, "
	"runs COMMAND\n"
	"as root in the current directory, and returns its output and exit status (128 + N for signal N; 125: pim-vm failed; 124: "
	"time limit).\n"
	"  --kernel FILE    guest kernel, bzImage or vmlinux, its modules beside it (default: of \"make deps\", else of /boot)\n"
	"  --card FILE      card description, or none (default: cards/paper.card; may be repeated, for several cards)\n"
	"  --module FILE    driver to load, or none (default: pim.ko beside pim-vm)\n"
	"  --load NAME      load this module of the guest kernel too, if it is not built in (may be repeated)\n"
	"  --rw DIR         writes to this directory reach the host (may be repeated)\n"
	"  --timeout S      end the guest after S seconds (default 600)\n"
	"  --accel WHICH    auto, kvm or tcg (default auto: kvm if a guest is seen to boot with it)\n"
	"  --memory MIB     guest memory (default 1024)\n"
	"  --cpus N         guest CPUs, 2 or more (default 2)\n"
	"  --reboot         a guest that resets itself boots again, beside the same card, and runs COMMAND again\n"
	"  --dmesg FILE     put the guest's kernel log there\n"
	"  --verbose        say what happens, and when\n"
	"  --quiet          do not say which accelerator is used\n"
	"  --help\n";

void vm_say(const char *fmt, ...)
{
	char line[2 * PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "pim-vm: %s\n", line);
}

int vm_mkdirs(const char *dir)
{
	char path[PATH_MAX + 32];
	char *p;
	int ret = 0;

	snprintf(path, sizeof(path), "%s", dir);
	for (p = path + 1; !ret; p++) {
		if (*p != '/' && *p)
			continue;
		char c = *p;

		*p = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			ret = -errno;
		*p = c;
		if (!c)
			break;
	}
	if (ret)
		vm_say("%s: %s", dir, strerror(-ret));
	return ret;
}

static int find_places(struct vm_places *at)
{
	const char *cache = getenv("PIM_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	ssize_t n = readlink("/proc/self/exe", at->bin, sizeof(at->bin) - 1);

	if (n <= 0) {
		vm_say("/proc/self/exe: %s", strerror(errno));
		return -errno;
	}
	at->bin[n] = '\0';
	*strrchr(at->bin, '/') = '\0';
	if (cache && *cache) {
		n = snprintf(at->cache, sizeof(at->cache), "%s", cache);
	} else {
		n = snprintf(at->cache, sizeof(at->cache), "%s/cache", at->bin);
		/* Not in a build directory: installed, where nothing may be written. */
		if (access(at->cache, W_OK) && xdg && *xdg)
			n = snprintf(at->cache, sizeof(at->cache), "%s/rt-pim", xdg);
		else if (access(at->cache, W_OK))
			n = snprintf(at->cache, sizeof(at->cache), "%s/.cache/rt-pim", home && *home ? home : "/tmp");
	}
	return n < (ssize_t)sizeof(at->cache) ? vm_mkdirs(at->cache) : -ENAMETOOLONG;
}

static int number(const char *option, const char *text, unsigned int min, unsigned int max, unsigned int *out)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < (long)min || n > (long)max) {
		vm_say("%s %s: not a number from %u to %u", option, text, min, max);
		return -EINVAL;
	}
	*out = (unsigned int)n;
	return 0;
}

/* An existing file or directory by its full name: the guest and QEMU do not share our directory. NULL with a message if missing. */
static const char *existing(const char *option, const char *path, bool dir)
{
	char *full = realpath(path, NULL);
	struct stat st;

	if (!full || stat(full, &st)) {
		vm_say("%s %s: %s", option, path, strerror(errno));
		return NULL;
	}
	if (S_ISDIR(st.st_mode) != dir) {
		vm_say("%s %s: %s", option, path, dir ? "not a directory" : "a directory, not a file");
		return NULL;
	}
	if (dir && strpbrk(full, ",\n")) {
		vm_say("%s %s: QEMU cannot share a directory with a comma in its name", option, path);
		return NULL;
	}
	return full;
}

static int parse_accel(const char *text, enum vm_accel *accel)
{
	static const char *const names[] = { [VM_AUTO] = "auto", [VM_KVM] = "kvm", [VM_TCG] = "tcg" };
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(text, names[i])) {
			*accel = (enum vm_accel)i;
			return 0;
		}
	}
	vm_say("--accel %s: one of auto, kvm, tcg", text);
	return -EINVAL;
}

struct request {
	const char *kernel, *card[VM_MAX_CARDS], *module, *rw[VM_MAX_RW];
};

static int parse_option(int c, struct request *req, struct vm_options *opt)
{
	switch (c) {
	case 'k':
		req->kernel = optarg;
		return 0;
	case 'c':
		if (opt->ncards == VM_MAX_CARDS) {
			vm_say("--card: at most %d of them", VM_MAX_CARDS);
			return -EINVAL;
		}
		req->card[opt->ncards++] = optarg;
		return 0;
	case 'l':
		if (opt->nload == VM_MAX_LOAD) {
			vm_say("--load: at most %d of them", VM_MAX_LOAD);
			return -EINVAL;
		}
		opt->load[opt->nload++] = optarg;
		return 0;
	case 'm':
		req->module = optarg;
		return 0;
	case 'd':
		opt->dmesg = optarg;
		return 0;
	case 'w':
		if (opt->nrw == VM_MAX_RW) {
			vm_say("--rw: at most %d of them", VM_MAX_RW);
			return -EINVAL;
		}
		req->rw[opt->nrw++] = optarg;
		return 0;
	case 't':
		return number("--timeout", optarg, 1, 1000000, &opt->timeout_s);
	case 'a':
		return parse_accel(optarg, &opt->accel);
	case 'M':
		return number("--memory", optarg, 128, 1 << 20, &opt->memory_mib);
	case 'n':
		return number("--cpus", optarg, 2, 64, &opt->cpus);
	case 'r':
		opt->reboot = true;
		return 0;
	case 'v':
		opt->verbose = true;
		return 0;
	case 'q':
		opt->quiet = true;
		return 0;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	}
	vm_say("try --help");
	return -EINVAL;
}

/* The stock card and driver are found from where pim-vm itself is: in the build directory, or installed. */
static int defaults(const struct vm_places *at, struct request *req, struct vm_options *opt)
{
	static char module[PATH_MAX + 32], card[2 * PATH_MAX];
	static const char *const cards[] = { "%s/../cards/paper.card", "%s/../share/rt-pim/cards/paper.card",
					     "%s/cards/paper.card" };
	const char *env = getenv("PIM_CARD");
	unsigned int i;

	if (!req->module) {
		snprintf(module, sizeof(module), "%s/pim.ko", at->bin);
		if (access(module, R_OK)) {
			vm_say("no %s: build it (make module), or run without a driver (--module none)", module);
			return -ENOENT;
		}
		req->module = module;
	}
	if (opt->ncards)
		return 0;
	opt->ncards = 1;
	if (env && *env) {
		req->card[0] = env;
		return 0;
	}
	for (i = 0; i < sizeof(cards) / sizeof(*cards); i++) {
		snprintf(card, sizeof(card), cards[i], at->bin);
		if (!access(card, R_OK)) {
			req->card[0] = card;
			return 0;
		}
	}
	if (!access("cards/paper.card", R_OK)) {
		req->card[0] = "cards/paper.card";
		return 0;
	}
	vm_say("no cards/paper.card beside pim-vm or here: give --card FILE");
	return -ENOENT;
}

static int resolve(const struct vm_places *at, struct request *req, struct vm_options *opt)
{
	unsigned int i;
	int ret = defaults(at, req, opt);

	if (ret)
		return ret;
	if (req->kernel && !(opt->kernel = existing("--kernel", req->kernel, false)))
		return -EINVAL;
	if (opt->ncards == 1 && !strcmp(req->card[0], "none"))
		opt->ncards = 0;
	for (i = 0; i < opt->ncards; i++) {
		opt->card[i] = existing("--card", req->card[i], false);
		if (!opt->card[i])
			return -EINVAL;
	}
	if (strcmp(req->module, "none") && !(opt->module = existing("--module", req->module, false)))
		return -EINVAL;
	for (i = 0; i < opt->nrw; i++) {
		opt->rw[i] = existing("--rw", req->rw[i], true);
		if (!opt->rw[i])
			return -EINVAL;
	}
	return 0;
}

static int parse(int argc, char **argv, struct request *req, struct vm_options *opt)
{
	static const struct option options[] = {
		{ "kernel", required_argument, NULL, 'k' },
		{ "card", required_argument, NULL, 'c' },
		{ "module", required_argument, NULL, 'm' },
		{ "load", required_argument, NULL, 'l' },
		{ "rw", required_argument, NULL, 'w' },
		{ "timeout", required_argument, NULL, 't' },
		{ "accel", required_argument, NULL, 'a' },
		{ "memory", required_argument, NULL, 'M' },
		{ "cpus", required_argument, NULL, 'n' },
		{ "dmesg", required_argument, NULL, 'd' },
		{ "reboot", no_argument, NULL, 'r' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, ret;

	if (argc < 2 || (strcmp(argv[1], "run") && strcmp(argv[1], "--help"))) {
		vm_say("%s%s; try pim-vm --help", argc < 2 ? "nothing to do" : "unknown command ", argc < 2 ? "" : argv[1]);
		return -EINVAL;
	}
	if (!strcmp(argv[1], "run"))
		optind = 2;
	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		ret = parse_option(c, req, opt);
		if (ret)
			return ret;
	}
	if (optind == argc) {
		vm_say("no command: pim-vm run [options] -- COMMAND");
		return -EINVAL;
	}
	opt->command = argv + optind;
	return 0;
}

/* Whether KVM works is asked once per boot of the machine: the answer takes seconds when it is no. */
static int choose_accel(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, bool *kvm)
{
	char path[PATH_MAX + 16], boot[64] = "", known[64] = "", why[160] = "";
	int answer = -1, ret;
	FILE *f;

	if (opt->accel == VM_KVM && access("/dev/kvm", R_OK | W_OK)) {
		vm_say("--accel kvm: /dev/kvm: %s", strerror(errno));
		return -EINVAL;
	}
	if (opt->accel != VM_AUTO) {
		*kvm = opt->accel == VM_KVM;
		return 0;
	}
	f = fopen("/proc/sys/kernel/random/boot_id", "r");
	if (f) {
		if (fscanf(f, "%63s", boot) != 1)
			boot[0] = '\0';
		fclose(f);
	}
	snprintf(path, sizeof(path), "%s/kvm-probe", at->cache);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%63s %d %159[^\n]", known, &answer, why) < 2 || strcmp(known, boot))
			answer = -1;
		fclose(f);
	}
	if (answer < 0) {
		ret = vm_kvm_works(opt, at, k, why, sizeof(why));
		if (ret < 0)
			return ret;
		answer = ret;
		f = fopen(path, "w");
		if (f) {
			fprintf(f, "%s %d %s\n", boot, answer, why);
			fclose(f);
		}
	}
	*kvm = answer == 1;
	if (!opt->quiet)
		vm_say("%s; --accel overrides", *kvm ? "KVM: a guest boots with it" : "TCG, not KVM");
	if (!*kvm && opt->verbose)
		vm_say("no KVM because: %s", why);
	return 0;
}

int main(int argc, char **argv)
{
	struct vm_options opt = { .timeout_s = 600, .memory_mib = 1024, .cpus = 2 };
	struct request req = { 0 };
	struct vm_places at;
	struct vm_kernel k = { 0 };
	bool kvm = false;

	if (parse(argc, argv, &req, &opt) || find_places(&at) || resolve(&at, &req, &opt))
		return VM_FAILED;
	if (vm_kernel_find(&opt, &at, &k) || choose_accel(&opt, &at, &k, &kvm))
		return VM_FAILED;
	return vm_session(&opt, &at, &k, kvm);
}
