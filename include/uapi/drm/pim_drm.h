/* SPDX-License-Identifier: MIT */
/*
 * The ioctl ABI of pim.ko, a DRM render-node driver for memory that computes.
 *
 * Rules, for callers:
 * - Every pad and every unknown flag must be zero: EINVAL. So must every field that the operation at hand does not read.
 * - Times are absolute CLOCK_MONOTONIC nanoseconds unless a name says otherwise; a restarted call keeps its time.
 * - Pointers are u64, structures have the same layout for 32-bit and 64-bit processes.
 * - On error nothing has changed, unless said otherwise. EINTR: a signal came; call again. ENODEV: the card was unplugged.
 *   EIO: the card is lost, see struct drm_pim_queue_query and the kernel log.
 *
 * Rules, for whoever extends it:
 * - A structure grows at its end only; the kernel takes what is missing for zero, and zero means what it did before. Numbers of ioctls,
 *   parameters, flags and enumerators are never used again. Of a structure that is longer than it knows the kernel neither reads nor writes
 *   the rest.
 * - What is new has a bit in DRM_PIM_PARAM_EXTENSIONS, so that a program can ask before it relies on it.
 * - A new field is checked (zero in what does not use it) from the kernel that brings it on; sizes and offsets are pinned by
 *   tests/ioctl/test_abi.c.
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
#define DRM_PIM_DOMAIN_QUERY 0x08
#define DRM_PIM_WATCH 0x09
#define DRM_PIM_GEM_INFO 0x0a
#define DRM_PIM_GEM_COPY 0x0b

/**
 * enum drm_pim_engine - the card's two engines
 */
enum drm_pim_engine {
	/** @DRM_PIM_ENGINE_HOST: the GPU side of the card: convolutions, GEMM, loss, copies */
	DRM_PIM_ENGINE_HOST = 0,
	/** @DRM_PIM_ENGINE_PIM: the PIM units in the memory */
	DRM_PIM_ENGINE_PIM = 1,
};
/* Entries of arrays with one per engine. */
#define DRM_PIM_ENGINES 2

/**
 * enum drm_pim_param - what DRM_IOCTL_PIM_GET_PARAM tells
 *
 * Values are constant while the driver is bound to the card, but for NOW_NS, RESETS and those that are module parameters. The geometry is
 * in sysfs, too: /sys/class/drm/renderD128/device/pim/.
 */
enum drm_pim_param {
	/** @DRM_PIM_PARAM_ABI_MAJOR: version of the card's own interface; a driver works with one */
	DRM_PIM_PARAM_ABI_MAJOR = 0,
	/** @DRM_PIM_PARAM_ABI_MINOR: grows when a card can do more and old drivers go on working */
	DRM_PIM_PARAM_ABI_MINOR = 1,
	/** @DRM_PIM_PARAM_FEATURES: bit mask, PIM_HW_FEAT_* of include/pim/hw.h */
	DRM_PIM_PARAM_FEATURES = 2,
	/** @DRM_PIM_PARAM_DOMAINS: number of domains; masks have one bit for each */
	DRM_PIM_PARAM_DOMAINS = 3,
	/** @DRM_PIM_PARAM_DOMAIN_BYTES: PIM memory of one domain, in bytes */
	DRM_PIM_PARAM_DOMAIN_BYTES = 4,
	/** @DRM_PIM_PARAM_WINDOW_BYTES: the host window, in bytes */
	DRM_PIM_PARAM_WINDOW_BYTES = 5,
	/** @DRM_PIM_PARAM_STRIPE_BYTES: bytes after which addresses are back at the first bank; buffers begin at multiples of it */
	DRM_PIM_PARAM_STRIPE_BYTES = 6,
	/** @DRM_PIM_PARAM_STACKS: number of memory stacks */
	DRM_PIM_PARAM_STACKS = 7,
	/** @DRM_PIM_PARAM_PCS: pseudo-channels per stack */
	DRM_PIM_PARAM_PCS = 8,
	/** @DRM_PIM_PARAM_BANK_GROUPS: bank groups per pseudo-channel */
	DRM_PIM_PARAM_BANK_GROUPS = 9,
	/** @DRM_PIM_PARAM_BANKS: banks per bank group */
	DRM_PIM_PARAM_BANKS = 10,
	/** @DRM_PIM_PARAM_BANKS_PER_UNIT: banks that share a PIM unit */
	DRM_PIM_PARAM_BANKS_PER_UNIT = 11,
	/** @DRM_PIM_PARAM_ROWS: rows per bank */
	DRM_PIM_PARAM_ROWS = 12,
	/** @DRM_PIM_PARAM_ROW_BYTES: bytes of a row */
	DRM_PIM_PARAM_ROW_BYTES = 13,
	/** @DRM_PIM_PARAM_TCK_PS: memory clock, in ps per cycle */
	DRM_PIM_PARAM_TCK_PS = 14,
	/** @DRM_PIM_PARAM_HOST_GFLOPS: modelled peak of the HOST engine, in 10^9 FP32 operations per second */
	DRM_PIM_PARAM_HOST_GFLOPS = 15,
	/** @DRM_PIM_PARAM_HOST_MBPS: modelled bandwidth between HOST and the memory, in 10^6 bytes per second */
	DRM_PIM_PARAM_HOST_MBPS = 16,
	/** @DRM_PIM_PARAM_PIM_MBPS: modelled bandwidth inside the memory, all units together, in 10^6 bytes per second */
	DRM_PIM_PARAM_PIM_MBPS = 17,
	/** @DRM_PIM_PARAM_WINDOW_MBPS: modelled bandwidth of the host window, in 10^6 bytes per second */
	DRM_PIM_PARAM_WINDOW_MBPS = 18,
	/** @DRM_PIM_PARAM_CRF_WORDS: longest PIM program, in 32-bit words */
	DRM_PIM_PARAM_CRF_WORDS = 19,
	/** @DRM_PIM_PARAM_SRF_WORDS: scalar registers of a PIM unit, in 32-bit words */
	DRM_PIM_PARAM_SRF_WORDS = 20,
	/** @DRM_PIM_PARAM_MAX_JOBS: jobs in one submit */
	DRM_PIM_PARAM_MAX_JOBS = 21,
	/** @DRM_PIM_PARAM_RING_ENTRIES: jobs that one engine can have in its ring */
	DRM_PIM_PARAM_RING_ENTRIES = 22,
	/** @DRM_PIM_PARAM_NOW_NS: the card's modelled clock, in ns; ENODEV once the card is unplugged */
	DRM_PIM_PARAM_NOW_NS = 23,
	/** @DRM_PIM_PARAM_NAME0: the card's name, NUL-terminated, 8 bytes of it in each of the parameters 24..31 */
	DRM_PIM_PARAM_NAME0 = 24,
	/** @DRM_PIM_PARAM_EXTENSIONS: one bit per addition to this file since driver version 1.0; none so far */
	DRM_PIM_PARAM_EXTENSIONS = 32,
	/** @DRM_PIM_PARAM_DOMAIN_PCS: pseudo-channels per domain: domain d has [d * n, (d + 1) * n) of the card's */
	DRM_PIM_PARAM_DOMAIN_PCS = 33,
	/** @DRM_PIM_PARAM_MAX_SYNCS: entries of one array of syncobjs */
	DRM_PIM_PARAM_MAX_SYNCS = 34,
	/** @DRM_PIM_PARAM_MAX_BINDINGS: bindings of one job */
	DRM_PIM_PARAM_MAX_BINDINGS = 35,
	/** @DRM_PIM_PARAM_MAX_WAITS: waits of one job */
	DRM_PIM_PARAM_MAX_WAITS = 36,
	/** @DRM_PIM_PARAM_MAX_PAYLOAD: payload of one job, in bytes */
	DRM_PIM_PARAM_MAX_PAYLOAD = 37,
	/** @DRM_PIM_PARAM_MAX_QUEUES: queues of the card, all clients together */
	DRM_PIM_PARAM_MAX_QUEUES = 38,
	/** @DRM_PIM_PARAM_JOB_TIMEOUT_MS: time-out of queues that ask for none, in ms (module parameter job_timeout_ms) */
	DRM_PIM_PARAM_JOB_TIMEOUT_MS = 39,
	/** @DRM_PIM_PARAM_MAX_JOB_TIMEOUT_MS: longest time-out that a queue may ask for, in ms (module parameter max_job_timeout_ms) */
	DRM_PIM_PARAM_MAX_JOB_TIMEOUT_MS = 40,
	/** @DRM_PIM_PARAM_TENURE_MS: longest wait of a host request before a claim yields, in ms (module parameter tenure_ms) */
	DRM_PIM_PARAM_TENURE_MS = 41,
	/** @DRM_PIM_PARAM_RESETS: resets of the card since the driver was bound to it */
	DRM_PIM_PARAM_RESETS = 42,
};

/**
 * struct drm_pim_get_param - DRM_IOCTL_PIM_GET_PARAM
 *
 * Errors: EINVAL unknown parameter or pad not zero; ENODEV.
 *
 * Example: how many domains has the card::
 *
 *	struct drm_pim_get_param p = { .param = DRM_PIM_PARAM_DOMAINS };
 *	ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, &p);
 *	... p.value ...
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

/* Output of GEM_INFO only: the buffer is another device's, see DRM_IOCTL_PIM_GEM_COPY. */
#define DRM_PIM_GEM_IMPORTED (1u << 2)

/**
 * struct drm_pim_gem_create - DRM_IOCTL_PIM_GEM_CREATE: card memory, cleared, contiguous, stripe-aligned
 *
 * Memory is placed by domain. A domain is a set of whole pseudo-channels (DRM_PIM_PARAM_DOMAIN_PCS), over which its addresses are
 * interleaved: choosing domains is choosing channels. Of several domains the one with the most free memory is taken.
 *
 * The memory is cleared before the call returns: the call waits for HOST to have the domain, as any CPU access would (killably; a claim
 * yields within DRM_PIM_PARAM_TENURE_MS).
 *
 * Errors: EINVAL size zero, flags, domains, align; ENOSPC no domain of the mask (or the window) has a free run of that size and
 * alignment; ENOMEM; EINTR; EIO.
 *
 * Example: 1 MiB in domain 2, for operands of PIM programs::
 *
 *	struct drm_pim_gem_create c = { .size = 1 << 20, .domains = 1 << 2 };
 *	ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &c);
 */
struct drm_pim_gem_create {
	/** @size: Input: bytes. Output: bytes, rounded up to pages and stripes */
	__u64 size;
	/** @align: Input: bytes, a multiple of the stripe and the page; zero: their least common multiple */
	__u64 align;
	/** @flags: Input: DRM_PIM_GEM_* */
	__u32 flags;
	/** @domains: Input: bit mask of domains to choose from; zero with DRM_PIM_GEM_WINDOW */
	__u32 domains;
	/** @handle: Output */
	__u32 handle;
	/** @domain: Output: the domain it lies in, zero in the window */
	__u32 domain;
	/** @address: Output: place in the card's memory, for planning banks; not a capability */
	__u64 address;
};

/**
 * struct drm_pim_gem_info - DRM_IOCTL_PIM_GEM_INFO: what a handle names, whoever created it
 *
 * Errors: ENOENT no such handle; EINVAL pad.
 */
struct drm_pim_gem_info {
	/** @handle: Input */
	__u32 handle;
	/** @flags: Output: DRM_PIM_GEM_*; must be zero on input */
	__u32 flags;
	/** @size: Output: bytes */
	__u64 size;
	/** @address: Output: as in struct drm_pim_gem_create; zero for an imported buffer */
	__u64 address;
	/** @domain: Output: zero in the window and for an imported buffer */
	__u32 domain;
	/** @pad: must be zero */
	__u32 pad;
};

/**
 * struct drm_pim_gem_copy - DRM_IOCTL_PIM_GEM_COPY: copy bytes between buffers, by the CPU
 *
 * The way between the card and memory of other devices: the engines reach only the card's own memory, so a job that binds an imported
 * buffer is refused (EOPNOTSUPP). The call waits for the fences that others left in the buffers' reservation objects (writers of @src,
 * everybody of @dst) and for HOST to have their domains, then copies, then returns. Not modelled: it takes none of the card's time.
 * Ranges of one buffer must not overlap.
 *
 * Errors: ENOENT no such handle; EINVAL bytes zero, out of range or overlapping; ETIME; EINTR; EOPNOTSUPP the exporter gives the CPU no
 * access; ENODEV, also when it is the other card that is gone. After EINTR and ETIME a part may have been copied.
 */
struct drm_pim_gem_copy {
	/** @dst: Input: handle */
	__u32 dst;
	/** @src: Input: handle */
	__u32 src;
	/** @dst_offset: Input: bytes */
	__u64 dst_offset;
	/** @src_offset: Input: bytes */
	__u64 src_offset;
	/** @bytes: Input: not zero */
	__u64 bytes;
	/** @timeout_ns: Input: absolute, for the waiting */
	__u64 timeout_ns;
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
 * enum drm_pim_priority - of queues and of claims; more than NORMAL needs CAP_SYS_NICE (EACCES)
 */
enum drm_pim_priority {
	/** @DRM_PIM_PRIORITY_NORMAL: the default */
	DRM_PIM_PRIORITY_NORMAL = 0,
	/** @DRM_PIM_PRIORITY_HIGH: before all others */
	DRM_PIM_PRIORITY_HIGH = 1,
	/** @DRM_PIM_PRIORITY_LOW: after the others; a queue still gets one job at a time, so that it comes on */
	DRM_PIM_PRIORITY_LOW = 2,
};

/**
 * struct drm_pim_queue_create - DRM_IOCTL_PIM_QUEUE_CREATE: jobs of a queue run in order on each engine
 *
 * Each engine numbers the jobs of a queue from 1, in the order of submission. Queues of equal priority share the engines evenly.
 *
 * Errors: EINVAL flags, priority, timeout_ms; EACCES priority; ENOSPC no free queue; ENOMEM.
 */
struct drm_pim_queue_create {
	/** @flags: Input: must be zero */
	__u32 flags;
	/** @queue: Output: queue number, never zero */
	__u32 queue;
	/** @priority: Input: enum drm_pim_priority */
	__u32 priority;
	/**
	 * @timeout_ms: Input: time that a job at the head of its engine may take, relative, at most DRM_PIM_PARAM_MAX_JOB_TIMEOUT_MS;
	 * zero: DRM_PIM_PARAM_JOB_TIMEOUT_MS. A job that takes longer fails, and its queue with it
	 */
	__u32 timeout_ms;
	/** @policy: Input: struct pim_hw_policy of jobs with DRM_PIM_JOB_QUEUE_POLICY */
	__u32 policy[6];
};

/**
 * struct drm_pim_queue_destroy - DRM_IOCTL_PIM_QUEUE_DESTROY: its jobs not yet run are cancelled
 *
 * Errors: ENOENT no such queue; EINVAL pad.
 */
struct drm_pim_queue_destroy {
	/** @queue: Input */
	__u32 queue;
	/** @pad: must be zero */
	__u32 pad;
};

/* The queue's job is the one that hung or failed. */
#define DRM_PIM_QUEUE_GUILTY (1u << 0)
/* The queue lost a running job to a reset that another queue, or the card itself, caused. */
#define DRM_PIM_QUEUE_INNOCENT (1u << 1)

/**
 * struct drm_pim_queue_query - DRM_IOCTL_PIM_QUEUE_QUERY: how far a queue is and what its first failed job said
 *
 * Errors: ENOENT no such queue; EINVAL flags.
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
	/** @flags: Output: DRM_PIM_QUEUE_*; must be zero on input */
	__u32 flags;
	/** @seq: Output: the failed job's number */
	__u64 seq;
	/** @address: Output: offending address, if any */
	__u64 address;
	/** @submitted: Output: number of the last job submitted, per engine */
	__u64 submitted[DRM_PIM_ENGINES];
	/** @completed: Output: number of the last job done, per engine */
	__u64 completed[DRM_PIM_ENGINES];
};

/* What a job may do with a binding; the card refuses anything else. */
#define DRM_PIM_ACCESS_READ (1u << 0)
#define DRM_PIM_ACCESS_WRITE (1u << 1)

/**
 * struct drm_pim_binding - memory a job may name: [offset, offset + bytes) of a buffer
 */
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

/**
 * struct drm_pim_wait - wait for job @seq of @engine of the same queue; it must have been submitted before the waiter
 */
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
/* The policy is the queue's; @policy of the job must be zero. */
#define DRM_PIM_JOB_QUEUE_POLICY (1u << 2)

/* Limits of this version of the file; DRM_PIM_PARAM_MAX_* has those of the driver. */
#define DRM_PIM_JOB_MAX_BINDINGS 12
#define DRM_PIM_JOB_MAX_WAITS 4
#define DRM_PIM_JOB_MAX_PAYLOAD 512
#define DRM_PIM_MAX_JOBS 4096
#define DRM_PIM_MAX_SYNCS 1024

/**
 * struct drm_pim_job - one job; @op, @policy and the payload go to the card, which checks them
 */
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

/**
 * struct drm_pim_sync - a syncobj to wait for or to signal; @point is zero for a binary one
 */
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
 * every domain it is bound to, a HOST job needs the domain unclaimed or claimed by this file for HOST or AUTO: else EACCES. While a
 * claim of this file yields to host requests the call waits until it has the domains again.
 *
 * A job whose claim ended before it ran ends with EACCES, and its queue takes no more jobs. Writers of a buffer that was exported leave
 * their fence in its reservation object, and wait for those of others.
 *
 * Example: a PIM job on one buffer of a domain that this file claims, and the wait for it::
 *
 *	struct drm_pim_binding b = { .handle = buffer, .access = DRM_PIM_ACCESS_READ | DRM_PIM_ACCESS_WRITE, .bytes = 65536 };
 *	struct drm_pim_job job = {
 *		.engine = DRM_PIM_ENGINE_PIM, .op = PIM_HW_OP_PROGRAM, .nbindings = 1, .bindings = (uintptr_t)&b,
 *		.payload_bytes = sizeof(program), .payload = (uintptr_t)&program,
 *	};
 *	struct drm_pim_sync done = { .handle = syncobj };
 *	struct drm_pim_submit s = {
 *		.queue = queue, .njobs = 1, .jobs = (uintptr_t)&job, .nout = 1, .out_syncs = (uintptr_t)&done,
 *	};
 *	ioctl(fd, DRM_IOCTL_PIM_SUBMIT, &s);
 *	... DRM_IOCTL_SYNCOBJ_WAIT for syncobj ...
 *
 * Errors: EINVAL; ENOENT queue, buffer, syncobj; EACCES claim; EOPNOTSUPP an imported buffer; EIO queue failed or card lost; EFAULT;
 * ENOMEM; EINTR.
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

/**
 * enum drm_pim_owner - who may touch a domain
 */
enum drm_pim_owner {
	/** @DRM_PIM_OWNER_HOST: CPU mappings and the HOST engine */
	DRM_PIM_OWNER_HOST = 0,
	/** @DRM_PIM_OWNER_PIM: the PIM engine alone */
	DRM_PIM_OWNER_PIM = 1,
	/** @DRM_PIM_OWNER_AUTO: both engines, in exclusive periods arranged by the card; not the CPU */
	DRM_PIM_OWNER_AUTO = 2,
};

/**
 * enum drm_pim_authority_op - what DRM_IOCTL_PIM_AUTHORITY does
 */
enum drm_pim_authority_op {
	/** @DRM_PIM_AUTHORITY_ACQUIRE: claim domains for an owner, or change the owner of domains held */
	DRM_PIM_AUTHORITY_ACQUIRE = 0,
	/** @DRM_PIM_AUTHORITY_RELEASE: give domains back to HOST, unclaimed */
	DRM_PIM_AUTHORITY_RELEASE = 1,
};

/* ACQUIRE: EBUSY instead of waiting in line. */
#define DRM_PIM_AUTHORITY_NONBLOCK (1u << 0)
/* Do not wait for the hand-over, @out_syncs tell when it is done; needs at least one of them. */
#define DRM_PIM_AUTHORITY_ASYNC (1u << 1)

/**
 * struct drm_pim_authority - DRM_IOCTL_PIM_AUTHORITY: exclusive claims on domains
 *
 * ACQUIRE claims all domains of the mask for this file, or none of them: so claims cannot deadlock. It waits in line until @timeout_ns, by
 * priority, first come first served among equals. A file that already holds every domain of the mask changes their owner at once, and
 * their deadline and policy with it. When the owner is not HOST, CPU mappings of all buffers in the domains are taken away before
 * the call returns; an access then waits, killably, or gets SIGBUS by DRM_PIM_GEM_SIGBUS.
 *
 * The hand-over itself happens once all @in_syncs have signalled, jobs that the new owner shuts out have left the card and the fences of
 * dma-buf importers have signalled; then @out_syncs signal. The call waits for that, or with DRM_PIM_AUTHORITY_ASYNC does not: then a GPU's
 * fence can hand memory over without the CPU in between, and jobs may be submitted already (they should wait for one of
 * @out_syncs). An @out_syncs fence has an error if the hand-over did not come about: ECANCELED.
 *
 * RELEASE works the same way; jobs not yet in the card's rings end with EACCES.
 *
 * A claim ends with its file, and by itself at @deadline_ns: it is then revoked, jobs in the card's rings end normally, others with
 * EACCES.
 *
 * A claim yields: a CPU access, a buffer to be cleared and an importer's wait are host requests, and while any waits the domain is lent to
 * HOST for a moment, between jobs. That is done once @host_requests of them wait and PIM has had the domain for @min_ns, at the latest when
 * one has waited for @max_ns. A claim whose jobs do not end within DRM_PIM_PARAM_TENURE_MS after that is revoked. Nor does a host request
 * wait longer than that for a hand-over whose @in_syncs do not signal: an ACQUIRE then ends with ECANCELED, and the claim with it, a
 * RELEASE takes place. So no fence and no page fault ever depends on a user program.
 *
 * Errors: EINVAL mask, owner, op, flags, priority, counts, times; EACCES priority; EBUSY (NONBLOCK, and held); ETIME; ENOENT syncobj,
 * or RELEASE of what is not held (any more); EDEADLK ACQUIRE of a mask of which only a part is held; EINTR; ENOMEM; EFAULT; EIO.
 *
 * Example: hand domain 0 to PIM when the GPU is done (syncobj g), run jobs, hand it back, and let the GPU go on (syncobj h)::
 *
 *	struct drm_pim_sync g = { .handle = gpu_done }, p = { .handle = pim_has_it }, j = { .handle = jobs_done }, h = { .handle = gpu_go };
 *	struct drm_pim_authority acq = {
 *		.op = DRM_PIM_AUTHORITY_ACQUIRE, .flags = DRM_PIM_AUTHORITY_ASYNC, .domains = 1, .owner = DRM_PIM_OWNER_PIM,
 *		.timeout_ns = now + 1000000000, .nin = 1, .in_syncs = (uintptr_t)&g, .nout = 1, .out_syncs = (uintptr_t)&p,
 *	};
 *	ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &acq);
 *	... DRM_IOCTL_PIM_SUBMIT with in_syncs p, out_syncs j ...
 *	struct drm_pim_authority rel = {
 *		.op = DRM_PIM_AUTHORITY_RELEASE, .flags = DRM_PIM_AUTHORITY_ASYNC, .domains = 1,
 *		.nin = 1, .in_syncs = (uintptr_t)&j, .nout = 1, .out_syncs = (uintptr_t)&h,
 *	};
 *	ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &rel);
 */
struct drm_pim_authority {
	/** @op: Input: enum drm_pim_authority_op */
	__u32 op;
	/** @flags: Input: DRM_PIM_AUTHORITY_* */
	__u32 flags;
	/** @domains: Input: bit mask, not zero */
	__u32 domains;
	/** @owner: Input: ACQUIRE: enum drm_pim_owner */
	__u32 owner;
	/** @timeout_ns: Input: ACQUIRE: absolute: end of the wait in line; not used with DRM_PIM_AUTHORITY_NONBLOCK */
	__u64 timeout_ns;
	/** @deadline_ns: Input: ACQUIRE: absolute: the claim is revoked then; zero: never */
	__u64 deadline_ns;
	/** @min_ns: Input: ACQUIRE: relative: least tenure before @host_requests count */
	__u64 min_ns;
	/** @max_ns: Input: ACQUIRE: relative: longest wait of a host request; zero, or more than it: DRM_PIM_PARAM_TENURE_MS */
	__u64 max_ns;
	/** @host_requests: Input: ACQUIRE: waiting host requests that end the tenure after @min_ns; zero: only @max_ns does */
	__u32 host_requests;
	/** @priority: Input: ACQUIRE: enum drm_pim_priority */
	__u32 priority;
	/** @nin: Input: at most DRM_PIM_MAX_SYNCS */
	__u32 nin;
	/** @nout: Input: at most DRM_PIM_MAX_SYNCS */
	__u32 nout;
	/** @in_syncs: Input: pointer to struct drm_pim_sync[nin]; each must have a fence already (EINVAL) */
	__u64 in_syncs;
	/** @out_syncs: Input: pointer to struct drm_pim_sync[nout] */
	__u64 out_syncs;
};

/**
 * struct drm_pim_domain_query - DRM_IOCTL_PIM_DOMAIN_QUERY: who has a domain, and how it went so far
 *
 * Errors: EINVAL domain, pad.
 */
struct drm_pim_domain_query {
	/** @domain: Input */
	__u32 domain;
	/** @owner: Output: enum drm_pim_owner, as the card has it now */
	__u32 owner;
	/** @holder: Output: pid of the claim's holder in the caller's namespace; zero: unclaimed, or not visible there */
	__u32 holder;
	/** @priority: Output: of the claim */
	__u32 priority;
	/** @comm: Output: name of the holder's process when it claimed, with an end */
	char comm[16];
	/** @waiters: Output: claims waiting in line */
	__u32 waiters;
	/** @host_waiters: Output: host requests waiting */
	__u32 host_waiters;
	/** @deadline_ns: Output: of the claim, absolute; zero: none */
	__u64 deadline_ns;
	/** @tenure_ns: Output: since the owner has it */
	__u64 tenure_ns;
	/** @owned_ns: Output: time that each enum drm_pim_owner had it, this tenure included */
	__u64 owned_ns[3];
	/** @handovers: Output: changes of owner made by the driver */
	__u64 handovers;
	/** @yields: Output: of these, those that lent it to host requests */
	__u64 yields;
	/** @revocations: Output: claims ended by deadline or time-out */
	__u64 revocations;
	/** @host_requests: Output: host requests that had to wait, so far */
	__u64 host_requests;
	/** @switches: Output: modelled switches made by the card inside AUTO */
	__u64 switches;
};

/**
 * struct drm_pim_watch - DRM_IOCTL_PIM_WATCH: signal an eventfd on each change of owner or holder
 *
 * One watch per file; a new one takes the old one's place. The eventfd's count says how many changes there were, struct
 * drm_pim_domain_query what it is now. Errors: EINVAL domains, fd; EBADF; ENOMEM.
 */
struct drm_pim_watch {
	/** @fd: Input: eventfd(2); must be -1 if @domains is zero */
	__s32 fd;
	/** @domains: Input: bit mask; zero ends the watch */
	__u32 domains;
};

#define DRM_IOCTL_PIM_GET_PARAM DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_GET_PARAM, struct drm_pim_get_param)
#define DRM_IOCTL_PIM_GEM_CREATE DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_GEM_CREATE, struct drm_pim_gem_create)
#define DRM_IOCTL_PIM_GEM_MMAP DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_GEM_MMAP, struct drm_pim_gem_mmap)
#define DRM_IOCTL_PIM_QUEUE_CREATE DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_QUEUE_CREATE, struct drm_pim_queue_create)
#define DRM_IOCTL_PIM_QUEUE_DESTROY DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_QUEUE_DESTROY, struct drm_pim_queue_destroy)
#define DRM_IOCTL_PIM_SUBMIT DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_SUBMIT, struct drm_pim_submit)
#define DRM_IOCTL_PIM_AUTHORITY DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_AUTHORITY, struct drm_pim_authority)
#define DRM_IOCTL_PIM_QUEUE_QUERY DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_QUEUE_QUERY, struct drm_pim_queue_query)
#define DRM_IOCTL_PIM_DOMAIN_QUERY DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_DOMAIN_QUERY, struct drm_pim_domain_query)
#define DRM_IOCTL_PIM_WATCH DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_WATCH, struct drm_pim_watch)
#define DRM_IOCTL_PIM_GEM_INFO DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_GEM_INFO, struct drm_pim_gem_info)
#define DRM_IOCTL_PIM_GEM_COPY DRM_IOWR(DRM_COMMAND_BASE + DRM_PIM_GEM_COPY, struct drm_pim_gem_copy)

#if defined(__cplusplus)
}
#endif

#endif
