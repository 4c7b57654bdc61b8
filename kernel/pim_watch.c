// SPDX-License-Identifier: GPL-2.0-only
/* Watches: an eventfd of a file that counts changes of owner and holder. */
#include <linux/eventfd.h>
#include <linux/slab.h>

#include "pim_compat.h"
#include "pim_drv.h"

struct pim_watch {
	struct list_head link; /* pim_auth.watches */
	u32 mask;
	struct eventfd_ctx *eventfd;
};

/* Something about these domains changed. With pim_auth.lock. */
void pim_watch_notify(struct pim_auth *auth, u32 mask)
{
	struct pim_watch *w;

	lockdep_assert_held(&auth->lock);
	list_for_each_entry(w, &auth->watches, link)
		if (w->mask & mask)
			pim_eventfd_signal(w->eventfd);
}

/* Put a watch, or NULL, in the place of the file's. */
static void pim_watch_replace(struct pim_device *pim, struct pim_file *pf, struct pim_watch *w)
{
	spin_lock(&pim->auth.lock);
	swap(pf->watch, w);
	if (w)
		list_del(&w->link);
	if (pf->watch)
		list_add(&pf->watch->link, &pim->auth.watches);
	spin_unlock(&pim->auth.lock);
	if (w)
		eventfd_ctx_put(w->eventfd);
	kfree(w);
}

void pim_watch_close(struct pim_device *pim, struct pim_file *pf)
{
	pim_watch_replace(pim, pf, NULL);
}

int pim_watch_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct drm_pim_watch *args = data;
	struct pim_watch *w;

	if (args->domains & ~GENMASK_ULL(pim->hw.domains - 1, 0))
		return -EINVAL;
	if (!args->domains) {
		if (args->fd != -1)
			return -EINVAL;
		pim_watch_close(pim, file->driver_priv);
		return 0;
	}
	w = kzalloc(sizeof(*w), GFP_KERNEL);
	if (!w)
		return -ENOMEM;
	w->mask = args->domains;
	w->eventfd = eventfd_ctx_fdget(args->fd);
	if (IS_ERR(w->eventfd)) {
		int ret = PTR_ERR(w->eventfd);

		kfree(w);
		return ret;
	}
	pim_watch_replace(pim, file->driver_priv, w);
	return 0;
}
