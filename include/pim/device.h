/* SPDX-License-Identifier: MIT */
/*
 * A PIM card as librt-pim sees it: memory, queues of jobs, authority. Two backends behind one table: "drm" (pim.ko) and "emu" (the card
 * model inside this process).
 *
 * Errors are negative errno; pim_strerror() gives the last message of the calling thread, with cause and fix. Objects of different
 * devices are independent; calls on one device may come from several threads.
 */
#ifndef PIM_DEVICE_H
#define PIM_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pim_device;
struct pim_buffer;

enum pim_engine { PIM_HOST = 0, PIM_PIM = 1, PIM_ENGINES = 2 };

/** struct pim_info - the card's geometry and modelled rates; see struct pim_hw_header */
struct pim_info {
	char name[64];
	uint32_t domains, stacks, pcs, bank_groups, banks, banks_per_unit, rows, row_bytes;
	uint32_t stripe_bytes; /* bytes of one column access of all units of a domain; alignment of PIM operands */
	uint32_t crf_words, srf_words, tck_ps;
	uint32_t host_gflops, host_mbps, pim_mbps, window_mbps; /* modelled */
	uint64_t domain_bytes, window_bytes;
};

/**
 * pim_device_open() - open a card
 * @spec: "emu:CARDFILE" for the model in this process; "drm" for the first PIM render node, "drm:/dev/dri/renderDN" for that one
 *
 * There is no fallback from one to the other. Errors: -ENODEV no such card or no module; -EACCES no permission on the node; -EPROTO
 * another ABI; -EINVAL bad card file (message with file, line, reason) or spec.
 */
int pim_device_open(const char *spec, struct pim_device **dev);
void pim_device_close(struct pim_device *dev);
const struct pim_info *pim_device_info(const struct pim_device *dev);

/* Message of the calling thread's last failed call; never NULL. */
const char *pim_strerror(void);

enum pim_place {
	PIM_PLACE_MEMORY = 0, /* PIM memory: the CPU reaches it only while HOST owns the domain */
	PIM_PLACE_WINDOW = 1, /* host window: always reachable by CPU and HOST engine, never by PIM units */
};

/**
 * pim_buffer_create() - cleared, stripe-aligned card memory
 * @domain: domain number for PIM_PLACE_MEMORY, else 0
 *
 * Errors: -ENOSPC, -EINVAL, -ENOMEM.
 */
int pim_buffer_create(struct pim_device *dev, uint64_t bytes, enum pim_place place, uint32_t domain, struct pim_buffer **buf);
void pim_buffer_destroy(struct pim_buffer *buf);
uint64_t pim_buffer_bytes(const struct pim_buffer *buf);
/* Maps on first call; the pointer holds until the buffer is destroyed. */
int pim_buffer_map(struct pim_buffer *buf, void **ptr);

#define PIM_READ 1u
#define PIM_WRITE 2u
#define PIM_JOB_BINDINGS 12
#define PIM_JOB_WAITS 4

struct pim_binding {
	struct pim_buffer *buf;
	uint64_t offset, bytes;
	uint32_t access;
};

/**
 * struct pim_job - one job for an engine of the card
 *
 * Jobs of a device run in order on each engine and are numbered from 1 there; wait[] names numbers of the other (or the same) engine
 * that must be done first and were submitted before. payload is the operation's structure of pim/hw.h.
 */
struct pim_job {
	enum pim_engine engine;
	uint32_t op;
	uint32_t nwaits, nbindings, payload_bytes;
	const void *payload;
	struct {
		enum pim_engine engine;
		uint64_t seq;
	} wait[PIM_JOB_WAITS];
	struct pim_binding binding[PIM_JOB_BINDINGS];
	uint32_t batch; /* jobs with the same non-zero batch are timed together */
	uint32_t batch_engines; /* bit per engine that closes the batch */
	uint32_t close; /* last job of its engine in the batch */
	uint32_t timed; /* write struct pim_hw_timing to (time_binding, time_off) */
	uint32_t time_binding;
	uint64_t time_off;
	struct {
		uint32_t kind, high, low, min_ns, max_ns;
	} policy; /* see struct pim_hw_policy */
};

#define PIM_MAX_JOBS 4096u /* of one pim_submit() */

/**
 * pim_submit() - queue jobs on the card, all or none; returns without waiting
 * @seq: number of the last job submitted on each engine, may be NULL
 */
int pim_submit(struct pim_device *dev, const struct pim_job *job, uint32_t n, uint64_t seq[PIM_ENGINES]);

/**
 * pim_wait() - until all jobs submitted so far are done
 * @timeout_ms: from now; negative: no bound
 *
 * Errors: -ETIME; -EIO a job failed (the message names engine, job, status, program word, unit and address; the device takes no more jobs)
 * or the card was lost.
 */
int pim_wait(struct pim_device *dev, int timeout_ms);

enum pim_owner { PIM_OWNER_HOST = 0, PIM_OWNER_PIM = 1, PIM_OWNER_AUTO = 2 };

/*
 * Claim all domains of the mask for owner, or none. A change of owner and a release wait for the jobs that this device has queued on the
 * domains. Errors: -ETIME, -EBUSY (timeout_ms 0), -EINVAL, -EDEADLK.
 */
int pim_acquire(struct pim_device *dev, uint32_t domains, enum pim_owner owner, int timeout_ms);
int pim_release(struct pim_device *dev, uint32_t domains);

/** struct pim_authority - one domain: who owns it, and how often that changed */
struct pim_authority {
	enum pim_owner owner;
	uint32_t holder, waiters;
	uint64_t handovers; /* by the driver */
	uint64_t switches; /* by the card inside AUTO, modelled */
};
int pim_query(struct pim_device *dev, uint32_t domain, struct pim_authority *out);

/* Modelled clock of the card, ns. */
int pim_now(struct pim_device *dev, uint64_t *ns);

#ifdef __cplusplus
}
#endif

#endif
