// SPDX-License-Identifier: MIT
/*
 * Training on a device (PIM_DEVICE, default the emulated paper card): one result in every mode and tile, exact resume, deterministic time.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pim/device.h>
#include <pim/net.h>
#include <pim/train.h>

#include "run_suite.h"

#define BATCH 24u
#define PIXELS 64u

static struct pim_device *dev;

static const char *spec(void)
{
	const char *s = getenv("PIM_DEVICE");

	return s ? s : "emu:cards/paper.card";
}

static void setup(void)
{
	int err = pim_device_open(spec(), &dev);

	ck_assert_msg(!err, "%s: %s", spec(), pim_strerror());
}

static void teardown(void)
{
	pim_device_close(dev);
	dev = NULL;
}

/* Images and labels of step "step": any numbers do, the same for every run. */
static void batch(uint64_t step, float *image, uint32_t *label)
{
	uint64_t z = 12345 + step;

	for (uint32_t i = 0; i < BATCH * PIXELS; i++) {
		z = z * 6364136223846793005ull + 1442695040888963407ull;
		image[i] = (float)(z >> 40) * 0x1p-24f;
	}
	for (uint32_t i = 0; i < BATCH; i++)
		label[i] = (uint32_t)((step * 7 + i) % 10);
}

struct result {
	uint64_t checksum, step_ns, host_ns, pim_ns, switches;
	float loss[16];
};

static struct pim_trainer *trainer(const struct pim_net *net, enum pim_mode mode, uint32_t tile)
{
	struct pim_train_options opt = {
		.sz = sizeof(opt), .mode = mode, .tile = tile, .batch = BATCH, .momentum = 0.9f, .weight_decay = 1e-4f, .seed = 7
	};
	struct pim_trainer *tr;

	ck_assert_msg(!pim_trainer_create(dev, net, &opt, &tr), "%s", pim_strerror());
	return tr;
}

static void steps(struct pim_trainer *tr, uint64_t first, uint64_t n, struct result *r)
{
	float image[BATCH * PIXELS];
	uint32_t label[BATCH];
	struct pim_step_result res;
	uint64_t got = 0;
	int more;

	for (uint64_t s = first; s < first + n; s++) {
		batch(s, image, label);
		ck_assert_msg(!pim_trainer_step(tr, image, label, 0.05f), "%s", pim_strerror());
		while ((more = pim_trainer_result(tr, &res, s + 1 == first + n)) > 0) {
			r->loss[got++] = res.loss;
			r->step_ns = res.step_ns;
			r->host_ns = res.host_ns;
			r->pim_ns = res.pim_ns;
			r->switches = res.switches;
		}
		ck_assert_msg(!more, "%s", pim_strerror());
	}
	ck_assert_uint_eq(got, n);
	ck_assert_msg(!pim_trainer_checksum(tr, &r->checksum), "%s", pim_strerror());
}

static struct result run(uint32_t channels, enum pim_mode mode, uint32_t tile, uint64_t n)
{
	struct pim_net *net = pim_net_digits(channels);
	struct pim_trainer *tr = trainer(net, mode, tile);
	struct result r = { 0 };

	steps(tr, 0, n, &r);
	pim_trainer_destroy(tr);
	pim_net_free(net);
	return r;
}

START_TEST(every_mode_and_tile_gives_the_same_bits)
{
	struct result serial = run(48, PIM_SERIAL, 0, 5);

	for (uint32_t tile = 0; tile <= 48; tile += 16) {
		struct result r = run(48, PIM_PIPELINED, tile, 5);

		ck_assert_msg(r.checksum == serial.checksum, "tile %u: weights differ from serial", tile);
		ck_assert_int_eq(memcmp(r.loss, serial.loss, sizeof(r.loss)), 0);
	}
}
END_TEST

START_TEST(the_same_work_takes_the_same_modelled_time)
{
	for (int mode = PIM_SERIAL; mode <= PIM_PIPELINED; mode++) {
		struct result a = run(32, (enum pim_mode)mode, 0, 3), b = run(32, (enum pim_mode)mode, 0, 3);

		ck_assert_uint_eq(a.step_ns, b.step_ns);
		ck_assert_uint_eq(a.host_ns, b.host_ns);
		ck_assert_uint_eq(a.pim_ns, b.pim_ns);
		ck_assert_uint_eq(a.switches, b.switches);
		ck_assert_uint_gt(a.step_ns, 0);
		ck_assert_uint_gt(a.pim_ns, 0);
	}
}
END_TEST

START_TEST(serial_time_is_the_sum_of_its_engines_and_pipelined_is_shorter)
{
	struct result s = run(64, PIM_SERIAL, 0, 2), p = run(64, PIM_PIPELINED, 0, 2);

	ck_assert_uint_ge(s.step_ns, s.host_ns + s.pim_ns);
	ck_assert_uint_lt(p.step_ns, s.step_ns);
}
END_TEST

START_TEST(training_lowers_the_loss)
{
	struct pim_net *net = pim_net_digits(16);
	struct pim_trainer *tr = trainer(net, PIM_PIPELINED, 0);
	float image[BATCH * PIXELS], first = 0;
	struct pim_step_result res = { 0 };
	uint32_t label[BATCH];

	batch(0, image, label);
	for (int i = 0; i < 30; i++) {
		ck_assert_int_eq(pim_trainer_step(tr, image, label, 0.05f), 0);
		ck_assert_int_eq(pim_trainer_result(tr, &res, 1), 1);
		if (!i)
			first = res.loss;
	}
	ck_assert_msg(res.loss < first / 4, "loss went from %f to %f on one batch", (double)first, (double)res.loss);
	ck_assert_uint_gt(res.correct, BATCH * 3 / 4);
	pim_trainer_destroy(tr);
	pim_net_free(net);
}
END_TEST

START_TEST(a_resumed_run_ends_with_the_same_bits)
{
	char path[] = "/tmp/pim-test-XXXXXX";
	struct result whole = run(16, PIM_PIPELINED, 0, 6), part = { 0 };
	struct pim_net *net = pim_net_digits(16);
	struct pim_trainer *tr = trainer(net, PIM_SERIAL, 0);
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	steps(tr, 0, 3, &part);
	ck_assert_msg(!pim_trainer_save(tr, path), "%s", pim_strerror());
	pim_trainer_destroy(tr);

	tr = trainer(net, PIM_PIPELINED, 0);
	ck_assert_msg(!pim_trainer_load(tr, path), "%s", pim_strerror());
	ck_assert_uint_eq(pim_trainer_steps(tr), 3);
	steps(tr, 3, 3, &part);
	ck_assert_uint_eq(part.checksum, whole.checksum);
	pim_trainer_destroy(tr);
	pim_net_free(net);
	unlink(path);
}
END_TEST

START_TEST(a_wrong_checkpoint_changes_nothing)
{
	char path[] = "/tmp/pim-test-XXXXXX";
	struct pim_net *net = pim_net_digits(16), *wide = pim_net_digits(32);
	struct pim_trainer *tr = trainer(net, PIM_PIPELINED, 0);
	uint64_t before, after;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(pim_trainer_save(tr, path), 0);
	pim_trainer_destroy(tr);
	tr = trainer(wide, PIM_PIPELINED, 0);
	ck_assert_int_eq(pim_trainer_checksum(tr, &before), 0);
	ck_assert_int_eq(pim_trainer_load(tr, path), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "conv1.weight"));
	ck_assert_int_eq(pim_trainer_load(tr, "/nonexistent"), -ENOENT);
	ck_assert_int_eq(pim_trainer_checksum(tr, &after), 0);
	ck_assert_uint_eq(before, after);
	pim_trainer_destroy(tr);
	pim_net_free(net);
	pim_net_free(wide);
	unlink(path);
}
END_TEST

START_TEST(bad_arguments_are_refused_and_lose_nothing)
{
	struct pim_net *net = pim_net_digits(16);
	struct pim_train_options opt = { .sz = sizeof(opt), .tile = 8 };
	float image[BATCH * PIXELS];
	uint32_t label[BATCH];
	struct result r = { 0 }, serial = run(16, PIM_SERIAL, 0, 3);
	struct pim_trainer *tr;

	ck_assert_int_eq(pim_trainer_create(dev, net, &opt, &tr), -EINVAL);
	opt.tile = 0;
	opt.sz--;
	ck_assert_int_eq(pim_trainer_create(dev, net, &opt, &tr), -EINVAL);

	tr = trainer(net, PIM_PIPELINED, 0);
	batch(0, image, label);
	label[3] = 10;
	ck_assert_int_eq(pim_trainer_step(tr, image, label, 0.05f), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "image 3"));
	steps(tr, 0, 3, &r);
	ck_assert_uint_eq(r.checksum, serial.checksum);
	pim_trainer_destroy(tr);
	pim_net_free(net);
}
END_TEST

START_TEST(evaluation_takes_any_number_of_images)
{
	struct pim_net *net = pim_net_digits(16);
	struct pim_trainer *tr = trainer(net, PIM_PIPELINED, 0);
	float image[BATCH * PIXELS], loss, part[2];
	uint32_t label[BATCH], correct, n[2];
	struct result r = { 0 };

	steps(tr, 0, 3, &r);
	batch(0, image, label);
	ck_assert_int_eq(pim_trainer_evaluate(tr, image, label, BATCH, &loss, &correct), 0);
	ck_assert_int_eq(pim_trainer_evaluate(tr, image, label, 7, &part[0], &n[0]), 0);
	ck_assert_int_eq(pim_trainer_evaluate(tr, image + 7 * PIXELS, label + 7, BATCH - 7, &part[1], &n[1]), 0);
	ck_assert_uint_eq(correct, n[0] + n[1]);
	ck_assert_float_eq_tol(loss, (7 * part[0] + (BATCH - 7) * part[1]) / BATCH, 1e-5f);
	pim_trainer_destroy(tr);
	pim_net_free(net);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("train");
	TCase *tc = tcase_create("device");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, every_mode_and_tile_gives_the_same_bits);
	tcase_add_test(tc, the_same_work_takes_the_same_modelled_time);
	tcase_add_test(tc, serial_time_is_the_sum_of_its_engines_and_pipelined_is_shorter);
	tcase_add_test(tc, training_lowers_the_loss);
	tcase_add_test(tc, a_resumed_run_ends_with_the_same_bits);
	tcase_add_test(tc, a_wrong_checkpoint_changes_nothing);
	tcase_add_test(tc, bad_arguments_are_refused_and_lose_nothing);
	tcase_add_test(tc, evaluation_takes_any_number_of_images);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
