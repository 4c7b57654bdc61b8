/* SPDX-License-Identifier: MIT */
/*
 * The ioctl ABI of pim.ko, a DRM render-node driver for memory that computes.
 *
 * Rules: every pad and every unknown flag must be zero (EINVAL); time-outs are absolute CLOCK_MONOTONIC ns; pointers are u64;
 * structures grow at the end only, with a DRM_PIM_PARAM_* bit that tells.
 */
#ifndef PIM_DRM_H
#define PIM_DRM_H

#ifdef __KERNEL__
#include <drm/drm.h>
#else
#include "drm.h"
#endif

#if defined(__cplusplus)
extern "C" {
#endif

#define DRM_PIM_GET_PARAM 0x00
#define DRM_PIM_GEM_CREATE 0x01
#define DRM_PIM_GEM_MMAP 0x02
#define DRM_PIM_QUEUE_CREATE 0x03
#define DRM_PIM_QUEUE_DESTROY 0x04
#define DRM_PIM_SUBMIT 0x05
#define DRM_PIM_AUTHORITY 0x06
#define DRM_PIM_QUEUE_QUERY 0x07

/** enum drm_pim_engine - the card's two engines */
enum drm_pim_engine {
	/** @DRM_PIM_ENGINE_HOST: the GPU side of the card: convolutions, GEMM, loss, copies */
	DRM_PIM_ENGINE_HOST = 0,
	/** @DRM_PIM_ENGINE_PIM: the PIM units in the memory */
	DRM_PIM_ENGINE_PIM = 1,
};
#define DRM_PIM_ENGINES 2

/** enum drm_pim_param - what DRM_IOCTL_PIM_GET_PARAM tells */
enum drm_pim_param {
	DRM_PIM_PARAM_ABI_MAJOR = 0, /* card ABI */
	DRM_PIM_PARAM_ABI_MINOR = 1,
	DRM_PIM_PARAM_FEATURES = 2, /* PIM_HW_FEAT_* */
	DRM_PIM_PARAM_DOMAINS = 3,
	DRM_PIM_PARAM_DOMAIN_BYTES = 4,
	DRM_PIM_PARAM_WINDOW_BYTES = 5,
	DRM_PIM_PARAM_STRIPE_BYTES = 6,
	DRM_PIM_PARAM_STACKS = 7,
	DRM_PIM_PARAM_PCS = 8, /* pseudo-channels per stack */
	DRM_PIM_PARAM_BANK_GROUPS = 9,
	DRM_PIM_PARAM_BANKS = 10, /* per bank group */
	DRM_PIM_PARAM_BANKS_PER_UNIT = 11,
	DRM_PIM_PARAM_ROWS = 12,
	DRM_PIM_PARAM_ROW_BYTES = 13,
	DRM_PIM_PARAM_TCK_PS = 14,
	DRM_PIM_PARAM_HOST_GFLOPS = 15, /* modelled */
	DRM_PIM_PARAM_HOST_MBPS = 16, /* modelled */
	DRM_PIM_PARAM_PIM_MBPS = 17, /* modelled */
	DRM_PIM_PARAM_WINDOW_MBPS = 18, /* modelled */
	DRM_PIM_PARAM_CRF_WORDS = 19,
	DRM_PIM_PARAM_SRF_WORDS = 20,
	DRM_PIM_PARAM_MAX_JOBS = 21, /* jobs in one submit */
	DRM_PIM_PARAM_RING_ENTRIES = 22,
	DRM_PIM_PARAM_NOW_NS = 23, /* modelled clock of the card */
	DRM_PIM_PARAM_NAME0 = 24, /* the card's name, 8 bytes of it per parameter: 24..31 */
};

/**
 * struct drm_pim_get_param - DRM_IOCTL_PIM_GET_PARAM
 *
 * Errors: EINVAL unknown parameter or pad not zero.
 */
struct drm_pim_get_param {
	/** @param: Input: enum drm_pim_param */
	__u32 param;
	/** @pad: must be zero */
	__u32 pad;
	/** @value: Output */
	__u64 value;
};

/* The buffer lies in the host window, not in PIM memory: never zapped, always reachable by the CPU and the HOST engine. */
#define DRM_PIM_GEM_WINDOW (1u << 0)
/* A CPU access while HOST does not own the buffer's domain gets SIGBUS; without it the access waits, killably. */
#define DRM_PIM_GEM_SIGBUS (1u << 1)

/**
 * struct drm_pim_gem_create - DRM_IOCTL_PIM_GEM_CREATE: card memory, cleared, contiguous, stripe-aligned
 *
 * Errors: EINVAL size zero, flags, domain; ENOSPC the domain (or the window) has no free run of that size; ENOMEM; EIO card lost.
 */
struct drm_pim_gem_create {
	/** @size: Input: bytes. Output: bytes, rounded up to pages and stripes */
	__u64 size;
	/** @flags: Input: DRM_PIM_GEM_* */
	__u32 flags;
	/** @domain: Input: domain number; must be zero with DRM_PIM_GEM_WINDOW */
	__u32 domain;
	/** @handle: Output */
	__u32 handle;
	/** @pad: must be zero */
	__u32 pad;
	/** @address: Output: place in the card's memory, for planning banks; not a capability */
	__u64 address;
};

/**
 * struct drm_pim_gem_mmap - DRM_IOCTL_PIM_GEM_MMAP: the offset to give mmap(2) on the node; MAP_SHARED only
 *
 * Errors: ENOENT no such handle; EINVAL flags.
 */
struct drm_pim_gem_mmap {
	/** @handle: Input */
	__u32 handle;
	/** @flags: Input: must be zero */
	__u32 flags;
	/** @offset: Output */
	__u64 offset;
};

/**
 * struct drm_pim_queue_create - DRM_IOCTL_PIM_QUEUE_CREATE: jobs of a queue run in order on each engine
 *
 * Each engine numbers the jobs of a queue from 1, in the order of submission. Errors: EINVAL flags; ENOSPC no free queue.
 */
struct drm_pim_queue_create {
	/** @flags: Input: must be zero */
	__u32 flags;
	/** @queue: Output: queue number, never zero */
	__u32 queue;
};

/** struct drm_pim_queue_destroy - DRM_IOCTL_PIM_QUEUE_DESTROY: its jobs not yet run are cancelled. Errors: ENOENT. */
struct drm_pim_queue_destroy {
	/** @queue: Input */
	__u32 queue;
	/** @pad: must be zero */
	__u32 pad;
};

/**
 * struct drm_pim_queue_query - DRM_IOCTL_PIM_QUEUE_QUERY: how far a queue is and what its first failed job said
 *
 * Errors: ENOENT; EINVAL pad.
 */
struct drm_pim_queue_query {
	/** @queue: Input */
	__u32 queue;
	/** @status: Output: 0, or enum pim_hw_status of the first job that failed; the queue then takes no more jobs (EIO) */
	__u32 status;
	/** @engine: Output: the failed job's engine */
	__u32 engine;
	/** @where: Output: program word or binding */
	__u32 where;
	/** @unit: Output */
	__u32 unit;
	/** @pad: must be zero */
	__u32 pad;
	/** @seq: Output: the failed job's number */
	__u64 seq;
	/** @address: Output: offending address */
	__u64 address;
	/** @submitted: Output: number of the last job submitted, per engine */
	__u64 submitted[DRM_PIM_ENGINES];
	/** @completed: Output: number of the last job done, per engine */
	__u64 completed[DRM_PIM_ENGINES];
};

#define DRM_PIM_ACCESS_READ (1u << 0)
#define DRM_PIM_ACCESS_WRITE (1u << 1)

/** struct drm_pim_binding - memory a job may name: [offset, offset + bytes) of a buffer */
struct drm_pim_binding {
	/** @handle: buffer */
	__u32 handle;
	/** @access: DRM_PIM_ACCESS_*, at least one */
	__u32 access;
	/** @offset: bytes into the buffer */
	__u64 offset;
	/** @bytes: not zero */
	__u64 bytes;
};

/** struct drm_pim_wait - wait for job @seq of @engine of the same queue; it must have been submitted before the waiter */
struct drm_pim_wait {
	/** @engine: enum drm_pim_engine */
	__u32 engine;
	/** @pad: must be zero */
	__u32 pad;
	/** @seq: job number, zero waits for nothing */
	__u64 seq;
};

/* The job reports its modelled time to (time_binding, time_off) of its bindings: struct pim_hw_timing. */
#define DRM_PIM_JOB_TIMED (1u << 0)
/* Last job of its engine in its batch. */
#define DRM_PIM_JOB_CLOSE (1u << 1)

#define DRM_PIM_JOB_MAX_BINDINGS 12
#define DRM_PIM_JOB_MAX_WAITS 4
#define DRM_PIM_JOB_MAX_PAYLOAD 512
#define DRM_PIM_MAX_JOBS 4096
#define DRM_PIM_MAX_SYNCS 1024

/** struct drm_pim_job - one job; @op, @policy and the payload go to the card, which checks them */
struct drm_pim_job {
	/** @engine: enum drm_pim_engine */
	__u32 engine;
	/** @op: enum pim_hw_op */
	__u32 op;
	/** @flags: DRM_PIM_JOB_* */
	__u32 flags;
	/** @nwaits: entries of @wait in use, at most DRM_PIM_JOB_MAX_WAITS */
	__u32 nwaits;
	/** @nbindings: at most DRM_PIM_JOB_MAX_BINDINGS */
	__u32 nbindings;
	/** @payload_bytes: at most DRM_PIM_JOB_MAX_PAYLOAD */
	__u32 payload_bytes;
	/** @bindings: pointer to struct drm_pim_binding[nbindings] */
	__u64 bindings;
	/** @payload: pointer to the operation's structure of include/pim/hw.h */
	__u64 payload;
	/** @wait: jobs of this queue that must be done first */
	struct drm_pim_wait wait[DRM_PIM_JOB_MAX_WAITS];
	/** @batch: jobs of a queue with the same non-zero number are timed together */
	__u32 batch;
	/** @batch_engines: bit per engine that closes the batch; same in all its jobs */
	__u32 batch_engines;
	/** @time_binding: with DRM_PIM_JOB_TIMED */
	__u32 time_binding;
	/** @pad: must be zero */
	__u32 pad;
	/** @time_off: with DRM_PIM_JOB_TIMED: bytes into the binding */
	__u64 time_off;
	/** @policy: struct pim_hw_policy: kind, high, low, pad, min_ns, max_ns */
	__u32 policy[6];
};

/** struct drm_pim_sync - a syncobj to wait for or to signal; @point is zero for a binary one */
struct drm_pim_sync {
	/** @handle: syncobj */
	__u32 handle;
	/** @pad: must be zero */
	__u32 pad;
	/** @point: timeline point */
	__u64 point;
};

/**
 * struct drm_pim_submit - DRM_IOCTL_PIM_SUBMIT: all jobs of the array, or none
 *
 * The jobs start after all @in_syncs; @out_syncs signal when all of them are done. A PIM job needs a PIM or AUTO claim of this file on
 * every domain it is bound to, a HOST job needs the domain unclaimed or claimed by this file for HOST or AUTO: else EACCES.
 * Errors: EINVAL, ENOENT (queue, buffer, syncobj), EACCES (claim), EIO (queue failed or card lost), EFAULT, ENOMEM.
 */
struct drm_pim_submit {
	/** @queue: Input */
	__u32 queue;
	/** @flags: Input: must be zero */
	__u32 flags;
	/** @njobs: Input: 1..DRM_PIM_MAX_JOBS */
	__u32 njobs;
	/** @nin: Input: at most DRM_PIM_MAX_SYNCS */
	__u32 nin;
	/** @nout: Input: at most DRM_PIM_MAX_SYNCS */
	__u32 nout;
	/** @pad: must be zero */
	__u32 pad;
	/** @jobs: Input: pointer to struct drm_pim_job[njobs] */
	__u64 jobs;
	/** @in_syncs: Input: pointer to struct drm_pim_sync[nin] */
	__u64 in_syncs;
	/** @out_syncs: Input: pointer to struct drm_pim_sync[nout] */
	__u64 out_syncs;
	/** @seq: Output: number of the last job submitted on each engine */
	__u64 seq[DRM_PIM_ENGINES];
};

/** enum drm_pim_owner - who may touch a domain */
enum drm_pim_owner {
	/** @DRM_PIM_OWNER_HOST: CPU mappings and the HOST engine */
	DRM_PIM_OWNER_HOST = 0,
	/** @DRM_PIM_OWNER_PIM: the PIM engine alone */
	DRM_PIM_OWNER_PIM = 1,
	/** @DRM_PIM_OWNER_AUTO: both engines, in exclusive periods arranged by the card; not the CPU */
	DRM_PIM_OWNER_AUTO = 2,
};

enum drm_pim_authority_op {
	DRM_PIM_AUTHORITY_ACQUIRE = 0,
	DRM_PIM_AUTHORITY_RELEASE = 1,
	DRM_PIM_AUTHORITY_QUERY = 2,
};

#define DRM_PIM_AUTHORITY_NONBLOCK (1u << 0)

/**
 * struct drm_pim_authority - DRM_IOCTL_PIM_AUTHORITY: exclusive claims on domains
 *
 * ACQUIRE claims all domains of the mask for this file, or none of them, waiting first come first served until @timeout_ns.
 * A file that already holds every domain of the mask changes their owner at once. RELEASE gives domains back to HOST, unclaimed.
 * A claim ends with its file. QUERY tells of the lowest domain in the mask.
 * Errors: EINVAL (mask, owner, op, flags), EBUSY (NONBLOCK and held), ETIME, ERESTARTSYS/EINTR, ENOENT (RELEASE of what is not held),
 * EDEADLK (ACQUIRE of a mask of which only a part is held already), EIO (card lost).
 */
struct drm_pim_authority {
	/** @op: Input: enum drm_pim_authority_op */
	__u32 op;
	/** @flags: Input: DRM_PIM_AUTHORITY_* */
	__u32 flags;
	/** @domains: Input: bit mask */
	__u32 domains;
	/** @owner: Input: ACQUIRE. Output: QUERY; enum drm_pim_owner */
	__u32 owner;
	/** @timeout_ns: Input: ACQUIRE: absolute, CLOCK_MONOTONIC */
	__u64 timeout_ns;
	/** @holder: Output: QUERY: pid of the claim's holder, zero if unclaimed */
	__u32 holder;
	/** @waiters: Output: QUERY */
	__u32 waiters;
	/** @handovers: Output: QUERY: changes of owner made by the driver */
	__u64 handovers;
	/** @switches: Output: QUERY: modelled switches made by the card inside AUTO */
	__u64 switches;
};

#define DRM_IOCTL_PIM_GET_PARAM DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_GET_PARAM, struct drm_pim_get_param)
#define DRM_IOCTL_PIM_GEM_CREATE DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_GEM_CREATE, struct drm_pim_gem_create)
#define DRM_IOCTL_PIM_GEM_MMAP DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_GEM_MMAP, struct drm_pim_gem_mmap)
#define DRM_IOCTL_PIM_QUEUE_CREATE DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_QUEUE_CREATE, struct drm_pim_queue_create)
#define DRM_IOCTL_PIM_QUEUE_DESTROY DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_QUEUE_DESTROY, struct drm_pim_queue_destroy)
#define DRM_IOCTL_PIM_SUBMIT DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_SUBMIT, struct drm_pim_submit)
#define DRM_IOCTL_PIM_AUTHORITY DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_AUTHORITY, struct drm_pim_authority)
#define DRM_IOCTL_PIM_QUEUE_QUERY DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_QUEUE_QUERY, struct drm_pim_queue_query)

#if defined(__cplusplus)
}
#endif

#endif
