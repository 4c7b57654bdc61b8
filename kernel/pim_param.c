// SPDX-License-Identifier: GPL-2.0-only
/* What the card is and where its limits are: the parameters of GET_PARAM, and those of them that sysfs shows, as DEVICE/pim/NAME. */
#include <linux/device.h>
#include <linux/nospec.h>
#include <linux/sysfs.h>

#include "pim_drv.h"

static u64 pim_param_domain_pcs(struct pim_device *pim)
{
	return pim->hw.stacks * pim->hw.pcs / pim->hw.domains;
}

static u64 pim_param_max_queues(struct pim_device *pim)
{
	return pim->hw.nslots / PIM_HW_ENGINES;
}

/*
 * struct pim_param - where a value comes from: one of the members is set
 * @off: field of struct pim_device, of @bytes
 * @value: constant
 * @knob: module parameter
 * @get: computed
 */
struct pim_param {
	u16 off;
	u16 bytes;
	u32 value;
	const uint *knob;
	u64 (*get)(struct pim_device *pim);
};

#define PIM_FIELD(f) { .off = offsetof(struct pim_device, f), .bytes = sizeof_field(struct pim_device, f) }
#define PIM_NAME(i) { .off = offsetof(struct pim_device, hw.name) + 8 * (i), .bytes = 8 }

static const struct pim_param pim_params[] = {
	[DRM_PIM_PARAM_ABI_MAJOR] = PIM_FIELD(hw.abi_major),
	[DRM_PIM_PARAM_ABI_MINOR] = PIM_FIELD(hw.abi_minor),
	[DRM_PIM_PARAM_FEATURES] = PIM_FIELD(hw.features),
	[DRM_PIM_PARAM_DOMAINS] = PIM_FIELD(hw.domains),
	[DRM_PIM_PARAM_DOMAIN_BYTES] = PIM_FIELD(hw.domain_bytes),
	[DRM_PIM_PARAM_WINDOW_BYTES] = PIM_FIELD(hw.window_bytes),
	[DRM_PIM_PARAM_STRIPE_BYTES] = PIM_FIELD(hw.stripe_bytes),
	[DRM_PIM_PARAM_STACKS] = PIM_FIELD(hw.stacks),
	[DRM_PIM_PARAM_PCS] = PIM_FIELD(hw.pcs),
	[DRM_PIM_PARAM_BANK_GROUPS] = PIM_FIELD(hw.bank_groups),
	[DRM_PIM_PARAM_BANKS] = PIM_FIELD(hw.banks),
	[DRM_PIM_PARAM_BANKS_PER_UNIT] = PIM_FIELD(hw.banks_per_unit),
	[DRM_PIM_PARAM_ROWS] = PIM_FIELD(hw.rows),
	[DRM_PIM_PARAM_ROW_BYTES] = PIM_FIELD(hw.row_bytes),
	[DRM_PIM_PARAM_TCK_PS] = PIM_FIELD(hw.tck_ps),
	[DRM_PIM_PARAM_HOST_GFLOPS] = PIM_FIELD(hw.host_gflops),
	[DRM_PIM_PARAM_HOST_MBPS] = PIM_FIELD(hw.host_mbps),
	[DRM_PIM_PARAM_PIM_MBPS] = PIM_FIELD(hw.pim_mbps),
	[DRM_PIM_PARAM_WINDOW_MBPS] = PIM_FIELD(hw.window_mbps),
	[DRM_PIM_PARAM_CRF_WORDS] = PIM_FIELD(hw.crf_words),
	[DRM_PIM_PARAM_SRF_WORDS] = PIM_FIELD(hw.srf_words),
	[DRM_PIM_PARAM_MAX_JOBS] = { .value = DRM_PIM_MAX_JOBS },
	[DRM_PIM_PARAM_RING_ENTRIES] = PIM_FIELD(hw.ring_entries),
	[DRM_PIM_PARAM_NAME0 + 0] = PIM_NAME(0),
	[DRM_PIM_PARAM_NAME0 + 1] = PIM_NAME(1),
	[DRM_PIM_PARAM_NAME0 + 2] = PIM_NAME(2),
	[DRM_PIM_PARAM_NAME0 + 3] = PIM_NAME(3),
	[DRM_PIM_PARAM_NAME0 + 4] = PIM_NAME(4),
	[DRM_PIM_PARAM_NAME0 + 5] = PIM_NAME(5),
	[DRM_PIM_PARAM_NAME0 + 6] = PIM_NAME(6),
	[DRM_PIM_PARAM_NAME0 + 7] = PIM_NAME(7),
	[DRM_PIM_PARAM_EXTENSIONS] = { .value = 0 },
	[DRM_PIM_PARAM_DOMAIN_PCS] = { .get = pim_param_domain_pcs },
	[DRM_PIM_PARAM_MAX_SYNCS] = { .value = DRM_PIM_MAX_SYNCS },
	[DRM_PIM_PARAM_MAX_BINDINGS] = { .value = DRM_PIM_JOB_MAX_BINDINGS },
	[DRM_PIM_PARAM_MAX_WAITS] = { .value = DRM_PIM_JOB_MAX_WAITS },
	[DRM_PIM_PARAM_MAX_PAYLOAD] = { .value = DRM_PIM_JOB_MAX_PAYLOAD },
	[DRM_PIM_PARAM_MAX_QUEUES] = { .get = pim_param_max_queues },
	[DRM_PIM_PARAM_JOB_TIMEOUT_MS] = { .knob = &pim_job_timeout_ms },
	[DRM_PIM_PARAM_MAX_JOB_TIMEOUT_MS] = { .knob = &pim_max_job_timeout_ms },
	[DRM_PIM_PARAM_TENURE_MS] = { .knob = &pim_tenure_ms },
	[DRM_PIM_PARAM_RESETS] = PIM_FIELD(resets),
};

static u64 pim_param_get(struct pim_device *pim, u32 which)
{
	const struct pim_param *p = &pim_params[which];
	u64 value = p->value;

	if (p->knob)
		return READ_ONCE(*p->knob);
	if (p->get)
		return p->get(pim);
	memcpy(&value, (const char *)pim + p->off, p->bytes);
	return value;
}

int pim_get_param_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct drm_pim_get_param *args = data;
	u32 which = args->param;
	int idx;

	if (args->pad || which >= ARRAY_SIZE(pim_params))
		return -EINVAL;
	if (which != DRM_PIM_PARAM_NOW_NS) {
		args->value = pim_param_get(pim, array_index_nospec(which, ARRAY_SIZE(pim_params)));
		return 0;
	}
	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	args->value = readq(pim->regs + PIM_HW_STATE_OFF + offsetof(struct pim_hw_state, now_ns));
	drm_dev_exit(idx);
	return 0;
}

/* -- sysfs ---------------------------------------------------------------------------------------------------------- */

struct pim_attr {
	struct device_attribute base;
	u32 param;
};

static ssize_t pim_attr_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct pim_device *pim = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%llu\n", pim_param_get(pim, container_of(attr, struct pim_attr, base)->param));
}

#define PIM_ATTR(name, p) static struct pim_attr pim_attr_##name = { __ATTR(name, 0444, pim_attr_show, NULL), DRM_PIM_PARAM_##p }

PIM_ATTR(bank_groups, BANK_GROUPS);
PIM_ATTR(banks, BANKS);
PIM_ATTR(banks_per_unit, BANKS_PER_UNIT);
PIM_ATTR(domain_bytes, DOMAIN_BYTES);
PIM_ATTR(domain_pcs, DOMAIN_PCS);
PIM_ATTR(domains, DOMAINS);
PIM_ATTR(pcs, PCS);
PIM_ATTR(resets, RESETS);
PIM_ATTR(ring_entries, RING_ENTRIES);
PIM_ATTR(row_bytes, ROW_BYTES);
PIM_ATTR(rows, ROWS);
PIM_ATTR(stacks, STACKS);
PIM_ATTR(stripe_bytes, STRIPE_BYTES);
PIM_ATTR(tck_ps, TCK_PS);
PIM_ATTR(window_bytes, WINDOW_BYTES);

static ssize_t abi_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct pim_device *pim = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%u.%u\n", pim->hw.abi_major, pim->hw.abi_minor);
}
static DEVICE_ATTR_RO(abi);

static ssize_t name_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct pim_device *pim = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%s\n", pim->hw.name);
}
static DEVICE_ATTR_RO(name);

static struct attribute *pim_attrs[] = {
	&dev_attr_abi.attr,
	&pim_attr_bank_groups.base.attr,
	&pim_attr_banks.base.attr,
	&pim_attr_banks_per_unit.base.attr,
	&pim_attr_domain_bytes.base.attr,
	&pim_attr_domain_pcs.base.attr,
	&pim_attr_domains.base.attr,
	&dev_attr_name.attr,
	&pim_attr_pcs.base.attr,
	&pim_attr_resets.base.attr,
	&pim_attr_ring_entries.base.attr,
	&pim_attr_row_bytes.base.attr,
	&pim_attr_rows.base.attr,
	&pim_attr_stacks.base.attr,
	&pim_attr_stripe_bytes.base.attr,
	&pim_attr_tck_ps.base.attr,
	&pim_attr_window_bytes.base.attr,
	NULL
};

static const struct attribute_group pim_attr_group = {
	.name = "pim",
	.attrs = pim_attrs,
};

static void pim_attr_remove(void *dev)
{
	sysfs_remove_group(&((struct device *)dev)->kobj, &pim_attr_group);
}

/*
 * Not by the driver's dev_groups: the driver core of 6.1, when it cannot add them, takes away what is not there, and warns of it. The device
 * outlives them: it is released after they are.
 */
int pim_attr_init(struct pim_device *pim)
{
	struct device *dev = pim->drm.dev;
	int ret = sysfs_create_group(&dev->kobj, &pim_attr_group);

	return ret ? ret : devm_add_action_or_reset(dev, pim_attr_remove, dev);
}
