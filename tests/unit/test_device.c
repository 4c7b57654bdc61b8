// SPDX-License-Identifier: MIT
/*
 * The conformance suite of a device: what pim/device.h promises, on the backend that PIM_DEVICE names (default: the card model in this
 * process; "drm" in a machine with pim.ko). Both must pass all of it.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pim/device.h>
#include <pim/hw.h>
#include "run_suite.h"

#define DEFAULT_DEVICE "emu:cards/test-4dom.card"
#define KIB 1024u
#define TIMEOUT_MS 60000

#define ok(call) do { \
	int ok_ = (call); \
	ck_assert_msg(ok_ == 0, #call ": %d, %s", ok_, pim_strerror()); \
} while (0)
#define fails(err, call) do { \
	int fails_ = (call); \
	ck_assert_msg(fails_ == (err), #call ": %d instead of %d (%s)", fails_, (err), pim_strerror()); \
} while (0)
#define says(text) ck_assert_msg(strstr(pim_strerror(), text), "message '%s' lacks '%s'", pim_strerror(), text)

static struct pim_device *dev;
static const struct pim_info *info;

static const char *spec(void)
{
	return getenv("PIM_DEVICE") ? getenv("PIM_DEVICE") : DEFAULT_DEVICE;
}

static void setup(void)
{
	ok(pim_device_open(spec(), &dev));
	info = pim_device_info(dev);
}

static void teardown(void)
{
	pim_device_close(dev);
}

static struct pim_buffer *buffer(uint64_t bytes, enum pim_place place, uint32_t domain)
{
	struct pim_buffer *b;

	ok(pim_buffer_create(dev, bytes, place, domain, &b));
	return b;
}

static uint32_t *map(struct pim_buffer *b)
{
	void *p;

	ok(pim_buffer_map(b, &p));
	return p;
}

static void bind(struct pim_job *job, struct pim_buffer *b, uint32_t access)
{
	job->binding[job->nbindings++] = (struct pim_binding){ b, 0, pim_buffer_bytes(b), access };
}

/* -- jobs of the HOST engine ------------------------------------------------------------------------------------------ */

static struct pim_job fill_job(struct pim_hw_copy *args, struct pim_buffer *b, uint64_t bytes, uint32_t pattern)
{
	struct pim_job job = { .engine = PIM_HOST, .op = PIM_HW_OP_FILL, .payload = args, .payload_bytes = sizeof(*args) };

	*args = (struct pim_hw_copy){ .bytes = bytes, .pattern = pattern };
	bind(&job, b, PIM_WRITE);
	return job;
}

static struct pim_job copy_job(struct pim_hw_copy *args, struct pim_buffer *from, struct pim_buffer *to, uint64_t bytes)
{
	struct pim_job job = { .engine = PIM_HOST, .op = PIM_HW_OP_COPY, .payload = args, .payload_bytes = sizeof(*args) };

	*args = (struct pim_hw_copy){ .bytes = bytes, .src.binding = 0, .dst.binding = 1 };
	bind(&job, from, PIM_READ);
	bind(&job, to, PIM_WRITE);
	return job;
}

static void run(const struct pim_job *job, uint32_t n)
{
	ok(pim_submit(dev, job, n, NULL));
	ok(pim_wait(dev, TIMEOUT_MS));
}

/* -- a program by hand: y = x + x, one column at a time ---------------------------------------------------------------- */

#define I(op, dst, s0, s1, id, i0, i1) \
	((uint32_t)(op) << 28 | (uint32_t)(dst) << 25 | (uint32_t)(s0) << 22 | (uint32_t)(s1) << 19 | 1u << 15 | (id) << 8 | (i0) << 4 | (i1))

static const uint32_t double_code[] = {
	I(PIM_I_FILL, PIM_S_GRF_A, PIM_S_MEM, 0, 0, 0, 0), /* GRF_A[0..7] = eight columns of stream 0 */
	I(PIM_I_ADD, PIM_S_GRF_B, PIM_S_GRF_A, PIM_S_GRF_A, 0, 0, 0),
	I(PIM_I_MOV, PIM_S_MEM, PIM_S_GRF_B, 0, 1, 0, 0), /* stream 1 */
	(uint32_t)PIM_I_JUMP << 28 | (uint32_t)PIM_J_STEP << 26,
	(uint32_t)PIM_I_EXIT << 28,
};

static struct pim_buffer *code_buffer(const uint32_t *code, size_t bytes)
{
	struct pim_buffer *b = buffer(bytes, PIM_PLACE_WINDOW, 0);

	memcpy(map(b), code, bytes);
	return b;
}

/* Bindings: 0 code, 1 x, 2 y. */
static struct pim_job double_job(struct pim_hw_program *args, struct pim_buffer *code, struct pim_buffer *x, struct pim_buffer *y,
				 uint64_t bytes)
{
	struct pim_job job = { .engine = PIM_PIM, .op = PIM_HW_OP_PROGRAM, .payload = args, .payload_bytes = sizeof(*args) };

	*args = (struct pim_hw_program){ .code_binding = 0, .crf_len = sizeof(double_code) / 4, .nstreams = 2, .blocks = 1, .planes = 1,
					 .run_bytes = bytes, .stream = { { .binding = 1 }, { .binding = 2 } } };
	bind(&job, code, PIM_READ);
	bind(&job, x, PIM_READ);
	bind(&job, y, PIM_WRITE);
	return job;
}

static struct pim_job nop(enum pim_engine engine)
{
	return (struct pim_job){ .engine = engine, .op = PIM_HW_OP_NOP };
}

/* -- opening ---------------------------------------------------------------------------------------------------------- */

START_TEST(an_unknown_device_is_refused_with_the_choices)
{
	struct pim_device *d;

	fails(-EINVAL, pim_device_open("gpu", &d));
	says("emu:CARDFILE");
	fails(-EINVAL, pim_device_open("emu", &d));
	says("card file");
	fails(-EINVAL, pim_device_open("drmx", &d));
	fails(-ENOENT, pim_device_open("emu:/nonexistent/x.card", &d));
	says("/nonexistent/x.card");
	fails(-ENODEV, pim_device_open("drm:/dev/dri/renderD999", &d));
	says("/dev/dri/renderD999");
	fails(-ENODEV, pim_device_open("drm:/dev/null", &d));
	says("/dev/null is no PIM card");
}
END_TEST

START_TEST(a_device_tells_its_geometry)
{
	uint64_t ns;

	ck_assert(info->name[0]);
	ck_assert_uint_ge(info->domains, 1);
	ck_assert_uint_eq(info->stripe_bytes, info->stacks * info->pcs / info->domains * info->bank_groups * info->banks /
						       info->banks_per_unit * PIM_HW_COLUMN);
	ck_assert_uint_eq(info->domain_bytes, (uint64_t)info->stacks * info->pcs / info->domains * info->bank_groups * info->banks *
						      info->rows * info->row_bytes);
	ck_assert_uint_gt(info->window_bytes, 0);
	ok(pim_now(dev, &ns));
}
END_TEST

/* -- buffers ---------------------------------------------------------------------------------------------------------- */

START_TEST(a_buffer_is_rounded_mapped_and_cleared_also_when_its_memory_was_used_before)
{
	for (int place = 0; place < 2; place++) {
		for (int round = 0; round < 3; round++) {
			struct pim_buffer *b = buffer(100 * KIB + 1, place, 0);
			uint64_t words = pim_buffer_bytes(b) / 4;
			uint32_t *p = map(b);

			ck_assert_uint_gt(pim_buffer_bytes(b), 100 * KIB);
			ck_assert_uint_eq(pim_buffer_bytes(b) % info->stripe_bytes, 0);
			ck_assert_ptr_eq(p, map(b));
			for (uint64_t i = 0; i < words; i++)
				ck_assert_uint_eq(p[i], 0);
			memset(p, 0xa5, pim_buffer_bytes(b));
			pim_buffer_destroy(b);
		}
	}
}
END_TEST

START_TEST(bad_sizes_places_and_domains_are_refused)
{
	struct pim_buffer *b;

	fails(-EINVAL, pim_buffer_create(dev, 0, PIM_PLACE_MEMORY, 0, &b));
	fails(-EINVAL, pim_buffer_create(dev, 64, PIM_PLACE_MEMORY, info->domains, &b));
	fails(-EINVAL, pim_buffer_create(dev, 64, PIM_PLACE_WINDOW, 1, &b));
	fails(-EINVAL, pim_buffer_create(dev, 64, 2, 0, &b));
	fails(-ENOSPC, pim_buffer_create(dev, info->domain_bytes + 1, PIM_PLACE_MEMORY, 0, &b));
	fails(-ENOSPC, pim_buffer_create(dev, UINT64_MAX, PIM_PLACE_MEMORY, 0, &b));
	fails(-ENOSPC, pim_buffer_create(dev, info->window_bytes + 1, PIM_PLACE_WINDOW, 0, &b));
}
END_TEST

START_TEST(a_full_domain_says_so_and_leaves_the_others_alone)
{
	uint32_t last = info->domains - 1;
	struct pim_buffer *all = buffer(info->domain_bytes, PIM_PLACE_MEMORY, last), *b;

	fails(-ENOSPC, pim_buffer_create(dev, 1, PIM_PLACE_MEMORY, last, &b));
	says("no room");
	if (last)
		pim_buffer_destroy(buffer(1, PIM_PLACE_MEMORY, 0));
	pim_buffer_destroy(all);
	pim_buffer_destroy(buffer(1, PIM_PLACE_MEMORY, last));
}
END_TEST

START_TEST(a_buffer_may_outlive_its_device)
{
	struct pim_device *d;
	struct pim_buffer *b;
	void *p;

	ok(pim_device_open(spec(), &d));
	ok(pim_buffer_create(d, KIB, PIM_PLACE_WINDOW, 0, &b));
	ok(pim_buffer_map(b, &p));
	pim_device_close(d);
	memset(p, 1, KIB);
	pim_buffer_destroy(b);
}
END_TEST

/* -- jobs ------------------------------------------------------------------------------------------------------------- */

START_TEST(jobs_are_numbered_per_engine_from_1)
{
	const struct pim_job job[] = { nop(PIM_HOST), nop(PIM_PIM), nop(PIM_HOST) };
	uint64_t seq[PIM_ENGINES];

	ok(pim_submit(dev, job, 3, seq));
	ck_assert_uint_eq(seq[PIM_HOST], 2);
	ck_assert_uint_eq(seq[PIM_PIM], 1);
	ok(pim_submit(dev, job, 2, seq));
	ck_assert_uint_eq(seq[PIM_HOST], 3);
	ck_assert_uint_eq(seq[PIM_PIM], 2);
	ok(pim_wait(dev, TIMEOUT_MS));
}
END_TEST

START_TEST(waiting_for_nothing_returns_at_once)
{
	ok(pim_wait(dev, 0));
	ok(pim_wait(dev, -1));
}
END_TEST

START_TEST(many_more_jobs_than_the_ring_holds_all_run)
{
	static struct pim_job job[2000];
	uint64_t seq[PIM_ENGINES];

	/* Each job waits for the one before it, on the other engine. */
	for (uint32_t i = 0; i < 2000; i++) {
		job[i] = nop(i % 2);
		job[i].nwaits = i > 0;
		job[i].wait[0].engine = !(i % 2);
		job[i].wait[0].seq = (i + 1) / 2;
	}
	ok(pim_submit(dev, job, 2000, seq));
	ck_assert_uint_eq(seq[0] + seq[1], 2000);
	ok(pim_wait(dev, TIMEOUT_MS));
}
END_TEST

START_TEST(fill_and_copy_move_bytes_between_window_and_memory)
{
	struct pim_buffer *m = buffer(64 * KIB, PIM_PLACE_MEMORY, info->domains - 1), *w = buffer(64 * KIB, PIM_PLACE_WINDOW, 0);
	struct pim_hw_copy fill, copy;
	const struct pim_job job[] = { fill_job(&fill, m, 40 * KIB, 0x12345678), copy_job(&copy, m, w, 64 * KIB) };
	uint32_t *p = map(w);

	run(job, 2);
	for (uint32_t i = 0; i < 16 * KIB; i++)
		ck_assert_uint_eq(p[i], i < 10 * KIB ? 0x12345678 : 0);
	pim_buffer_destroy(m);
	pim_buffer_destroy(w);
}
END_TEST

START_TEST(a_pim_program_computes_on_what_the_host_wrote_and_waits_order_the_engines)
{
	const uint32_t bytes = 64 * KIB;
	struct pim_buffer *x = buffer(bytes, PIM_PLACE_MEMORY, 0), *y = buffer(bytes, PIM_PLACE_MEMORY, 0);
	struct pim_buffer *w = buffer(bytes, PIM_PLACE_WINDOW, 0), *code = code_buffer(double_code, sizeof(double_code));
	struct pim_hw_copy in, out;
	struct pim_hw_program prog;
	struct pim_job job[] = { copy_job(&in, w, x, bytes), double_job(&prog, code, x, y, bytes), copy_job(&out, y, w, bytes) };
	float *p = (float *)map(w);

	job[1].nwaits = 1;
	job[1].wait[0].engine = PIM_HOST;
	job[1].wait[0].seq = 1;
	job[2].nwaits = 1;
	job[2].wait[0].engine = PIM_PIM;
	job[2].wait[0].seq = 1;
	for (int i = 0; i < 3; i++)
		job[i].policy.kind = PIM_HW_POLICY_SERIAL;
	for (uint32_t i = 0; i < bytes / 4; i++)
		p[i] = (float)i - 777;
	ok(pim_acquire(dev, 1, PIM_OWNER_AUTO, TIMEOUT_MS));
	run(job, 3);
	for (uint32_t i = 0; i < bytes / 4; i++)
		ck_assert(p[i] == 2 * ((float)i - 777));
	ok(pim_release(dev, 1));
	ck_assert(((float *)map(y))[5] == 2 * (5.0f - 777));
	pim_buffer_destroy(x);
	pim_buffer_destroy(y);
	pim_buffer_destroy(w);
	pim_buffer_destroy(code);
}
END_TEST

START_TEST(a_timed_batch_reports_the_same_modelled_time_in_every_run)
{
	struct pim_buffer *m = buffer(256 * KIB, PIM_PLACE_MEMORY, 0), *w = buffer(4 * KIB, PIM_PLACE_WINDOW, 0);
	const struct pim_hw_timing *t = (void *)map(w);
	uint64_t took[3];

	for (int i = 0; i < 3; i++) {
		struct pim_hw_copy fill;
		struct pim_job job = fill_job(&fill, m, 256 * KIB, 1);

		bind(&job, w, PIM_WRITE);
		job.batch = i + 1;
		job.batch_engines = 1u << PIM_HOST;
		job.close = 1;
		job.timed = 1;
		job.time_binding = 1;
		job.time_off = 512;
		run(&job, 1);
		took[i] = t[4].end_ns - t[4].start_ns;
		ck_assert_uint_gt(took[i], 0);
	}
	ck_assert_uint_eq(took[0], took[1]);
	ck_assert_uint_eq(took[0], took[2]);
	pim_buffer_destroy(m);
	pim_buffer_destroy(w);
}
END_TEST

START_TEST(a_buffer_may_be_destroyed_while_jobs_use_it)
{
	for (int i = 0; i < 50; i++) {
		struct pim_buffer *m = buffer(256 * KIB, PIM_PLACE_MEMORY, 0);
		struct pim_hw_copy fill;
		struct pim_job job = fill_job(&fill, m, 256 * KIB, 0xffffffff);
		struct pim_buffer *fresh;

		ok(pim_submit(dev, &job, 1, NULL));
		pim_buffer_destroy(m);
		fresh = buffer(256 * KIB, PIM_PLACE_MEMORY, 0);
		ok(pim_wait(dev, TIMEOUT_MS));
		for (uint32_t k = 0; k < 64 * KIB; k += 1000)
			ck_assert_uint_eq(map(fresh)[k], 0);
		pim_buffer_destroy(fresh);
	}
}
END_TEST

START_TEST(wrong_jobs_are_refused_as_a_whole)
{
	struct pim_buffer *w = buffer(64 * KIB, PIM_PLACE_WINDOW, 0), *theirs;
	struct pim_job job[2] = { nop(PIM_HOST), nop(PIM_HOST) };
	const struct pim_job good = nop(PIM_HOST);
	struct pim_device *other;
	uint64_t seq[PIM_ENGINES];

	ok(pim_device_open(spec(), &other));
	ok(pim_buffer_create(other, 64, PIM_PLACE_WINDOW, 0, &theirs));
	fails(-EINVAL, pim_submit(dev, job, 0, NULL));
	fails(-EINVAL, pim_submit(dev, job, 4097, NULL));
#define REFUSED(change, text) do { \
	job[1] = good; \
	change; \
	fails(-EINVAL, pim_submit(dev, job, 2, NULL)); \
	says(text); \
} while (0)
	REFUSED(job[1].engine = 2, "no engine");
	REFUSED(job[1].nwaits = 5, "5 waits");
	REFUSED(job[1].nbindings = 13, "13 bindings");
	REFUSED(job[1].payload_bytes = 513, "513 payload");
	REFUSED(job[1].payload_bytes = 4, "payload is NULL");
	REFUSED((job[1].nwaits = 1, job[1].wait[0].engine = PIM_HOST, job[1].wait[0].seq = 2), "not submitted yet");
	REFUSED((job[1].nwaits = 1, job[1].wait[0].engine = PIM_PIM, job[1].wait[0].seq = 1), "not submitted yet");
	REFUSED(job[1].batch_engines = 4, "batch_engines");
	REFUSED((job[1].batch = 1, job[1].batch_engines = 2), "batch_engines");
	REFUSED(job[1].timed = 1, "time_binding");
	REFUSED((bind(&job[1], theirs, PIM_READ)), "another device");
	REFUSED((bind(&job[1], w, 0)), "access");
	REFUSED((bind(&job[1], w, 4)), "access");
	REFUSED((bind(&job[1], w, 1), job[1].binding[0].bytes = 0), "not inside");
	REFUSED((bind(&job[1], w, 1), job[1].binding[0].bytes++), "not inside");
	REFUSED((bind(&job[1], w, 1), job[1].binding[0].offset = UINT64_MAX), "not inside");
	/* None of the good first jobs of those pairs was queued. */
	ok(pim_submit(dev, &good, 1, seq));
	ck_assert_uint_eq(seq[PIM_HOST], 1);
	ok(pim_wait(dev, TIMEOUT_MS));
	pim_buffer_destroy(theirs);
	pim_buffer_destroy(w);
	pim_device_close(other);
}
END_TEST

/* -- failed jobs ------------------------------------------------------------------------------------------------------ */

START_TEST(a_fill_past_its_binding_fails_the_device_with_a_message_that_names_the_job)
{
	struct pim_buffer *w = buffer(4 * KIB, PIM_PLACE_WINDOW, 0);
	struct pim_hw_copy fill;
	struct pim_job job[3] = { nop(PIM_HOST), fill_job(&fill, w, 4 * KIB, 1), nop(PIM_HOST) };

	job[1].binding[0].bytes = 2 * KIB;
	ok(pim_submit(dev, job, 3, NULL));
	fails(-EIO, pim_wait(dev, TIMEOUT_MS));
	says("HOST job 2 failed");
	says("outside its binding");
	says("status 2");
	/* It takes no more jobs, and goes on saying why. */
	fails(-EIO, pim_submit(dev, job, 1, NULL));
	says("HOST job 2 failed");
	fails(-EIO, pim_wait(dev, TIMEOUT_MS));
	pim_buffer_destroy(w);
}
END_TEST

START_TEST(a_write_to_a_read_only_binding_fails_with_the_program_word)
{
	struct pim_buffer *x = buffer(64 * KIB, PIM_PLACE_MEMORY, 0), *code = code_buffer(double_code, sizeof(double_code));
	struct pim_hw_program prog;
	struct pim_job job = double_job(&prog, code, x, x, 64 * KIB);

	job.binding[2].access = PIM_READ;
	ok(pim_acquire(dev, 1, PIM_OWNER_PIM, TIMEOUT_MS));
	ok(pim_submit(dev, &job, 1, NULL));
	fails(-EIO, pim_wait(dev, TIMEOUT_MS));
	says("PIM job 1 failed");
	says("does not allow");
	says("program word 2");
	pim_buffer_destroy(x);
	pim_buffer_destroy(code);
}
END_TEST

START_TEST(a_failed_job_leaves_other_devices_and_a_reopened_one_alone)
{
	struct pim_job bad = { .engine = PIM_HOST, .op = 999 };

	ok(pim_submit(dev, &bad, 1, NULL));
	fails(-EIO, pim_wait(dev, TIMEOUT_MS));
	says("means nothing");
	pim_device_close(dev);
	setup();
	bad = nop(PIM_PIM);
	run(&bad, 1);
}
END_TEST

/* -- authority -------------------------------------------------------------------------------------------------------- */

START_TEST(claims_change_owners_and_are_counted)
{
	struct pim_authority a, b;

	ok(pim_query(dev, 0, &a));
	ck_assert_int_eq(a.owner, PIM_OWNER_HOST);
	ck_assert_uint_eq(a.holder, 0);
	ok(pim_acquire(dev, 1, PIM_OWNER_PIM, TIMEOUT_MS));
	ok(pim_query(dev, 0, &b));
	ck_assert_int_eq(b.owner, PIM_OWNER_PIM);
	ck_assert_uint_eq(b.holder, getpid());
	ck_assert_uint_gt(b.handovers, a.handovers);
	ok(pim_acquire(dev, 1, PIM_OWNER_AUTO, 0));
	ok(pim_query(dev, 0, &b));
	ck_assert_int_eq(b.owner, PIM_OWNER_AUTO);
	ok(pim_release(dev, 1));
	ok(pim_query(dev, 0, &b));
	ck_assert_int_eq(b.owner, PIM_OWNER_HOST);
	ck_assert_uint_eq(b.holder, 0);
}
END_TEST

START_TEST(wrong_claims_are_refused)
{
	struct pim_authority a;

	fails(-EINVAL, pim_acquire(dev, 0, PIM_OWNER_PIM, 0));
	fails(-EINVAL, pim_acquire(dev, 1, 3, 0));
	fails(-EINVAL, pim_query(dev, info->domains, &a));
	fails(-ENOENT, pim_release(dev, 1));
	if (info->domains < 32)
		fails(-EINVAL, pim_acquire(dev, 1u << info->domains, PIM_OWNER_PIM, 0));
	if (info->domains > 1) {
		ok(pim_acquire(dev, 1, PIM_OWNER_PIM, 0));
		fails(-EDEADLK, pim_acquire(dev, 3, PIM_OWNER_PIM, 0));
		ok(pim_query(dev, 1, &a));
		ck_assert_int_eq(a.owner, PIM_OWNER_HOST);
		fails(-ENOENT, pim_release(dev, 3));
		ok(pim_release(dev, 1));
		ok(pim_acquire(dev, 3, PIM_OWNER_PIM, 0));
		ok(pim_release(dev, 3));
	}
}
END_TEST

START_TEST(jobs_need_the_claim_of_their_side)
{
	struct pim_buffer *m = buffer(64 * KIB, PIM_PLACE_MEMORY, 0), *code = code_buffer(double_code, sizeof(double_code));
	struct pim_hw_program prog;
	struct pim_hw_copy fill;
	struct pim_job pim = double_job(&prog, code, m, m, 64 * KIB), host = fill_job(&fill, m, 64 * KIB, 0);

	fails(-EACCES, pim_submit(dev, &pim, 1, NULL));
	says("not claimed");
	ok(pim_acquire(dev, 1, PIM_OWNER_HOST, TIMEOUT_MS));
	fails(-EACCES, pim_submit(dev, &pim, 1, NULL));
	run(&host, 1);
	ok(pim_acquire(dev, 1, PIM_OWNER_PIM, TIMEOUT_MS));
	fails(-EACCES, pim_submit(dev, &host, 1, NULL));
	says("claimed for PIM");
	run(&pim, 1);
	ok(pim_release(dev, 1));
	run(&host, 1);
	pim_buffer_destroy(m);
	pim_buffer_destroy(code);
}
END_TEST

START_TEST(a_job_without_a_policy_in_an_auto_domain_is_a_race_and_is_detected)
{
	struct pim_buffer *m = buffer(64 * KIB, PIM_PLACE_MEMORY, 0);
	struct pim_hw_copy fill;
	struct pim_job job = fill_job(&fill, m, 64 * KIB, 7);

	ok(pim_acquire(dev, 1, PIM_OWNER_AUTO, TIMEOUT_MS));
	ok(pim_submit(dev, &job, 1, NULL));
	fails(-EIO, pim_wait(dev, TIMEOUT_MS));
	says("the other side owns");
	ok(pim_release(dev, 1));
	/* Nothing was written. */
	ck_assert_uint_eq(map(m)[0], 0);
	pim_buffer_destroy(m);
}
END_TEST

START_TEST(a_release_waits_for_the_jobs_of_its_domain)
{
	const uint32_t bytes = 1024 * KIB;
	struct pim_buffer *m = buffer(bytes, PIM_PLACE_MEMORY, 0), *code = code_buffer(double_code, sizeof(double_code));
	struct pim_hw_program prog;
	struct pim_job job = double_job(&prog, code, m, m, bytes);
	float *p = (float *)map(m);

	for (uint32_t i = 0; i < bytes / 4; i++)
		p[i] = 1;
	ok(pim_acquire(dev, 1, PIM_OWNER_PIM, TIMEOUT_MS));
	for (int i = 0; i < 10; i++)
		ok(pim_submit(dev, &job, 1, NULL));
	ok(pim_release(dev, 1));
	ck_assert(p[0] == 1024 && p[bytes / 4 - 1] == 1024);
	ok(pim_wait(dev, TIMEOUT_MS));
	pim_buffer_destroy(m);
	pim_buffer_destroy(code);
}
END_TEST

/* -- threads ---------------------------------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 100

static void *submitter(void *arg)
{
	uint32_t pattern = 1 + (uint32_t)(uintptr_t)arg;
	struct pim_buffer *b;
	struct pim_hw_copy fill;
	struct pim_job job;
	void *p;

	if (pim_buffer_create(dev, 4 * KIB, PIM_PLACE_WINDOW, 0, &b) || pim_buffer_map(b, &p))
		return "no buffer";
	for (uint32_t i = 0; i < ROUNDS; i++) {
		job = fill_job(&fill, b, 4 * KIB, pattern * 1000 + i);
		if (pim_submit(dev, &job, 1, NULL) || pim_wait(dev, TIMEOUT_MS))
			return "a job failed";
		if (((uint32_t *)p)[1023] != pattern * 1000 + i)
			return "another thread's pattern";
	}
	pim_buffer_destroy(b);
	return NULL;
}

START_TEST(threads_may_share_a_device)
{
	pthread_t t[THREADS];
	const struct pim_job last = nop(PIM_HOST);
	uint64_t seq[PIM_ENGINES];

	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, submitter, (void *)i), 0);
	for (int i = 0; i < THREADS; i++) {
		void *text;

		pthread_join(t[i], &text);
		ck_assert_msg(!text, "%s", text ? (char *)text : "");
	}
	ok(pim_submit(dev, &last, 1, seq));
	ck_assert_uint_eq(seq[PIM_HOST], THREADS * ROUNDS + 1);
	ok(pim_wait(dev, TIMEOUT_MS));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		an_unknown_device_is_refused_with_the_choices,
		a_device_tells_its_geometry,
		a_buffer_is_rounded_mapped_and_cleared_also_when_its_memory_was_used_before,
		bad_sizes_places_and_domains_are_refused,
		a_full_domain_says_so_and_leaves_the_others_alone,
		a_buffer_may_outlive_its_device,
		jobs_are_numbered_per_engine_from_1,
		waiting_for_nothing_returns_at_once,
		many_more_jobs_than_the_ring_holds_all_run,
		fill_and_copy_move_bytes_between_window_and_memory,
		a_pim_program_computes_on_what_the_host_wrote_and_waits_order_the_engines,
		a_timed_batch_reports_the_same_modelled_time_in_every_run,
		a_buffer_may_be_destroyed_while_jobs_use_it,
		wrong_jobs_are_refused_as_a_whole,
		a_fill_past_its_binding_fails_the_device_with_a_message_that_names_the_job,
		a_write_to_a_read_only_binding_fails_with_the_program_word,
		a_failed_job_leaves_other_devices_and_a_reopened_one_alone,
		claims_change_owners_and_are_counted,
		wrong_claims_are_refused,
		jobs_need_the_claim_of_their_side,
		a_job_without_a_policy_in_an_auto_domain_is_a_race_and_is_detected,
		a_release_waits_for_the_jobs_of_its_domain,
		threads_may_share_a_device,
	};
	TCase *tc = tcase_create("device");
	Suite *s = suite_create("device");

	if (!strncmp(spec(), "drm", 3)) {
		struct pim_device *d;
		int err = pim_device_open(spec(), &d);

		if (err == -ENODEV) {
			printf("PIM_DEVICE=%s: %s\n", spec(), pim_strerror());
			return 77;
		}
		if (!err)
			pim_device_close(d);
	}
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
