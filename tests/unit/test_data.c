// SPDX-License-Identifier: MIT
/* Data sets: what is read, what is refused, and the order of batches. */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <pim/data.h>
#include <pim/device.h>
#include "run_suite.h"

#define says(text) ck_assert_msg(strstr(pim_strerror(), text), "message '%s' lacks '%s'", pim_strerror(), text)

static char dir[] = "/tmp/test_data.XXXXXX";
static char path[64];

static void write_file(const char *name, const char *text, size_t len)
{
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, len, f), len);
	fclose(f);
}

/* Lines of digits: pixel p of image i is (i + p) % 17, its class i % 10. */
static char *digits(int n)
{
	char *text = malloc((size_t)n * 256 + 1), *at = text;

	*at = 0;
	for (int i = 0; i < n; i++) {
		for (int p = 0; p < 64; p++)
			at += sprintf(at, "%d,", (i + p) % 17);
		at += sprintf(at, "%d\n", i % 10);
	}
	return text;
}

static struct pim_data *load(int n)
{
	char *text = digits(n);
	struct pim_data *d;

	write_file("x.csv", text, strlen(text));
	free(text);
	ck_assert_msg(!pim_data_load(path, NULL, &d), "%s", pim_strerror());
	return d;
}

START_TEST(digits_keep_the_order_of_the_file_and_pixels_become_sixteenths)
{
	struct pim_data *d = load(100);
	const struct pim_data_info *info = pim_data_info(d);
	uint32_t ntrain, ntest;

	ck_assert(info->n == 100 && info->c == 1 && info->h == 8 && info->w == 8 && info->classes == 10);
	for (uint32_t i = 0; i < 100; i++) {
		ck_assert_uint_eq(*pim_data_labels(d, i), i % 10);
		for (uint32_t p = 0; p < 64; p++)
			ck_assert(pim_data_images(d, i)[p] == (float)((i + p) % 17) / 16);
	}
	ck_assert_int_eq(pim_data_split(d, 80, &ntrain, &ntest), 0);
	ck_assert(ntrain == 80 && ntest == 20);
	ck_assert_int_eq(pim_data_split(d, 101, &ntrain, &ntest), -EINVAL);
	pim_data_free(d);
}
END_TEST

START_TEST(the_split_of_1797_images_is_1437_and_360)
{
	struct pim_data *d = load(1797);
	uint32_t ntrain, ntest;

	ck_assert_int_eq(pim_data_split(d, 80, &ntrain, &ntest), 0);
	ck_assert_uint_eq(ntrain, 1437);
	ck_assert_uint_eq(ntest, 360);
	pim_data_free(d);
}
END_TEST

START_TEST(a_gzip_file_reads_like_the_plain_one_and_a_cut_one_is_refused)
{
	char *text = digits(500), buf[65536];
	struct pim_data *d;
	size_t len;
	gzFile gz;
	FILE *f;

	snprintf(path, sizeof(path), "%s/x.csv.gz", dir);
	gz = gzopen(path, "wb");
	gzwrite(gz, text, strlen(text));
	gzclose(gz);
	free(text);
	ck_assert_int_eq(pim_data_load(path, NULL, &d), 0);
	ck_assert_uint_eq(pim_data_info(d)->n, 500);
	pim_data_free(d);
	f = fopen(path, "rb");
	len = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	/* The middle, and only the checksum. */
	for (size_t cut = 4; cut < len; cut += len / 2 - 4) {
		write_file("cut.csv.gz", buf, len - cut);
		ck_assert_int_eq(pim_data_load(path, NULL, &d), -EINVAL);
		says("cut.csv.gz");
	}
	buf[len / 2] ^= 0x55;
	write_file("bad.csv.gz", buf, len);
	ck_assert_int_eq(pim_data_load(path, NULL, &d), -EINVAL);
	says("bad.csv.gz");
}
END_TEST

START_TEST(bad_lines_are_refused_with_file_and_line)
{
	static const struct {
		const char *from, *to, *message;
	} bad[] = {
		{ "5,6,7,", "5,17,7,", "pixel" },
		{ "5,6,7,", "5,-6,7,", "pixel" },
		{ "5,6,7,", "5,,7,", "pixel" },
		{ "5,6,7,", "5,6.5,7,", "pixel" },
		{ "5,6,7,", "5, 6,7,", "pixel" },
		{ ",2\n", ",12\n", "class" },
		{ ",2\n", "\n", "pixel 64" },
		{ ",2\n", ",2,3\n", "class" },
		{ ",2\n", ",x\n", "class" },
	};
	struct pim_data *d;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *text = digits(4), *line3 = text, *at, out[2048];

		for (int k = 0; k < 2; k++)
			line3 = strchr(line3, '\n') + 1;
		at = strstr(line3, bad[i].from);
		ck_assert_ptr_nonnull(at);
		snprintf(out, sizeof(out), "%.*s%s%s", (int)(at - text), text, bad[i].to, at + strlen(bad[i].from));
		write_file("bad.csv", out, strlen(out));
		free(text);
		ck_assert_int_eq(pim_data_load(path, NULL, &d), -EINVAL);
		says("bad.csv:3: ");
		says(bad[i].message);
	}
}
END_TEST

START_TEST(a_file_cut_off_anywhere_inside_a_line_is_refused)
{
	char *text = digits(3);
	size_t len = strlen(text);
	struct pim_data *d;

	for (size_t n = 0; n < len; n++) {
		bool whole = n && text[n - 1] == '\n';

		write_file("cut.csv", text, n);
		ck_assert_int_eq(pim_data_load(path, NULL, &d), whole ? 0 : -EINVAL);
		if (whole)
			pim_data_free(d);
		else
			says("cut.csv");
	}
	free(text);
}
END_TEST

START_TEST(missing_files_and_unknown_formats_are_named)
{
	struct pim_data *d;

	ck_assert_int_eq(pim_data_load("/nonexistent/d.csv", NULL, &d), -ENOENT);
	says("/nonexistent/d.csv");
	ck_assert_int_eq(pim_data_load("d.idx", NULL, &d), -EINVAL);
	says("d.idx");
	ck_assert_int_eq(pim_data_load("d.csv", "mnist", &d), -EINVAL);
	says("mnist");
}
END_TEST

START_TEST(the_order_of_an_epoch_is_a_permutation_that_seed_and_epoch_alone_decide)
{
	uint32_t order[97], want[97], seen[97] = { 0 }, again[97];

	for (uint32_t epoch = 0; epoch < 3; epoch++) {
		pim_data_shuffle(10, 97, 42, epoch, order);
		memset(seen, 0, sizeof(seen));
		for (int i = 0; i < 97; i++) {
			ck_assert(order[i] >= 10 && order[i] < 107);
			seen[order[i] - 10]++;
		}
		for (int i = 0; i < 97; i++)
			ck_assert_uint_eq(seen[i], 1);
		pim_data_shuffle(10, 97, 42, epoch, again);
		ck_assert_int_eq(memcmp(order, again, sizeof(order)), 0);
		if (epoch)
			ck_assert_int_ne(memcmp(order, want, sizeof(order)), 0);
		memcpy(want, order, sizeof(order));
	}
	pim_data_shuffle(10, 97, 43, 2, again);
	ck_assert_int_ne(memcmp(order, again, sizeof(order)), 0);
}
END_TEST

START_TEST(an_epoch_gives_every_image_of_the_range_at_most_once_in_full_batches)
{
	struct pim_data *d = load(100);
	struct pim_batches *b;
	float image[16 * 64], first[16 * 64];
	uint32_t label[16], order[90];

	ck_assert_int_eq(pim_batches_create(d, 10, 91, 16, 1, &b), -EINVAL);
	ck_assert_int_eq(pim_batches_create(d, 10, 90, 0, 1, &b), -EINVAL);
	ck_assert_int_eq(pim_batches_create(d, 10, 90, 91, 1, &b), -EINVAL);
	ck_assert_int_eq(pim_batches_create(d, 10, 90, 16, 1, &b), 0);
	ck_assert_uint_eq(pim_batches_per_epoch(b), 5);
	for (uint64_t step = 0; step < 10; step++) {
		pim_data_shuffle(10, 90, 1, step / 5, order);
		ck_assert_int_eq(pim_batches_get(b, step, image, label), 0);
		if (!step)
			memcpy(first, image, sizeof(first));
		for (uint32_t i = 0; i < 16; i++) {
			uint32_t from = order[step % 5 * 16 + i];

			ck_assert_uint_eq(label[i], *pim_data_labels(d, from));
			ck_assert_int_eq(memcmp(image + i * 64, pim_data_images(d, from), 256), 0);
		}
	}
	/* Any step at any time: a run may go on in the middle. */
	ck_assert_int_eq(pim_batches_get(b, 0, image, label), 0);
	ck_assert_int_eq(memcmp(first, image, sizeof(first)), 0);
	pim_batches_free(b);
	pim_data_free(d);
}
END_TEST

static void remove_dir(void)
{
	static const char *const names[] = { "x.csv", "x.csv.gz", "cut.csv.gz", "bad.csv.gz", "bad.csv", "cut.csv" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

int main(void)
{
	TCase *tc = tcase_create("data");
	Suite *s = suite_create("data");
	int failed;

	if (!mkdtemp(dir)) {
		perror(dir);
		return EXIT_FAILURE;
	}
	tcase_add_test(tc, digits_keep_the_order_of_the_file_and_pixels_become_sixteenths);
	tcase_add_test(tc, the_split_of_1797_images_is_1437_and_360);
	tcase_add_test(tc, a_gzip_file_reads_like_the_plain_one_and_a_cut_one_is_refused);
	tcase_add_test(tc, bad_lines_are_refused_with_file_and_line);
	tcase_add_test(tc, a_file_cut_off_anywhere_inside_a_line_is_refused);
	tcase_add_test(tc, missing_files_and_unknown_formats_are_named);
	tcase_add_test(tc, the_order_of_an_epoch_is_a_permutation_that_seed_and_epoch_alone_decide);
	tcase_add_test(tc, an_epoch_gives_every_image_of_the_range_at_most_once_in_full_batches);
	suite_add_tcase(s, tc);
	failed = run_suite(s);
	remove_dir();
	return failed;
}
