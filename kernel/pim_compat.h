/* SPDX-License-Identifier: GPL-2.0-only */
/* One spelling of the interfaces that differ between kernels; pim_config.h says which kernel has which. */
#ifndef PIM_COMPAT_H
#define PIM_COMPAT_H

#include <linux/dma-buf.h>
#include <linux/dma-fence-array.h>
#include <linux/mm.h>

#include <drm/drm_prime.h>
#include <drm/gpu_scheduler.h>

#include "pim_config.h"

#ifdef PIM_HAVE_DRIVER_DATE
#define PIM_DRIVER_DATE(d) .date = d,
#else
#define PIM_DRIVER_DATE(d)
#endif

#ifdef PIM_HAVE_EVENTFD_SIGNAL_N
#define pim_eventfd_signal(ctx) eventfd_signal(ctx, 1)
#else
#define pim_eventfd_signal(ctx) eventfd_signal(ctx)
#endif

/* Without a word from the driver these kernels know no PRIME; the others do the same by default. */
#ifdef PIM_HAVE_DRIVER_PRIME_MMAP
#define PIM_DRIVER_PRIME \
	.prime_handle_to_fd = drm_gem_prime_handle_to_fd, .prime_fd_to_handle = drm_gem_prime_fd_to_handle,
#else
#define PIM_DRIVER_PRIME
#endif

/* MODULE_IMPORT_NS() took a name before it took a string. */
#ifdef PIM_HAVE_IMPORT_NS_NAME
#define PIM_NS_DMA_BUF DMA_BUF
#else
#define PIM_NS_DMA_BUF "DMA_BUF"
#endif

/* Without the lock of the buffer's reservation object. */
#ifndef PIM_HAVE_DMA_BUF_VMAP_UNLOCKED
#define dma_buf_vmap_unlocked dma_buf_vmap
#define dma_buf_vunmap_unlocked dma_buf_vunmap
#endif

#ifndef PIM_HAVE_VM_FLAGS_SET
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

/* Is it one of these? Newer kernels mark the pointer for RCU; that of a fence with a release function stays. */
static inline bool pim_fence_is(const struct dma_fence *fence, const struct dma_fence_ops *ops)
{
	return (__force const struct dma_fence_ops *)fence->ops == ops;
}

/* Signals once all of its fences have. Takes over @fences on success. */
static inline struct dma_fence_array *pim_fence_array(int n, struct dma_fence **fences)
{
#ifdef PIM_HAVE_FENCE_ARRAY_ANY
	return dma_fence_array_create(n, fences, dma_fence_context_alloc(1), 1, false);
#else
	return dma_fence_array_create(n, fences, dma_fence_context_alloc(1), 1);
#endif
}

/* A file's identity: the DRM core's, where fdinfo shows that. */
#ifdef PIM_HAVE_FILE_CLIENT_ID
#define PIM_FILE_ID(pim, file) ((file)->client_id)
#else
#define PIM_FILE_ID(pim, file) atomic64_inc_return(&(pim)->file_ids)
#endif

/* The DRM core writes the first lines of fdinfo, the driver the others; or the driver all of them. */
#ifdef PIM_HAVE_SHOW_FDINFO
#define PIM_FOPS_SHOW_FDINFO drm_show_fdinfo
#define PIM_DRIVER_SHOW_FDINFO(fn) .show_fdinfo = fn,
#else
#define PIM_FOPS_SHOW_FDINFO pim_show_fdinfo
#define PIM_DRIVER_SHOW_FDINFO(fn)
#endif

#ifdef FOP_UNSIGNED_OFFSET
#define PIM_FOP_FLAGS .fop_flags = FOP_UNSIGNED_OFFSET,
#else
#define PIM_FOP_FLAGS
#endif

/* The callback that names one more fence to wait for. */
#ifdef PIM_HAVE_SCHED_PREPARE_JOB
#define PIM_SCHED_DEPENDENCY prepare_job
#else
#define PIM_SCHED_DEPENDENCY dependency
#endif

/* Kernels have turned the order of priorities around, and given the lowest another name. */
#ifdef PIM_HAVE_SCHED_PRIORITY_LOW
#define PIM_SCHED_LOW DRM_SCHED_PRIORITY_LOW
#else
#define PIM_SCHED_LOW DRM_SCHED_PRIORITY_MIN
#endif

/* No time-out of the scheduler's own: pim_watchdog.c watches the card as a whole. */
static inline int pim_sched_init(struct drm_gpu_scheduler *sched, const struct drm_sched_backend_ops *ops, u32 limit, const char *name,
				 struct device *dev)
{
#if defined(PIM_HAVE_SCHED_INIT_ARGS)
	const struct drm_sched_init_args args = {
		.ops = ops,
#ifdef PIM_HAVE_SCHED_INIT_ARGS_RQS
		.num_rqs = DRM_SCHED_PRIORITY_COUNT,
#endif
		.credit_limit = limit,
		.timeout = MAX_SCHEDULE_TIMEOUT,
		.name = name,
		.dev = dev,
	};

	return drm_sched_init(sched, &args);
#elif defined(PIM_HAVE_SCHED_INIT_11)
	return drm_sched_init(sched, ops, NULL, DRM_SCHED_PRIORITY_COUNT, limit, 0, MAX_SCHEDULE_TIMEOUT, NULL, NULL, name, dev);
#elif defined(PIM_HAVE_SCHED_INIT_9)
	return drm_sched_init(sched, ops, limit, 0, MAX_SCHEDULE_TIMEOUT, NULL, NULL, name, dev);
#else
#error "this kernel's drm_sched_init() is not known: add a probe to kernel/probe.sh"
#endif
}

static inline int pim_sched_job_init(struct drm_sched_job *job, struct drm_sched_entity *entity, void *owner, u64 client)
{
#if defined(PIM_HAVE_SCHED_JOB_CLIENT)
	return drm_sched_job_init(job, entity, 1, owner, client);
#elif defined(PIM_HAVE_SCHED_JOB_CREDITS)
	return drm_sched_job_init(job, entity, 1, owner);
#else
	return drm_sched_job_init(job, entity, owner);
#endif
}

#endif
