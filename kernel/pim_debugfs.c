// SPDX-License-Identifier: GPL-2.0-only
/*
 * state	the card, its rings and its domains at a glance
 * queues	how far each queue is
 * usage	what each client uses
 * history	the last hand-overs of each domain
 */
#include <linux/seq_file.h>

#include <drm/drm_debugfs.h>

#include "pim_drv.h"

static const char * const pim_engine_names[] = { "host", "pim" };
static const char * const pim_owner_names[] = { "host", "pim", "auto" };

static void pim_debugfs_card(struct pim_device *pim, struct seq_file *m)
{
	void __iomem *state = pim->regs + PIM_HW_STATE_OFF;
	u32 e;

	seq_printf(m, "card \"%s\" abi %u.%u%s\n", pim->hw.name, pim->hw.abi_major, pim->hw.abi_minor, pim->lost ? " LOST" : "");
	seq_printf(m, "generation %#x card %#x state %u heartbeat %llu resets %llu now %llu ns\n", pim->generation,
		   readl(state + offsetof(struct pim_hw_state, generation)), readl(state + offsetof(struct pim_hw_state, state)),
		   readq(state + offsetof(struct pim_hw_state, heartbeat)), pim->resets,
		   readq(state + offsetof(struct pim_hw_state, now_ns)));
	for (e = 0; e < PIM_HW_ENGINES; e++)
		seq_printf(m, "ring %s written %llu completed %llu of %u\n", pim_engine_names[e], READ_ONCE(pim->ring[e].tail),
			   READ_ONCE(pim->ring[e].head), pim->hw.ring_entries);
}

static void pim_debugfs_domains(struct pim_device *pim, struct seq_file *m)
{
	struct pim_domain dom;
	pid_t pid;
	u32 d;

	for (d = 0; d < pim->hw.domains; d++) {
		spin_lock(&pim->auth.lock);
		dom = pim->auth.domain[d];
		pid = pid_nr(dom.pid);
		spin_unlock(&pim->auth.lock);
		seq_printf(m, "domain %u owner %s%s holder %d handovers %llu guests %u in flight host %u pim %u\n", d,
			   pim_owner_names[dom.owner], dom.busy ? " (changing)" : "", pid, dom.handovers, dom.guests,
			   dom.inflight[PIM_HW_HOST], dom.inflight[PIM_HW_PIM]);
	}
}

static int pim_debugfs_state(struct seq_file *m, void *unused)
{
	struct drm_info_node *node = m->private;
	struct pim_device *pim = to_pim(node->minor->dev);
	int idx;

	if (!drm_dev_enter(&pim->drm, &idx))
		return -ENODEV;
	pim_debugfs_card(pim, m);
	pim_debugfs_domains(pim, m);
	drm_dev_exit(idx);
	return 0;
}

static int pim_debugfs_queues(struct seq_file *m, void *unused)
{
	struct drm_info_node *node = m->private;
	struct pim_device *pim = to_pim(node->minor->dev);
	u64 submitted, completed;
	struct pim_queue *queue;
	unsigned long i;
	u32 e;

	xa_lock(&pim->queues);
	xa_for_each(&pim->queues, i, queue) {
		seq_printf(m, "queue slot %u client %llu", queue->slot, queue->file);
		for (e = 0; e < PIM_HW_ENGINES; e++) {
			completed = READ_ONCE(queue->completed[e]); /* before what is submitted: depth is never negative */
			smp_rmb();
			submitted = READ_ONCE(queue->submitted[e]);
			seq_printf(m, " %s submitted %llu depth %llu", pim_engine_names[e], submitted, submitted - completed);
		}
		seq_puts(m, queue->stop ? " stopped\n" : "\n");
	}
	xa_unlock(&pim->queues);
	return 0;
}

static int pim_debugfs_usage(struct seq_file *m, void *unused)
{
	struct drm_info_node *node = m->private;
	struct drm_device *drm = node->minor->dev;
	struct drm_printer p = drm_seq_file_printer(m);
	struct pim_client *client;
	struct drm_file *file;

	mutex_lock(&drm->filelist_mutex);
	list_for_each_entry(file, &drm->filelist, lhead) {
		client = ((struct pim_file *)file->driver_priv)->client;
		seq_printf(m, "client %llu pid %d %s\n", client->id, client->pid, client->comm);
		pim_client_show(&p, file);
	}
	mutex_unlock(&drm->filelist_mutex);
	return 0;
}

static int pim_debugfs_history(struct seq_file *m, void *unused)
{
	struct drm_info_node *node = m->private;

	pim_history_show(to_pim(node->minor->dev), m);
	return 0;
}

static const struct drm_info_list pim_debugfs_files[] = {
	{ "state", pim_debugfs_state, 0, NULL },
	{ "queues", pim_debugfs_queues, 0, NULL },
	{ "usage", pim_debugfs_usage, 0, NULL },
	{ "history", pim_debugfs_history, 0, NULL },
};

void pim_debugfs_init(struct drm_minor *minor)
{
	drm_debugfs_create_files(pim_debugfs_files, ARRAY_SIZE(pim_debugfs_files), minor->debugfs_root, minor);
}
