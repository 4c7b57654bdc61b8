// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fences of authority. A tenure's fence lies in its domain's reservation object while the CPU and importers are shut out; that somebody waits
 * for it counts as a host request, and the kernel ends every tenure that host requests wait for.
 *
 * Like a job's fence they outlive everything: own lock, constant names, a hold on the module.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "pim_compat.h"
#include "pim_drv.h"

static const char *pim_tenure_driver_name(struct dma_fence *fence)
{
	return "pim";
}

static const char *pim_tenure_timeline_name(struct dma_fence *fence)
{
	return "pim-authority";
}

/* Somebody waits. Called with the fence's lock, once, never after it signalled: the device is there. */
static bool pim_tenure_enable(struct dma_fence *fence)
{
	struct pim_tenure *tenure = container_of(fence, struct pim_tenure, base);

	WRITE_ONCE(tenure->wanted, ktime_get_ns());
	pim_lend_kick(tenure->pim);
	return true;
}

static void pim_tenure_release(struct dma_fence *fence)
{
	dma_fence_free(fence);
	module_put(THIS_MODULE);
}

static const struct dma_fence_ops pim_tenure_ops = {
	.get_driver_name = pim_tenure_driver_name,
	.get_timeline_name = pim_tenure_timeline_name,
	.enable_signaling = pim_tenure_enable,
	.release = pim_tenure_release,
};

/* Of a change that is over. */
static const struct dma_fence_ops pim_done_ops = {
	.get_driver_name = pim_tenure_driver_name,
	.get_timeline_name = pim_tenure_timeline_name,
	.release = pim_tenure_release,
};

static struct pim_tenure *pim_tenure_alloc(const struct dma_fence_ops *ops, u64 context, u64 seqno)
{
	struct pim_tenure *tenure = kzalloc(sizeof(*tenure), GFP_KERNEL);

	if (!tenure)
		return NULL;
	spin_lock_init(&tenure->lock);
	INIT_LIST_HEAD(&tenure->link);
	__module_get(THIS_MODULE);
	dma_fence_init(&tenure->base, ops, &tenure->lock, context, seqno);
	return tenure;
}

static struct pim_tenure *pim_tenure_new(struct pim_device *pim, u32 d)
{
	struct pim_tenure *tenure = pim_tenure_alloc(&pim_tenure_ops, pim->auth.context + d, atomic64_inc_return(&pim->auth.tenures));

	if (tenure)
		tenure->pim = pim;
	return tenure;
}

/* A fence that tells that a change is over. */
struct dma_fence *pim_tenure_fence(void)
{
	struct pim_tenure *tenure = pim_tenure_alloc(&pim_done_ops, dma_fence_context_alloc(1), 1);

	return tenure ? &tenure->base : NULL;
}

/* Is it neither a job's of this card, which are waited for explicitly, nor a tenure's of it? Then it must be waited for. */
bool pim_fence_foreign(struct pim_device *pim, struct dma_fence *fence)
{
	if (pim_fence_is(fence, &pim_tenure_ops))
		return container_of(fence, struct pim_tenure, base)->pim != pim;
	return !pim_job_is_fence_of(fence, pim);
}

/*
 * Leave a fence for importers, and tell of the fences of theirs that must signal before PIM may have the domain: in one go, so that no
 * importer comes in between.
 */
int pim_tenure_begin(struct pim_device *pim, u32 d, pim_add_fence add, void *arg)
{
	struct pim_domain *dom = &pim->auth.domain[d];
	struct pim_tenure *tenure = pim_tenure_new(pim, d);
	struct dma_resv_iter cursor;
	struct dma_fence *fence;
	int ret = 0;

	if (!tenure)
		return -ENOMEM;
	dma_resv_lock(&dom->resv, NULL);
	dma_resv_for_each_fence(&cursor, &dom->resv, DMA_RESV_USAGE_BOOKKEEP, fence) {
		if (!ret && pim_fence_foreign(pim, fence))
			ret = add(arg, dma_fence_get(fence));
	}
	if (!ret)
		ret = dma_resv_reserve_fences(&dom->resv, 1);
	if (!ret) {
		dma_resv_add_fence(&dom->resv, &tenure->base, DMA_RESV_USAGE_WRITE);
		dom->tenure = tenure; /* the domain is busy: nobody else looks */
	}
	dma_resv_unlock(&dom->resv);
	if (ret)
		pim_tenure_end(tenure);
	return ret;
}

/* HOST has the domain again. */
void pim_tenure_end(struct pim_tenure *tenure)
{
	dma_fence_signal(&tenure->base);
	dma_fence_put(&tenure->base);
}
