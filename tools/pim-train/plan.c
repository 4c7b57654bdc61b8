// SPDX-License-Identifier: MIT
/* pim-train --plan: what a step does, layer by layer. */
#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "plan.h"

static const struct {
	const char *name;
	double width;
	int flags;
	int json;
} columns[] = {
	{ "layer", 0, 0, SCOLS_JSON_STRING },
	{ "task", 0, 0, SCOLS_JSON_STRING },
	{ "engine", 0, 0, SCOLS_JSON_STRING },
	{ "policy", 0, 0, SCOLS_JSON_STRING },
	{ "tiles", 0, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	{ "channels", 0, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	{ "bytes", 0, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	{ "predicted_ns", 0, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	{ "why", 0, 0, SCOLS_JSON_STRING },
};
#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))

static int cell(struct libscols_line *line, size_t column, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int cell(struct libscols_line *line, size_t column, const char *fmt, ...)
{
	char text[96];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return scols_line_set_data(line, column, text);
}

static int add_row(struct libscols_table *table, const struct pim_plan_row *r)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);

	if (!line)
		return -1;
	return cell(line, 0, "%s", r->layer) || cell(line, 1, "%s", r->what) ||
	       cell(line, 2, "%s", r->engine == PIM_HOST ? "GPU" : "PIM") || cell(line, 3, "%s", r->policy) ||
	       cell(line, 4, "%u", r->tiles) || cell(line, 5, "%u", r->channels) ||
	       cell(line, 6, "%llu", (unsigned long long)r->bytes) || cell(line, 7, "%llu", (unsigned long long)r->predicted_ns) ||
	       cell(line, 8, "%s", r->why);
}

static struct libscols_table *table_new(bool json)
{
	struct libscols_table *table = scols_new_table();

	if (!table)
		return NULL;
	scols_table_enable_json(table, json);
	scols_table_set_name(table, "plan");
	for (size_t i = 0; i < NCOLUMNS; i++) {
		struct libscols_column *c = scols_table_new_column(table, columns[i].name, columns[i].width, columns[i].flags);

		if (!c || scols_column_set_json_type(c, columns[i].json)) {
			scols_unref_table(table);
			return NULL;
		}
	}
	return table;
}

int plan_print(const struct pim_trainer *tr, bool json)
{
	int n = pim_trainer_plan(tr, NULL, 0), bad;
	struct pim_plan_row *row = calloc((size_t)n, sizeof(*row));
	struct libscols_table *table = table_new(json);

	bad = !row || !table;
	if (!bad)
		pim_trainer_plan(tr, row, n);
	for (int i = 0; i < n && !bad; i++)
		bad = add_row(table, &row[i]);
	if (!bad && !json)
		printf("PIM memory: %.1f MiB\n", (double)pim_trainer_bytes(tr) / 1048576);
	bad = bad || scols_print_table(table);
	if (bad)
		fprintf(stderr, "pim-train: the plan cannot be printed: no memory, or nobody reads it\n");
	scols_unref_table(table);
	free(row);
	return bad ? 1 : 0;
}
