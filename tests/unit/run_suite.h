/* SPDX-License-Identifier: MIT */
/* The end of a test program: its exit status. A run in which nothing ran, as with a filter that matches nothing, has failed. */
#ifndef PIM_RUN_SUITE_H
#define PIM_RUN_SUITE_H

#include <check.h>

static inline int run_suite(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed, run;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	run = srunner_ntests_run(sr);
	srunner_free(sr);
	return failed || !run;
}

#endif
