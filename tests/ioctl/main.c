/* SPDX-License-Identifier: MIT */
/* Runs the tests, each in a process of its own, and looks at the kernel log after each. TAP on standard output. */
#include "harness.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_SECONDS 60
#define STRESS_SECONDS 540 /* less than the guest has */
#define EXIT_SKIP 77

const char *module_path;

static const struct test * const default_suites[] = {
	param_tests, gem_tests, queue_tests, submit_tests, sync_tests, authority_tests, claim_tests, claim_sync_tests, fault_tests, life_tests,
	place_tests, copy_tests, prime_tests, import_tests, map_tests, drm_core_tests, drm_syncobj_tests, race_tests, leak_tests,
	abi_tests, observe_tests,
	recovery_tests, lies_tests, sleep_tests, /* the last one: see run.sh */
};

static const struct test * const stress_suites[] = { stress_tests };

/* What no test may make the kernel say. */
static const char * const bad_lines[] = {
	"BUG:", "kernel BUG", "WARNING:", "Oops", "general protection", "possible circular locking", "possible recursive locking",
	"inconsistent lock state", "suspicious RCU", "held lock", "INFO: task", "INFO: rcu", "refcount_t", "use-after-free",
	"Objects remaining", "Call Trace", "scheduling while atomic", "sleeping function called", "Memory manager not clean",
};

/* The log's lines since the last call; how many of them are bad. */
static int kernel_log(int fd)
{
	char line[8192], *text;
	size_t i;
	ssize_t n;
	int bad = 0;

	for (;;) {
		n = read(fd, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE) { /* lines were overwritten before they were read */
			printf("# kernel log overflowed\n");
			bad++;
			continue;
		}
		if (n <= 0)
			return bad;
		line[n] = '\0';
		text = strchr(line, ';');
		if (!text)
			continue;
		text[strcspn(text, "\n")] = '\0';
		for (i = 0; i < sizeof(bad_lines) / sizeof(bad_lines[0]); i++) {
			if (strstr(text, bad_lines[i])) {
				printf("# kernel: %s\n", text + 1);
				bad++;
				break;
			}
		}
	}
}

static const char *run_one(const struct test *t, unsigned int seconds, bool *skipped)
{
	static char why[64];
	int status, pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return "fork failed";
	if (!pid) {
		setpgid(0, 0);
		alarm(seconds);
		t->run();
		fflush(stdout);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	kill(-pid, SIGKILL); /* what it left behind, by its own process group */
	*skipped = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP;
	if (*skipped || (WIFEXITED(status) && !WEXITSTATUS(status)))
		return NULL;
	if (WIFSIGNALED(status)) {
		snprintf(why, sizeof(why), "ended by signal %d%s", WTERMSIG(status), WTERMSIG(status) == SIGALRM ? " (time limit)" : "");
		return why;
	}
	return "a check failed";
}

/* Files and fences hold the module: once the test is gone nothing may. */
static bool leaked(void)
{
	uint64_t end = now_ms() + 20000; /* jobs of a killed process still drain */
	int refs = 0;
	FILE *f;

	do {
		f = fopen("/sys/module/pim/refcnt", "r");
		if (!f)
			return false; /* built in, or not loaded */
		if (fscanf(f, "%d", &refs) != 1)
			refs = 0;
		fclose(f);
		if (!refs)
			return false;
		sleep_ms(10);
	} while (now_ms() < end);
	printf("# the module has %d references left\n", refs);
	return true;
}

static int run_all(const struct test * const *suites, size_t nsuites, unsigned int seconds, const char *filter)
{
	unsigned int n = 0, total = 0, failed = 0, skips = 0;
	const struct test *t;
	const char *why;
	bool skipped;
	size_t s;
	int kmsg;

	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (kmsg < 0) {
		fprintf(stderr, "pim-ioctl: /dev/kmsg: %s: the kernel log is part of every test: run as root\n", strerror(errno));
		return 1;
	}
	lseek(kmsg, 0, SEEK_END);
	for (s = 0; s < nsuites; s++)
		for (t = suites[s]; t->name; t++)
			total += !filter || strstr(t->name, filter);
	if (!total) {
		fprintf(stderr, "pim-ioctl: no test's name contains '%s'\n", filter);
		return 1;
	}
	printf("TAP version 13\n1..%u\n", total);
	for (s = 0; s < nsuites; s++) {
		for (t = suites[s]; t->name; t++) {
			if (filter && !strstr(t->name, filter))
				continue;
			skipped = false;
			why = run_one(t, seconds, &skipped);
			if (leaked())
				why = "something was leaked";
			if (kernel_log(kmsg))
				why = "the kernel complained";
			failed += why != NULL;
			skips += skipped && !why;
			if (why)
				printf("# %s\n", why);
			printf("%s %u - %s%s\n", why ? "not ok" : "ok", ++n, t->name, skipped && !why ? " # SKIP" : "");
			fflush(stdout);
		}
	}
	printf("# %u of %u passed, %u skipped\n", total - failed - skips, total, skips);
	return failed != 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "module", required_argument, NULL, 'm' }, { "filter", required_argument, NULL, 'f' },
		{ "stress", no_argument, NULL, 's' }, { NULL, 0, NULL, 0 },
	};
	const char *filter = NULL;
	bool stress = false;
	int c;

	while ((c = getopt_long(argc, argv, "m:f:s", options, NULL)) != -1) {
		if (c == 'm') {
			module_path = optarg;
		} else if (c == 'f') {
			filter = optarg;
		} else if (c == 's') {
			stress = true;
		} else {
			fprintf(stderr, "usage: pim-ioctl [--module PIM.KO] [--filter PART-OF-A-NAME] [--stress]\n");
			return 2;
		}
	}
	if (stress)
		return run_all(stress_suites, sizeof(stress_suites) / sizeof(stress_suites[0]), STRESS_SECONDS, filter);
	return run_all(default_suites, sizeof(default_suites) / sizeof(default_suites[0]), TEST_SECONDS, filter);
}
