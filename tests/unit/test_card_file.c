// SPDX-License-Identifier: MIT
/* Card files: what is refused, and that the message names file, line and reason. */
#include <unistd.h>

#include "test_card_rig.h"

static char path[] = "/tmp/test-card-XXXXXX";
static char text[8192];

static void setup(void)
{
	FILE *f = fopen("cards/test-4dom.card", "r");
	size_t n;
	int fd;

	ck_assert_ptr_nonnull(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
}

static void teardown(void)
{
	unlink(path);
}

/* Where a key's line begins. */
static const char *find(const char *key)
{
	const char *at = text;
	size_t n = strlen(key);

	while (strncmp(at, key, n) || (at[n] != ' ' && at[n] != '\t'))
		at = strchr(at, '\n') + 1;
	return at;
}

/* The stock file with one line replaced (NULL: removed) or, without an old one, one more at the end. */
static void write_with(const char *old, const char *line)
{
	const char *at = old ? find(old) : text + strlen(text), *rest;
	FILE *f = fopen(path, "w");

	rest = old ? strchr(at, '\n') + 1 : at;
	fwrite(text, 1, at - text, f);
	if (line)
		fprintf(f, "%s\n", line);
	fputs(rest, f);
	fclose(f);
}

static unsigned int line_of(const char *key)
{
	const char *at = find(key), *p;
	unsigned int n = 1;

	for (p = text; p < at; p++)
		n += *p == '\n';
	return n;
}

static void refused(const char *old, const char *line, const char *reason)
{
	char err[256] = "", want[64];
	struct pim_cardfile cf;

	write_with(old, line);
	ck_assert_int_eq(pim_cardfile_read(path, &cf, err, sizeof(err)), -EINVAL);
	ck_assert_msg(!strncmp(err, path, strlen(path)), "\"%s\" does not name the file", err);
	if (old && line) {
		snprintf(want, sizeof(want), ":%u: ", line_of(old));
		ck_assert_msg(strstr(err, want), "\"%s\" does not name line %u", err, line_of(old));
	}
	ck_assert_msg(strstr(err, reason), "\"%s\" does not say \"%s\"", err, reason);
}

START_TEST(the_stock_cards_are_what_they_say)
{
	static const struct {
		const char *path, *name;
		uint64_t mem, bar;
	} stock[] = {
		{ "cards/paper.card", "paper", 16ull << 30, 32ull << 30 },
		{ "cards/hbm-pim.card", "hbm-pim", 16ull << 30, 32ull << 30 },
		{ "cards/test-4dom.card", "test-4dom", 128ull << 20, 256ull << 20 },
		{ "cards/test-8dom.card", "test-8dom", 64ull << 20, 128ull << 20 },
	};
	char err[256] = "";
	struct pim_cardfile cf;
	size_t i;

	for (i = 0; i < sizeof(stock) / sizeof(stock[0]); i++) {
		ck_assert_msg(!pim_cardfile_read(stock[i].path, &cf, err, sizeof(err)), "%s", err);
		ck_assert_str_eq(cf.name, stock[i].name);
		ck_assert_uint_eq((uint64_t)cf.stacks * cf.pcs * cf.bank_groups * cf.banks * cf.rows * cf.row_bytes, stock[i].mem);
		ck_assert_uint_eq(pim_card_bar_bytes(&cf), stock[i].bar);
	}
}
END_TEST

START_TEST(wrong_files_are_refused_with_line_and_reason)
{
	struct pim_cardfile cf;
	char err[256] = "";

	refused("tck_ps", "tck_ps", "no value");
	refused("tck_ps", "tck_ps fast", "decimal number");
	refused("tck_ps", "tck_ps 1000 ps", "one value");
	refused("tck_ps", "tck_ps -1", "decimal number");
	refused("tck_ps", "tck_ps 99999999999999999999", "decimal number");
	refused("tck_ps", "tck_ps 1", "out of range");
	refused("tck_ps", "tck_pss 1000", "unknown key");
	refused("tck_ps", NULL, "tck_ps is missing");
	refused(NULL, "tck_ps 1000", "already given");
	refused("pcs", "pcs 3", "power of two");
	refused("domains", "domains 16", "does not divide");
	refused("banks_per_unit", "banks_per_unit 32", "does not divide");
	refused("trefi", "trefi 600", "trfc");
	write_with("ring_entries", "ring_entries 65536");
	ck_assert_int_eq(pim_cardfile_read(path, &cf, err, sizeof(err)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "window_mib 16 leaves less"));
	refused("rows", "rows 1", "64 KiB");
	refused("name", "name 0123456789012345678901234567890123456789012345678901234567890123456789", "longer");
}
END_TEST

START_TEST(a_file_that_is_not_there_is_named)
{
	char err[256] = "";
	struct pim_cardfile cf;

	ck_assert_int_eq(pim_cardfile_read("/nonexistent.card", &cf, err, sizeof(err)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err, "/nonexistent.card"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("card: files");
	TCase *t = tcase_create("files");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_stock_cards_are_what_they_say);
	tcase_add_test(t, wrong_files_are_refused_with_line_and_reason);
	tcase_add_test(t, a_file_that_is_not_there_is_named);
	suite_add_tcase(s, t);
	return run_suite(s);
}
