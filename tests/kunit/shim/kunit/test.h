/* SPDX-License-Identifier: GPL-2.0-only */
/* As much of KUnit as the tests here use, for a program: see shim.c. An expectation that fails goes on, an assertion ends the test. */
#ifndef PIM_SHIM_KUNIT_TEST_H
#define PIM_SHIM_KUNIT_TEST_H

#include <setjmp.h>
#include <stdio.h>

#include <linux/types.h>

struct kunit {
	const char *name;
	bool failed;
	jmp_buf end;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
};

struct kunit_suite {
	const char name[256];
	struct kunit_case *test_cases;
};

void shim_register(struct kunit_suite *suite);
void shim_failed(struct kunit *test, bool fatal, const char *file, int line, const char *what, unsigned long long left,
		 unsigned long long right);

#define KUNIT_CASE(test)                                                                                                           \
	{                                                                                                                          \
		.run_case = test, .name = #test                                                                                    \
	}
#define kunit_test_suite(suite)                                                                                                    \
	__attribute__((constructor)) static void shim_register_suite(void)                                                         \
	{                                                                                                                          \
		shim_register(&suite);                                                                                             \
	}                                                                                                                          \
	_Static_assert(1, #suite)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define fallthrough __attribute__((fallthrough))

#define kunit_info(test, fmt, ...) printf("# %s: " fmt, (test)->name, ##__VA_ARGS__)

#define SHIM_CHECK(test, fatal, left, op, right)                                                                                   \
	do {                                                                                                                       \
		const __auto_type left_ = (left);                                                                                  \
		const __auto_type right_ = (right);                                                                                \
		if (!(left_ op right_))                                                                                            \
			shim_failed(test, fatal, __FILE__, __LINE__, #left " " #op " " #right, (unsigned long long)left_,          \
				    (unsigned long long)right_);                                                                   \
	} while (0)

#define KUNIT_EXPECT_TRUE(test, condition) SHIM_CHECK(test, false, !!(condition), ==, true)
#define KUNIT_EXPECT_FALSE(test, condition) SHIM_CHECK(test, false, !!(condition), ==, false)
#define KUNIT_EXPECT_EQ(test, left, right) SHIM_CHECK(test, false, left, ==, right)
#define KUNIT_EXPECT_PTR_EQ(test, left, right) SHIM_CHECK(test, false, (size_t)(left), ==, (size_t)(right))
#define KUNIT_EXPECT_NULL(test, pointer) KUNIT_EXPECT_PTR_EQ(test, pointer, NULL)

#define KUNIT_ASSERT_TRUE(test, condition) SHIM_CHECK(test, true, !!(condition), ==, true)
#define KUNIT_ASSERT_FALSE(test, condition) SHIM_CHECK(test, true, !!(condition), ==, false)
#define KUNIT_ASSERT_EQ(test, left, right) SHIM_CHECK(test, true, left, ==, right)
#define KUNIT_ASSERT_NE(test, left, right) SHIM_CHECK(test, true, left, !=, right)
#define KUNIT_ASSERT_LE(test, left, right) SHIM_CHECK(test, true, left, <=, right)
#define KUNIT_ASSERT_GT(test, left, right) SHIM_CHECK(test, true, left, >, right)
#define KUNIT_ASSERT_PTR_EQ(test, left, right) SHIM_CHECK(test, true, (size_t)(left), ==, (size_t)(right))
#define KUNIT_ASSERT_NOT_NULL(test, pointer) SHIM_CHECK(test, true, (size_t)(pointer), !=, (size_t)NULL)

#endif
