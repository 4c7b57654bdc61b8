// SPDX-License-Identifier: MIT
/* The worker: runs the card model over the shared memory and passes doorbells and interrupts on. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emu.h"

static void raise_irq(void *ctx, unsigned int vector)
{
	const struct emu *emu = ctx;
	uint64_t one = 1;

	/* Can only fail when 2^64 - 2 interrupts are pending already: then the guest is being told anyway. */
	if (vector < PIM_HW_VECTORS && write(emu->irq[vector], &one, sizeof(one)) < 0 && errno != EAGAIN)
		emu_say("interrupt %u: %s", vector, strerror(errno));
}

int emu_worker(const struct emu *emu, bool restarted)
{
	struct pollfd pfd[PIM_HW_VECTORS];
	struct pim_card *card;
	char err[256] = "";
	uint64_t count;
	unsigned int v;
	void *bar;
	int ret;

	bar = mmap(NULL, emu->bar_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, emu->memfd, 0);
	if (bar == MAP_FAILED) {
		emu_say("cannot map the card's %llu MiB: %s", (unsigned long long)emu->bar_bytes >> 20, strerror(errno));
		return 1;
	}
	ret = pim_card_create(&emu->card, bar, raise_irq, (void *)emu, &card, err, sizeof(err));
	if (ret) {
		emu_say("card %s: %s", emu->card.name, err[0] ? err : strerror(-ret));
		return 1;
	}
	if (restarted)
		raise_irq((void *)emu, PIM_HW_IRQ_EVENT); /* the driver must see generation 0 before its next job times out */
	for (v = 0; v < PIM_HW_VECTORS; v++)
		pfd[v] = (struct pollfd){ .fd = emu->doorbell[v], .events = POLLIN };
	for (;;) {
		if (poll(pfd, PIM_HW_VECTORS, -1) < 0 && errno != EINTR) {
			emu_say("poll: %s", strerror(errno));
			return 1;
		}
		for (v = 0; v < PIM_HW_VECTORS; v++)
			if ((pfd[v].revents & POLLIN) && read(pfd[v].fd, &count, sizeof(count)) == sizeof(count))
				pim_card_doorbell(card, v);
	}
}
