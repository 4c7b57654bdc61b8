// SPDX-License-Identifier: MIT
/* Live objects of each client. A pool's lock is never held during a call. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <drm/pim_drm.h>

#include "fuzz.h"

static void destroy(struct client *c, enum pool_kind kind, uint32_t handle)
{
	struct drm_gem_close gem = { .handle = handle };
	struct drm_pim_queue_destroy queue = { .queue = handle };
	struct drm_syncobj_destroy sync = { .handle = handle };

	switch (kind) {
	case P_GEM:
		pim_call(c->fd, DRM_IOCTL_GEM_CLOSE, &gem);
		return;
	case P_QUEUE:
		pim_call(c->fd, DRM_IOCTL_PIM_QUEUE_DESTROY, &queue);
		return;
	case P_SYNCOBJ:
		pim_call(c->fd, DRM_IOCTL_SYNCOBJ_DESTROY, &sync);
		return;
	default:
		close((int)handle);
	}
}

bool pool_pick(struct client *c, uint64_t *rng, enum pool_kind kind, struct object *out)
{
	uint64_t r = rnd(rng);
	bool some;

	pthread_mutex_lock(&c->lock);
	some = c->count[kind] != 0;
	if (some)
		*out = c->pool[kind][r % c->count[kind]];
	pthread_mutex_unlock(&c->lock);
	return some;
}

bool pool_take(struct client *c, uint64_t *rng, enum pool_kind kind, struct object *out)
{
	uint64_t r = rnd(rng);
	struct object *o;
	bool some;

	pthread_mutex_lock(&c->lock);
	some = c->count[kind] != 0;
	if (some) {
		o = &c->pool[kind][r % c->count[kind]];
		*out = *o;
		*o = c->pool[kind][--c->count[kind]];
	}
	pthread_mutex_unlock(&c->lock);
	return some;
}

void pool_put(struct client *c, enum pool_kind kind, const struct object *o)
{
	struct object old = { 0 };
	unsigned int i;
	bool full;

	pthread_mutex_lock(&c->lock);
	full = c->count[kind] == POOL_MAX;
	i = full ? o->handle % POOL_MAX : c->count[kind]++;
	if (full)
		old = c->pool[kind][i];
	c->pool[kind][i] = *o;
	pthread_mutex_unlock(&c->lock);
	if (full)
		destroy(c, kind, old.handle);
}

void pool_number(struct client *c, enum pool_kind kind, uint32_t handle, uint64_t number)
{
	unsigned int i;

	pthread_mutex_lock(&c->lock);
	for (i = 0; i < c->count[kind]; i++)
		if (c->pool[kind][i].handle == handle && c->pool[kind][i].number < number)
			c->pool[kind][i].number = number;
	pthread_mutex_unlock(&c->lock);
}

void pool_drop(struct client *c, enum pool_kind kind, uint32_t handle)
{
	bool found = false;
	unsigned int i;

	pthread_mutex_lock(&c->lock);
	for (i = 0; !found && i < c->count[kind]; i++) {
		found = c->pool[kind][i].handle == handle;
		if (found)
			c->pool[kind][i] = c->pool[kind][--c->count[kind]];
	}
	pthread_mutex_unlock(&c->lock);
	if (found)
		destroy(c, kind, handle);
}

/* Its file is another one now: handles mean nothing any more, descriptors are closed. */
void pool_reset(struct client *c)
{
	struct object old[P_KINDS][POOL_MAX];
	unsigned int count[P_KINDS], k, i;

	pthread_mutex_lock(&c->lock);
	memcpy(old, c->pool, sizeof(old));
	memcpy(count, c->count, sizeof(count));
	memset(c->count, 0, sizeof(c->count));
	atomic_store(&c->held, 0);
	pthread_mutex_unlock(&c->lock);
	for (k = P_SYNCFILE; k < P_KINDS; k++)
		for (i = 0; i < count[k]; i++)
			close((int)old[k][i].handle);
}
