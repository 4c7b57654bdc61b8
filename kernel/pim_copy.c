// SPDX-License-Identifier: GPL-2.0-only
/* The copy ioctl: bytes between buffers by the CPU, whoever's memory it is. */
#include <linux/dma-buf.h>
#include <linux/iosys-map.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>

#include <drm/drm_utils.h>

#include "pim_compat.h"
#include "pim_drv.h"

#define PIM_COPY_CHUNK SZ_64K /* copied between two chances for others: to be scheduled, to get the domain */

/*
 * struct pim_copy_side - one of the two buffers
 * @bo: memory of this card, or of another one of this driver; NULL: of another driver, behind @buf
 * @map: the buffer, from its begin
 */
struct pim_copy_side {
	struct drm_gem_object *obj;
	struct pim_bo *bo;
	struct dma_buf *buf;
	struct iosys_map map;
	u64 offset;
	bool write;
	bool mapped;
};

static enum dma_data_direction pim_copy_dir(const struct pim_copy_side *side)
{
	return side->write ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
}

static int pim_copy_open(struct pim_copy_side *side, struct drm_file *file, u32 handle, u64 bytes)
{
	u64 end;

	side->obj = drm_gem_object_lookup(file, handle);
	if (!side->obj)
		return -ENOENT;
	if (!bytes || check_add_overflow(side->offset, bytes, &end) || end > side->obj->size)
		return -EINVAL;
	side->buf = pim_prime_imported(side->obj);
	side->bo = side->buf ? pim_prime_bo(side->buf) : pim_bo_from_gem(side->obj);
	return 0;
}

/* Of one memory, in one process or through two imports? */
static bool pim_copy_overlaps(const struct pim_copy_side *a, const struct pim_copy_side *b, u64 bytes)
{
	if (a->bo != b->bo || (!a->bo && a->buf != b->buf))
		return false;
	return a->offset < b->offset + bytes && b->offset < a->offset + bytes;
}

static int pim_copy_fences(struct pim_copy_side *side, u64 timeout_ns)
{
	long left = drm_timeout_abs_to_jiffies(min_t(u64, timeout_ns, KTIME_MAX));
	long ret = dma_resv_wait_timeout(side->obj->resv, dma_resv_usage_rw(side->write), true, left);

	return ret > 0 ? 0 : ret ? (int)ret : -ETIME;
}

static int pim_copy_map(struct pim_copy_side *side)
{
	struct pim_device *pim;
	int ret;

	if (side->bo) {
		pim = to_pim(side->bo->base.dev);
		iosys_map_set_vaddr_iomem(&side->map, pim->mem + (side->bo->off - pim->hw.window_off));
		return 0;
	}
	if (!side->buf->ops->vmap)
		return -EOPNOTSUPP;
	ret = dma_buf_vmap_unlocked(side->buf, &side->map);
	if (ret)
		return ret;
	ret = dma_buf_begin_cpu_access(side->buf, pim_copy_dir(side));
	if (ret)
		dma_buf_vunmap_unlocked(side->buf, &side->map);
	side->mapped = !ret;
	return ret;
}

static void pim_copy_close(struct pim_copy_side *side)
{
	if (side->mapped) {
		dma_buf_end_cpu_access(side->buf, pim_copy_dir(side));
		dma_buf_vunmap_unlocked(side->buf, &side->map);
	}
	if (side->obj)
		drm_gem_object_put(side->obj);
}

static int pim_copy_enter_one(struct pim_copy_side *side, u64 timeout_ns)
{
	if (!side->bo || pim_bo_in_window(side->bo))
		return 0;
	return pim_auth_host_begin(to_pim(side->bo->base.dev), side->bo->domain, timeout_ns);
}

static void pim_copy_leave_one(struct pim_copy_side *side)
{
	if (side->bo && !pim_bo_in_window(side->bo))
		pim_auth_host_end(to_pim(side->bo->base.dev), side->bo->domain);
}

/* HOST has both domains. Never waits for one while it keeps the other: whoever wants both might wait for us. */
static int pim_copy_enter(struct pim_copy_side *a, struct pim_copy_side *b, u64 timeout_ns)
{
	int ret;

	for (;;) {
		ret = pim_copy_enter_one(a, timeout_ns);
		if (ret)
			return ret;
		ret = pim_copy_enter_one(b, 0);
		if (!ret)
			return 0;
		pim_copy_leave_one(a);
		if (ret != -ETIME)
			return ret;
		swap(a, b);
	}
}

static bool pim_copy_unplugged(const struct pim_copy_side *side)
{
	return side->bo && drm_dev_is_unplugged(side->bo->base.dev);
}

static int pim_copy_chunk(struct drm_device *drm, struct pim_copy_side *dst, struct pim_copy_side *src, u64 at, size_t n, void *bounce)
{
	int idx;

	/* One section for all cards: an unplug of any waits for it. */
	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	if (pim_copy_unplugged(dst) || pim_copy_unplugged(src)) {
		drm_dev_exit(idx);
		return -ENODEV;
	}
	if (!src->map.is_iomem) {
		iosys_map_memcpy_to(&dst->map, dst->offset + at, src->map.vaddr + src->offset + at, n);
	} else if (!dst->map.is_iomem) {
		iosys_map_memcpy_from(dst->map.vaddr + dst->offset + at, &src->map, src->offset + at, n);
	} else {
		iosys_map_memcpy_from(bounce, &src->map, src->offset + at, n);
		iosys_map_memcpy_to(&dst->map, dst->offset + at, bounce, n);
	}
	drm_dev_exit(idx);
	return 0;
}

static int pim_copy_run(struct drm_device *drm, struct pim_copy_side *dst, struct pim_copy_side *src, u64 bytes, u64 timeout_ns)
{
	void *bounce = kvmalloc(PIM_COPY_CHUNK, GFP_KERNEL);
	u64 at;
	size_t n;
	int ret = bounce ? 0 : -ENOMEM;

	for (at = 0; !ret && at < bytes; at += n) {
		n = min_t(u64, bytes - at, PIM_COPY_CHUNK);
		ret = pim_copy_enter(dst, src, timeout_ns);
		if (ret)
			break;
		ret = pim_copy_chunk(drm, dst, src, at, n, bounce);
		pim_copy_leave_one(dst);
		pim_copy_leave_one(src);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	wmb(); /* before any job can see it */
	kvfree(bounce);
	return ret;
}

int pim_gem_copy_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_pim_gem_copy *args = data;
	struct pim_copy_side dst = { .offset = args->dst_offset, .write = true }, src = { .offset = args->src_offset };
	int ret;

	ret = pim_copy_open(&dst, file, args->dst, args->bytes);
	if (!ret)
		ret = pim_copy_open(&src, file, args->src, args->bytes);
	if (!ret && pim_copy_overlaps(&dst, &src, args->bytes))
		ret = -EINVAL;
	if (!ret)
		ret = pim_copy_fences(&dst, args->timeout_ns);
	if (!ret)
		ret = pim_copy_fences(&src, args->timeout_ns);
	if (!ret)
		ret = pim_copy_map(&dst);
	if (!ret)
		ret = pim_copy_map(&src);
	if (!ret)
		ret = pim_copy_run(drm, &dst, &src, args->bytes, args->timeout_ns);
	pim_copy_close(&dst);
	pim_copy_close(&src);
	return ret;
}
