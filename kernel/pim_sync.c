// SPDX-License-Identifier: GPL-2.0-only
/* Arrays of syncobjs from user space: fences to wait for, and places for a fence to be left in. */
#include <linux/dma-fence-chain.h>
#include <linux/dma-fence-unwrap.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_syncobj.h>

#include "pim_compat.h"
#include "pim_drv.h"

struct pim_out {
	struct drm_syncobj *obj;
	struct dma_fence_chain *chain; /* of a timeline point */
	u64 point;
};

static struct drm_pim_sync *pim_sync_copy(u64 array, u32 n)
{
	struct drm_pim_sync *syncs = vmemdup_user(u64_to_user_ptr(array), array_size(n, sizeof(*syncs)));
	u32 i;

	for (i = 0; !IS_ERR(syncs) && i < n; i++) {
		if (syncs[i].pad) {
			kvfree(syncs);
			return ERR_PTR(-EINVAL);
		}
	}
	return syncs;
}

/* Calls add for the fence of each syncobj; it takes the reference, whatever it returns. */
int pim_sync_in(struct drm_file *file, u64 array, u32 n, int (*add)(void *arg, struct dma_fence *fence), void *arg)
{
	struct drm_pim_sync *syncs;
	struct dma_fence *fence;
	int ret = 0;
	u32 i;

	if (!n)
		return 0;
	syncs = pim_sync_copy(array, n);
	if (IS_ERR(syncs))
		return PTR_ERR(syncs);
	for (i = 0; !ret && i < n; i++) {
		ret = drm_syncobj_find_fence(file, syncs[i].handle, syncs[i].point, 0, &fence);
		if (!ret)
			ret = add(arg, fence);
	}
	kvfree(syncs);
	return ret;
}

/* Look the syncobjs up and allocate what a fence will need: after this pim_sync_signal() cannot fail. */
int pim_sync_out(struct pim_sync_out *s, struct drm_file *file, u64 array, u32 n)
{
	struct drm_pim_sync *syncs;
	struct pim_out *out;
	int ret = 0;

	if (!n)
		return 0;
	s->out = kvcalloc(n, sizeof(*s->out), GFP_KERNEL);
	if (!s->out)
		return -ENOMEM;
	syncs = pim_sync_copy(array, n);
	if (IS_ERR(syncs))
		return PTR_ERR(syncs);
	while (!ret && s->n < n) {
		out = &s->out[s->n];
		out->point = syncs[s->n].point;
		out->obj = drm_syncobj_find(file, syncs[s->n].handle);
		s->n++;
		if (!out->obj) {
			ret = -ENOENT;
		} else if (out->point) {
			out->chain = dma_fence_chain_alloc();
			if (!out->chain)
				ret = -ENOMEM;
		}
	}
	kvfree(syncs);
	return ret;
}

/* Leave the fence in all of them. */
void pim_sync_signal(struct pim_sync_out *s, struct dma_fence *fence)
{
	struct pim_out *out;

	for (out = s->out; out < s->out + s->n; out++) {
		if (out->chain)
			drm_syncobj_add_point(out->obj, out->chain, fence, out->point);
		else
			drm_syncobj_replace_fence(out->obj, fence);
		out->chain = NULL; /* the syncobj has it */
	}
}

void pim_sync_put(struct pim_sync_out *s)
{
	while (s->n) {
		s->n--;
		if (s->out[s->n].obj)
			drm_syncobj_put(s->out[s->n].obj);
		dma_fence_chain_free(s->out[s->n].chain);
	}
	kvfree(s->out);
	s->out = NULL;
}

static int pim_fence_list_add_one(struct pim_fence_list *l, struct dma_fence *fence)
{
	struct dma_fence **bigger;

	if (l->n == l->room) {
		bigger = krealloc_array(l->fence, l->room + 8, sizeof(*bigger), GFP_KERNEL);
		if (!bigger)
			return -ENOMEM;
		l->fence = bigger;
		l->room += 8;
	}
	l->fence[l->n++] = dma_fence_get(fence);
	return 0;
}

/*
 * Add a fence, whose reference is taken whatever is returned. One that is made of others, of a timeline or of several jobs, is taken apart: an
 * array must not have an array in it.
 */
int pim_fence_list_add(void *list, struct dma_fence *fence)
{
	struct dma_fence_unwrap iter;
	struct dma_fence *part;
	int ret = 0;

	dma_fence_unwrap_for_each(part, &iter, fence) {
		if (!ret)
			ret = pim_fence_list_add_one(list, part);
	}
	dma_fence_put(fence);
	return ret;
}

void pim_fence_list_put(struct pim_fence_list *l)
{
	while (l->n)
		dma_fence_put(l->fence[--l->n]);
	kfree(l->fence);
	*l = (struct pim_fence_list){};
}

/* One fence for all of them, NULL for none; the list is empty afterwards. */
struct dma_fence *pim_fence_list_merge(struct pim_fence_list *l)
{
	struct dma_fence_array *array;
	struct dma_fence *one = NULL;

	if (l->n > 1) {
		array = pim_fence_array(l->n, l->fence);
		if (array) {
			*l = (struct pim_fence_list){}; /* the fence has it */
			return &array->base;
		}
		one = ERR_PTR(-ENOMEM);
	} else if (l->n) {
		one = dma_fence_get(l->fence[0]);
	}
	pim_fence_list_put(l);
	return one;
}
