// SPDX-License-Identifier: GPL-2.0-only
/* The map of the driver: its ioctls, its module parameters, probe and remove. */
#include <linux/module.h>

#include <drm/drm_ioctl.h>

#include "pim_compat.h"
#include "pim_drv.h"

#define PIM_PCI_VENDOR 0x1af4
#define PIM_PCI_DEVICE 0x1110 /* ivshmem: shared with other uses, so probe looks for the magic number */

struct workqueue_struct *pim_wq;

uint pim_job_timeout_ms = 10000;
module_param_named(job_timeout_ms, pim_job_timeout_ms, uint, 0644);
MODULE_PARM_DESC(job_timeout_ms, "time that a job may take, of queues that ask for none, in ms");

uint pim_reset_timeout_ms = 5000;
module_param_named(reset_timeout_ms, pim_reset_timeout_ms, uint, 0644);
MODULE_PARM_DESC(reset_timeout_ms, "time within which the card must answer a reset, in ms");

uint pim_tenure_ms = 1000;
module_param_named(tenure_ms, pim_tenure_ms, uint, 0644);
MODULE_PARM_DESC(tenure_ms, "longest wait of a host request before a claim yields, and time that its jobs then have to end, in ms");

uint pim_slice_ms = 10;
module_param_named(slice_ms, pim_slice_ms, uint, 0644);
MODULE_PARM_DESC(slice_ms, "time for which a claim that yields lends a domain to HOST, in ms");

uint pim_max_job_timeout_ms = 60000;
module_param_named(max_job_timeout_ms, pim_max_job_timeout_ms, uint, 0644);
MODULE_PARM_DESC(max_job_timeout_ms, "longest time-out that a queue may ask for, in ms");

static const struct drm_ioctl_desc pim_ioctls[] = {
	DRM_IOCTL_DEF_DRV(PIM_GET_PARAM, pim_get_param_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_GEM_CREATE, pim_gem_create_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_GEM_MMAP, pim_gem_mmap_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_QUEUE_CREATE, pim_queue_create_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_QUEUE_DESTROY, pim_queue_destroy_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_SUBMIT, pim_submit_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_AUTHORITY, pim_authority_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_QUEUE_QUERY, pim_queue_query_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_DOMAIN_QUERY, pim_domain_query_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_WATCH, pim_watch_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_GEM_INFO, pim_gem_info_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(PIM_GEM_COPY, pim_gem_copy_ioctl, DRM_RENDER_ALLOW),
};

static int pim_open(struct drm_device *drm, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct pim_file *pf = kzalloc(sizeof(*pf), GFP_KERNEL);

	if (!pf)
		return -ENOMEM;
	pf->pim = pim;
	pf->id = PIM_FILE_ID(pim, file);
	pf->client = pim_client_create(pf->id);
	if (!pf->client) {
		kfree(pf);
		return -ENOMEM;
	}
	mutex_init(&pf->lock);
	xa_init_flags(&pf->queues, XA_FLAGS_ALLOC1);
	file->driver_priv = pf;
	return 0;
}

static void pim_postclose(struct drm_device *drm, struct drm_file *file)
{
	struct pim_file *pf = file->driver_priv;

	/* Queues first: what they have in the rings runs on and keeps the claim's hand-over waiting, nothing new comes. */
	pim_queue_close_all(pf);
	pim_claim_close(pf->pim, pf->id);
	pim_watch_close(pf->pim, pf);
	xa_destroy(&pf->queues);
	pim_client_put(pf->client);
	mutex_destroy(&pf->lock);
	kfree(pf);
}

/* DEFINE_DRM_GEM_FOPS, and fdinfo. */
static const struct file_operations pim_fops = {
	.owner = THIS_MODULE,
	.open = drm_open,
	.release = drm_release,
	.unlocked_ioctl = drm_ioctl,
	.compat_ioctl = drm_compat_ioctl,
	.poll = drm_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.mmap = drm_gem_mmap,
	.show_fdinfo = PIM_FOPS_SHOW_FDINFO,
	PIM_FOP_FLAGS
};

static const struct drm_driver pim_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,
	.open = pim_open,
	.postclose = pim_postclose,
	.ioctls = pim_ioctls,
	.num_ioctls = ARRAY_SIZE(pim_ioctls),
	.fops = &pim_fops,
	PIM_DRIVER_PRIME
	.gem_prime_import = pim_prime_import,
	PIM_DRIVER_SHOW_FDINFO(pim_client_show)
#ifdef CONFIG_DEBUG_FS
	.debugfs_init = pim_debugfs_init,
#endif
	.name = "pim",
	.desc = "Memory that computes",
	PIM_DRIVER_DATE("20261124")
	.major = 1,
	.minor = 0,
};

static int pim_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct pim_device *pim = devm_drm_dev_alloc(&pdev->dev, &pim_driver, struct pim_device, drm);
	int ret;

	if (IS_ERR(pim))
		return PTR_ERR(pim);
	pim->pdev = pdev;
	pci_set_drvdata(pdev, pim);

	ret = pim_device_init(pim);
	if (ret)
		return ret;
	ret = pim_history_init(pim);
	if (ret)
		return ret;
	ret = pim_resv_init(pim);
	if (ret)
		return ret;
	ret = pim_auth_init(pim);
	if (ret)
		return ret;
	ret = pim_dump_init(pim);
	if (ret)
		return ret;
	ret = pim_watchdog_init(pim);
	if (ret)
		return ret;
	xa_init_flags(&pim->queues, XA_FLAGS_ALLOC);
	ret = pim_gem_init(pim);
	if (ret)
		return ret;
	ret = pim_ring_init(pim);
	if (ret)
		return ret;
	ret = pim_job_init(pim);
	if (ret)
		return ret;
	ret = pim_reset_handshake(pim, pim_reset_timeout_ms);
	if (ret) {
		drm_err(&pim->drm, "the card does not answer a reset within %u ms: is the emulator running?\n", pim_reset_timeout_ms);
		return ret;
	}
	ret = pim_irq_init(pim);
	if (ret)
		return ret;
	ret = pim_attr_init(pim);
	if (ret)
		return ret;
	ret = drm_dev_register(&pim->drm, 0);
	if (ret)
		return ret;
	drm_info(&pim->drm, "%s: %u domains of %llu MiB, window of %llu MiB\n", pim->hw.name, pim->hw.domains,
		 pim->hw.domain_bytes >> 20, pim->hw.window_bytes >> 20);
	return 0;
}

static void pim_remove(struct pci_dev *pdev)
{
	struct pim_device *pim = pci_get_drvdata(pdev);

	drm_dev_unplug(&pim->drm);
	pim_reset_unplug(pim);
}

static int pim_suspend(struct device *dev)
{
	return pim_reset_suspend(dev_get_drvdata(dev));
}

static int pim_resume(struct device *dev)
{
	return pim_reset_resume(dev_get_drvdata(dev));
}

/* The card's memory lives as long as its power: a sleep keeps that, a hibernation does not. */
static int pim_hibernate(struct device *dev)
{
	dev_err(dev, "the memory of the card would be lost: no hibernation while pim.ko is bound\n");
	return -EOPNOTSUPP;
}

static const struct dev_pm_ops pim_pm_ops = {
	.suspend = pm_sleep_ptr(pim_suspend),
	.resume = pm_sleep_ptr(pim_resume),
	.freeze = pm_sleep_ptr(pim_hibernate),
};

static const struct pci_device_id pim_pci_ids[] = {
	{ PCI_DEVICE(PIM_PCI_VENDOR, PIM_PCI_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, pim_pci_ids);

static struct pci_driver pim_pci_driver = {
	.name = "pim",
	.id_table = pim_pci_ids,
	.probe = pim_probe,
	.remove = pim_remove,
	.driver.pm = pm_sleep_ptr(&pim_pm_ops),
};

static int __init pim_init(void)
{
	int ret;

	if (drm_firmware_drivers_only())
		return -ENODEV;
	ret = pim_job_module_init();
	if (ret)
		return ret;
	pim_wq = alloc_workqueue("pim", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!pim_wq) {
		ret = -ENOMEM;
		goto exit_job;
	}
	ret = pci_register_driver(&pim_pci_driver);
	if (ret)
		goto destroy_wq;
	return 0;

destroy_wq:
	destroy_workqueue(pim_wq);
exit_job:
	pim_job_module_exit();
	return ret;
}

static void __exit pim_exit(void)
{
	pci_unregister_driver(&pim_pci_driver);
	destroy_workqueue(pim_wq); /* runs the last frees of jobs */
	pim_job_module_exit();
}

module_init(pim_init);
module_exit(pim_exit);

MODULE_DESCRIPTION("DRM render-node driver for memory that computes");
MODULE_AUTHOR("rt-pim");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(PIM_NS_DMA_BUF);
