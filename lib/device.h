/* SPDX-License-Identifier: MIT */
/*
 * A device from inside. The front (device.c) checks arguments, numbers jobs and keeps the claims, so that both backends refuse the same things
 * in the same words; a backend reaches the card.
 */
#ifndef PIM_LIB_DEVICE_H
#define PIM_LIB_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <pim/device.h>
#include <pim/hw.h>

#define PIM_API __attribute__((visibility("default")))


/* How far submission has come. */
struct pim_mark {
	uint64_t submits; /* calls of pim_submit() so far */
	uint64_t seq[PIM_ENGINES];
};

/* The first job that failed. */
struct pim_fault {
	uint32_t status; /* enum pim_hw_status */
	uint32_t engine, where, unit;
	uint64_t seq, address;
};

struct pim_backend;

struct pim_device {
	const struct pim_backend *backend;
	struct pim_info info;
	uint64_t align; /* of buffers: pages and stripes */
	uint32_t ring_entries;
	atomic_uint refs; /* the opener's and one per buffer */

	pthread_mutex_t lock; /* submission, the fields below, and what backends say */
	struct pim_mark mark;
	uint32_t claimed[3]; /* domains claimed for each enum pim_owner */
	bool failed;
	struct pim_fault fault; /* with failed; status 0: the card was lost */

	pthread_mutex_t authority_lock; /* one acquire or release at a time; taken before lock */
};

struct pim_buffer {
	struct pim_device *dev;
	uint64_t bytes;
	enum pim_place place;
	uint32_t domain;
};

struct pim_backend {
	const char *name;
	/* Fills in info, align and ring_entries. */
	int (*open)(const char *arg, struct pim_device **dev);
	void (*close)(struct pim_device *dev);
	int (*buffer_create)(struct pim_device *dev, uint64_t bytes, enum pim_place place, uint32_t domain, struct pim_buffer **buf);
	void (*buffer_destroy)(struct pim_buffer *buf);
	int (*buffer_map)(struct pim_buffer *buf, void **ptr);
	/* Called with dev->lock held, jobs checked; next: the mark after them. */
	int (*submit)(struct pim_device *dev, const struct pim_job *job, uint32_t n, const struct pim_mark *next);
	/*
	 * Until all jobs up to mark are done: 0, -ETIME, or -EIO after pim_device_fail(). deadline: absolute, CLOCK_MONOTONIC ns.
	 */
	int (*wait)(struct pim_device *dev, const struct pim_mark *mark, int64_t deadline);
	/* Called with authority_lock held and the claims checked; ends with pim_device_claim(). deadline 0: do not wait. */
	int (*acquire)(struct pim_device *dev, uint32_t domains, enum pim_owner owner, int64_t deadline);
	int (*release)(struct pim_device *dev, uint32_t domains);
	int (*query)(struct pim_device *dev, uint32_t domain, struct pim_authority *out);
	int (*now)(struct pim_device *dev, uint64_t *ns);
};

extern const struct pim_backend pim_backend_emu, pim_backend_drm;

/* The part of a device that every backend has: initialised before open() returns, torn down by the front after close(). */
void pim_device_init(struct pim_device *dev, const struct pim_backend *backend);

/* Records the first failure (NULL: the card was lost) and says it; called with dev->lock held. Returns -EIO. */
int pim_device_fail(struct pim_device *dev, const struct pim_fault *fault);

/* Records who holds the domains from now on (owner -1: nobody); called with dev->lock held. */
void pim_device_claim(struct pim_device *dev, uint32_t domains, int owner);

/* Absolute, CLOCK_MONOTONIC ns. */
int64_t pim_deadline(int timeout_ms);

#endif
