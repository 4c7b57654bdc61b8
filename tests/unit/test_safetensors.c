// SPDX-License-Identifier: MIT
/* Tensor files: what is written reads back, what is damaged is refused, and an old file survives a failed write. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pim/device.h>
#include <pim/safetensors.h>
#include "run_suite.h"

#define says(text) ck_assert_msg(strstr(pim_strerror(), text), "message '%s' lacks '%s'", pim_strerror(), text)

static char dir[] = "/tmp/test_safetensors.XXXXXX";
static char path[64];

static void write_raw(uint64_t header, const char *json, size_t json_bytes, size_t data_bytes)
{
	FILE *f = fopen(path, "wb");

	ck_assert_ptr_nonnull(f);
	fwrite(&header, 8, 1, f);
	fwrite(json, 1, json_bytes, f);
	for (size_t i = 0; i < data_bytes; i++)
		fputc((int)i & 0x3f, f);
	fclose(f);
}

static void refuse(const char *json, size_t data_bytes, const char *message)
{
	struct pim_safetensors *st;

	write_raw(strlen(json), json, strlen(json), data_bytes);
	ck_assert_msg(pim_safetensors_read(path, &st) == -EINVAL, "accepted: %s", json);
	says(path);
	says(message);
}

static struct pim_safetensors *sample(void)
{
	static const float w[6] = { 1, -2, 3.5f, 0x1p-149f, -0.0f, 6 };
	static const int64_t n[1] = { -1234567890123456789 };
	struct pim_safetensors *st;

	ck_assert_int_eq(pim_safetensors_new(&st), 0);
	ck_assert_int_eq(pim_safetensors_add_f32(st, "conv1.weight", (uint64_t[]){ 2, 3 }, 2, w), 0);
	ck_assert_int_eq(pim_safetensors_add_i64(st, "steps", NULL, 0, n), 0);
	ck_assert_int_eq(pim_safetensors_add_f32(st, "a \"quoted\" / name", (uint64_t[]){ 0 }, 1, w), 0);
	ck_assert_int_eq(pim_safetensors_write(st, path), 0);
	return st;
}

static int files(void)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

START_TEST(what_is_written_reads_back_bit_for_bit)
{
	struct pim_safetensors *st = sample(), *in;
	const float *w, *w0;
	const int64_t *n;
	uint64_t len;
	FILE *f;

	ck_assert_int_eq(pim_safetensors_read(path, &in), 0);
	ck_assert_uint_eq(pim_safetensors_count(in), 3);
	ck_assert_int_eq(pim_safetensors_f32(st, "conv1.weight", (uint64_t[]){ 2, 3 }, 2, &w0), 0);
	ck_assert_int_eq(pim_safetensors_f32(in, "conv1.weight", (uint64_t[]){ 2, 3 }, 2, &w), 0);
	ck_assert_int_eq(memcmp(w, w0, 24), 0);
	ck_assert_int_eq(pim_safetensors_i64(in, "steps", NULL, 0, &n), 0);
	ck_assert_int_eq(*n, -1234567890123456789);
	ck_assert(pim_safetensors_has(in, "a \"quoted\" / name"));
	ck_assert(!pim_safetensors_has(in, "a"));
	ck_assert_str_eq(pim_safetensors_get(in, 0)->name, "conv1.weight");
	ck_assert_ptr_null(pim_safetensors_get(in, 3));
	f = fopen(path, "rb");
	ck_assert_uint_eq(fread(&len, 8, 1, f), 1);
	fclose(f);
	ck_assert_uint_eq(len % 8, 0);
	pim_safetensors_free(in);
	pim_safetensors_free(st);
}
END_TEST

START_TEST(a_tensor_of_another_type_or_shape_is_refused_with_both)
{
	struct pim_safetensors *st = sample();
	const float *w;
	const int64_t *n;

	ck_assert_int_eq(pim_safetensors_f32(st, "conv2", (uint64_t[]){ 2, 3 }, 2, &w), -ENOENT);
	says("conv2");
	ck_assert_int_eq(pim_safetensors_f32(st, "conv1.weight", (uint64_t[]){ 3, 2 }, 2, &w), -EINVAL);
	says("F32 [2, 3]");
	says("F32 [3, 2]");
	ck_assert_int_eq(pim_safetensors_i64(st, "conv1.weight", (uint64_t[]){ 2, 3 }, 2, &n), -EINVAL);
	ck_assert_int_eq(pim_safetensors_add_f32(st, "steps", (uint64_t[]){ 0 }, 1, NULL), -EEXIST);
	ck_assert_int_eq(pim_safetensors_add_f32(st, "", (uint64_t[]){ 0 }, 1, NULL), -EINVAL);
	ck_assert_int_eq(pim_safetensors_add_f32(st, "__metadata__", (uint64_t[]){ 0 }, 1, NULL), -EINVAL);
	ck_assert_int_eq(pim_safetensors_add_f32(st, "big", (uint64_t[]){ 1ull << 62, 4 }, 2, NULL), -EINVAL);
	pim_safetensors_free(st);
}
END_TEST

START_TEST(a_file_cut_off_anywhere_is_refused)
{
	struct pim_safetensors *st = sample(), *in;
	struct stat sb;

	ck_assert_int_eq(stat(path, &sb), 0);
	for (off_t len = sb.st_size - 1; len >= 0; len--) {
		ck_assert_int_eq(truncate(path, len), 0);
		ck_assert_int_eq(pim_safetensors_read(path, &in), -EINVAL);
		says(path);
	}
	pim_safetensors_free(st);
}
END_TEST

START_TEST(damaged_headers_are_refused)
{
	struct pim_safetensors *st;

	refuse("", 0, "no JSON");
	refuse("{", 0, "no JSON");
	refuse("[]", 0, "object");
	refuse("{} x", 0, "behind its JSON");
	refuse("{\"a\":1}", 0, "dtype, shape");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "dtype, shape");
	refuse("{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "F16");
	refuse("{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "type 7");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "dimension 0");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "dimension 0");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "shape");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "shape");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "do not fit");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "do not fit");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "do not fit");
	/* A gap, an overlap, bytes without a tensor. */
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "begins at byte 4");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
	       "begins at byte 4");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "8 bytes of data");
	refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "3 bytes of data");
	write_raw(UINT64_MAX, "{}", 2, 0);
	ck_assert_int_eq(pim_safetensors_read(path, &st), -EINVAL);
	ck_assert_int_eq(pim_safetensors_read("/nonexistent/x", &st), -ENOENT);
	ck_assert_int_eq(pim_safetensors_read(dir, &st), -EINVAL);
	says("not a regular file");
}
END_TEST

START_TEST(metadata_and_padding_are_accepted)
{
	const char *json = "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}     ";
	struct pim_safetensors *st;

	write_raw(strlen(json), json, strlen(json), 4);
	ck_assert_msg(!pim_safetensors_read(path, &st), "%s", pim_strerror());
	ck_assert_uint_eq(pim_safetensors_count(st), 1);
	pim_safetensors_free(st);
}
END_TEST

START_TEST(writing_replaces_the_file_as_a_whole_and_leaves_nothing_behind)
{
	struct pim_safetensors *st = sample(), *in;
	char sub[96];

	ck_assert_int_eq(pim_safetensors_write(st, path), 0);
	ck_assert_int_eq(files(), 1);
	/* It cannot replace a directory that is not empty: that and its contents stay. */
	ck_assert_int_lt(pim_safetensors_write(st, dir), 0);
	says("as it was");
	ck_assert_int_eq(pim_safetensors_read(path, &in), 0);
	snprintf(sub, sizeof(sub), "%s/none/x", dir);
	ck_assert_int_eq(pim_safetensors_write(st, sub), -ENOENT);
	says("cannot write next to it");
	ck_assert_int_eq(files(), 1);
	pim_safetensors_free(in);
	pim_safetensors_free(st);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("safetensors");
	Suite *s = suite_create("safetensors");
	int failed;

	if (!mkdtemp(dir)) {
		perror(dir);
		return EXIT_FAILURE;
	}
	snprintf(path, sizeof(path), "%s/x.safetensors", dir);
	tcase_add_test(tc, what_is_written_reads_back_bit_for_bit);
	tcase_add_test(tc, a_tensor_of_another_type_or_shape_is_refused_with_both);
	tcase_add_test(tc, a_file_cut_off_anywhere_is_refused);
	tcase_add_test(tc, damaged_headers_are_refused);
	tcase_add_test(tc, metadata_and_padding_are_accepted);
	tcase_add_test(tc, writing_replaces_the_file_as_a_whole_and_leaves_nothing_behind);
	suite_add_tcase(s, tc);
	failed = run_suite(s);
	unlink(path);
	rmdir(dir);
	return failed;
}
