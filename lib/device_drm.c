// SPDX-License-Identifier: MIT
/* The card behind pim.ko: a DRM render node. One queue per device; a timeline syncobj counts its submits. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include <drm/pim_drm.h>

#include "device.h"
#include "error.h"

#define DRIVER "pim"
#define MAX_NODES 64

struct drm_device {
	struct pim_device base;
	int fd;
	uint32_t queue, timeline;
	char node[64];
	uint64_t use[PIM_HW_MAX_DOMAINS]; /* under dev->lock: timeline point of the last job bound to the domain */
};

struct drm_buffer {
	struct pim_buffer base;
	uint32_t handle;
	pthread_mutex_t lock; /* of the mapping */
	void *map;
	uint64_t map_bytes;
};

static struct drm_device *to_drm(struct pim_device *dev)
{
	return (struct drm_device *)dev;
}

/* -- open and close --------------------------------------------------------------------------------------------------- */

static int get_param(int fd, uint32_t param, uint64_t *value)
{
	struct drm_pim_get_param p = { .param = param };

	if (drmIoctl(fd, DRM_IOCTL_PIM_GET_PARAM, &p))
		return -errno;
	*value = p.value;
	return 0;
}

static int get_params(struct drm_device *d)
{
	struct pim_info *info = &d->base.info;
	const struct {
		uint32_t param;
		uint32_t *u32;
		uint64_t *u64;
	} map[] = {
		{ DRM_PIM_PARAM_DOMAINS, &info->domains, NULL },
		{ DRM_PIM_PARAM_DOMAIN_BYTES, NULL, &info->domain_bytes },
		{ DRM_PIM_PARAM_WINDOW_BYTES, NULL, &info->window_bytes },
		{ DRM_PIM_PARAM_STRIPE_BYTES, &info->stripe_bytes, NULL },
		{ DRM_PIM_PARAM_STACKS, &info->stacks, NULL },
		{ DRM_PIM_PARAM_PCS, &info->pcs, NULL },
		{ DRM_PIM_PARAM_BANK_GROUPS, &info->bank_groups, NULL },
		{ DRM_PIM_PARAM_BANKS, &info->banks, NULL },
		{ DRM_PIM_PARAM_BANKS_PER_UNIT, &info->banks_per_unit, NULL },
		{ DRM_PIM_PARAM_ROWS, &info->rows, NULL },
		{ DRM_PIM_PARAM_ROW_BYTES, &info->row_bytes, NULL },
		{ DRM_PIM_PARAM_TCK_PS, &info->tck_ps, NULL },
		{ DRM_PIM_PARAM_HOST_GFLOPS, &info->host_gflops, NULL },
		{ DRM_PIM_PARAM_HOST_MBPS, &info->host_mbps, NULL },
		{ DRM_PIM_PARAM_PIM_MBPS, &info->pim_mbps, NULL },
		{ DRM_PIM_PARAM_WINDOW_MBPS, &info->window_mbps, NULL },
		{ DRM_PIM_PARAM_CRF_WORDS, &info->crf_words, NULL },
		{ DRM_PIM_PARAM_SRF_WORDS, &info->srf_words, NULL },
		{ DRM_PIM_PARAM_RING_ENTRIES, &d->base.ring_entries, NULL },
	};
	uint64_t value = 0;
	int err;

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		err = get_param(d->fd, map[i].param, &value);
		if (err)
			return pim_error(err, "%s: parameter %u: %s; pim.ko is of another version than this library, install both from one tree",
					 d->node, map[i].param, strerror(-err));
		if (map[i].u64)
			*map[i].u64 = value;
		else
			*map[i].u32 = value;
	}
	for (uint32_t i = 0; i < sizeof(info->name) / 8; i++) {
		err = get_param(d->fd, DRM_PIM_PARAM_NAME0 + i, &value);
		if (err)
			return pim_error(err, "%s: the card's name: %s", d->node, strerror(-err));
		memcpy(info->name + 8 * i, &value, 8);
	}
	info->name[sizeof(info->name) - 1] = 0;
	return 0;
}

/* The first render node of our driver, or -ENODEV. */
static int find_node(char *node, size_t len)
{
	drmDevicePtr devs[MAX_NODES];
	int n = drmGetDevices2(0, devs, MAX_NODES);
	int err = -ENODEV;

	if (n < 0)
		n = 0;
	for (int i = 0; i < n && err; i++) {
		char link[512], target[512];
		const char *name;
		ssize_t got;

		if (!(devs[i]->available_nodes & 1 << DRM_NODE_RENDER))
			continue;
		/* By sysfs, so that a node of ours that we may not open is found, and named in the error. */
		snprintf(link, sizeof(link), "/sys/class/drm/%s/device/driver", strrchr(devs[i]->nodes[DRM_NODE_RENDER], '/') + 1);
		got = readlink(link, target, sizeof(target) - 1);
		if (got <= 0)
			continue;
		target[got] = 0;
		name = strrchr(target, '/');
		if (strcmp(name ? name + 1 : target, DRIVER))
			continue;
		snprintf(node, len, "%s", devs[i]->nodes[DRM_NODE_RENDER]);
		err = 0;
	}
	drmFreeDevices(devs, n);
	if (err)
		return pim_error(-ENODEV, "no PIM card with a driver: load it with modprobe pim (or insmod pim.ko), see dmesg if that is done; "
				 "or use emu:CARDFILE, the model in this process");
	return 0;
}

static int open_node(struct drm_device *d)
{
	drmVersionPtr version;
	uint64_t major = 0;
	bool ours;
	int err;

	d->fd = open(d->node, O_RDWR | O_CLOEXEC);
	if (d->fd < 0 && (errno == EACCES || errno == EPERM))
		return pim_error(-EACCES, "no permission on %s: add the user to group render (usermod -aG render USER) and log in again", d->node);
	if (d->fd < 0)
		return pim_error(errno == ENOENT ? -ENODEV : -errno, "%s: %s; is pim.ko loaded (modprobe pim)?", d->node, strerror(errno));
	version = drmGetVersion(d->fd);
	ours = version && !strcmp(version->name, DRIVER);
	if (!ours)
		err = pim_error(-ENODEV, "%s is no PIM card: its driver is '%s', not '%s'", d->node, version ? version->name : "not a DRM driver",
				DRIVER);
	drmFreeVersion(version);
	if (!ours)
		goto close;
	err = get_param(d->fd, DRM_PIM_PARAM_ABI_MAJOR, &major);
	if (err) {
		pim_error(err, "%s: the card's ABI version: %s", d->node, strerror(-err));
		goto close;
	}
	if (major != PIM_HW_ABI_MAJOR) {
		err = pim_error(-EPROTO, "%s speaks card ABI %" PRIu64 ", this library %u; install pim.ko, emulator and library from one tree", d->node,
				major, PIM_HW_ABI_MAJOR);
		goto close;
	}
	return 0;

close:
	close(d->fd);
	return err;
}

static int drm_open(const char *arg, struct pim_device **dev)
{
	struct drm_pim_queue_create create = { 0 };
	struct drm_device *d = calloc(1, sizeof(*d));
	int err = 0;

	if (!d)
		return pim_error(-ENOMEM, "no memory for a device");
	if (strlen(arg) >= sizeof(d->node))
		err = pim_error(-EINVAL, "drm:%s: no render node has such a long name", arg);
	else if (*arg)
		strcpy(d->node, arg);
	else
		err = find_node(d->node, sizeof(d->node));
	if (!err)
		err = open_node(d);
	if (err)
		goto free_device;
	err = get_params(d);
	if (err)
		goto close_fd;
	d->base.align = sysconf(_SC_PAGESIZE) > (long)d->base.info.stripe_bytes ? (uint64_t)sysconf(_SC_PAGESIZE) : d->base.info.stripe_bytes;
	err = drmSyncobjCreate(d->fd, 0, &d->timeline);
	if (err) {
		err = pim_error(-errno, "%s: no syncobj: %s", d->node, strerror(errno));
		goto close_fd;
	}
	if (drmIoctl(d->fd, DRM_IOCTL_PIM_QUEUE_CREATE, &create)) {
		err = errno == ENOSPC ? pim_error(-ENOSPC, "%s has no free queue: another process must close the card first", d->node) :
					pim_error(-errno, "%s: no queue: %s; see dmesg", d->node, strerror(errno));
		goto close_fd;
	}
	d->queue = create.queue;
	pim_device_init(&d->base, &pim_backend_drm);
	*dev = &d->base;
	return 0;

close_fd:
	close(d->fd);
free_device:
	free(d);
	return err;
}

/* The kernel ends queue, syncobj and claims with the file. */
static void drm_close(struct pim_device *dev)
{
	struct drm_device *d = to_drm(dev);

	close(d->fd);
	free(d);
}

/* -- memory ----------------------------------------------------------------------------------------------------------- */

static int drm_buffer_create(struct pim_device *dev, uint64_t bytes, enum pim_place place, uint32_t domain, struct pim_buffer **buf)
{
	struct drm_pim_gem_create create = { .size = bytes };
	struct drm_buffer *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return pim_error(-ENOMEM, "no memory for a buffer's description");
	if (place == PIM_PLACE_WINDOW)
		create.flags = DRM_PIM_GEM_WINDOW;
	else
		create.domains = 1u << domain;
	if (drmIoctl(to_drm(dev)->fd, DRM_IOCTL_PIM_GEM_CREATE, &create)) {
		err = -errno;
		free(b);
		if (err == -ENOSPC)
			return pim_error(err, "no room for %" PRIu64 " bytes in %s %u: destroy buffers, in other processes too, or take a larger card",
					 bytes, place == PIM_PLACE_WINDOW ? "the host window" : "domain", domain);
		return pim_error(err, "no buffer of %" PRIu64 " bytes: %s", bytes, strerror(-err));
	}
	b->handle = create.handle;
	pthread_mutex_init(&b->lock, NULL);
	*buf = &b->base;
	return 0;
}

static void drm_buffer_destroy(struct pim_buffer *buf)
{
	struct drm_buffer *b = (struct drm_buffer *)buf;
	struct drm_gem_close gem = { .handle = b->handle };

	if (b->map)
		munmap(b->map, b->map_bytes);
	drmIoctl(to_drm(buf->dev)->fd, DRM_IOCTL_GEM_CLOSE, &gem);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static int drm_buffer_map(struct pim_buffer *buf, void **ptr)
{
	struct drm_buffer *b = (struct drm_buffer *)buf;
	struct drm_pim_gem_mmap req = { .handle = b->handle };
	int fd = to_drm(buf->dev)->fd;
	int err = 0;
	void *map;

	pthread_mutex_lock(&b->lock);
	if (b->map)
		goto out;
	if (drmIoctl(fd, DRM_IOCTL_PIM_GEM_MMAP, &req)) {
		err = pim_error(-errno, "buffer of %" PRIu64 " bytes: no map offset: %s", buf->bytes, strerror(errno));
		goto out;
	}
	map = mmap(NULL, buf->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, req.offset);
	if (map == MAP_FAILED) {
		err = pim_error(-errno, "buffer of %" PRIu64 " bytes: mmap: %s", buf->bytes, strerror(errno));
		goto out;
	}
	b->map = map;
	b->map_bytes = buf->bytes;
out:
	*ptr = b->map;
	pthread_mutex_unlock(&b->lock);
	return err;
}

/* -- jobs ------------------------------------------------------------------------------------------------------------- */

static void encode(const struct pim_job *job, struct drm_pim_job *to, struct drm_pim_binding *bind)
{
	*to = (struct drm_pim_job){
		.engine = job->engine,
		.op = job->op,
		.flags = (job->timed ? DRM_PIM_JOB_TIMED : 0) | (job->close ? DRM_PIM_JOB_CLOSE : 0),
		.nwaits = job->nwaits,
		.nbindings = job->nbindings,
		.payload_bytes = job->payload_bytes,
		.bindings = (uintptr_t)bind,
		.payload = (uintptr_t)job->payload,
		.batch = job->batch,
		.batch_engines = job->batch_engines,
		.time_binding = job->timed ? job->time_binding : 0,
		.time_off = job->timed ? job->time_off : 0,
		.policy = { job->policy.kind, job->policy.high, job->policy.low, 0, job->policy.min_ns, job->policy.max_ns },
	};
	for (uint32_t w = 0; w < job->nwaits; w++)
		to->wait[w] = (struct drm_pim_wait){ .engine = job->wait[w].engine, .seq = job->wait[w].seq };
	for (uint32_t b = 0; b < job->nbindings; b++)
		bind[b] = (struct drm_pim_binding){ .handle = ((struct drm_buffer *)job->binding[b].buf)->handle,
						    .access = job->binding[b].access, .offset = job->binding[b].offset,
						    .bytes = job->binding[b].bytes };
}

/* Asks the kernel what failed, if anything; called with dev->lock held. Returns 0 or -EIO. */
static int check_queue(struct drm_device *d)
{
	struct drm_pim_queue_query q = { .queue = d->queue };

	if (drmIoctl(d->fd, DRM_IOCTL_PIM_QUEUE_QUERY, &q))
		return pim_device_fail(&d->base, NULL);
	if (q.status) {
		struct pim_fault fault = { .status = q.status, .engine = q.engine, .where = q.where, .unit = q.unit, .seq = q.seq,
					   .address = q.address };

		return pim_device_fail(&d->base, &fault);
	}
	return 0;
}

static int drm_submit(struct pim_device *dev, const struct pim_job *job, uint32_t n, const struct pim_mark *next)
{
	struct drm_device *d = to_drm(dev);
	struct drm_pim_sync out = { .handle = d->timeline, .point = next->submits };
	struct drm_pim_submit submit = { .queue = d->queue, .njobs = n, .nout = 1, .out_syncs = (uintptr_t)&out };
	struct drm_pim_job *jobs = malloc(n * sizeof(*jobs));
	struct drm_pim_binding *bind = malloc((size_t)n * PIM_JOB_BINDINGS * sizeof(*bind));
	uint32_t used = 0;
	int err;

	if (!jobs || !bind) {
		err = pim_error(-ENOMEM, "no memory for %u jobs", n);
		goto out;
	}
	for (uint32_t i = 0; i < n; i++)
		encode(&job[i], &jobs[i], bind + (size_t)i * PIM_JOB_BINDINGS);
	submit.jobs = (uintptr_t)jobs;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t b = 0; b < job[i].nbindings; b++)
			if (job[i].binding[b].buf->place == PIM_PLACE_MEMORY)
				used |= 1u << job[i].binding[b].buf->domain;
	err = drmIoctl(d->fd, DRM_IOCTL_PIM_SUBMIT, &submit) ? -errno : 0;
	if (err == -EIO || err == -ENODEV)
		err = check_queue(d) ? -EIO : pim_device_fail(dev, NULL);
	else if (err == -EACCES)
		pim_error(err, "%u jobs refused: a domain they are bound to is claimed by another process or not for their engine; see pim_query()", n);
	else if (err)
		pim_error(err, "%u jobs refused by pim.ko: %s", n, strerror(-err));
	for (uint32_t i = 0; !err && i < PIM_HW_MAX_DOMAINS; i++)
		if (used & 1u << i)
			d->use[i] = next->submits;
out:
	free(bind);
	free(jobs);
	return err;
}

static int drm_wait(struct pim_device *dev, const struct pim_mark *mark, int64_t deadline)
{
	struct drm_device *d = to_drm(dev);
	uint64_t point = mark->submits;
	int err = 0;

	/*
	 * libdrm's wrapper, not drmIoctl(): its time-out is absolute, so a restart after a signal keeps it. A point signals with an error,
	 * too; the queue tells.
	 */
	if (point && drmSyncobjTimelineWait(d->fd, &d->timeline, &point, 1, deadline, 0, NULL))
		err = -errno;
	if (err == -ETIME)
		return err;
	pthread_mutex_lock(&dev->lock);
	if (err)
		err = pim_error(err, "%s: waiting for jobs: %s", d->node, strerror(-err));
	else
		err = check_queue(d);
	pthread_mutex_unlock(&dev->lock);
	return err;
}

/* -- authority -------------------------------------------------------------------------------------------------------- */

/*
 * Until our jobs on the domains are done: the kernel ends a tenure as soon as the ring is empty, and cancels jobs that are queued behind it. A
 * job that failed is done, too.
 */
static int drain(struct drm_device *d, uint32_t domains, int64_t deadline)
{
	uint64_t point = 0;

	pthread_mutex_lock(&d->base.lock);
	for (uint32_t i = 0; i < PIM_HW_MAX_DOMAINS; i++)
		if (domains & 1u << i && d->use[i] > point)
			point = d->use[i];
	pthread_mutex_unlock(&d->base.lock);
	if (!point || !drmSyncobjTimelineWait(d->fd, &d->timeline, &point, 1, deadline, 0, NULL) || errno != ETIME)
		return 0;
	return deadline ? -ETIME : -EBUSY;
}

static int drm_acquire(struct pim_device *dev, uint32_t domains, enum pim_owner owner, int64_t deadline)
{
	struct drm_pim_authority a = { .op = DRM_PIM_AUTHORITY_ACQUIRE, .flags = deadline ? 0 : DRM_PIM_AUTHORITY_NONBLOCK, .domains = domains,
				       .owner = owner, .timeout_ns = deadline };
	int err = drain(to_drm(dev), domains, deadline);

	if (!err)
		err = drmIoctl(to_drm(dev)->fd, DRM_IOCTL_PIM_AUTHORITY, &a) ? -errno : 0;
	switch (err) {
	case 0:
		pthread_mutex_lock(&dev->lock);
		pim_device_claim(dev, domains, owner);
		pthread_mutex_unlock(&dev->lock);
		return 0;
	case -EBUSY:
		return pim_error(err, "domains 0x%x are held by another process or in use by jobs; give pim_acquire() a time-out", domains);
	case -ETIME:
		return pim_error(err, "domains 0x%x were held by another process or in use by jobs until the time-out; wait longer", domains);
	default:
		return pim_error(err, "domains 0x%x: pim.ko refused the claim: %s", domains, strerror(-err));
	}
}

static int drm_release(struct pim_device *dev, uint32_t domains)
{
	struct drm_pim_authority a = { .op = DRM_PIM_AUTHORITY_RELEASE, .domains = domains };

	drain(to_drm(dev), domains, INT64_MAX);
	if (drmIoctl(to_drm(dev)->fd, DRM_IOCTL_PIM_AUTHORITY, &a))
		return pim_error(-errno, "domains 0x%x: pim.ko refused the release: %s", domains, strerror(errno));
	return 0;
}

static int drm_query(struct pim_device *dev, uint32_t domain, struct pim_authority *out)
{
	struct drm_pim_domain_query a = { .domain = domain };

	if (drmIoctl(to_drm(dev)->fd, DRM_IOCTL_PIM_DOMAIN_QUERY, &a))
		return pim_error(-errno, "domain %u: pim.ko refused the query: %s", domain, strerror(errno));
	*out = (struct pim_authority){ .owner = a.owner, .holder = a.holder, .waiters = a.waiters, .handovers = a.handovers,
				       .switches = a.switches };
	return 0;
}

static int drm_now(struct pim_device *dev, uint64_t *ns)
{
	int err = get_param(to_drm(dev)->fd, DRM_PIM_PARAM_NOW_NS, ns);

	return err ? pim_error(err, "the card's clock: %s", strerror(-err)) : 0;
}

const struct pim_backend pim_backend_drm = {
	.name = "drm",
	.open = drm_open,
	.close = drm_close,
	.buffer_create = drm_buffer_create,
	.buffer_destroy = drm_buffer_destroy,
	.buffer_map = drm_buffer_map,
	.submit = drm_submit,
	.wait = drm_wait,
	.acquire = drm_acquire,
	.release = drm_release,
	.query = drm_query,
	.now = drm_now,
};
