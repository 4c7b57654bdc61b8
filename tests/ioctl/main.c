/* SPDX-License-Identifier: MIT */
/*
 * Runs the tests, each in a process of its own, and looks at the kernel log after each. TAP on standard output. With --fail-nth instead the
 * tests that make each allocation of a call fail: they need a kernel with fault injection, and a card to themselves.
 */
#include "harness.h"
#include "kmsg.h"

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
	recovery_tests, lies_tests, sleep_tests, NULL, /* sleep is the last one: see run.sh */
};

static const struct test * const stress_suites[] = { stress_tests, NULL };
static const struct test * const failnth_suites[] = { failnth_tests, NULL };

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
		alarm(seconds * time_scale());
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

/* Tests whose names contain filter, and do not contain except; either may be NULL. */
static bool chosen(const struct test *t, const char *filter, const char *except)
{
	return (!filter || strstr(t->name, filter)) && !(except && strstr(t->name, except));
}

static int run_all(const struct test * const *suite, unsigned int seconds, const char *filter, const char *except)
{
	unsigned int n = 0, total = 0, failed = 0, skips = 0;
	const struct test * const *s;
	const struct test *t;
	const char *why;
	bool skipped;
	int kmsg;

	kmsg = kmsg_open();
	if (kmsg < 0) {
		fprintf(stderr, "pim-ioctl: /dev/kmsg: %s: the kernel log is part of every test: run as root\n", strerror(errno));
		return 1;
	}
	for (s = suite; *s; s++)
		for (t = *s; t->name; t++)
			total += chosen(t, filter, except);
	if (!total) {
		fprintf(stderr, "pim-ioctl: no test is left by --filter '%s' --except '%s'\n", filter ? filter : "", except ? except : "");
		return 1;
	}
	printf("TAP version 13\n1..%u\n", total);
	for (s = suite; *s; s++) {
		for (t = *s; t->name; t++) {
			if (!chosen(t, filter, except))
				continue;
			skipped = false;
			why = run_one(t, seconds, &skipped);
			if (leaked())
				why = "something was leaked";
			if (kmsg_trouble(kmsg))
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
		{ "except", required_argument, NULL, 'e' },
		{ "stress", no_argument, NULL, 's' }, { "fail-nth", no_argument, NULL, 'n' }, { NULL, 0, NULL, 0 },
	};
	const struct test * const *suite = default_suites;
	unsigned int seconds = TEST_SECONDS;
	const char *filter = NULL, *except = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "m:f:e:sn", options, NULL)) != -1) {
		if (c == 'm') {
			module_path = optarg;
		} else if (c == 'f') {
			filter = optarg;
		} else if (c == 'e') {
			except = optarg;
		} else if (c == 's') {
			suite = stress_suites;
			seconds = STRESS_SECONDS;
		} else if (c == 'n') {
			suite = failnth_suites;
		} else {
			fprintf(stderr, "usage: pim-ioctl [--module PIM.KO] [--filter PART-OF-A-NAME] [--except PART-OF-A-NAME] [--stress | --fail-nth]\n");
			return 2;
		}
	}
	return run_all(suite, seconds, filter, except);
}
