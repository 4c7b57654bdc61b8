// SPDX-License-Identifier: MIT
/* Card files: "key value  # comment" lines that describe one card. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "card_impl.h"

/* Every key is bounded and must be given exactly once; power: the value must be a power of two. */
static const struct key {
	const char *name;
	size_t off;
	uint32_t min, max;
	int power;
} keys[] = {
#define KEY(field, min, max, power) { #field, offsetof(struct pim_cardfile, field), min, max, power }
	KEY(stacks, 1, 32, 1),
	KEY(pcs, 1, 64, 1),
	KEY(bank_groups, 1, 16, 1),
	KEY(banks, 1, 16, 1),
	KEY(banks_per_unit, 1, 64, 1),
	KEY(rows, 1, 1u << 20, 1),
	KEY(row_bytes, 256, 8192, 1),
	KEY(domains, 1, PIM_HW_MAX_DOMAINS, 1),
	KEY(window_mib, 2, 65536, 1),
	KEY(ring_entries, 2, 65536, 1),
	KEY(slots, 2, 65536, 1),
	KEY(crf_words, 8, 2048, 1),
	KEY(srf_words, 8, 2048, 1),
	KEY(program_limit, 1, 4096, 0),
	KEY(tck_ps, 100, 100000, 0),
	KEY(tccd_s, 1, 64, 0),
	KEY(tccd_l, 1, 64, 0),
	KEY(trcd, 1, 1000, 0),
	KEY(trp, 1, 1000, 0),
	KEY(tras, 1, 1000, 0),
	KEY(trfc, 0, 10000, 0),
	KEY(trefi, 1, 1000000, 0),
	KEY(unit_tck, 1, 64, 0),
	KEY(red_tck, 1, 10000, 0),
	KEY(enter_tck, 0, 1000000, 0),
	KEY(leave_tck, 0, 1000000, 0),
	KEY(gpu_gflops, 1, 10000000, 0),
	KEY(gpu_conv_percent, 1, 100, 0),
	KEY(gpu_prefetch_kib, 1, 1u << 20, 0),
	KEY(window_mbps, 1, 10000000, 0),
#undef KEY
};
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

struct parse {
	const char *path;
	unsigned int line;
	char *err;
	size_t errlen;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct parse *p, const char *fmt, ...)
{
	int n = snprintf(p->err, p->errlen, "%s:%u: ", p->path, p->line);
	va_list ap;

	if (n >= 0 && (size_t)n < p->errlen) {
		va_start(ap, fmt);
		vsnprintf(p->err + n, p->errlen - n, fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

static uint32_t *field(struct pim_cardfile *cf, const struct key *k)
{
	return (uint32_t *)((char *)cf + k->off);
}

static int parse_number(const struct parse *p, const struct key *k, const char *text, uint32_t *out)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno)
		return refuse(p, "%s must be a decimal number, not \"%s\"", k->name, text);
	if (v < k->min || v > k->max)
		return refuse(p, "%s %llu is out of range: %u to %u", k->name, v, k->min, k->max);
	if (k->power && (v & (v - 1)))
		return refuse(p, "%s %llu is not a power of two", k->name, v);
	*out = v;
	return 0;
}

static int parse_line(const struct parse *p, char *text, struct pim_cardfile *cf, unsigned int *seen)
{
	char *save = NULL, *name, *value, *more;
	size_t i;

	text[strcspn(text, "#")] = 0;
	name = strtok_r(text, " \t\r\n", &save);
	if (!name)
		return 0;
	value = strtok_r(NULL, " \t\r\n", &save);
	if (!value)
		return refuse(p, "key %s has no value", name);
	more = strtok_r(NULL, " \t\r\n", &save);
	if (more)
		return refuse(p, "\"%s\" after the value of %s: one value per key", more, name);
	for (i = 0; i <= NKEYS; i++)
		if (!strcmp(name, i < NKEYS ? keys[i].name : "name"))
			break;
	if (i > NKEYS)
		return refuse(p, "unknown key %s", name);
	if (seen[i])
		return refuse(p, "key %s was already given in line %u", name, seen[i]);
	seen[i] = p->line;
	if (i < NKEYS)
		return parse_number(p, &keys[i], value, field(cf, &keys[i]));
	if (strlen(value) >= sizeof(cf->name))
		return refuse(p, "name is longer than %zu characters", sizeof(cf->name) - 1);
	strcpy(cf->name, value);
	return 0;
}

static unsigned int line_of(const unsigned int *seen, size_t off)
{
	size_t i;

	for (i = 0; keys[i].off != off; i++)
		;
	return seen[i];
}

/* Rules between keys; the line is that of the key to change. */
static int check(struct parse *p, const struct pim_cardfile *cf, const unsigned int *seen)
{
	struct card_layout l;
	size_t i;

	p->line++; /* the end of the file */
	for (i = 0; i <= NKEYS; i++)
		if (!seen[i])
			return refuse(p, "key %s is missing", i < NKEYS ? keys[i].name : "name");
	p->line = line_of(seen, offsetof(struct pim_cardfile, domains));
	if (cf->stacks * cf->pcs % cf->domains)
		return refuse(p, "domains %u does not divide the %u pseudo-channels: a domain is a number of whole ones", cf->domains,
			      cf->stacks * cf->pcs);
	p->line = line_of(seen, offsetof(struct pim_cardfile, banks_per_unit));
	if (cf->bank_groups * cf->banks % cf->banks_per_unit)
		return refuse(p, "banks_per_unit %u does not divide the %u banks of a pseudo-channel", cf->banks_per_unit,
			      cf->bank_groups * cf->banks);
	p->line = line_of(seen, offsetof(struct pim_cardfile, trefi));
	if (cf->trefi <= 2 * cf->trfc)
		return refuse(p, "trefi %u must be more than twice trfc %u", cf->trefi, cf->trfc);
	card_layout(cf, &l);
	p->line = line_of(seen, offsetof(struct pim_cardfile, banks_per_unit));
	if (l.units < 2)
		return refuse(p, "a domain has %u PIM unit: the 16 channels of a block need at least two", l.units);
	p->line = line_of(seen, offsetof(struct pim_cardfile, rows));
	if (l.mem_bytes / cf->domains < 1u << 16 || l.mem_bytes > 1ull << 40)
		return refuse(p, "memory of %llu bytes in %u domains: a domain is at least 64 KiB, a card at most 1 TiB",
			      (unsigned long long)l.mem_bytes, cf->domains);
	p->line = line_of(seen, offsetof(struct pim_cardfile, window_mib));
	if (l.window_off + (1u << 20) > l.mem_off)
		return refuse(p, "window_mib %u leaves less than 1 MiB of window after rings and slots (%llu bytes)", cf->window_mib,
			      (unsigned long long)l.window_off);
	return 0;
}

int pim_cardfile_read(const char *path, struct pim_cardfile *cf, char *err, size_t errlen)
{
	struct parse p = { .path = path, .err = err, .errlen = errlen };
	unsigned int seen[NKEYS + 1] = { 0 };
	char text[512];
	FILE *f;
	int ret = 0;

	memset(cf, 0, sizeof(*cf));
	f = fopen(path, "re");
	if (!f) {
		ret = -errno;
		snprintf(err, errlen, "%s: cannot open the card file: %s", path, strerror(-ret));
		return ret;
	}
	while (!ret && fgets(text, sizeof(text), f)) {
		p.line++;
		if (!strchr(text, '\n') && !feof(f))
			ret = refuse(&p, "line is longer than %zu characters", sizeof(text) - 2);
		else
			ret = parse_line(&p, text, cf, seen);
	}
	if (!ret && ferror(f)) {
		ret = -EIO;
		snprintf(err, errlen, "%s: cannot read the card file", path);
	}
	fclose(f);
	if (!ret)
		ret = check(&p, cf, seen);
	return ret;
}

void card_layout(const struct pim_cardfile *cf, struct card_layout *l)
{
	uint64_t off = PIM_HW_AUTHORITY_OFF + PIM_HW_PAGE;
	int e;

	l->slots_off = off;
	off += (uint64_t)cf->slots * sizeof(struct pim_hw_slot);
	off = (off + 0xffff) & ~0xffffull;
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		l->ring_off[e] = off;
		off += (uint64_t)cf->ring_entries * sizeof(struct pim_hw_desc);
	}
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		l->done_off[e] = off;
		off += (uint64_t)cf->ring_entries * sizeof(struct pim_hw_done);
	}
	l->window_off = (off + 0xffff) & ~0xffffull;
	l->mem_off = (uint64_t)cf->window_mib << 20;
	l->mem_bytes = (uint64_t)cf->stacks * cf->pcs * cf->bank_groups * cf->banks * cf->rows * cf->row_bytes;
	l->units = cf->stacks * cf->pcs / cf->domains * (cf->bank_groups * cf->banks / cf->banks_per_unit);
	l->bar_bytes = 1u << 20;
	while (l->bar_bytes < l->mem_off + l->mem_bytes)
		l->bar_bytes *= 2;
}

uint64_t pim_card_bar_bytes(const struct pim_cardfile *cf)
{
	struct card_layout l;

	card_layout(cf, &l);
	return l.bar_bytes;
}
