// SPDX-License-Identifier: GPL-2.0-only
/* KUnit for a program: runs every suite that is linked in, prints TAP. A run in which nothing ran has failed. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include <kunit/test.h>
#include <linux/random.h>

#define SUITES_MAX 16

static struct kunit_suite *suites[SUITES_MAX];
static size_t num_suites;

void shim_register(struct kunit_suite *suite)
{
	if (num_suites == SUITES_MAX)
		abort();
	suites[num_suites++] = suite;
}

void shim_failed(struct kunit *test, bool fatal, const char *file, int line, const char *what, unsigned long long left,
		 unsigned long long right)
{
	printf("# %s:%d: ERROR: expected %s, have %lld (%#llx) and %lld (%#llx)\n", file, line, what, (long long)left, left,
	       (long long)right, right);
	test->failed = true;
	if (fatal)
		longjmp(test->end, 1);
}

u64 get_random_u64(void)
{
	const char *text = getenv("PIM_SEED");
	char *end;
	u64 n;

	if (!text) {
		if (getrandom(&n, sizeof(n), 0) != sizeof(n))
			abort();
		return n;
	}
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || end == text || *end) {
		fprintf(stderr, "PIM_SEED=%s is not a number of 64 bits\n", text);
		exit(2);
	}
	return n;
}

static bool passes(const struct kunit_case *test_case)
{
	struct kunit test = { .name = test_case->name };

	if (!setjmp(test.end))
		test_case->run_case(&test);
	return !test.failed;
}

int main(void)
{
	const struct kunit_case *test_case;
	int ran = 0, failed = 0;
	bool ok;
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("TAP version 13");
	for (i = 0; i < num_suites; i++) {
		for (test_case = suites[i]->test_cases; test_case->run_case; test_case++) {
			ok = passes(test_case);
			failed += !ok;
			printf("%s %d - %s.%s\n", ok ? "ok" : "not ok", ++ran, suites[i]->name, test_case->name);
		}
	}
	printf("1..%d\n", ran);
	return failed || !ran;
}
