// SPDX-License-Identifier: GPL-2.0-only
/* The PCI function: BARs, and a header that is read once and believed only as far as it was checked. */
#include <linux/lcm.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/random.h>

#include <drm/drm_managed.h>

#include "pim_drv.h"

#define PIM_BAR_REGS 0
#define PIM_BAR_CARD 2

/* BAR0 of ivshmem: a write of (peer << 16 | vector) rings a doorbell. The card is peer 1, the driver's function peer 0. */
#define PIM_IVSHMEM_DOORBELL 12
#define PIM_IVSHMEM_PEER 1u

#define PIM_MAX_SLOTS 65536u
#define PIM_MAX_RING 65536u
#define PIM_MIN_RING 16u

void pim_device_doorbell(struct pim_device *pim, u32 vector)
{
	writel(PIM_IVSHMEM_PEER << 16 | vector, pim->bar0 + PIM_IVSHMEM_DOORBELL);
}

/* A generation that neither side has used just before. */
u32 pim_device_generation(struct pim_device *pim)
{
	u32 old = readl(pim->regs + PIM_HW_STATE_OFF + offsetof(struct pim_hw_state, generation));
	u32 gen;

	do {
		gen = get_random_u32();
	} while (!gen || gen == old || gen == pim->generation);
	return gen;
}

/* Is [off, off + n * bytes) page-aligned, behind the register pages and before end? */
static bool pim_area_ok(u64 off, u64 n, u64 bytes, u64 end)
{
	u64 size, last;

	return IS_ALIGNED(off, PIM_HW_PAGE) && off >= PIM_HW_AUTHORITY_OFF + PIM_HW_PAGE && !check_mul_overflow(n, bytes, &size) &&
	       !check_add_overflow(off, size, &last) && last <= end;
}

static const char *pim_header_fault(const struct pim_hw_header *hw, u64 bar_bytes)
{
	u64 bytes;
	int e;

	if (hw->bar_bytes > bar_bytes)
		return "bar_bytes is larger than the BAR";
	if (hw->nslots < 2 || hw->nslots > PIM_MAX_SLOTS)
		return "nslots out of range";
	if (!is_power_of_2(hw->ring_entries) || hw->ring_entries < PIM_MIN_RING || hw->ring_entries > PIM_MAX_RING)
		return "ring_entries is no power of two in range";
	if (!IS_ALIGNED(hw->window_off, PAGE_SIZE) || !IS_ALIGNED(hw->mem_off, PAGE_SIZE))
		return "window_off or mem_off is not page-aligned";
	if (!pim_area_ok(hw->slots_off, hw->nslots, sizeof(struct pim_hw_slot), hw->window_off))
		return "slots out of place";
	for (e = 0; e < PIM_HW_ENGINES; e++)
		if (!pim_area_ok(hw->ring_off[e], hw->ring_entries, sizeof(struct pim_hw_desc), hw->window_off) ||
		    !pim_area_ok(hw->done_off[e], hw->ring_entries, sizeof(struct pim_hw_done), hw->window_off))
			return "a ring is out of place";
	if (!pim_area_ok(hw->window_off, hw->window_bytes, 1, hw->mem_off))
		return "the window is out of place";
	if (!pim_area_ok(hw->mem_off, hw->mem_bytes, 1, hw->bar_bytes))
		return "the memory is out of place";
	if (!hw->domains || hw->domains > PIM_HW_MAX_DOMAINS)
		return "domains out of range";
	if (!hw->domain_bytes || check_mul_overflow(hw->domain_bytes, (u64)hw->domains, &bytes) || bytes > hw->mem_bytes)
		return "domains are larger than the memory";
	if (!hw->stripe_bytes || hw->stripe_bytes % PIM_HW_COLUMN || hw->stripe_bytes > hw->domain_bytes)
		return "stripe_bytes out of range";
	if (strnlen(hw->name, sizeof(hw->name)) == sizeof(hw->name))
		return "the name has no end";
	return NULL;
}

int pim_device_init(struct pim_device *pim)
{
	struct pci_dev *pdev = pim->pdev;
	struct device *dev = &pdev->dev;
	u64 bytes = pci_resource_len(pdev, PIM_BAR_CARD);
	void __iomem *page;
	const char *fault;
	u32 magic;
	int ret;

	BUILD_BUG_ON(IS_ENABLED(CONFIG_CPU_BIG_ENDIAN)); /* structures go to the card as they are */

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	if (!(pci_resource_flags(pdev, PIM_BAR_REGS) & IORESOURCE_MEM) || !(pci_resource_flags(pdev, PIM_BAR_CARD) & IORESOURCE_MEM) ||
	    bytes < PIM_HW_AUTHORITY_OFF + PIM_HW_PAGE) {
		dev_info(dev, "not a PIM card: no BAR 2 of a useful size\n");
		return -ENODEV;
	}
	page = ioremap(pci_resource_start(pdev, PIM_BAR_CARD), PIM_HW_PAGE);
	if (!page)
		return -ENOMEM;
	magic = readl(page + offsetof(struct pim_hw_header, magic));
	memcpy_fromio(&pim->hw, page, sizeof(pim->hw));
	iounmap(page);
	if (magic != PIM_HW_MAGIC) {
		dev_info(dev, "not a PIM card: magic number %#x\n", magic);
		return -ENODEV;
	}
	if (pim->hw.abi_major != PIM_HW_ABI_MAJOR) {
		dev_err(dev, "the card speaks ABI %u.%u, this driver %u.x: use the pim.ko and the pim-emu of one release\n", pim->hw.abi_major,
			pim->hw.abi_minor, PIM_HW_ABI_MAJOR);
		return -EPROTO;
	}
	fault = pim_header_fault(&pim->hw, bytes);
	if (fault) {
		dev_err(dev, "the card's header is wrong: %s\n", fault);
		return -EPROTO;
	}

	pim->bar = pci_resource_start(pdev, PIM_BAR_CARD);
	pim->bar0 = devm_ioremap_resource(dev, &pdev->resource[PIM_BAR_REGS]);
	if (IS_ERR(pim->bar0))
		return PTR_ERR(pim->bar0);
	if (!devm_request_mem_region(dev, pim->bar, bytes, "pim"))
		return -EBUSY;
	pim->regs = devm_ioremap(dev, pim->bar, pim->hw.window_off);
	pim->mem = devm_ioremap_wc(dev, pim->bar + pim->hw.window_off, pim->hw.bar_bytes - pim->hw.window_off);
	if (!pim->regs || !pim->mem)
		return -ENOMEM;
	pim->align = lcm(PAGE_SIZE, pim->hw.stripe_bytes);
	pci_set_master(pdev);
	return 0;
}
