/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver's objects, from the outside in: device, file, queue, job, buffer, domain. One source file each.
 *
 * Locks, outermost first:
 *
 *	pim_queue.lock		submission order of one queue
 *	pim_domain.resv		fences for and from others; no copy from or to user space under it, page faults may want it
 *	pim_device.reset_sem	read: a job goes to a ring; write: the card is reset. No allocation under it: fences depend on it
 *	pim_auth.bo_lock	list of buffers of a domain; held while their mappings are zapped
 *	pim_auth.fault_sem	pim_domain.cpu against page faults
 *	pim_ring.lock		one ring's positions
 *	pim_queue.state		how far a queue is
 *	pim_auth.lock		claims, owners, counts; innermost, but for the lock of an eventfd
 */
#ifndef PIM_DRV_H
#define PIM_DRV_H

#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/kref.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_mm.h>
#include <drm/drm_print.h>
#include <drm/gpu_scheduler.h>

#include <drm/pim_drm.h>
#include <pim/hw.h>

#include "pim_auth.h"

struct pim_job;

enum pim_rank {
	PIM_RANK_LOW,
	PIM_RANK_NORMAL,
	PIM_RANK_HIGH,
	PIM_RANKS,
};

#define PIM_RING_LOG 8 /* completions that a core dump shows */

/*
 * struct pim_ring - one engine's ring
 * @head: seqno of the last job seen completed
 * @tail: seqno of the last job that entered it
 * @given: seqno of the last job given to the card
 * @paused: jobs enter it, but are not given to the card
 * @frozen: what the card says it completed does not count
 * @broken: what the card did that it must not; a reset is due
 * @since: ns of the monotonic clock since when the job after @head could run
 * @oldest: the same, since when it is the oldest one
 * @stopped: seqno of the job that the card was told to end, at @stopped_at
 * @jobs: by entry
 * @spare: of the same size, for the day they move
 * @active: queues with jobs not done, by rank
 */
struct pim_ring {
	struct pim_device *pim;
	u32 engine;
	spinlock_t lock;
	u64 head;
	u64 tail;
	u64 given;
	bool paused;
	bool frozen;
	const char *broken;
	u64 since;
	u64 oldest;
	u64 stopped;
	unsigned long stopped_at;
	struct pim_job **jobs;
	struct pim_job **spare;
	struct {
		u64 seqno;
		u64 seq;
		u32 slot;
		u32 status;
	} log[PIM_RING_LOG];
	u64 logged;
	atomic_t active[PIM_RANKS];
	struct drm_gpu_scheduler sched;
};

/*
 * struct pim_dump - the next core dump
 * @taken: @text is filled in and not yet handed over
 */
struct pim_dump {
	char *text;
	size_t len;
	unsigned long taken;
	struct work_struct work;
};

/*
 * struct pim_device - one card
 * @hw: the header, read once at probe and checked
 * @regs: BAR from its begin to the host window, uncached
 * @mem: BAR from the host window on, write-combined
 * @lost: the card does not answer
 * @asleep: from suspend to resume
 * @queues: live queues, by slot pair
 */
struct pim_device {
	struct drm_device drm;
	struct pci_dev *pdev;
	struct pim_hw_header hw;
	void __iomem *bar0;
	void __iomem *regs;
	void __iomem *mem;
	phys_addr_t bar;

	u32 generation;
	bool lost;
	bool asleep;
	struct rw_semaphore reset_sem;
	struct delayed_work watchdog;
	u64 heartbeat;
	unsigned long heartbeat_at;
	u64 resets;
	struct pim_dump dump;

	struct pim_ring ring[PIM_HW_ENGINES];
	struct xarray queues;
	atomic_t batch_ids;

	u64 align; /* of buffers: whole pages and whole stripes */
	struct mutex mm_lock;
	struct drm_mm mm;
	struct drm_mm window;
	u64 free[PIM_HW_MAX_DOMAINS]; /* bytes, per domain */

	struct dma_resv window_resv;
	u64 resvs; /* bit per domain, and one for the window */

	struct pim_auth auth;
	struct pim_history *history;
	atomic64_t file_ids;
};

/* What a file used so far; jobs may outlive the file. @busy_ns and @jobs under the ring's lock */
struct pim_client {
	struct kref refs;
	u64 id;
	pid_t pid; /* who opened it */
	char comm[TASK_COMM_LEN];
	u64 busy_ns[PIM_HW_ENGINES];
	u64 jobs[PIM_HW_ENGINES];
	atomic64_t faults;
};

/* @id: of the client, as fdinfo and trace events name it */
struct pim_file {
	struct pim_device *pim;
	struct pim_client *client;
	u64 id;
	struct mutex lock; /* queues against destruction */
	struct xarray queues;
	struct pim_watch *watch;
};

/*
 * struct pim_pace - how far a queue is ahead of its engine; the engine's scheduler thread's own
 * @flagged: number of the last job that interrupts for the pace's sake
 * @fence: the last two of these, the older one first
 */
struct pim_pace {
	u64 flagged;
	struct dma_fence *fence[2];
};

/*
 * struct pim_queue - jobs in order on each engine
 * @stop: no more jobs go to a ring: closed or failed. Once one job is refused, so are all after it: they may wait for its slot value
 * @slot: first of two slots on the card, one per engine
 * @pending: jobs not done
 * @policy: of jobs that ask for the queue's
 * @pid: who made it, in the kernel's terms; with @comm for the core dump
 * @batch_id: high half of this queue's batch numbers, so that two queues never share a batch
 * @last: `scheduled` fence of the job submitted last, on @last_engine
 */
struct pim_queue {
	struct kref refs;
	struct pim_device *pim;
	struct mutex lock;
	struct drm_sched_entity entity[PIM_HW_ENGINES];
	u64 context[PIM_HW_ENGINES];
	u64 submitted[PIM_HW_ENGINES];
	atomic_t pending[PIM_HW_ENGINES];
	struct pim_pace pace[PIM_HW_ENGINES];
	enum pim_rank rank;
	u32 timeout_ms;
	struct pim_hw_policy policy;
	u32 slot;
	u32 batch_id;
	u64 file;
	struct pim_client *client;
	bool closed;
	struct dma_fence *last;
	u32 last_engine;

	spinlock_t state; /* what follows */
	bool stop;
	struct drm_pim_queue_query first; /* the first failure */
	u64 completed[PIM_HW_ENGINES];
};

/*
 * struct pim_bo - memory of this card; what was imported is no pim_bo, see pim_bo_from_gem()
 * @exported: it was once, so others may have left fences for it
 */
struct pim_bo {
	struct drm_gem_object base;
	struct drm_mm_node node;
	struct list_head link; /* pim_domain.bos */
	u32 flags;
	u32 domain;
	bool exported;
	u64 off; /* in the BAR */
	struct page *dummy; /* mapped in place of the memory once the card is gone */
};

/*
 * struct pim_resv_set - the reservation objects of a submit, bit per domain and PIM_HW_MAX_DOMAINS for the window
 * @read: engines that read or write there
 * @exported: where a buffer that was exported is used
 */
struct pim_resv_set {
	u64 used;
	u64 exported;
	u64 read[PIM_HW_ENGINES];
	u64 write[PIM_HW_ENGINES];
	struct ww_acquire_ctx ticket;
};

/*
 * struct pim_job - one job, from submit to completion
 * @after: this job must be written to its ring after that one was: keeps two in-order rings free of deadlock
 * @domains: domains of its buffers
 * @guest: of these, the ones it was let into without a claim
 * @admitted: it counts in its domains
 * @era: pim_auth.era at that time
 */
struct pim_job {
	struct drm_sched_job base;
	struct pim_queue *queue;
	struct dma_fence *fence;
	struct dma_fence *after;
	struct llist_node free;
	u32 engine;
	u32 domains;
	u32 guest;
	bool admitted;
	u64 era;
	u32 nbos;
	u64 seq;
	struct drm_gem_object *bo[PIM_HW_MAX_BINDINGS];
	struct pim_hw_desc desc;
};

/* struct pim_fence_list - fences on the way to become one */
struct pim_fence_list {
	struct dma_fence **fence;
	u32 n;
	u32 room;
};

/* struct pim_sync_out - syncobjs that will get a fence */
struct pim_sync_out {
	struct pim_out *out;
	u32 n;
};

static inline struct pim_device *to_pim(struct drm_device *drm)
{
	return container_of(drm, struct pim_device, drm);
}

static inline struct pim_bo *to_pim_bo(struct drm_gem_object *obj)
{
	return container_of(obj, struct pim_bo, base);
}

static inline bool pim_bo_in_window(const struct pim_bo *bo)
{
	return bo->flags & DRM_PIM_GEM_WINDOW;
}

static inline struct pim_job *to_pim_job(struct drm_sched_job *base)
{
	return container_of(base, struct pim_job, base);
}

extern struct workqueue_struct *pim_wq;
extern uint pim_tenure_ms;
extern uint pim_slice_ms;
extern uint pim_job_timeout_ms;
extern uint pim_reset_timeout_ms;
extern uint pim_max_job_timeout_ms;

#define PIM_WATCHDOG_MS 100 /* between two looks at the card while jobs are in flight */

/* pim_device.c */
int pim_device_init(struct pim_device *pim);
u32 pim_device_generation(struct pim_device *pim);
void pim_device_doorbell(struct pim_device *pim, u32 vector);

/* pim_gem.c */
int pim_gem_init(struct pim_device *pim);
int pim_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int pim_gem_mmap_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int pim_gem_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
struct pim_bo *pim_bo_from_gem(struct drm_gem_object *obj);

/* pim_prime.c */
struct dma_buf *pim_prime_export(struct drm_gem_object *obj, int flags);
struct drm_gem_object *pim_prime_import(struct drm_device *drm, struct dma_buf *buf);
struct dma_buf *pim_prime_imported(struct drm_gem_object *obj);
struct pim_bo *pim_prime_bo(struct dma_buf *buf);

/* pim_copy.c */
int pim_gem_copy_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* pim_resv.c */
int pim_resv_init(struct pim_device *pim);
struct dma_resv *pim_resv_of(struct pim_device *pim, const struct pim_bo *bo);
void pim_resv_use(struct pim_resv_set *set, const struct pim_bo *bo, u32 engine, bool write);
int pim_resv_lock(struct pim_device *pim, struct pim_resv_set *set);
void pim_resv_unlock(struct pim_device *pim, struct pim_resv_set *set);
int pim_resv_prepare(struct pim_device *pim, struct pim_resv_set *set, u32 claimed, struct drm_sched_job *first);
void pim_resv_publish(struct pim_device *pim, struct pim_resv_set *set, u32 engine, struct dma_fence *fence);
void pim_resv_prune(struct pim_device *pim);

/* pim_auth.c */
int pim_auth_init(struct pim_device *pim);
int pim_auth_admit(struct pim_device *pim, u64 file, struct pim_job **jobs, u32 n);
int pim_auth_await(struct pim_device *pim, struct pim_job **jobs, u32 n);
int pim_auth_start(struct pim_job *job);
void pim_auth_end(struct pim_job *job);
void pim_auth_leave(struct pim_job *job);
long pim_auth_wait_cpu(struct pim_device *pim, u32 d, bool interruptible, long left);
int pim_auth_host_begin(struct pim_device *pim, u32 domain, u64 timeout_ns);
void pim_auth_host_end(struct pim_device *pim, u32 domain);

/* pim_claim.c */
int pim_authority_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int pim_domain_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
void pim_claim_close(struct pim_device *pim, u64 file);

/* pim_watch.c */
int pim_watch_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* pim_queue.c */
struct pim_queue *pim_queue_get(struct pim_file *pf, u32 id);
void pim_queue_put(struct pim_queue *queue);
void pim_queue_fail(struct pim_queue *queue, u32 engine, u64 seq, const struct pim_hw_done *done);
void pim_queue_lose(struct pim_queue *queue);
void pim_queue_stop(struct pim_queue *queue, u32 what);
void pim_queue_close_all(struct pim_file *pf);
void pim_queue_restore(struct pim_device *pim);
int pim_queue_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int pim_queue_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int pim_queue_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* pim_sync.c */
int pim_sync_in(struct drm_file *file, u64 array, u32 n, int (*add)(void *arg, struct dma_fence *fence), void *arg);
int pim_sync_out(struct pim_sync_out *s, struct drm_file *file, u64 array, u32 n);
void pim_sync_signal(struct pim_sync_out *s, struct dma_fence *fence);
void pim_sync_put(struct pim_sync_out *s);
int pim_fence_list_add(void *list, struct dma_fence *fence);
void pim_fence_list_put(struct pim_fence_list *l);
struct dma_fence *pim_fence_list_merge(struct pim_fence_list *l);

/* pim_submit.c */
int pim_submit_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* pim_job.c */
int pim_job_module_init(void);
void pim_job_module_exit(void);
int pim_job_init(struct pim_device *pim);
struct pim_job *pim_job_alloc(struct pim_queue *queue, u32 engine);
void pim_job_number(struct pim_job *job, u64 seq);
void pim_job_destroy(struct pim_job *job);
bool pim_job_is_fence_of(struct dma_fence *fence, const struct pim_device *pim);
void pim_job_finish(struct pim_job *job, const struct pim_hw_done *done);
bool pim_job_waits(const struct pim_job *job);

/* pim_pace.c */
void pim_pace_enter(struct pim_job *job);
void pim_pace_leave(struct pim_job *job);
struct dma_fence *pim_pace_wait(struct pim_job *job);
void pim_pace_run(struct pim_job *job);
void pim_pace_fini(struct pim_queue *queue);

/* pim_ring.c */
int pim_ring_init(struct pim_device *pim);
void pim_ring_write(struct pim_ring *ring, struct pim_job *job);
void pim_ring_process(struct pim_ring *ring);
bool pim_ring_busy(struct pim_ring *ring);
bool pim_ring_working(struct pim_ring *ring);
void pim_ring_pause(struct pim_ring *ring);
void pim_ring_freeze(struct pim_ring *ring);
void pim_ring_lose(struct pim_ring *ring, u64 started);
void pim_ring_thaw(struct pim_ring *ring);
struct pim_job *pim_ring_head(struct pim_ring *ring);
void pim_ring_account(struct pim_job *job);
u64 pim_ring_busy_ns(struct pim_ring *ring, const struct pim_client *client);

/* pim_irq.c */
int pim_irq_init(struct pim_device *pim);

/* pim_reset.c */
int pim_reset_handshake(struct pim_device *pim, unsigned int timeout_ms);
bool pim_reset_ready(struct pim_device *pim);
void pim_reset_recover(struct pim_device *pim, const char *reason);
void pim_reset_revive(struct pim_device *pim);
void pim_reset_unplug(struct pim_device *pim);
int pim_reset_suspend(struct pim_device *pim);
int pim_reset_resume(struct pim_device *pim);

/* pim_watchdog.c */
int pim_watchdog_init(struct pim_device *pim);
bool pim_watchdog_alive(struct pim_device *pim);
void pim_watchdog_kick(struct pim_device *pim);

/* pim_dump.c */
int pim_dump_init(struct pim_device *pim);
void pim_dump_take(struct pim_device *pim, const char *reason, u32 engines);

/* pim_param.c */
int pim_attr_init(struct pim_device *pim);
int pim_get_param_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* pim_history.c */
int pim_history_init(struct pim_device *pim);
void pim_history_add(struct pim_device *pim, u32 domain, u32 from, u32 to, enum pim_cause cause, u64 client, pid_t pid, const char *comm);
void pim_history_show(struct pim_device *pim, struct seq_file *m);

/* pim_client.c */
struct pim_client *pim_client_create(u64 id);
void pim_client_put(struct pim_client *client);
void pim_client_fault(struct vm_area_struct *vma, struct pim_device *pim);
void pim_client_show(struct drm_printer *p, struct drm_file *file);
void pim_show_fdinfo(struct seq_file *m, struct file *filp);

/* pim_debugfs.c */
#ifdef CONFIG_DEBUG_FS
void pim_debugfs_init(struct drm_minor *minor);
#endif

#endif
