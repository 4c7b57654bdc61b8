// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a client uses, for fdinfo (Documentation/gpu/drm-usage-stats.rst) and debugfs.
 *
 * drm-engine-*: wall time during which a job of the client was the oldest one in its engine's ring. That includes what such a job waits for
 * inside the card: other jobs, authority. The time between two looks at a ring belongs to the job that was its oldest before.
 *
 * drm-*-domainN, drm-*-window: buffers that the client has a handle of. A buffer counts fully for each of its clients, and as shared if it
 * has more than one handle or was exported. All card memory is resident. drm-memory-* is what tools of before Linux 6.8 read.
 * drm-total-imported: buffers of other devices; whether they are resident is theirs to tell.
 */
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "pim_compat.h"
#include "pim_drv.h"

static const char * const pim_engine_names[] = { "host", "pim" };

struct pim_client *pim_client_create(u64 id)
{
	struct pim_client *client = kzalloc(sizeof(*client), GFP_KERNEL);

	if (!client)
		return NULL;
	kref_init(&client->refs);
	client->id = id;
	client->pid = task_tgid_nr(current);
	get_task_comm(client->comm, current);
	return client;
}

static void pim_client_release(struct kref *refs)
{
	kfree(container_of(refs, struct pim_client, refs));
}

void pim_client_put(struct pim_client *client)
{
	kref_put(&client->refs, pim_client_release);
}

/* A CPU access of this mapping has to wait. Mappings of an exported file descriptor belong to no client. */
void pim_client_fault(struct vm_area_struct *vma, struct pim_device *pim)
{
	struct drm_file *file = vma->vm_file->private_data;
	struct pim_file *pf;

	if (vma->vm_file->f_op != pim->drm.driver->fops)
		return;
	pf = file->driver_priv;
	atomic64_inc(&pf->client->faults);
}

/* -- memory --------------------------------------------------------------------------------------------------------- */

struct pim_usage {
	u64 total;
	u64 shared;
};

/* By domain; then the window, then what is imported. */
#define PIM_USAGE_WINDOW PIM_HW_MAX_DOMAINS
#define PIM_USAGE_IMPORTED (PIM_HW_MAX_DOMAINS + 1)
#define PIM_USAGES (PIM_HW_MAX_DOMAINS + 2)

static void pim_client_memory(struct drm_file *file, struct pim_usage usage[PIM_USAGES])
{
	struct drm_gem_object *obj;
	struct pim_usage *u;
	struct pim_bo *bo;
	int id;

	spin_lock(&file->table_lock);
	idr_for_each_entry(&file->object_idr, obj, id) {
		bo = pim_bo_from_gem(obj);
		if (!bo)
			u = &usage[PIM_USAGE_IMPORTED];
		else
			u = &usage[bo->flags & DRM_PIM_GEM_WINDOW ? PIM_USAGE_WINDOW : bo->domain];
		u->total += obj->size;
		if (obj->handle_count > 1 || obj->dma_buf)
			u->shared += obj->size;
	}
	spin_unlock(&file->table_lock);
}

static void pim_client_show_usage(struct drm_printer *p, const char *name, const struct pim_usage *u)
{
	drm_printf(p, "drm-total-%s:\t%llu KiB\n", name, u->total >> 10);
	drm_printf(p, "drm-shared-%s:\t%llu KiB\n", name, u->shared >> 10);
	drm_printf(p, "drm-resident-%s:\t%llu KiB\n", name, u->total >> 10);
	drm_printf(p, "drm-memory-%s:\t%llu KiB\n", name, u->total >> 10);
}

/* -- fdinfo --------------------------------------------------------------------------------------------------------- */

static u32 pim_client_domains(struct pim_device *pim, u64 id)
{
	u32 held = 0, d;

	spin_lock(&pim->auth.lock);
	for (d = 0; d < pim->hw.domains; d++)
		if (pim->auth.domain[d].file == id)
			held |= BIT(d);
	spin_unlock(&pim->auth.lock);
	return held;
}

void pim_client_show(struct drm_printer *p, struct drm_file *file)
{
	struct pim_file *pf = file->driver_priv;
	struct pim_device *pim = pf->pim;
	struct pim_usage usage[PIM_USAGES] = {};
	char name[20];
	u32 e, d;

	for (e = 0; e < PIM_HW_ENGINES; e++)
		drm_printf(p, "drm-engine-%s:\t%llu ns\n", pim_engine_names[e], pim_ring_busy_ns(&pim->ring[e], pf->client));
	pim_client_memory(file, usage);
	for (d = 0; d < pim->hw.domains; d++) {
		snprintf(name, sizeof(name), "domain%u", d);
		pim_client_show_usage(p, name, &usage[d]);
	}
	pim_client_show_usage(p, "window", &usage[PIM_USAGE_WINDOW]);
	drm_printf(p, "drm-total-imported:\t%llu KiB\n", usage[PIM_USAGE_IMPORTED].total >> 10);
	drm_printf(p, "pim-authority-domains:\t%#x\n", pim_client_domains(pim, pf->id));
	for (e = 0; e < PIM_HW_ENGINES; e++)
		drm_printf(p, "pim-jobs-%s:\t%llu\n", pim_engine_names[e], READ_ONCE(pf->client->jobs[e]));
	drm_printf(p, "pim-faults-waited:\t%llu\n", (u64)atomic64_read(&pf->client->faults));
}

#ifndef PIM_HAVE_SHOW_FDINFO
/* What the DRM core of later kernels does. */
void pim_show_fdinfo(struct seq_file *m, struct file *filp)
{
	struct drm_file *file = filp->private_data;
	struct pim_file *pf = file->driver_priv;
	struct drm_printer p = drm_seq_file_printer(m);
	int idx;

	if (!drm_dev_enter(file->minor->dev, &idx))
		return;
	drm_printf(&p, "drm-driver:\t%s\n", file->minor->dev->driver->name);
	drm_printf(&p, "drm-client-id:\t%llu\n", pf->id);
	drm_printf(&p, "drm-pdev:\t%s\n", pci_name(pf->pim->pdev));
	pim_client_show(&p, file);
	drm_dev_exit(idx);
}
#endif
