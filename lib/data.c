// SPDX-License-Identifier: MIT
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <pim/data.h>

#include "error.h"

#define PIM_API __attribute__((visibility("default")))

#define DIGITS_PIXELS 64
#define DIGITS_MAX 16 /* pixel values */
#define DIGITS_CLASSES 10
#define LINE_BYTES 1024

struct pim_data {
	struct pim_data_info info;
	float *image;
	uint32_t *label;
	uint32_t room; /* images that fit */
};

struct pim_batches {
	const struct pim_data *data;
	uint32_t first, count, batch;
	uint64_t seed;
	uint64_t epoch; /* that order holds */
	uint32_t *order;
};

/* -- files ------------------------------------------------------------------------------------------------------------ */

/* Room for one more image at the end. */
static int grow(struct pim_data *d)
{
	uint32_t room = d->room ? 2 * d->room : 1024;
	size_t pixels = (size_t)d->info.c * d->info.h * d->info.w;
	float *image;
	uint32_t *label;

	if (d->info.n < d->room)
		return 0;
	image = realloc(d->image, room * pixels * sizeof(*image));
	if (image)
		d->image = image;
	label = realloc(d->label, room * sizeof(*label));
	if (label)
		d->label = label;
	if (!image || !label)
		return pim_error(-ENOMEM, "no memory for %u images", room);
	d->room = room;
	return 0;
}

/* A decimal number 0..max that ends with "end"; moves *p past that. */
static int parse_number(const char **p, long max, char end, long *value)
{
	char *stop;

	if (**p < '0' || **p > '9')
		return -EINVAL;
	*value = strtol(*p, &stop, 10);
	if (*value > max || *stop != end)
		return -EINVAL;
	*p = stop + (end != 0);
	return 0;
}

static int parse_digit(struct pim_data *d, const char *path, unsigned long nr, const char *line)
{
	float *image;
	long v;
	int err = grow(d);

	if (err)
		return err;
	image = d->image + (size_t)d->info.n * DIGITS_PIXELS;
	for (int i = 0; i < DIGITS_PIXELS; i++) {
		if (parse_number(&line, DIGITS_MAX, ',', &v))
			return pim_error(
				-EINVAL,
				"%s:%lu: pixel %d is not a number 0..%d followed by a comma: a line has %d pixels and a class",
				path, nr, i + 1, DIGITS_MAX, DIGITS_PIXELS);
		image[i] = (float)v / DIGITS_MAX;
	}
	if (parse_number(&line, DIGITS_CLASSES - 1, 0, &v))
		return pim_error(-EINVAL, "%s:%lu: the class is not a number 0..%d at the end of the line", path, nr,
				 DIGITS_CLASSES - 1);
	d->label[d->info.n++] = v;
	return 0;
}

static int load_digits(struct pim_data *d, const char *path, gzFile f)
{
	char line[LINE_BYTES];
	unsigned long nr = 0;

	d->info = (struct pim_data_info){ .c = 1, .h = 8, .w = 8, .classes = DIGITS_CLASSES };
	while (gzgets(f, line, sizeof(line))) {
		size_t len = strlen(line);
		int err;

		nr++;
		/* Every line ends with a newline: one that does not was cut off, or is longer than any good one. */
		if (!len || line[len - 1] != '\n')
			return pim_error(-EINVAL, "%s:%lu: the line is cut off or too long; get the file again", path, nr);
		line[--len] = 0;
		if (len && line[len - 1] == '\r')
			line[--len] = 0;
		err = parse_digit(d, path, nr, line);
		if (err)
			return err;
	}
	return 0;
}

/* A further format is a row here. */
static const struct {
	const char *name, *suffix;
	int (*load)(struct pim_data *d, const char *path, gzFile f);
} formats[] = {
	{ "digits", ".csv", load_digits },
};

static bool has_suffix(const char *path, const char *suffix, const char *more)
{
	size_t len = strlen(path), a = strlen(suffix), b = strlen(more);

	return len > a + b && !memcmp(path + len - a - b, suffix, a) && !memcmp(path + len - b, more, b);
}

static int find_format(const char *path, const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (name ? !strcmp(name, formats[i].name)
			 : has_suffix(path, formats[i].suffix, "") || has_suffix(path, formats[i].suffix, ".gz"))
			return i;
	if (name)
		return pim_error(-EINVAL, "no data format '%s': digits is known", name);
	return pim_error(-EINVAL, "%s: no known data format by its name: .csv and .csv.gz are digits; or name the format", path);
}

PIM_API int pim_data_load(const char *path, const char *format, struct pim_data **data)
{
	int kind = find_format(path, format), err, zerr;
	struct pim_data *d;
	const char *text;
	gzFile f;

	if (kind < 0)
		return kind;
	errno = 0;
	f = gzopen(path, "rbe");
	if (!f) {
		err = errno ? errno : ENOMEM;
		return pim_error(-err, "%s: %s; give the path of an existing data file", path, strerror(err));
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		err = pim_error(-ENOMEM, "no memory for a data set");
		goto close;
	}
	err = formats[kind].load(d, path, f);
	text = gzerror(f, &zerr);
	/* A file that was cut off fails in the parser too; what zlib says is nearer to the cause. */
	if (zerr == Z_ERRNO)
		err = pim_error(-errno, "%s: %s", path, strerror(errno));
	else if (zerr != Z_OK && zerr != Z_STREAM_END)
		err = pim_error(-EINVAL, "%s: damaged gzip file (%s) after %u images; get the file again", path, text, d->info.n);
	else if (!err && !d->info.n)
		err = pim_error(-EINVAL, "%s: no images in it; get the file again", path);
	if (err)
		goto free;
	*data = d;
	gzclose(f);
	return 0;

free:
	pim_data_free(d);
close:
	gzclose(f);
	return err;
}

PIM_API void pim_data_free(struct pim_data *data)
{
	if (!data)
		return;
	free(data->image);
	free(data->label);
	free(data);
}

/* -- access ----------------------------------------------------------------------------------------------------------- */

PIM_API const struct pim_data_info *pim_data_info(const struct pim_data *data)
{
	return &data->info;
}

PIM_API int pim_data_split(const struct pim_data *data, uint32_t percent, uint32_t *ntrain, uint32_t *ntest)
{
	if (percent > 100)
		return pim_error(-EINVAL, "pim_data_split: %u percent", percent);
	*ntrain = (uint64_t)data->info.n * percent / 100;
	*ntest = data->info.n - *ntrain;
	return 0;
}

static size_t pixels(const struct pim_data *data)
{
	return (size_t)data->info.c * data->info.h * data->info.w;
}

PIM_API const float *pim_data_images(const struct pim_data *data, uint32_t first)
{
	return data->image + first * pixels(data);
}

PIM_API const uint32_t *pim_data_labels(const struct pim_data *data, uint32_t first)
{
	return data->label + first;
}

PIM_API int pim_data_gather(const struct pim_data *data, const uint32_t *index, uint32_t n, float *image, uint32_t *label)
{
	for (uint32_t i = 0; i < n; i++)
		if (index[i] >= data->info.n)
			return pim_error(-EINVAL, "pim_data_gather: no image %u: there are %u", index[i], data->info.n);
	for (uint32_t i = 0; i < n; i++) {
		memcpy(image + i * pixels(data), pim_data_images(data, index[i]), pixels(data) * sizeof(*image));
		label[i] = data->label[index[i]];
	}
	return 0;
}

/* -- batches ---------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

PIM_API int pim_data_random(uint32_t n, uint32_t c, uint32_t h, uint32_t w, uint32_t classes, uint64_t seed, struct pim_data **data)
{
	uint64_t per = (uint64_t)c * h * w, i;
	struct pim_data *d;

	*data = NULL;
	if (!n || !per || !classes || per > UINT32_MAX || n > SIZE_MAX / 4 / per)
		return pim_error(-EINVAL, "%u random images of %ux%ux%u in %u classes: each must be at least 1", n, c, h, w,
				 classes);
	d = calloc(1, sizeof(*d));
	if (!d)
		return pim_error(-ENOMEM, "no memory for a data set");
	d->info = (struct pim_data_info){ .n = n, .c = c, .h = h, .w = w, .classes = classes };
	d->image = malloc(n * per * sizeof(*d->image));
	d->label = malloc(n * sizeof(*d->label));
	if (!d->image || !d->label) {
		pim_data_free(d);
		return pim_error(-ENOMEM, "no memory for %u images of %ux%ux%u", n, c, h, w);
	}
	for (i = 0; i < n * per; i++)
		d->image[i] = (float)(mix(seed + i) >> 40) * 0x1p-24f;
	for (i = 0; i < n; i++)
		d->label[i] = (uint32_t)(mix(~seed - i) % classes);
	*data = d;
	return 0;
}

PIM_API void pim_data_shuffle(uint32_t first, uint32_t count, uint64_t seed, uint64_t epoch, uint32_t *order)
{
	uint64_t key = mix(seed) ^ mix(epoch + 1);

	for (uint32_t i = 0; i < count; i++)
		order[i] = first + i;
	for (uint32_t i = count; i-- > 1;) {
		uint32_t j = (unsigned __int128)mix(key + i) * ((uint64_t)i + 1) >> 64;
		uint32_t t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
}

PIM_API int pim_batches_create(const struct pim_data *data, uint32_t first, uint32_t count, uint32_t batch, uint64_t seed,
			       struct pim_batches **out)
{
	struct pim_batches *b;

	if (first > data->info.n || count > data->info.n - first)
		return pim_error(-EINVAL, "pim_batches_create: images %u..%" PRIu64 " of %u", first, (uint64_t)first + count,
				 data->info.n);
	if (!batch || batch > count)
		return pim_error(-EINVAL, "a batch of %u images out of %u; give a batch from 1 to %u", batch, count, count);
	b = calloc(1, sizeof(*b));
	if (b)
		b->order = malloc(count * sizeof(*b->order));
	if (!b || !b->order) {
		free(b);
		return pim_error(-ENOMEM, "no memory for the order of %u images", count);
	}
	b->data = data;
	b->first = first;
	b->count = count;
	b->batch = batch;
	b->seed = seed;
	pim_data_shuffle(first, count, seed, 0, b->order);
	*out = b;
	return 0;
}

PIM_API void pim_batches_free(struct pim_batches *b)
{
	if (!b)
		return;
	free(b->order);
	free(b);
}

PIM_API uint32_t pim_batches_per_epoch(const struct pim_batches *b)
{
	return b->count / b->batch;
}

PIM_API int pim_batches_get(struct pim_batches *b, uint64_t step, float *image, uint32_t *label)
{
	uint64_t epoch = step / pim_batches_per_epoch(b);
	uint32_t at = step % pim_batches_per_epoch(b);

	if (epoch != b->epoch) {
		pim_data_shuffle(b->first, b->count, b->seed, epoch, b->order);
		b->epoch = epoch;
	}
	return pim_data_gather(b->data, b->order + (size_t)at * b->batch, b->batch, image, label);
}
