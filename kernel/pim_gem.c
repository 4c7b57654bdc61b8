// SPDX-License-Identifier: GPL-2.0-only
/* Buffers: contiguous card memory of one domain or of the host window, and their CPU mappings. */

#include <drm/drm_managed.h>
#include <drm/drm_vma_manager.h>

#include "pim_compat.h"
#include "pim_drv.h"
#include "pim_place.h"

#define PIM_GEM_FLAGS (DRM_PIM_GEM_WINDOW | DRM_PIM_GEM_SIGBUS)
#define PIM_CLEAR_CHUNK SZ_4M /* cleared between two chances to reschedule */
#define PIM_FAULT_AROUND (SZ_2M / PAGE_SIZE) /* pages mapped by one fault, in aligned runs */

static void pim_gem_free(struct drm_gem_object *obj)
{
	struct pim_device *pim = to_pim(obj->dev);
	struct pim_bo *bo = to_pim_bo(obj);

	if (!pim_bo_in_window(bo)) {
		mutex_lock(&pim->auth.bo_lock);
		list_del(&bo->link);
		mutex_unlock(&pim->auth.bo_lock);
	}
	drm_gem_object_release(obj);
	mutex_lock(&pim->mm_lock);
	if (!pim_bo_in_window(bo))
		pim->free[bo->domain] += bo->node.size;
	drm_mm_remove_node(&bo->node);
	mutex_unlock(&pim->mm_lock);
	if (bo->dummy)
		__free_page(bo->dummy);
	kfree(bo);
}

/* One page of the buffer's own instead of SIGBUS: a process must not die because its card was unplugged. */
static vm_fault_t pim_gem_fault_dummy(struct vm_fault *vmf, struct pim_bo *bo)
{
	struct page *page = READ_ONCE(bo->dummy);

	if (!page) {
		page = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!page)
			return VM_FAULT_OOM;
		if (cmpxchg(&bo->dummy, NULL, page)) {
			__free_page(page);
			page = bo->dummy;
		}
	}
	return vmf_insert_pfn_prot(vmf->vma, vmf->address, page_to_pfn(page), vm_get_page_prot(vmf->vma->vm_flags));
}

static vm_fault_t pim_gem_insert(struct vm_fault *vmf, struct pim_bo *bo)
{
	struct pim_device *pim = to_pim(bo->base.dev);
	struct vm_area_struct *vma = vmf->vma;
	unsigned long page = vmf->pgoff - drm_vma_node_start(&bo->base.vma_node);
	unsigned long first = ALIGN_DOWN(page, PIM_FAULT_AROUND);
	unsigned long skip = page - first, ahead, addr, i;
	vm_fault_t ret;

	if (page >= bo->base.size >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	ret = vmf_insert_pfn(vma, vmf->address, PHYS_PFN(pim->bar + bo->off) + page);
	if (ret != VM_FAULT_NOPAGE)
		return ret;
	/* The neighbours are a courtesy: whatever stops it, the page asked for is there. */
	skip = min(skip, (vmf->address - vma->vm_start) >> PAGE_SHIFT);
	ahead = min3((unsigned long)PIM_FAULT_AROUND - (page - first), (vma->vm_end - vmf->address) >> PAGE_SHIFT,
		     (unsigned long)(bo->base.size >> PAGE_SHIFT) - page);
	addr = ALIGN_DOWN(vmf->address, PAGE_SIZE) - skip * PAGE_SIZE;
	for (i = 0; i < skip + ahead; i++, addr += PAGE_SIZE)
		if (i != skip && vmf_insert_pfn(vma, addr, PHYS_PFN(pim->bar + bo->off) + page - skip + i) != VM_FAULT_NOPAGE)
			break;
	return VM_FAULT_NOPAGE;
}

/*
 * PIM has the memory. The first try gives up the mmap lock and waits; a second try must not wait again, it goes back to user space,
 * which faults once more: so signals are seen in between.
 */
static vm_fault_t pim_gem_fault_wait(struct vm_fault *vmf, struct pim_bo *bo)
{
	struct pim_device *pim = to_pim(bo->base.dev);

	if (bo->flags & DRM_PIM_GEM_SIGBUS)
		return VM_FAULT_SIGBUS;
	if (!fault_flag_allow_retry_first(vmf->flags))
		return VM_FAULT_NOPAGE;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	pim_client_fault(vmf->vma, pim);
	drm_dev_get(&pim->drm); /* without the mmap lock nothing keeps the mapping, hence the file */
	drm_gem_object_get(&bo->base);
	mmap_read_unlock(vmf->vma->vm_mm);
	/* A fault of the kernel's own would be retried for ever with a signal pending: only a fatal one ends it. */
	pim_auth_wait_cpu(pim, bo->domain, (vmf->flags & FAULT_FLAG_USER) && (vmf->flags & FAULT_FLAG_INTERRUPTIBLE), MAX_SCHEDULE_TIMEOUT);
	drm_gem_object_put(&bo->base);
	drm_dev_put(&pim->drm);
	return VM_FAULT_RETRY;
}

static vm_fault_t pim_gem_fault(struct vm_fault *vmf)
{
	struct pim_bo *bo = to_pim_bo(vmf->vma->vm_private_data);
	struct pim_device *pim = to_pim(bo->base.dev);
	vm_fault_t ret;
	bool may = true;
	int idx;

	if (!drm_dev_enter(&pim->drm, &idx))
		return pim_gem_fault_dummy(vmf, bo);
	if (pim_bo_in_window(bo)) {
		ret = pim_gem_insert(vmf, bo);
	} else {
		down_read(&pim->auth.fault_sem);
		may = pim->auth.domain[bo->domain].cpu;
		ret = may ? pim_gem_insert(vmf, bo) : 0;
		up_read(&pim->auth.fault_sem);
	}
	drm_dev_exit(idx);
	return may ? ret : pim_gem_fault_wait(vmf, bo);
}

/*
 * A debugger's access, by the kernel: get_user_pages() refuses such mappings. It comes with the mmap lock of the other process held, so it
 * does not wait for authority.
 */
static int pim_gem_vm_access(struct vm_area_struct *vma, unsigned long addr, void *buf, int len, int write)
{
	struct pim_bo *bo = to_pim_bo(vma->vm_private_data);
	struct pim_device *pim = to_pim(bo->base.dev);
	u64 off = ((u64)(vma->vm_pgoff - drm_vma_node_start(&bo->base.vma_node)) << PAGE_SHIFT) + (addr - vma->vm_start);
	void __iomem *at;
	int ret, idx;

	if (write && !(vma->vm_flags & VM_WRITE))
		return -EACCES;
	if (off >= bo->base.size)
		return -EFAULT;
	ret = min3((u64)len, bo->base.size - off, (u64)(vma->vm_end - addr));
	if (!drm_dev_enter(&pim->drm, &idx))
		return -ENODEV;
	at = pim->mem + (bo->off - pim->hw.window_off) + off;
	down_read(&pim->auth.fault_sem);
	if (!pim_bo_in_window(bo) && !pim->auth.domain[bo->domain].cpu)
		ret = -EBUSY;
	else if (write)
		memcpy_toio(at, buf, ret);
	else
		memcpy_fromio(buf, at, ret);
	up_read(&pim->auth.fault_sem);
	drm_dev_exit(idx);
	return ret;
}

static const struct vm_operations_struct pim_gem_vm_ops = {
	.open = drm_gem_vm_open,
	.close = drm_gem_vm_close,
	.fault = pim_gem_fault,
	.access = pim_gem_vm_access,
};

static int pim_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	/* A private copy of raw page frames is a kernel bug, not a mapping. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot = pgprot_writecombine(vm_get_page_prot(vma->vm_flags));
	return 0;
}

static const struct drm_gem_object_funcs pim_gem_funcs = {
	.free = pim_gem_free,
	.export = pim_prime_export,
	.mmap = pim_gem_mmap,
	.vm_ops = &pim_gem_vm_ops,
};

/* NULL: it was imported, and is another device's memory. */
struct pim_bo *pim_bo_from_gem(struct drm_gem_object *obj)
{
	return obj->funcs == &pim_gem_funcs ? to_pim_bo(obj) : NULL;
}

/* Nobody may see what another client left. An access of the CPU's, so it waits until HOST has the domain. */
static int pim_gem_clear(struct pim_device *pim, struct pim_bo *bo)
{
	u64 off = bo->off - pim->hw.window_off, left = bo->base.size, n;
	int idx, ret;

	for (; left; left -= n, off += n) {
		n = min_t(u64, left, PIM_CLEAR_CHUNK);
		ret = pim_bo_in_window(bo) ? 0 : pim_auth_host_begin(pim, bo->domain, KTIME_MAX);
		if (ret)
			return ret;
		if (drm_dev_enter(&pim->drm, &idx)) {
			memset_io(pim->mem + off, 0, n);
			drm_dev_exit(idx);
		} else {
			ret = -ENODEV;
		}
		if (!pim_bo_in_window(bo))
			pim_auth_host_end(pim, bo->domain);
		if (ret)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	wmb(); /* before any job can name it */
	return 0;
}

/* Find room for it: in the domain of the mask with most free memory, or, where that is in pieces, in the next one. */
static int pim_gem_place(struct pim_device *pim, struct pim_bo *bo, u64 size, u64 align, u32 domains)
{
	u64 start;
	int ret, d;

	mutex_lock(&pim->mm_lock);
	if (pim_bo_in_window(bo)) {
		ret = drm_mm_insert_node_generic(&pim->window, &bo->node, size, align, 0, DRM_MM_INSERT_BEST);
		goto unlock;
	}
	do {
		d = pim_place_pick(pim->free, domains, size);
		if (d < 0) {
			ret = d;
			goto unlock;
		}
		domains &= ~BIT(d);
		start = d * pim->hw.domain_bytes;
		ret = drm_mm_insert_node_in_range(&pim->mm, &bo->node, size, align, 0, start, start + pim->hw.domain_bytes,
						  DRM_MM_INSERT_BEST);
	} while (ret);
	pim->free[d] -= size;
	bo->domain = d;
unlock:
	mutex_unlock(&pim->mm_lock);
	return ret;
}

int pim_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct drm_pim_gem_create *args = data;
	bool window = args->flags & DRM_PIM_GEM_WINDOW;
	u64 size = args->size, align = args->align;
	struct pim_bo *bo;
	int ret;

	if ((args->flags & ~PIM_GEM_FLAGS) || window == !!args->domains)
		return -EINVAL;
	if (args->domains & ~GENMASK_ULL(pim->hw.domains - 1, 0))
		return -EINVAL;
	ret = pim_place_round(&size, &align, pim->align, window ? pim->hw.window_bytes : pim->hw.domain_bytes);
	if (ret)
		return ret;
	/* A card that does not answer may still be writing to memory that was freed. */
	if (READ_ONCE(pim->lost))
		return -EIO;

	bo = kzalloc(sizeof(*bo), GFP_KERNEL);
	if (!bo)
		return -ENOMEM;
	bo->flags = args->flags;
	INIT_LIST_HEAD(&bo->link);
	ret = pim_gem_place(pim, bo, size, align, args->domains);
	if (ret) {
		kfree(bo);
		return ret;
	}
	bo->off = (window ? pim->hw.window_off : pim->hw.mem_off) + bo->node.start;

	bo->base.resv = pim_resv_of(pim, bo);
	drm_gem_private_object_init(drm, &bo->base, size);
	bo->base.funcs = &pim_gem_funcs;
	if (!window) {
		mutex_lock(&pim->auth.bo_lock);
		list_add_tail(&bo->link, &pim->auth.domain[bo->domain].bos);
		mutex_unlock(&pim->auth.bo_lock);
	}
	ret = pim_gem_clear(pim, bo);
	if (ret)
		goto put;
	ret = drm_gem_create_mmap_offset(&bo->base);
	if (ret)
		goto put;
	args->size = size;
	args->domain = bo->domain;
	args->address = bo->node.start;
	/* Last: from here on another thread may guess the handle. */
	ret = drm_gem_handle_create(file, &bo->base, &args->handle);
put:
	drm_gem_object_put(&bo->base);
	return ret;
}

int pim_gem_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_pim_gem_info *args = data;
	struct drm_gem_object *obj;
	struct pim_bo *bo;

	if (args->flags || args->pad)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	bo = pim_bo_from_gem(obj);
	args->size = obj->size;
	args->flags = bo ? bo->flags : DRM_PIM_GEM_IMPORTED;
	args->address = bo ? bo->node.start : 0;
	args->domain = bo ? bo->domain : 0;
	drm_gem_object_put(obj);
	return 0;
}

int pim_gem_mmap_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_pim_gem_mmap *args = data;
	struct drm_gem_object *obj;

	if (args->flags)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	args->offset = drm_vma_node_offset_addr(&obj->vma_node);
	drm_gem_object_put(obj);
	return 0;
}

static void pim_gem_fini(struct drm_device *drm, void *unused)
{
	struct pim_device *pim = to_pim(drm);

	drm_mm_takedown(&pim->window);
	drm_mm_takedown(&pim->mm);
	mutex_destroy(&pim->mm_lock);
}

int pim_gem_init(struct pim_device *pim)
{
	u32 d;

	if (pim->hw.window_bytes < PAGE_SIZE) {
		drm_err(&pim->drm, "the card's header is wrong: a window of %llu bytes\n", pim->hw.window_bytes);
		return -EPROTO;
	}
	mutex_init(&pim->mm_lock);
	drm_mm_init(&pim->mm, 0, pim->hw.domain_bytes * pim->hw.domains);
	drm_mm_init(&pim->window, 0, pim->hw.window_bytes);
	for (d = 0; d < pim->hw.domains; d++)
		pim->free[d] = pim->hw.domain_bytes;
	return drmm_add_action_or_reset(&pim->drm, pim_gem_fini, NULL);
}
