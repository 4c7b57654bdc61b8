// SPDX-License-Identifier: MIT
/* pimas - assembler and disassembler of PIM programs */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pim/device.h>

#include "asm.h"
#include "error.h"

#define MAX_SOURCE (1u << 20)

static int usage(FILE *f, int status)
{
	fputs("usage: pimas FILE.pim...                 listing: address, word, instruction\n"
	      "       pimas -d FILE.pim...              source text from the words, which assembles to the same words\n"
	      "       pimas -w|-b WORD...               instruction of a hexadecimal word: -w of the units, -b of the base die\n"
	      "       pimas --header OUT.h FILE.pim...  C tables of all kernels, for lib/kernel.c\n"
	      "       pimas --help\n",
	      f);
	return status;
}

static int read_source(const char *path, char **text)
{
	FILE *f = fopen(path, "r");
	int err = 0;
	size_t n;

	*text = NULL;
	if (!f)
		return pim_error(-errno, "%s: %s", path, strerror(errno));
	*text = calloc(1, MAX_SOURCE + 1);
	if (!*text) {
		err = pim_error(-ENOMEM, "%s: no memory to read it", path);
		goto out;
	}
	n = fread(*text, 1, MAX_SOURCE + 1, f);
	if (ferror(f))
		err = pim_error(-EIO, "%s: cannot be read", path);
	else if (n > MAX_SOURCE)
		err = pim_error(-EFBIG, "%s: larger than 1 MiB, this is no PIM source", path);
	else if (memchr(*text, 0, n))
		err = pim_error(-EINVAL, "%s: has a zero byte, this is no PIM source", path);
out:
	fclose(f);
	if (err) {
		free(*text);
		*text = NULL;
	}
	return err;
}

static int assemble(const char *path, struct pim_asm_kernel *k)
{
	char *text;
	int err = read_source(path, &text);

	if (!err)
		err = pim_asm(path, text, k);
	free(text);
	return err;
}

static int list_words(const uint32_t *words, uint32_t n, uint32_t first, int (*dis)(uint32_t, char *, size_t))
{
	char text[128];

	for (uint32_t i = 0; i < n; i++) {
		int err = dis(words[i], text, sizeof(text));

		if (err)
			return err;
		printf("%4u  %4u  %08x  %s\n", first + i, i, words[i], text);
	}
	return 0;
}

static int listing(const char *path)
{
	struct pim_asm_kernel k;
	int err = assemble(path, &k);

	if (err)
		return err;
	printf("%s: %u unit words, %u base-die words\n", k.name, k.ncrf, k.nsrf);
	for (uint32_t i = 0; i < k.nstreams; i++)
		printf("  M%u %s: %s%s by %s\n", i, k.stream[i], k.access[i] & PIM_HW_READ ? "read" : "",
		       k.access[i] == PIM_HW_WRITE  ? "written"
		       : k.access[i] & PIM_HW_WRITE ? " and written"
						    : "",
		       k.unit_streams >> i & 1 ? "the units" : "the base die");
	for (uint32_t i = 0; i < k.nparams; i++)
		printf("  P%u %s\n", i, k.param[i]);
	err = list_words(k.crf, k.ncrf, 0, pim_dis_unit);
	if (!err)
		err = list_words(k.srf, k.nsrf, k.ncrf, pim_dis_base);
	return err;
}

static int source(const char *path)
{
	static char text[1 << 14];
	struct pim_asm_kernel k;
	int err = assemble(path, &k);

	if (!err)
		err = pim_dis(&k, text, sizeof(text));
	if (err < 0)
		return err;
	fputs(text, stdout);
	return 0;
}

static int decode(const char *arg, bool unit)
{
	char text[128], *end;
	unsigned long word = strtoul(arg, &end, 16);
	int err;

	if (!*arg || *end || word > 0xffffffff)
		return pim_error(-EINVAL, "\"%s\" is no hexadecimal 32-bit word", arg);
	err = (unit ? pim_dis_unit : pim_dis_base)((uint32_t)word, text, sizeof(text));
	if (!err)
		printf("%08lx  %s\n", word, text);
	return err;
}

static void header_words(FILE *f, const uint32_t *words, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		fprintf(f, " 0x%08x,", words[i]);
}

static void header_names(FILE *f, char names[][PIM_ASM_NAME], uint32_t n)
{
	fputs(" {", f);
	for (uint32_t i = 0; i < n; i++)
		fprintf(f, " \"%s\",", names[i]);
	fputs(n ? " }" : " 0 }", f);
}

static int write_header(FILE *f, struct pim_asm_kernel *k, int n)
{
	uint32_t offset = 0;

	fputs("/* SPDX-License-Identifier: MIT */\n/* Written by pimas from lib/kernels/. */\n#define KERNEL_IMAGE", f);
	for (int i = 0; i < n; i++) {
		fputs(" \\\n\t", f);
		header_words(f, k[i].crf, k[i].ncrf);
		header_words(f, k[i].srf, k[i].nsrf);
	}
	fputs("\n#define KERNEL_TABLE", f);
	for (int i = 0; i < n; i++) {
		fprintf(f, " \\\n\t{ \"%s\", %u, %u, %u, %u, %u, {", k[i].name, offset, k[i].ncrf, k[i].nsrf, k[i].nstreams,
			k[i].nparams);
		for (uint32_t s = 0; s < PIM_HW_MAX_STREAMS; s++)
			fprintf(f, " %u,", k[i].access[s]);
		fprintf(f, " }, 0x%02x,", k[i].unit_streams);
		header_names(f, k[i].stream, k[i].nstreams);
		fputc(',', f);
		header_names(f, k[i].param, k[i].nparams);
		fputs(" },", f);
		offset += 4 * (k[i].ncrf + k[i].nsrf);
	}
	fputc('\n', f);
	return ferror(f) ? -EIO : 0;
}

static int header(const char *path, char **files, int n)
{
	struct pim_asm_kernel *k = calloc((size_t)n, sizeof(*k));
	int err = 0;
	FILE *f;

	if (!k)
		return pim_error(-ENOMEM, "no memory for %d kernels", n);
	for (int i = 0; i < n && !err; i++) {
		err = assemble(files[i], &k[i]);
		for (int j = 0; j < i && !err; j++)
			if (!strcmp(k[i].name, k[j].name))
				err = pim_error(-EEXIST, "%s: kernel \"%s\" is in %s already", files[i], k[i].name, files[j]);
	}
	if (err)
		goto out;
	f = fopen(path, "w");
	if (!f) {
		err = pim_error(-errno, "%s: %s", path, strerror(errno));
		goto out;
	}
	err = write_header(f, k, n);
	if (fclose(f) || err) {
		err = pim_error(-EIO, "%s: cannot be written; is the disk full?", path);
		remove(path);
	}
out:
	free(k);
	return err;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"header", required_argument, NULL, 'H'}, {"help", no_argument, NULL, 'h'}, {0}};
	const char *out = NULL;
	char mode = 'l';
	int c, err = 0;

	while ((c = getopt_long(argc, argv, "dwbh", options, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout, 0);
		if (c == '?')
			return usage(stderr, 2);
		if (c == 'H')
			out = optarg;
		mode = (char)c;
	}
	if (optind == argc)
		return usage(stderr, 2);
	if (mode == 'H')
		err = header(out, argv + optind, argc - optind);
	else
		for (int i = optind; i < argc && !err; i++)
			err = mode == 'l' ? listing(argv[i]) : mode == 'd' ? source(argv[i]) : decode(argv[i], mode == 'w');
	if (err)
		fprintf(stderr, "pimas: %s\n", pim_strerror());
	return err ? 1 : 0;
}
