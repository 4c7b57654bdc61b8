// SPDX-License-Identifier: MIT
/*
 * Training: what the CPU does around a step. Steps are queued ahead; each has a slot of the host window for its batch, its loss and its jobs'
 * times. The CPU touches PIM memory only between steps, for weights.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pim/safetensors.h>

#include "error.h"
#include "kernel.h"
#include "step.h"
#include "trainer.h"

#define PIM_API __attribute__((visibility("default")))
#define MAX_AHEAD 64u
#define DEFAULT_AHEAD 4u
#define STEP_NAME "optimizer.step"

/* A step graph with the memory that it runs in, ready to be submitted. */
struct runner {
	struct step step;
	struct pim_buffer *maps, *slots;
	char *slot_base;
	uint32_t nslots;
	struct pim_job *job; /* in order of submission */
	void *payload;
};

struct pim_trainer {
	struct pim_device *dev;
	struct pim_info info;
	const struct pim_net *net;
	struct pim_train_options opt;
	struct params params;
	struct pim_buffer *code;
	struct runner train, eval;
	struct pim_step_result *result; /* ring of 2 x opt.ahead: those in flight, and those done that nobody has fetched yet */
	uint64_t submitted, finished, fetched; /* training steps */
	uint64_t start; /* steps that the loaded weights had behind them, less those submitted then */
	uint64_t seq[PIM_ENGINES]; /* number of the last job submitted */
	uint32_t batch; /* number of the last timing batch */
	int timeout_ms;
	bool claimed;
};

/* -- authority -------------------------------------------------------------------------------------------------------- */

/* Between steps: memory to the CPU, and back to the card's two engines. */
static int to_host(struct pim_trainer *tr)
{
	return tr->claimed ? pim_acquire(tr->dev, 1, PIM_OWNER_HOST, tr->timeout_ms) : 0;
}

static int to_card(struct pim_trainer *tr)
{
	int err = pim_acquire(tr->dev, 1, PIM_OWNER_AUTO, tr->timeout_ms);

	if (!err)
		tr->claimed = true;
	return err;
}

/* -- submission ------------------------------------------------------------------------------------------------------- */

static void job_of(const struct runner *r, const struct pim_trainer *tr, int k)
{
	struct pim_buffer *const buf[] = { r->maps, tr->params.buf, tr->code, r->slots };
	const struct step *s = &r->step;
	const struct task *t = &s->task[s->order[k]];
	struct pim_job *j = &r->job[k];
	char *payload = (char *)r->payload + (size_t)k * sizeof(t->payload);

	memcpy(payload, &t->payload, sizeof(t->payload));
	*j = (struct pim_job){ .engine = t->engine,
			       .op = t->op,
			       .nbindings = t->nbind + 1,
			       .payload = payload,
			       .payload_bytes = t->payload_bytes,
			       .batch_engines = 3,
			       .close = s->number[k] == s->njobs[t->engine],
			       .timed = 1,
			       .time_binding = t->nbind };
	/* The double thresholds of the usual 64-entry queues, and a least tenure of a few switches (0.4 us both ways). */
	j->policy.kind = s->mode == PIM_SERIAL ? PIM_HW_POLICY_SERIAL : PIM_HW_POLICY_QUEUE;
	j->policy.high = 56;
	j->policy.low = 32;
	j->policy.min_ns = 1000;
	j->policy.max_ns = 0;
	for (unsigned int i = 0; i < t->nbind; i++)
		j->binding[i] = (struct pim_binding){ buf[t->bind[i].buf], t->bind[i].off, t->bind[i].bytes, t->bind[i].access };
	/* The whole step's reports: the card writes them when the step's last jobs end, to where those are bound. */
	j->binding[t->nbind] =
		(struct pim_binding){ r->slots, s->slot.timing, (uint64_t)s->ntasks * sizeof(struct pim_hw_timing), PIM_WRITE };
	j->time_off = (uint64_t)k * sizeof(struct pim_hw_timing);
}

/* What of a job is of its step: the optimizer's parameters, the masks of dropout. */
static void job_of_step(const struct task *t, struct pim_job *j, uint64_t step, const float param[PIM_HW_MAX_PARAMS])
{
	if (t->update) {
		struct pim_hw_program *p = (struct pim_hw_program *)(uintptr_t)j->payload;

		memcpy(p->param, param, sizeof(p->param));
	} else if (t->op == PIM_HW_OP_DROPOUT) {
		((struct pim_hw_dropout *)(uintptr_t)j->payload)->step = step;
	}
}

/* Queue the step on slot; lr is only read by training steps. */
static int submit(struct pim_trainer *tr, struct runner *r, uint32_t slot, float lr)
{
	const struct step *s = &r->step;
	uint64_t base[PIM_ENGINES] = { tr->seq[0], tr->seq[1] };
	uint64_t step = pim_trainer_steps(tr);
	float param[PIM_HW_MAX_PARAMS] = { 0 };
	uint32_t ntasks = (uint32_t)s->ntasks;
	int err = 0;

	tr->params.optimizer->params(&tr->opt, (double)lr, step + 1, param);
	tr->batch = tr->batch == UINT32_MAX ? 1 : tr->batch + 1;
	for (int k = 0; k < s->ntasks; k++) {
		const struct task *t = &s->task[s->order[k]];
		struct pim_job *j = &r->job[k];
		enum pim_engine other = !t->engine;

		/* The first job of each engine waits for the whole step before. */
		j->nwaits = 1;
		j->wait[0].engine = other;
		j->wait[0].seq = s->wait[k] ? base[other] + s->wait[k] : s->number[k] == 1 ? base[other] : 0;
		if (!j->wait[0].seq)
			j->nwaits = 0;
		j->batch = tr->batch;
		for (unsigned int i = 0; i < t->nbind; i++)
			if (t->bind[i].buf == BUF_SLOT)
				j->binding[i].offset = t->bind[i].off + slot * s->slot.bytes;
		j->binding[t->nbind].offset = s->slot.timing + slot * s->slot.bytes;
		job_of_step(t, j, step, param);
	}
	/* A call takes so many; the card sees one step all the same, its last jobs close it. */
	for (uint32_t k = 0, n; k < ntasks && !err; k += n) {
		n = ntasks - k < PIM_MAX_JOBS ? ntasks - k : PIM_MAX_JOBS;
		err = pim_submit(tr->dev, r->job + k, n, tr->seq);
	}
	return err;
}

/* A batch of n images into a slot: [c/16][planes][pixels][16] of map 0, whose layout is plain. */
static void fill_slot(const struct runner *r, uint32_t slot, const float *image, const uint32_t *label, uint32_t n)
{
	const struct step *s = &r->step;
	const struct map *m = &s->plan.map[0];
	char *base = r->slot_base + slot * s->slot.bytes;
	float *x = (float *)(base + s->slot.input);
	uint32_t *l = (uint32_t *)(base + s->slot.label);
	uint64_t hw = (uint64_t)m->h * m->w;

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t c = 0; c < m->c; c++) {
			for (uint32_t y = 0; y < m->h; y++) {
				for (uint32_t w = 0; w < m->w; w++) {
					uint64_t plane = (uint64_t)(y % m->wh) * m->ww + w % m->ww;
					uint64_t pixel = ((uint64_t)i * (m->h / m->wh) + y / m->wh) * (m->w / m->ww) + w / m->ww;

					x[(c / 16 * m->block_bytes + plane * m->plane_bytes) / 4 + pixel * 16 + c % 16] =
						image[(i * m->c + c) * hw + (uint64_t)y * m->w + w];
				}
			}
		}
		l[i] = label[i];
	}
}

static struct pim_step_result read_slot(const struct runner *r, uint32_t slot)
{
	const struct step *s = &r->step;
	const char *base = r->slot_base + slot * s->slot.bytes;
	const struct pim_hw_timing *time = (const void *)(base + s->slot.timing);
	struct pim_step_result res = { 0 };
	uint64_t begin = UINT64_MAX, end = 0;

	memcpy(&res.loss, base + s->slot.out, 4);
	memcpy(&res.correct, base + s->slot.out + 4, 4);
	for (int k = 0; k < s->ntasks; k++) {
		const struct pim_hw_timing *t = &time[k];

		*(s->task[s->order[k]].engine == PIM_HOST ? &res.host_ns : &res.pim_ns) +=
			t->end_ns - t->start_ns - t->authority_ns - t->switch_ns;
		res.stall_ns += t->authority_ns;
		res.switch_ns += t->switch_ns;
		res.switches += t->switches;
		if (t->queued_ns < begin)
			begin = t->queued_ns;
		if (t->end_ns > end)
			end = t->end_ns;
	}
	res.step_ns = end - begin;
	return res;
}

static int finish(struct pim_trainer *tr)
{
	int err;

	if (tr->finished == tr->submitted)
		return 0;
	err = pim_wait(tr->dev, tr->timeout_ms);
	if (err)
		return err;
	for (; tr->finished < tr->submitted; tr->finished++)
		tr->result[tr->finished % (2 * tr->opt.ahead)] = read_slot(&tr->train, (uint32_t)(tr->finished % tr->opt.ahead));
	return 0;
}

/* -- life ------------------------------------------------------------------------------------------------------------- */

static void runner_destroy(struct runner *r)
{
	if (r->maps)
		pim_buffer_destroy(r->maps);
	if (r->slots)
		pim_buffer_destroy(r->slots);
	free(r->job);
	free(r->payload);
	step_destroy(&r->step);
	*r = (struct runner){ 0 };
}

/* As many steps ahead as asked for, or as the host window has room for, with one batch of an evaluation beside them. */
static uint32_t slots_of(const struct pim_trainer *tr, const struct step *s, uint32_t asked)
{
	uint64_t room = tr->info.window_bytes / s->slot.bytes;

	return asked ? asked : room > DEFAULT_AHEAD ? DEFAULT_AHEAD : room > 2 ? (uint32_t)room - 1 : 1;
}

/* slots: 0 means slots_of(). */
static int runner_create(struct runner *r, struct pim_trainer *tr, uint32_t n, bool train, uint32_t slots)
{
	void *base;
	int err = step_build(&r->step, tr->net, &tr->params, &tr->info, n, train, &tr->opt);

	if (err)
		return err;
	r->nslots = slots_of(tr, &r->step, slots);
	err = pim_buffer_create(tr->dev, r->step.plan.bytes, PIM_PLACE_MEMORY, 0, &r->maps);
	if (!err)
		err = pim_buffer_create(tr->dev, r->step.slot.bytes * r->nslots, PIM_PLACE_WINDOW, 0, &r->slots);
	if (!err)
		err = pim_buffer_map(r->slots, &base);
	if (err)
		goto fail;
	r->slot_base = base;
	r->job = calloc((size_t)r->step.ntasks, sizeof(*r->job));
	r->payload = calloc((size_t)r->step.ntasks, sizeof(r->step.task->payload));
	if (!r->job || !r->payload) {
		err = pim_error(-ENOMEM, "no memory for %d jobs", r->step.ntasks);
		goto fail;
	}
	for (int k = 0; k < r->step.ntasks; k++)
		job_of(r, tr, k);
	return 0;
fail:
	runner_destroy(r);
	return err;
}

/* A job that does nothing, for the numbers that the device's jobs have reached: waits count from there. */
static int first_numbers(struct pim_trainer *tr)
{
	const struct pim_job nop = { .engine = PIM_HOST, .op = PIM_HW_OP_NOP };

	return pim_submit(tr->dev, &nop, 1, tr->seq);
}

static int upload_code(struct pim_trainer *tr)
{
	void *base;
	int err = pim_buffer_create(tr->dev, pim_kernel_image_bytes, PIM_PLACE_WINDOW, 0, &tr->code);

	if (!err)
		err = pim_buffer_map(tr->code, &base);
	if (!err)
		memcpy(base, pim_kernel_image, pim_kernel_image_bytes);
	return err;
}

PIM_API int pim_trainer_create(struct pim_device *dev, const struct pim_net *net, const struct pim_train_options *opt,
			       struct pim_trainer **out)
{
	const struct optimizer *optimizer;
	struct pim_trainer *tr;
	int err = pim_net_check(net);

	*out = NULL;
	if (err)
		return err;
	if (opt->sz != sizeof(*opt))
		return pim_error(-EINVAL, "pim_train_options.sz is %zu, this library knows %zu", opt->sz, sizeof(*opt));
	if ((opt->mode != PIM_SERIAL && opt->mode != PIM_PIPELINED) || opt->tile % 16 || opt->ahead > MAX_AHEAD)
		return pim_error(-EINVAL,
				 "mode %d, tile %u, ahead %u: mode is serial or pipelined, tile a multiple of 16, ahead at most %u",
				 opt->mode, opt->tile, opt->ahead, MAX_AHEAD);
	tr = calloc(1, sizeof(*tr));
	if (!tr)
		return pim_error(-ENOMEM, "no memory for a trainer");
	tr->dev = dev;
	tr->net = net;
	tr->opt = *opt;
	tr->info = *pim_device_info(dev);
	tr->timeout_ms = 60000;
	if (!tr->opt.batch)
		tr->opt.batch = 64;
	if (tr->opt.beta1 == 0 && tr->opt.beta2 == 0 && tr->opt.epsilon == 0) {
		tr->opt.beta1 = 0.9;
		tr->opt.beta2 = 0.999;
		tr->opt.epsilon = 1e-8;
	}
	optimizer = optimizer_find(&tr->opt);
	err = optimizer ? params_create(&tr->params, net, optimizer, dev) : -EINVAL;
	if (!err)
		err = upload_code(tr);
	if (!err)
		err = runner_create(&tr->train, tr, tr->opt.batch, true, tr->opt.ahead);
	if (err)
		goto fail;
	tr->opt.ahead = tr->train.nslots;
	tr->result = calloc(2 * tr->opt.ahead, sizeof(*tr->result));
	if (!tr->result)
		err = pim_error(-ENOMEM, "no memory for %u results", 2 * tr->opt.ahead);
	if (!err)
		err = params_init(&tr->params, tr->opt.seed);
	if (!err)
		err = to_card(tr);
	if (!err)
		err = first_numbers(tr);
	if (err)
		goto fail;
	*out = tr;
	return 0;
fail:
	pim_trainer_destroy(tr);
	return err;
}

PIM_API void pim_trainer_destroy(struct pim_trainer *tr)
{
	if (!tr)
		return;
	/* Jobs in flight use the buffers; after an error the device has dropped them. */
	if (tr->claimed) {
		(void)pim_wait(tr->dev, tr->timeout_ms);
		(void)pim_release(tr->dev, 1);
	}
	runner_destroy(&tr->train);
	runner_destroy(&tr->eval);
	if (tr->code)
		pim_buffer_destroy(tr->code);
	params_destroy(&tr->params);
	free(tr->result);
	free(tr);
}

PIM_API void pim_trainer_set_timeout(struct pim_trainer *tr, int ms)
{
	tr->timeout_ms = ms;
}

const struct step *trainer_step(const struct pim_trainer *tr)
{
	return &tr->train.step;
}

/* -- steps ------------------------------------------------------------------------------------------------------------ */

static int check_labels(const struct pim_trainer *tr, const uint32_t *label, uint32_t n)
{
	uint32_t classes = tr->net->layer[tr->net->n - 1].c;

	for (uint32_t i = 0; i < n; i++)
		if (label[i] >= classes)
			return pim_error(-EINVAL, "label %u of image %u: the network has classes 0..%u", label[i], i, classes - 1);
	return 0;
}

PIM_API int pim_trainer_step(struct pim_trainer *tr, const float *image, const uint32_t *label, float lr)
{
	uint32_t slot = (uint32_t)(tr->submitted % tr->opt.ahead);
	int err = check_labels(tr, label, tr->opt.batch);

	if (!err && tr->submitted - tr->finished == tr->opt.ahead)
		err = finish(tr);
	if (!err && tr->submitted - tr->fetched == 2 * tr->opt.ahead)
		err = pim_error(-ENOBUFS, "%u results wait to be fetched with pim_trainer_result()", 2 * tr->opt.ahead);
	if (err)
		return err;
	fill_slot(&tr->train, slot, image, label, tr->opt.batch);
	err = submit(tr, &tr->train, slot, lr);
	if (!err)
		tr->submitted++;
	return err;
}

PIM_API int pim_trainer_result(struct pim_trainer *tr, struct pim_step_result *res, int wait)
{
	int err;

	if (tr->fetched == tr->finished && wait) {
		err = finish(tr);
		if (err)
			return err;
	}
	if (tr->fetched == tr->finished)
		return 0;
	*res = tr->result[tr->fetched++ % (2 * tr->opt.ahead)];
	return 1;
}

PIM_API int pim_trainer_evaluate(struct pim_trainer *tr, const float *image, const uint32_t *label, uint32_t n, float *loss,
				 uint32_t *correct)
{
	uint64_t pixels = (uint64_t)tr->net->layer[0].c * tr->net->layer[0].h * tr->net->layer[0].w;
	uint32_t batch = tr->opt.batch < n ? tr->opt.batch : n;
	double sum = 0;
	int err = check_labels(tr, label, n);

	if (!err && !n)
		err = pim_error(-EINVAL, "evaluation of no images");
	if (!err)
		err = finish(tr);
	/* The largest batch that divides n, so that every batch is full and the mean loss exact. */
	while (n && n % batch)
		batch--;
	if (!err && tr->eval.maps && tr->eval.step.plan.n != batch)
		runner_destroy(&tr->eval);
	if (!err && !tr->eval.maps)
		err = runner_create(&tr->eval, tr, batch, false, 1);
	*correct = 0;
	for (uint32_t i = 0; i < n && !err; i += batch) {
		struct pim_step_result res;

		fill_slot(&tr->eval, 0, image + i * pixels, label + i, batch);
		err = submit(tr, &tr->eval, 0, 0);
		if (!err)
			err = pim_wait(tr->dev, tr->timeout_ms);
		if (err)
			break;
		res = read_slot(&tr->eval, 0);
		sum += (double)res.loss * batch;
		*correct += res.correct;
	}
	*loss = n ? (float)(sum / n) : 0;
	return err;
}

/* -- weights ---------------------------------------------------------------------------------------------------------- */

/* Runs fn while HOST owns the memory. */
static int with_host(struct pim_trainer *tr, int (*fn)(struct pim_trainer *tr, void *arg), void *arg)
{
	int err = finish(tr), back;

	if (!err)
		err = to_host(tr);
	if (err)
		return err;
	err = fn(tr, arg);
	back = to_card(tr);
	return err ? err : back;
}

static int store(struct pim_trainer *tr, void *st)
{
	return params_store(&tr->params, st);
}

static int load(struct pim_trainer *tr, void *st)
{
	const int64_t *step = NULL;
	int err = 0;

	if (pim_safetensors_has(st, STEP_NAME))
		err = pim_safetensors_i64(st, STEP_NAME, NULL, 0, &step);
	if (!err && step && *step < 0)
		err = pim_error(-EINVAL, "tensor " STEP_NAME " is %lld: a number of steps is not negative", (long long)*step);
	if (!err)
		err = params_load(&tr->params, st);
	if (!err)
		tr->start = (step ? (uint64_t)*step : 0) - tr->submitted;
	return err;
}

static int checksum(struct pim_trainer *tr, void *sum)
{
	return params_checksum(&tr->params, sum);
}

PIM_API int pim_trainer_save(struct pim_trainer *tr, const char *path)
{
	int64_t step = (int64_t)pim_trainer_steps(tr);
	struct pim_safetensors *st = NULL;
	int err = pim_safetensors_new(&st);

	if (!err)
		err = with_host(tr, store, st);
	if (!err)
		err = pim_safetensors_add_i64(st, STEP_NAME, NULL, 0, &step);
	if (!err)
		err = pim_safetensors_write(st, path);
	pim_safetensors_free(st);
	return err;
}

PIM_API int pim_trainer_load(struct pim_trainer *tr, const char *path)
{
	struct pim_safetensors *st = NULL;
	int err = pim_safetensors_read(path, &st);

	if (!err)
		err = with_host(tr, load, st);
	pim_safetensors_free(st);
	return err;
}

PIM_API uint64_t pim_trainer_steps(const struct pim_trainer *tr)
{
	return tr->start + tr->submitted;
}

PIM_API int pim_trainer_checksum(struct pim_trainer *tr, uint64_t *sum)
{
	return with_host(tr, checksum, sum);
}
