// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts: one MSI-X vector per engine, one for the card's state. Threads, because completions run other drivers' callbacks. */
#include <linux/interrupt.h>

#include "pim_drv.h"

static irqreturn_t pim_irq_ring(int irq, void *arg)
{
	struct pim_ring *ring = arg;
	int idx;

	if (drm_dev_enter(&ring->pim->drm, &idx)) {
		pim_ring_process(ring);
		drm_dev_exit(idx);
	}
	return IRQ_HANDLED;
}

static irqreturn_t pim_irq_event(int irq, void *arg)
{
	struct pim_device *pim = arg;
	int idx;

	if (drm_dev_enter(&pim->drm, &idx)) {
		pim_watchdog_kick(pim);
		drm_dev_exit(idx);
	}
	return IRQ_HANDLED;
}

int pim_irq_init(struct pim_device *pim)
{
	struct device *dev = &pim->pdev->dev;
	static const char * const names[] = { "pim-host", "pim-pim" };
	int e, ret;

	ret = pci_alloc_irq_vectors(pim->pdev, PIM_HW_VECTORS, PIM_HW_VECTORS, PCI_IRQ_MSIX);
	if (ret < 0) {
		if (ret != -ENOSPC)
			return ret;
		drm_err(&pim->drm, "the function has fewer than %u MSI-X vectors: start the card with vectors=%u\n", PIM_HW_VECTORS,
			PIM_HW_VECTORS);
		return ret;
	}
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		ret = devm_request_threaded_irq(dev, pci_irq_vector(pim->pdev, e), NULL, pim_irq_ring, IRQF_ONESHOT, names[e],
						&pim->ring[e]);
		if (ret)
			return ret;
	}
	return devm_request_threaded_irq(dev, pci_irq_vector(pim->pdev, PIM_HW_IRQ_EVENT), NULL, pim_irq_event, IRQF_ONESHOT, "pim-event",
					 pim);
}
