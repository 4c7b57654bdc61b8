/* SPDX-License-Identifier: MIT */
/*
 * pim-fuzz: random calls that know the structures of the ABI. table.c says which calls there are and what each field means; gen.c makes
 * arguments of that, valid ones and then spoiled ones; ops.c has the calls that are not just an ioctl; main.c runs threads, watches over
 * them and over the kernel's log, and counts.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- live objects --------------------------------------------------------------------------------------------------- */

enum pool_kind { P_GEM, P_QUEUE, P_SYNCOBJ, P_SYNCFILE, P_DMABUF, P_SYNCOBJ_FD, P_EVENTFD, P_KINDS };

#define POOL_MAX 24

/*
 * struct object - one live object of a client, as far as the fuzzer knows: another thread may just be destroying it
 * @number: jobs submitted to a queue, last point of a syncobj
 */
struct object {
	uint32_t handle;
	uint32_t domain;
	uint64_t size;
	uint64_t number;
};

struct client {
	int fd; /* the same number for ever; the file behind it is replaced now and then */
	pthread_mutex_t lock;
	struct object pool[P_KINDS][POOL_MAX];
	unsigned int count[P_KINDS];
	_Atomic uint32_t held; /* domains it claims, about */
};

#define CLIENTS 4

/* -- what calls look like ------------------------------------------------------------------------------------------- */

enum kind {
	K_PAD, /* zero, and must be */
	K_OUT, /* zero, and may be anything */
	K_FLAGS, /* any bits of a */
	K_ENUM, /* 0..a-1 */
	K_NUM, /* a..b */
	K_SIZE, /* bytes, 1..a */
	K_HANDLE, /* of pool a */
	K_NEW, /* output: handle of a new object for pool a; takes size and domain from the K_SIZE and K_DOMAIN of the structure */
	K_DEL, /* handle of an object of pool a that the call destroys */
	K_OFFSET, /* into the last K_HANDLE's buffer, a multiple of a */
	K_LENGTH, /* from there */
	K_DOMAIN,
	K_DOMAINS, /* mask */
	K_DEADLINE, /* absolute CLOCK_MONOTONIC ns, soon or past */
	K_SEQ, /* of a job of the last queue, or zero */
	K_POINT, /* of the last syncobj: one it may have; with a: a new one */
	K_COUNT, /* set by its array; a: never more, whatever happens */
	K_ARRAY, /* pointer to a..b structures `of`; their number goes to `count` */
	K_ALONG, /* pointer to as many structures `of` as `count` says */
	K_BYTES, /* pointer to a..b bytes of noise; their number goes to `count` */
	K_NEST, /* structures `of`, embedded */
};

struct type;
struct field {
	const char *name;
	uint16_t off;
	uint16_t size;
	enum kind kind;
	uint64_t a, b;
	const struct type *of;
	uint16_t count; /* offset of the K_COUNT field, which has 4 bytes */
};

struct gen;
struct type {
	const char *name;
	size_t size;
	const struct field *fields;
	void (*fix)(struct gen *g, void *p); /* relations between fields that their kinds cannot tell */
};

struct thread;
/*
 * struct op - one row of the table
 * @call: instead of an ioctl; 0 or -errno
 * @done: after an ioctl, with its result
 * @may_fail: need not succeed in a run
 */
struct op {
	const char *name;
	unsigned int weight;
	unsigned long request;
	const struct type *arg;
	int (*call)(struct thread *t, struct client *c);
	void (*done)(struct thread *t, struct client *c, void *arg, int ret);
	bool may_fail;
};

extern const struct op ops[];
extern const unsigned int op_count;

/* -- arguments ------------------------------------------------------------------------------------------------------ */

#define ARENA 65536
#define SLOTS 512

struct slot {
	uint8_t *at;
	const struct field *f;
};

/* struct gen - arguments of one call */
struct gen {
	uint64_t *rng;
	struct client *client;
	struct object last[P_KINDS];
	uint64_t offset; /* last K_OFFSET */
	struct slot slot[SLOTS];
	unsigned int nslots;
	size_t used;
	uint8_t *arena;
};

enum mode { VALID, SPOILED, NOISE };

uint64_t rnd(uint64_t *rng);
static inline uint64_t rnd_below(uint64_t *rng, uint64_t n)
{
	return n ? rnd(rng) % n : 0;
}
static inline bool chance(uint64_t *rng, unsigned int percent)
{
	return rnd(rng) % 100 < percent;
}

void gen_fill(struct gen *g, const struct type *t, void *p);
void gen_spoil(struct gen *g);
void gen_noise(struct gen *g, const struct type *t, void *p);
/* After the call: what it made and destroyed. */
void gen_settle(struct gen *g, const struct type *t, void *p, int ret);
uint64_t gen_get(const void *p, unsigned int size);
void gen_set(void *p, unsigned int size, uint64_t value);

bool pool_pick(struct client *c, uint64_t *rng, enum pool_kind kind, struct object *out);
bool pool_take(struct client *c, uint64_t *rng, enum pool_kind kind, struct object *out);
void pool_put(struct client *c, enum pool_kind kind, const struct object *o); /* the object it has no room for is destroyed */
void pool_number(struct client *c, enum pool_kind kind, uint32_t handle, uint64_t number);
void pool_drop(struct client *c, enum pool_kind kind, uint32_t handle);
void pool_reset(struct client *c);

/* -- running -------------------------------------------------------------------------------------------------------- */

#define ERRNOS 134
#define HISTORY 24

struct history {
	const struct op *op;
	unsigned int client;
	enum mode mode;
	int ret;
	unsigned int size;
	uint8_t arg[128];
};

struct thread {
	pthread_t id;
	_Atomic int tid; /* 0: it has ended */
	unsigned int number;
	uint64_t rng;
	struct gen gen;
	_Atomic uint64_t since; /* ns at which the current call began, 0: in none */
	_Atomic uint64_t poke; /* ns after which a signal is to end it */
	sigjmp_buf jump;
	volatile sig_atomic_t may_jump; /* a touch of memory is under way */
	struct history history[HISTORY];
	unsigned int calls;
	uint32_t (*results)[ERRNOS]; /* per op: [0] successes, [errno] failures */
};

extern struct client clients[CLIENTS];
extern uint32_t domain_count;
extern uint64_t domain_bytes, window_bytes;
extern unsigned int time_scale;
extern const char *node;

uint64_t now_ns(void);
void step(struct thread *t);
int pim_call(int fd, unsigned long request, void *arg);
void ops_init(void);
void ops_fini(void);
void ops_unmap_all(void);
void ops_forget(void); /* in a forked child: the mappings go on, the locks are new */
/* Memory of a mapped buffer, to be an argument; NULL: none. */
void *ops_some_map(uint64_t *rng);

#endif
