// SPDX-License-Identifier: MIT
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "error.h"

static const struct pim_backend *const backends[] = { &pim_backend_emu, &pim_backend_drm };

static const char *const engine_name[PIM_ENGINES] = { "HOST", "PIM" };

/* By enum pim_hw_status: what happened, and what to do about it. */
static const struct {
	const char *what, *fix;
} job_errors[] = {
	[PIM_HW_OK] = { "no error", "" },
	[PIM_HW_E_INVALID] = { "a descriptor or instruction that means nothing", "check the payload against pim/hw.h" },
	[PIM_HW_E_BOUNDS] = { "an access outside its binding", "bind more of the buffer or lower the loop bounds" },
	[PIM_HW_E_ACCESS] = { "an access that its binding does not allow", "add PIM_READ or PIM_WRITE to the binding" },
	[PIM_HW_E_LOCALITY] = { "a unit sent to a column outside its banks", "make offsets of PIM operands multiples of the stripe" },
	[PIM_HW_E_AUTHORITY] = { "a domain that the other side owns",
				 "pim_acquire() the domain for the job's engine, or for AUTO and give the job a policy" },
	[PIM_HW_E_TIMEOUT] = { "a program past the card's instruction limit", "check the program's loops" },
	[PIM_HW_E_CANCELED] = { "a job it depends on failed", "see that job" },
};

int64_t pim_deadline(int timeout_ms)
{
	struct timespec now;

	if (timeout_ms < 0)
		return INT64_MAX;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + timeout_ms * INT64_C(1000000);
}

/* -- failures --------------------------------------------------------------------------------------------------------- */

static int fault_error(const struct pim_device *dev)
{
	const struct pim_fault *f = &dev->fault;
	size_t known = sizeof(job_errors) / sizeof(job_errors[0]);

	if (!f->status)
		return pim_error(-EIO, "card '%s' was lost: it was reset, removed or its emulator died; close the device and open it again",
				 dev->info.name);
	/* A queue tells of its first failure, so no job of this device is to blame. */
	if (f->status == PIM_HW_E_CANCELED)
		return pim_error(-EIO, "card '%s' was lost under %s job %" PRIu64 ": it was reset, or its emulator died; "
				 "close the device and open it again",
				 dev->info.name, f->engine < PIM_ENGINES ? engine_name[f->engine] : "unknown engine's", f->seq);
	return pim_error(-EIO, "%s job %" PRIu64 " failed: %s (status %u) at %s %u, unit %u, address 0x%" PRIx64
			 "; %s. The device takes no more jobs: close it and open it again",
			 f->engine < PIM_ENGINES ? engine_name[f->engine] : "unknown engine's", f->seq,
			 f->status < known ? job_errors[f->status].what : "unknown status", f->status,
			 f->engine == PIM_PIM ? "program word" : "binding", f->where, f->unit, f->address,
			 f->status < known ? job_errors[f->status].fix : "the card may be newer than this library");
}

int pim_device_fail(struct pim_device *dev, const struct pim_fault *fault)
{
	if (!dev->failed) {
		dev->failed = true;
		if (fault)
			dev->fault = *fault;
	}
	return fault_error(dev);
}

/* -- open and close --------------------------------------------------------------------------------------------------- */

void pim_device_init(struct pim_device *dev, const struct pim_backend *backend)
{
	dev->backend = backend;
	atomic_init(&dev->refs, 1);
	pthread_mutex_init(&dev->lock, NULL);
	pthread_mutex_init(&dev->authority_lock, NULL);
}

static void device_put(struct pim_device *dev)
{
	if (atomic_fetch_sub(&dev->refs, 1) == 1)
		dev->backend->close(dev);
}

PIM_API int pim_device_open(const char *spec, struct pim_device **dev)
{
	if (!spec || !dev)
		return pim_error(-EINVAL, "pim_device_open: %s is NULL", spec ? "dev" : "spec");
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		size_t len = strlen(backends[i]->name);

		if (strncmp(spec, backends[i]->name, len) || (spec[len] && spec[len] != ':'))
			continue;
		return backends[i]->open(spec[len] ? spec + len + 1 : "", dev);
	}
	return pim_error(-EINVAL, "no device '%s': give emu:CARDFILE, drm, or drm:/dev/dri/renderDN", spec);
}

/* Buffers that outlive it keep their memory until they are destroyed. */
PIM_API void pim_device_close(struct pim_device *dev)
{
	if (dev)
		device_put(dev);
}

PIM_API const struct pim_info *pim_device_info(const struct pim_device *dev)
{
	return &dev->info;
}

/* -- buffers ---------------------------------------------------------------------------------------------------------- */

PIM_API int pim_buffer_create(struct pim_device *dev, uint64_t bytes, enum pim_place place, uint32_t domain, struct pim_buffer **buf)
{
	uint64_t room, rounded;
	int err;

	if (place != PIM_PLACE_MEMORY && place != PIM_PLACE_WINDOW)
		return pim_error(-EINVAL, "pim_buffer_create: unknown place %d", (int)place);
	if (place == PIM_PLACE_MEMORY && domain >= dev->info.domains)
		return pim_error(-EINVAL, "pim_buffer_create: no domain %u: the card has %u", domain, dev->info.domains);
	if (place == PIM_PLACE_WINDOW && domain)
		return pim_error(-EINVAL, "pim_buffer_create: the host window has no domains: domain must be 0, not %u", domain);
	if (!bytes)
		return pim_error(-EINVAL, "pim_buffer_create: a buffer of 0 bytes");
	room = place == PIM_PLACE_MEMORY ? dev->info.domain_bytes : dev->info.window_bytes;
	if (bytes > room)
		return pim_error(-ENOSPC, "no room for %" PRIu64 " bytes in the %s: it has %" PRIu64 "; take a larger card", bytes,
				 place == PIM_PLACE_MEMORY ? "domain" : "host window", room);
	rounded = (bytes + dev->align - 1) / dev->align * dev->align;
	err = dev->backend->buffer_create(dev, rounded, place, domain, buf);
	if (err)
		return err;
	**buf = (struct pim_buffer){ .dev = dev, .bytes = rounded, .place = place, .domain = domain };
	atomic_fetch_add(&dev->refs, 1);
	return 0;
}

PIM_API void pim_buffer_destroy(struct pim_buffer *buf)
{
	struct pim_device *dev;

	if (!buf)
		return;
	dev = buf->dev;
	dev->backend->buffer_destroy(buf);
	device_put(dev);
}

PIM_API uint64_t pim_buffer_bytes(const struct pim_buffer *buf)
{
	return buf->bytes;
}

PIM_API int pim_buffer_map(struct pim_buffer *buf, void **ptr)
{
	return buf->dev->backend->buffer_map(buf, ptr);
}

/* -- jobs ------------------------------------------------------------------------------------------------------------- */

static int check_binding(const struct pim_device *dev, const struct pim_job *job, uint32_t i, uint32_t b)
{
	const struct pim_binding *bind = &job->binding[b];
	const struct pim_buffer *buf = bind->buf;
	uint32_t bit;

	if (!buf || buf->dev != dev)
		return pim_error(-EINVAL, "pim_submit: job %u, binding %u: %s", i, b, buf ? "a buffer of another device" : "no buffer");
	if (!bind->access || bind->access & ~(PIM_READ | PIM_WRITE))
		return pim_error(-EINVAL, "pim_submit: job %u, binding %u: access 0x%x is not made of PIM_READ and PIM_WRITE", i, b,
				 bind->access);
	if (!bind->bytes || bind->offset > buf->bytes || bind->bytes > buf->bytes - bind->offset)
		return pim_error(-EINVAL, "pim_submit: job %u, binding %u: %" PRIu64 " bytes at %" PRIu64 " are not inside the buffer's %" PRIu64,
				 i, b, bind->bytes, bind->offset, buf->bytes);
	if (buf->place == PIM_PLACE_WINDOW)
		return 0;
	bit = 1u << buf->domain;
	if (job->engine == PIM_PIM && !((dev->claimed[PIM_OWNER_PIM] | dev->claimed[PIM_OWNER_AUTO]) & bit))
		return pim_error(-EACCES, "pim_submit: PIM job %u, binding %u: domain %u is not claimed for PIM or AUTO; pim_acquire() it first",
				 i, b, buf->domain);
	if (job->engine == PIM_HOST && dev->claimed[PIM_OWNER_PIM] & bit)
		return pim_error(-EACCES, "pim_submit: HOST job %u, binding %u: domain %u is claimed for PIM; pim_acquire() it for HOST or AUTO first",
				 i, b, buf->domain);
	return 0;
}

static int check_job(const struct pim_device *dev, const struct pim_job *job, uint32_t i, const struct pim_mark *next)
{
	int err;

	if (job->engine != PIM_HOST && job->engine != PIM_PIM)
		return pim_error(-EINVAL, "pim_submit: job %u: no engine %d", i, (int)job->engine);
	if (job->nwaits > PIM_JOB_WAITS || job->nbindings > PIM_JOB_BINDINGS || job->payload_bytes > sizeof(((struct pim_hw_desc *)0)->payload))
		return pim_error(-EINVAL, "pim_submit: job %u: %u waits, %u bindings, %u payload bytes; at most %d, %d, 512", i, job->nwaits,
				 job->nbindings, job->payload_bytes, PIM_JOB_WAITS, PIM_JOB_BINDINGS);
	if (job->payload_bytes && !job->payload)
		return pim_error(-EINVAL, "pim_submit: job %u: payload is NULL", i);
	if (job->batch_engines >> PIM_ENGINES || (job->batch && !(job->batch_engines & 1u << job->engine)))
		return pim_error(-EINVAL, "pim_submit: job %u: batch_engines 0x%x does not name the job's own engine, or names others than the card's", i,
				 job->batch_engines);
	if (job->timed && job->time_binding >= job->nbindings)
		return pim_error(-EINVAL, "pim_submit: job %u: time_binding %u of %u bindings", i, job->time_binding, job->nbindings);
	for (uint32_t w = 0; w < job->nwaits; w++) {
		enum pim_engine e = job->wait[w].engine;

		if (e != PIM_HOST && e != PIM_PIM)
			return pim_error(-EINVAL, "pim_submit: job %u waits for engine %d: there is none", i, (int)e);
		if (job->wait[w].seq > next->seq[e])
			return pim_error(-EINVAL, "pim_submit: job %u waits for %s job %" PRIu64 ", which is not submitted yet (the last is %" PRIu64 ")",
					 i, engine_name[e], job->wait[w].seq, next->seq[e]);
	}
	for (uint32_t b = 0; b < job->nbindings; b++) {
		err = check_binding(dev, job, i, b);
		if (err)
			return err;
	}
	return 0;
}

PIM_API int pim_submit(struct pim_device *dev, const struct pim_job *job, uint32_t n, uint64_t seq[PIM_ENGINES])
{
	struct pim_mark next;
	int err;

	if (!n || n > PIM_MAX_JOBS || !job)
		return pim_error(-EINVAL, "pim_submit: %u jobs; from 1 to %u at once", job ? n : 0, PIM_MAX_JOBS);
	pthread_mutex_lock(&dev->lock);
	if (dev->failed) {
		err = fault_error(dev);
		goto out;
	}
	next = dev->mark;
	next.submits++;
	for (uint32_t i = 0; i < n; i++) {
		err = check_job(dev, &job[i], i, &next);
		if (err)
			goto out;
		next.seq[job[i].engine]++;
	}
	err = dev->backend->submit(dev, job, n, &next);
	if (err)
		goto out;
	dev->mark = next;
	if (seq)
		memcpy(seq, next.seq, sizeof(next.seq));
out:
	pthread_mutex_unlock(&dev->lock);
	return err;
}

PIM_API int pim_wait(struct pim_device *dev, int timeout_ms)
{
	struct pim_mark mark;
	int err;

	pthread_mutex_lock(&dev->lock);
	mark = dev->mark;
	pthread_mutex_unlock(&dev->lock);
	err = dev->backend->wait(dev, &mark, pim_deadline(timeout_ms));
	if (err == -ETIME)
		return pim_error(-ETIME, "jobs up to HOST %" PRIu64 " and PIM %" PRIu64 " are not done after %d ms; wait longer, or close the device",
				 mark.seq[PIM_HOST], mark.seq[PIM_PIM], timeout_ms);
	return err;
}

/* -- authority -------------------------------------------------------------------------------------------------------- */

static int check_domains(const struct pim_device *dev, const char *call, uint32_t domains)
{
	uint32_t all = dev->info.domains < 32 ? (1u << dev->info.domains) - 1 : UINT32_MAX;

	if (!domains || domains & ~all)
		return pim_error(-EINVAL, "%s: domains 0x%x: the card has 0x%x", call, domains, all);
	return 0;
}

static uint32_t claims(const struct pim_device *dev)
{
	return dev->claimed[0] | dev->claimed[1] | dev->claimed[2];
}

void pim_device_claim(struct pim_device *dev, uint32_t domains, int owner)
{
	for (int i = 0; i < 3; i++)
		dev->claimed[i] = i == owner ? dev->claimed[i] | domains : dev->claimed[i] & ~domains;
}

PIM_API int pim_acquire(struct pim_device *dev, uint32_t domains, enum pim_owner owner, int timeout_ms)
{
	uint32_t held;
	int err = check_domains(dev, "pim_acquire", domains);

	if (err)
		return err;
	if (owner != PIM_OWNER_HOST && owner != PIM_OWNER_PIM && owner != PIM_OWNER_AUTO)
		return pim_error(-EINVAL, "pim_acquire: unknown owner %d", (int)owner);
	pthread_mutex_lock(&dev->authority_lock);
	held = claims(dev) & domains;
	if (held && held != domains)
		err = pim_error(-EDEADLK, "pim_acquire: domains 0x%x of 0x%x are held already; release them first or ask for all at once", held,
				domains);
	else
		err = dev->backend->acquire(dev, domains, owner, timeout_ms ? pim_deadline(timeout_ms) : 0);
	pthread_mutex_unlock(&dev->authority_lock);
	return err;
}

PIM_API int pim_release(struct pim_device *dev, uint32_t domains)
{
	int err = check_domains(dev, "pim_release", domains);

	if (err)
		return err;
	pthread_mutex_lock(&dev->authority_lock);
	if (domains & ~claims(dev)) {
		err = pim_error(-ENOENT, "pim_release: domains 0x%x are not held", domains & ~claims(dev));
		goto out;
	}
	/* Before the card changes hands, so that no PIM job slips in between. */
	pthread_mutex_lock(&dev->lock);
	pim_device_claim(dev, domains, -1);
	pthread_mutex_unlock(&dev->lock);
	err = dev->backend->release(dev, domains);
out:
	pthread_mutex_unlock(&dev->authority_lock);
	return err;
}

PIM_API int pim_query(struct pim_device *dev, uint32_t domain, struct pim_authority *out)
{
	if (domain >= dev->info.domains)
		return pim_error(-EINVAL, "pim_query: no domain %u: the card has %u", domain, dev->info.domains);
	return dev->backend->query(dev, domain, out);
}

PIM_API int pim_now(struct pim_device *dev, uint64_t *ns)
{
	return dev->backend->now(dev, ns);
}
