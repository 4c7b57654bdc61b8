// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sharing with other devices through dma-buf.
 *
 * What is exported is card memory without pages. Mappings of it into user space are ours: taken away at a hand-over, waited for, dummy
 * pages after an unplug. Another device gets bus addresses, if it says that it can do without pages and there is a way between the two;
 * fences are all that keeps it off while PIM has the domain. There is no mapping into the kernel: it could neither be taken away at a
 * hand-over nor be waited for in bounded time; DRM_IOCTL_PIM_GEM_COPY is the way for importers that use the CPU.
 *
 * What is imported stays memory of its exporter: the card has no DMA, so nothing is attached, and the CPU gets at it through the exporter.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>

#include "pim_compat.h"
#include "pim_drv.h"

#define PIM_SG_BYTES SZ_1G /* in one entry: a length is 32 bits */

struct pim_import {
	struct drm_gem_object base;
	struct dma_buf *buf;
};

/* -- export --------------------------------------------------------------------------------------------------------- */

static int pim_dmabuf_attach(struct dma_buf *buf, struct dma_buf_attachment *attach)
{
	struct drm_gem_object *obj = buf->priv;
	struct pim_device *pim = to_pim(obj->dev);

	if (!attach->peer2peer) {
		drm_dbg(&pim->drm, "%s cannot import card memory: it wants pages\n", dev_name(attach->dev));
		return -EOPNOTSUPP;
	}
	if (pci_p2pdma_distance(pim->pdev, attach->dev, false) < 0) {
		drm_dbg(&pim->drm, "%s cannot import card memory: no peer-to-peer way to the card\n", dev_name(attach->dev));
		return -EOPNOTSUPP;
	}
	return 0;
}

static void pim_dmabuf_unmap_sg(struct device *dev, struct sg_table *sgt, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_sg(sgt, sg, i)
		if (sg_dma_len(sg))
			dma_unmap_resource(dev, sg_dma_address(sg), sg_dma_len(sg), dir, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(sgt);
	kfree(sgt);
}

static int pim_dmabuf_map_sg(struct device *dev, struct sg_table *sgt, phys_addr_t at, size_t left, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	dma_addr_t addr;
	size_t n;
	int i;

	for_each_sgtable_sg(sgt, sg, i) {
		n = min_t(size_t, left, PIM_SG_BYTES);
		addr = dma_map_resource(dev, at, n, dir, DMA_ATTR_SKIP_CPU_SYNC);
		if (dma_mapping_error(dev, addr))
			return -ENOMEM;
		sg_set_page(sg, NULL, n, 0);
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = n;
		at += n;
		left -= n;
	}
	return 0;
}

static struct sg_table *pim_dmabuf_map(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	struct pim_bo *bo = pim_prime_bo(attach->dmabuf);
	struct pim_device *pim = to_pim(bo->base.dev);
	struct sg_table *sgt;
	int ret, idx;

	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(sgt, DIV_ROUND_UP(bo->base.size, PIM_SG_BYTES), GFP_KERNEL);
	if (ret) {
		kfree(sgt);
		return ERR_PTR(ret);
	}
	if (drm_dev_enter(&pim->drm, &idx)) {
		ret = pim_dmabuf_map_sg(attach->dev, sgt, pim->bar + bo->off, bo->base.size, dir);
		drm_dev_exit(idx);
	} else {
		ret = -ENODEV;
	}
	if (ret) {
		pim_dmabuf_unmap_sg(attach->dev, sgt, dir);
		return ERR_PTR(ret);
	}
	return sgt;
}

static void pim_dmabuf_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt, enum dma_data_direction dir)
{
	pim_dmabuf_unmap_sg(attach->dev, sgt, dir);
}

static int pim_dmabuf_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	return drm_gem_prime_mmap(buf->priv, vma);
}

/* At the begin the core has waited for the fences, and faults wait for authority: only the end is left to do. */
static int pim_dmabuf_end_cpu_access(struct dma_buf *buf, enum dma_data_direction dir)
{
	wmb(); /* what was stored through a mapping, before whoever is told next */
	return 0;
}

static void pim_dmabuf_release(struct dma_buf *buf)
{
	struct drm_gem_object *obj = buf->priv;

	pim_resv_prune(to_pim(obj->dev)); /* what its users imported into it */
	drm_gem_dmabuf_release(buf);
}

static const struct dma_buf_ops pim_dmabuf_ops = {
	.attach = pim_dmabuf_attach,
	.map_dma_buf = pim_dmabuf_map,
	.unmap_dma_buf = pim_dmabuf_unmap,
	.mmap = pim_dmabuf_mmap,
	.end_cpu_access = pim_dmabuf_end_cpu_access,
	.release = pim_dmabuf_release,
};

struct dma_buf *pim_prime_export(struct drm_gem_object *obj, int flags)
{
	struct dma_buf_export_info info = {
		.exp_name = "pim",
		.owner = obj->dev->driver->fops->owner,
		.ops = &pim_dmabuf_ops,
		.size = obj->size,
		.flags = flags,
		.resv = obj->resv,
		.priv = obj,
	};

	WRITE_ONCE(to_pim_bo(obj)->exported, true);
	return drm_gem_dmabuf_export(obj->dev, &info);
}

/* The memory behind a dma-buf of this driver, of this card or another one; NULL: another driver's. */
struct pim_bo *pim_prime_bo(struct dma_buf *buf)
{
	return buf->ops == &pim_dmabuf_ops ? to_pim_bo(buf->priv) : NULL;
}

/* -- import --------------------------------------------------------------------------------------------------------- */

static struct pim_import *to_pim_import(struct drm_gem_object *obj)
{
	return container_of(obj, struct pim_import, base);
}

static void pim_import_free(struct drm_gem_object *obj)
{
	struct pim_import *import = to_pim_import(obj);

	drm_gem_object_release(obj);
	dma_buf_put(import->buf);
	kfree(import);
}

/* The mapping is the exporter's from here on, and keeps its dma-buf, not our object. */
static int pim_import_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	int ret;

	vma->vm_private_data = NULL;
	vma->vm_ops = NULL;
	ret = dma_buf_mmap(to_pim_import(obj)->buf, vma, 0);
	if (ret)
		return ret;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP); /* what DRM insists on, and not every exporter does */
	drm_gem_object_put(obj);
	return 0;
}

static const struct drm_gem_object_funcs pim_import_funcs = {
	.free = pim_import_free,
	.mmap = pim_import_mmap,
};

/* The dma-buf that an object was imported from; NULL: it is card memory. */
struct dma_buf *pim_prime_imported(struct drm_gem_object *obj)
{
	return obj->funcs == &pim_import_funcs ? to_pim_import(obj)->buf : NULL;
}

struct drm_gem_object *pim_prime_import(struct drm_device *drm, struct dma_buf *buf)
{
	struct pim_bo *bo = pim_prime_bo(buf);
	struct pim_import *import;
	int ret;

	if (bo && bo->base.dev == drm) {
		drm_gem_object_get(&bo->base);
		return &bo->base;
	}
	if (!buf->size || !PAGE_ALIGNED(buf->size))
		return ERR_PTR(-EINVAL);
	import = kzalloc(sizeof(*import), GFP_KERNEL);
	if (!import)
		return ERR_PTR(-ENOMEM);
	get_dma_buf(buf);
	import->buf = buf;
	import->base.resv = buf->resv;
	import->base.funcs = &pim_import_funcs;
	drm_gem_private_object_init(drm, &import->base, buf->size);
	ret = drm_gem_create_mmap_offset(&import->base);
	if (ret) {
		drm_gem_object_put(&import->base);
		return ERR_PTR(ret);
	}
	return &import->base;
}
