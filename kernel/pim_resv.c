// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reservation objects: one for each domain and one for the window, shared by all buffers there, so that one fence speaks for all of them.
 * Jobs leave their fences for others. Of what others left they wait only for the sake of buffers that were exported, and jobs of one card
 * never wait for each other here: that is what their waits and syncobjs are for.
 */
#include <drm/drm_managed.h>
#include <drm/drm_util.h>

#include "pim_drv.h"

#define PIM_RESVS (PIM_HW_MAX_DOMAINS + 1) /* the window's is the last */

#define for_each_resv(i, mask) for ((i) = 0; (i) < PIM_RESVS; (i)++) for_each_if((mask) & BIT_ULL(i))

static struct dma_resv *pim_resv(struct pim_device *pim, u32 i)
{
	return i < PIM_HW_MAX_DOMAINS ? &pim->auth.domain[i].resv : &pim->window_resv;
}

struct dma_resv *pim_resv_of(struct pim_device *pim, const struct pim_bo *bo)
{
	return pim_resv(pim, pim_bo_in_window(bo) ? PIM_HW_MAX_DOMAINS : bo->domain);
}

/* A job of this engine will use this buffer. */
void pim_resv_use(struct pim_resv_set *set, const struct pim_bo *bo, u32 engine, bool write)
{
	u64 bit = BIT_ULL(pim_bo_in_window(bo) ? PIM_HW_MAX_DOMAINS : bo->domain);

	set->used |= bit;
	set->read[engine] |= bit;
	if (write)
		set->write[engine] |= bit;
	if (READ_ONCE(bo->exported))
		set->exported |= bit;
}

static void pim_resv_unlock_mask(struct pim_device *pim, u64 mask)
{
	u32 i;

	for_each_resv(i, mask)
		dma_resv_unlock(pim_resv(pim, i));
}

/* Lock them all, against importers that lock several buffers in an order of their own. */
int pim_resv_lock(struct pim_device *pim, struct pim_resv_set *set)
{
	u64 locked = 0;
	int ret = 0;
	u32 i;

	if (!set->used)
		return 0;
	ww_acquire_init(&set->ticket, &reservation_ww_class);
	while (!ret && locked != set->used) {
		for_each_resv(i, set->used & ~locked) {
			ret = dma_resv_lock_interruptible(pim_resv(pim, i), &set->ticket);
			if (ret)
				break;
			locked |= BIT_ULL(i);
		}
		if (!ret)
			break;
		pim_resv_unlock_mask(pim, locked);
		locked = BIT_ULL(i);
		if (ret == -EDEADLK)
			ret = dma_resv_lock_slow_interruptible(pim_resv(pim, i), &set->ticket);
	}
	if (ret)
		ww_acquire_fini(&set->ticket);
	else
		ww_acquire_done(&set->ticket);
	return ret;
}

void pim_resv_unlock(struct pim_device *pim, struct pim_resv_set *set)
{
	if (!set->used)
		return;
	pim_resv_unlock_mask(pim, set->used);
	ww_acquire_fini(&set->ticket);
}

/*
 * Room for the fences that pim_resv_publish() leaves, and what the first job has to wait for. With the locks. In a tenure of the claim that the
 * jobs run under there is nothing to wait for: the hand-over did, and whoever came later waits for the tenure's end.
 */
int pim_resv_prepare(struct pim_device *pim, struct pim_resv_set *set, u32 claimed, struct drm_sched_job *first)
{
	u64 written = set->write[PIM_HW_HOST] | set->write[PIM_HW_PIM];
	struct dma_resv_iter cursor;
	struct dma_fence *fence;
	int ret;
	u32 i;

	for_each_resv(i, set->used) {
		ret = dma_resv_reserve_fences(pim_resv(pim, i), PIM_HW_ENGINES);
		if (ret)
			return ret;
	}
	for_each_resv(i, set->exported) {
		if (i < PIM_HW_MAX_DOMAINS && (claimed & BIT(i)) && READ_ONCE(pim->auth.domain[i].tenure))
			continue;
		dma_resv_for_each_fence(&cursor, pim_resv(pim, i), dma_resv_usage_rw(written & BIT_ULL(i)), fence) {
			if (!pim_fence_foreign(pim, fence))
				continue;
			ret = drm_sched_job_add_dependency(first, dma_fence_get(fence));
			if (ret)
				return ret;
		}
	}
	return 0;
}

/* An engine's last fence, to all that its jobs use. Cannot fail; with the locks. */
void pim_resv_publish(struct pim_device *pim, struct pim_resv_set *set, u32 engine, struct dma_fence *fence)
{
	u32 i;

	for_each_resv(i, set->read[engine])
		dma_resv_add_fence(pim_resv(pim, i), fence,
				   set->write[engine] & BIT_ULL(i) ? DMA_RESV_USAGE_WRITE : DMA_RESV_USAGE_READ);
}

static bool pim_resv_signaled(struct dma_resv *resv, u64 context)
{
	struct dma_resv_iter cursor;
	struct dma_fence *fence;

	dma_resv_for_each_fence(&cursor, resv, DMA_RESV_USAGE_BOOKKEEP, fence)
		if (fence->context == context && !dma_fence_is_signaled(fence))
			return false;
	return true;
}

/*
 * Let go of the fences that have signalled: each of ours keeps the module, and nobody else removes them while nothing new comes. In place: a
 * list that became empty would keep dma_resv_wait_timeout() of Linux 6.1 going round for ever.
 */
void pim_resv_prune(struct pim_device *pim)
{
	struct dma_fence *stub = dma_fence_get_stub(), *fence;
	struct dma_resv_iter cursor;
	struct dma_resv *resv;
	u32 i;

	for_each_resv(i, pim->resvs) {
		resv = pim_resv(pim, i);
		dma_resv_lock(resv, NULL);
		dma_resv_for_each_fence(&cursor, resv, DMA_RESV_USAGE_BOOKKEEP, fence)
			if (fence != stub && pim_resv_signaled(resv, fence->context))
				dma_resv_replace_fences(resv, fence->context, stub, DMA_RESV_USAGE_BOOKKEEP);
		dma_resv_unlock(resv);
	}
	dma_fence_put(stub);
}

static void pim_resv_fini(struct drm_device *drm, void *unused)
{
	struct pim_device *pim = to_pim(drm);
	u32 i;

	for_each_resv(i, pim->resvs)
		dma_resv_fini(pim_resv(pim, i));
}

/* Before the buffers and the domains, so that they are gone first. */
int pim_resv_init(struct pim_device *pim)
{
	u32 i;

	pim->resvs = GENMASK_ULL(pim->hw.domains - 1, 0) | BIT_ULL(PIM_HW_MAX_DOMAINS);
	for_each_resv(i, pim->resvs)
		dma_resv_init(pim_resv(pim, i));
	return drmm_add_action_or_reset(&pim->drm, pim_resv_fini, NULL);
}
