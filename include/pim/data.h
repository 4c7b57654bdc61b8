/* SPDX-License-Identifier: MIT */
/*
 * A data set: images and their classes in memory, in the order of the file. Errors are negative errno with a message in pim_strerror().
 */
#ifndef PIM_DATA_H
#define PIM_DATA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pim_data;

/** struct pim_data_info - n images of c x h x w, of so many classes */
struct pim_data_info {
	uint32_t n, c, h, w, classes;
};

/*
 * pim_data_load() - read a data set
 * @format: "digits" (UCI's handwritten digits: lines of 64 pixels 0..16 and a class 0..9; values become pixel / 16), or NULL: chosen by the
 *	file's name
 *
 * A .gz file is unpacked on the way. Errors: -ENOENT and the like with the file's name; -EINVAL with "file:line: reason".
 */
int pim_data_load(const char *path, const char *format, struct pim_data **data);
/* Images of random pixels in [0, 1) and random classes, from the seed alone: to measure with, there is nothing to learn. */
int pim_data_random(uint32_t n, uint32_t c, uint32_t h, uint32_t w, uint32_t classes, uint64_t seed, struct pim_data **data);
void pim_data_free(struct pim_data *data);
const struct pim_data_info *pim_data_info(const struct pim_data *data);

/* Images [0, percent of n, rounded down) are for training, the rest for testing: with 80, 1437 and 360 of the 1797 digits. */
int pim_data_split(const struct pim_data *data, uint32_t percent, uint32_t *ntrain, uint32_t *ntest);

/* All images, n x c x h x w floats, and all classes: for evaluation. They belong to the data set. */
const float *pim_data_images(const struct pim_data *data, uint32_t first);
const uint32_t *pim_data_labels(const struct pim_data *data, uint32_t first);

/* Copy images index[0..n) and their classes. Errors: -EINVAL an index past the end. */
int pim_data_gather(const struct pim_data *data, const uint32_t *index, uint32_t n, float *image, uint32_t *label);

/*
 * pim_data_shuffle() - the order of epoch "epoch": a permutation of first .. first + count - 1
 *
 * Fisher-Yates from the end (i = count - 1 .. 1 is exchanged with j <= i), j = high 64 bits of r * (i + 1), r = mix(mix(seed) ^ mix(epoch + 1) + i) in
 * 64-bit arithmetic; mix is splitmix64's step: z = x + 0x9e3779b97f4a7c15; z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
 * z = (z ^ z >> 27) * 0x94d049bb133111eb; z ^ z >> 31. The order depends on these numbers alone, so a run can go on from any epoch.
 */
void pim_data_shuffle(uint32_t first, uint32_t count, uint64_t seed, uint64_t epoch, uint32_t *order);

/** struct pim_batches - full batches of a range of a data set, in a new order every epoch; what does not fill a batch is left out */
struct pim_batches;

int pim_batches_create(const struct pim_data *data, uint32_t first, uint32_t count, uint32_t batch, uint64_t seed, struct pim_batches **b);
void pim_batches_free(struct pim_batches *b);
uint32_t pim_batches_per_epoch(const struct pim_batches *b);
/* Batch number "step" of the run, from 0: batch step % per_epoch of epoch step / per_epoch. */
int pim_batches_get(struct pim_batches *b, uint64_t step, float *image, uint32_t *label);

#ifdef __cplusplus
}
#endif

#endif
