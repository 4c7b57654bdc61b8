/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver's objects, from the outside in: device, file, queue, job, buffer, domain. One source file each.
 *
 * Locks, outermost first:
 *
 *	pim_queue.lock		submission order of one queue
 *	pim_device.reset_sem	read: a job goes to a ring; write: the card is reset. No allocation under it: fences depend on it
 *	pim_auth.bo_lock	list of buffers of a domain; held while their mappings are zapped
 *	pim_auth.fault_sem	pim_domain.cpu against page faults
 *	pim_ring.lock		one ring's positions
 *	pim_queue.state		how far a queue is
 *	pim_auth.lock		claims, owners, counts
 */
#ifndef PIM_DRV_H
#define PIM_DRV_H

#include <linux/dma-fence.h>
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

struct pim_job;

/*
 * struct pim_domain - memory whose authority moves together
 * @owner: who has it on the card
 * @next: who gets it; differs from @owner during a hand-over, and a job must be allowed under both
 * @busy: a hand-over is under way
 * @cpu: the CPU may map it; written under pim_auth.lock and fault_sem
 * @holder: id of the file that claims it, zero for none
 * @guests: jobs admitted while nobody claimed the domain, not yet freed
 * @users: accesses of the kernel's own under way, for which the CPU must keep it
 * @inflight: jobs in a ring, per engine
 */
struct pim_domain {
	u32 owner;
	u32 next;
	bool busy;
	bool cpu;
	u64 holder;
	struct pid *pid;
	u64 handovers;
	u32 guests;
	u32 users;
	u32 inflight[PIM_HW_ENGINES];
	struct list_head bos;
};

struct pim_auth {
	spinlock_t lock;
	struct rw_semaphore fault_sem;
	struct mutex bo_lock;
	wait_queue_head_t wait;
	struct list_head waiters;
	struct pim_domain domain[PIM_HW_MAX_DOMAINS];
};

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
 * @since: jiffies from which the job after @head could run
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
	unsigned long since;
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

	struct pim_auth auth;
	atomic64_t file_ids;
};

struct pim_file {
	struct pim_device *pim;
	u64 id;
	struct mutex lock; /* queues against destruction */
	struct xarray queues;
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
	pid_t pid;
	char comm[TASK_COMM_LEN];
	bool closed;
	struct dma_fence *last;
	u32 last_engine;

	spinlock_t state; /* what follows */
	bool stop;
	struct drm_pim_queue_query first; /* the first failure */
	u64 completed[PIM_HW_ENGINES];
};

struct pim_bo {
	struct drm_gem_object base;
	struct drm_mm_node node;
	struct list_head link; /* pim_domain.bos */
	u32 flags;
	u32 domain;
	u64 off; /* in the BAR */
	struct page *dummy; /* mapped in place of the memory once the card is gone */
};

/*
 * struct pim_job - one job, from submit to completion
 * @after: this job must be written to its ring after that one was: keeps two in-order rings free of deadlock
 * @domains: domains of its buffers
 * @guest: of these, the ones nobody claimed at submission
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
	u32 nbos;
	u64 seq;
	struct drm_gem_object *bo[PIM_HW_MAX_BINDINGS];
	struct pim_hw_desc desc;
};

static inline struct pim_device *to_pim(struct drm_device *drm)
{
	return container_of(drm, struct pim_device, drm);
}

static inline struct pim_bo *to_pim_bo(struct drm_gem_object *obj)
{
	return container_of(obj, struct pim_bo, base);
}

static inline struct pim_job *to_pim_job(struct drm_sched_job *base)
{
	return container_of(base, struct pim_job, base);
}

extern struct workqueue_struct *pim_wq;
extern uint pim_job_timeout_ms;
extern uint pim_reset_timeout_ms;

#define PIM_MAX_JOB_TIMEOUT_MS 60000
#define PIM_WATCHDOG_MS 100 /* between two looks at the card while jobs are in flight */

/* pim_device.c */
int pim_device_init(struct pim_device *pim);
u32 pim_device_generation(struct pim_device *pim);
void pim_device_doorbell(struct pim_device *pim, u32 vector);

/* pim_gem.c */
int pim_gem_init(struct pim_device *pim);
int pim_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int pim_gem_mmap_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* pim_auth.c */
void pim_auth_init(struct pim_device *pim);
int pim_auth_admit(struct pim_device *pim, u64 file, struct pim_job **jobs, u32 n);
int pim_auth_start(struct pim_job *job);
void pim_auth_end(struct pim_job *job);
void pim_auth_leave(struct pim_job *job);
void pim_auth_restore(struct pim_device *pim);
void pim_auth_close(struct pim_device *pim, u64 file);
int pim_auth_host_begin(struct pim_device *pim, u32 domain, u64 timeout_ns);
void pim_auth_host_end(struct pim_device *pim, u32 domain);
int pim_domain_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int pim_auth_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

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

/* pim_submit.c */
int pim_submit_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* pim_job.c */
int pim_job_module_init(void);
void pim_job_module_exit(void);
int pim_job_init(struct pim_device *pim);
struct pim_job *pim_job_alloc(struct pim_queue *queue, u32 engine);
void pim_job_number(struct pim_job *job, u64 seq);
void pim_job_destroy(struct pim_job *job);
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

/* pim_debugfs.c */
#ifdef CONFIG_DEBUG_FS
void pim_debugfs_init(struct drm_minor *minor);
#endif

#endif
