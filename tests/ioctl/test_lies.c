/* SPDX-License-Identifier: MIT */
/*
 * A card that lies: the registers, rings and slots are written from here, through the BAR that sysfs shows, while the driver uses them. A card
 * can do anything with its own memory; what it must not do is harm the kernel, or keep the driver from going on when it is well again.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define DRIVER "/sys/bus/pci/drivers/pim"

struct card {
	uint8_t *bar;
	const struct pim_hw_header *hw;
	struct pim_hw_control *control;
	struct pim_hw_state *state;
	struct pim_hw_authority *authority;
	struct pim_hw_slot *slot;
};

/* A file of the PCI function, for reading and writing. */
static int function_file(const char *name)
{
	char path[300] = "";
	struct dirent *e;
	DIR *dir = opendir(DRIVER);
	int fd;

	CHECK(dir);
	while ((e = readdir(dir)))
		if (strchr(e->d_name, ':'))
			snprintf(path, sizeof(path), DRIVER "/%s/%s", e->d_name, name);
	closedir(dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static struct card card_map(void)
{
	struct card c = { 0 };
	int fd = function_file("resource2");
	uint64_t bytes;

	c.bar = mmap(NULL, PIM_HW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c.bar == MAP_FAILED)
		skip("the kernel shows no BAR that a driver uses: boot with iomem=relaxed");
	bytes = ((struct pim_hw_header *)c.bar)->window_off;
	munmap(c.bar, PIM_HW_PAGE);
	c.bar = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(c.bar != MAP_FAILED);
	close(fd);
	c.hw = (void *)c.bar;
	c.control = (void *)(c.bar + PIM_HW_CONTROL_OFF);
	c.state = (void *)(c.bar + PIM_HW_STATE_OFF);
	c.authority = (void *)(c.bar + PIM_HW_AUTHORITY_OFF);
	c.slot = (void *)(c.bar + c.hw->slots_off);
	return c;
}

#define POKE(at, v) __atomic_store_n(&(at), v, __ATOMIC_SEQ_CST)

static struct pim_hw_done *done_at(struct card *c, uint32_t e, uint64_t seqno)
{
	return (struct pim_hw_done *)(c->bar + c->hw->done_off[e]) + (seqno - 1) % c->hw->ring_entries;
}

/* The job in execution on the PIM ring, which the lies are about. */
static uint64_t running(struct card *c)
{
	return __atomic_load_n(&c->state->started[PIM_HW_PIM], __ATOMIC_SEQ_CST);
}

/* -- lies about what is done ---------------------------------------------------------------------------------------- */

static void ahead_of_tail(struct card *c)
{
	POKE(c->state->completed[PIM_HW_PIM], running(c) + 100);
}

static void far_ahead(struct card *c)
{
	POKE(c->state->completed[PIM_HW_PIM], ~0ull);
}

static void backwards(struct card *c)
{
	POKE(c->state->completed[PIM_HW_PIM], running(c) - 2);
}

static void idle_ring(struct card *c)
{
	POKE(c->state->completed[PIM_HW_HOST], c->state->completed[PIM_HW_HOST] + 1);
}

static void stale_record(struct card *c)
{
	done_at(c, PIM_HW_PIM, running(c))->seqno = running(c) + 7;
	POKE(c->state->completed[PIM_HW_PIM], running(c));
}

static void unknown_status(struct card *c)
{
	*done_at(c, PIM_HW_PIM, running(c)) = (struct pim_hw_done){ .seqno = running(c), .status = 0x80000000 };
	POKE(c->state->completed[PIM_HW_PIM], running(c));
}

static void garbage_records(struct card *c)
{
	memset(c->bar + c->hw->done_off[PIM_HW_PIM], 0xa5, c->hw->ring_entries * sizeof(struct pim_hw_done));
	POKE(c->state->completed[PIM_HW_PIM], running(c) + 1);
}

/* -- lies about itself ---------------------------------------------------------------------------------------------- */

static void other_generation(struct card *c)
{
	POKE(c->state->generation, c->state->generation + 1);
}

static void no_generation(struct card *c)
{
	POKE(c->state->generation, 0);
}

static void unknown_state(struct card *c)
{
	POKE(c->state->state, 77);
}

static void dead_state(struct card *c)
{
	POKE(c->state->state, PIM_HW_CARD_DEAD);
}

static void started_everything(struct card *c)
{
	POKE(c->state->started[PIM_HW_PIM], ~0ull);
	POKE(c->state->started[PIM_HW_HOST], ~0ull);
	POKE(c->state->state, PIM_HW_CARD_DEAD);
}

static void started_nothing(struct card *c)
{
	POKE(c->state->started[PIM_HW_PIM], 0);
	POKE(c->state->started[PIM_HW_HOST], 0);
	POKE(c->state->state, PIM_HW_CARD_DEAD);
}

/* The card reads this and says that it is dead. */
static void tail_out_of_reach(struct card *c)
{
	POKE(c->control->tail[PIM_HW_HOST], 1ull << 40);
}

/* -- lies about others ---------------------------------------------------------------------------------------------- */

static void slots_overwritten(struct card *c)
{
	uint32_t i;

	for (i = 0; i < c->hw->nslots; i++) {
		POKE(c->slot[i].value, ~0ull);
		POKE(c->slot[i].error, 0xffffffffu);
		POKE(c->slot[i].stop, 0xffffffffu);
	}
}

static void descriptors_overwritten(struct card *c)
{
	memset(c->bar + c->hw->ring_off[PIM_HW_PIM], 0xff, c->hw->ring_entries * sizeof(struct pim_hw_desc));
}

static void authority_overwritten(struct card *c)
{
	memset(&c->authority->domain[2], 0xff, sizeof(c->authority->domain[2]));
}

static const struct {
	const char *name;
	void (*tell)(struct card *c);
} lies[] = {
	{ "completed ahead of the tail", ahead_of_tail },
	{ "completed far ahead", far_ahead },
	{ "completed backwards", backwards },
	{ "completed on a ring with no job", idle_ring },
	{ "a record of another job", stale_record },
	{ "an unknown status", unknown_status },
	{ "records of garbage", garbage_records },
	{ "another generation", other_generation },
	{ "no generation", no_generation },
	{ "an unknown state", unknown_state },
	{ "dead", dead_state },
	{ "dead, everything started", started_everything },
	{ "dead, nothing started", started_nothing },
	{ "a tail out of reach", tail_out_of_reach },
	{ "slots overwritten", slots_overwritten },
	{ "descriptors overwritten", descriptors_overwritten },
	{ "authority overwritten", authority_overwritten },
};

struct bystander {
	int fd;
	uint32_t queue;
	volatile uint32_t *memory;
};

#define MEMORY 65536

static struct bystander bystander(void)
{
	struct bystander b = { .fd = dev_open() };
	uint32_t i;

	b.queue = queue_new(b.fd);
	b.memory = gem_map(b.fd, gem(b.fd, MEMORY, 0, 1), MEMORY);
	for (i = 0; i < MEMORY / 4; i++)
		b.memory[i] = i * 2654435761u;
	return b;
}

static void still_well(const struct bystander *b)
{
	uint32_t i;

	for (i = 0; i < MEMORY / 4; i++)
		CHECK_EQ(b->memory[i], i * 2654435761u);
}

/* While a job of seconds runs and others wait behind it: all fences signal, the memory of others stays, and the card is usable again. */
static void tell(struct card *c, unsigned int n)
{
	struct bystander b = bystander();
	int fd = dev_open();
	uint32_t q = queue_with(fd, 0, 3000), end = syncobj_new(fd), done = syncobj_new(b.fd);
	struct drm_pim_job jobs[8];
	uint64_t before = running(c);
	int i;

	spin(fd, q, SPIN_SECONDS / 4, end);
	for (i = 0; i < 8; i++)
		jobs[i] = job_nop(i < 4 ? DRM_PIM_ENGINE_PIM : DRM_PIM_ENGINE_HOST);
	CHECK_OK(submit(b.fd, b.queue, jobs, 4, 0, done, NULL));
	for (i = 0; i < 1000 && running(c) == before; i++)
		sleep_ms(1);
	lies[n].tell(c);
	if (syncobj_wait(fd, end, 0, 20000) || syncobj_wait(b.fd, done, 0, 20000))
		fail(__FILE__, __LINE__, "after \"%s\" a fence does not signal", lies[n].name);
	printf("# %s: its job %d, the jobs behind it %d\n", lies[n].name, syncobj_status(fd, end), syncobj_status(b.fd, done));
	still_well(&b);
	/* The one that the driver can have put right without a new owner. */
	for (i = 0; i < 4; i++) {
		CHECK_OK(acquire(fd, 1u << i, DRM_PIM_OWNER_PIM, 10000));
		CHECK_OK(release(fd, 1u << i));
	}
	usable();
	close(fd);
	close(b.fd);
	munmap((void *)b.memory, MEMORY);
}

static void tell_all(unsigned int from, unsigned int to)
{
	struct card c = card_map();

	while (from < to)
		tell(&c, from++);
}

static void about_completion(void)
{
	tell_all(0, 7);
}

static void about_itself(void)
{
	tell_all(7, 14);
}

static void about_others(void)
{
	tell_all(14, sizeof(lies) / sizeof(lies[0]));
}

/* The running job is lost, its queue is innocent; what had not begun runs after the reset, waits across the engines included. */
static void reset_gives_again(void)
{
	enum { N = 20 };
	struct card c = card_map();
	int a = dev_open(), b = dev_open(), i;
	uint32_t qa = queue_new(a), qb = queue_new(b), lost = syncobj_new(a), behind = syncobj_new(a), done = syncobj_new(b);
	struct drm_pim_binding bind = { .handle = gem(b, 4096, DRM_PIM_GEM_WINDOW, 0), .access = 3, .bytes = 4096 };
	volatile uint32_t *p = gem_map(b, bind.handle, 4096);
	struct drm_pim_job jobs[2 * N], nop = job_nop(DRM_PIM_ENGINE_HOST);
	struct pim_hw_copy fill[N];
	uint64_t before = running(&c), resets = param(b, DRM_PIM_PARAM_RESETS);

	for (i = 0; i < N; i++) {
		jobs[2 * i] = job_nop(DRM_PIM_ENGINE_PIM);
		job_wait(&jobs[2 * i], DRM_PIM_ENGINE_HOST, (uint64_t)i);
		jobs[2 * i + 1] = job_fill(&bind, &fill[i], (uint32_t)i + 1);
		job_wait(&jobs[2 * i + 1], DRM_PIM_ENGINE_PIM, (uint64_t)i + 1);
	}
	spin(a, qa, SPIN_SECONDS, lost);
	for (i = 0; i < 1000 && running(&c) == before; i++)
		sleep_ms(1);
	CHECK_OK(submit(a, qa, &nop, 1, lost, behind, NULL));
	CHECK_OK(submit(b, qb, jobs, 2 * N, 0, done, NULL));
	sleep_ms(100);
	CHECK_EQ(p[0], 0);
	dead_state(&c);
	CHECK_OK(syncobj_wait(b, done, 0, 10000));
	CHECK_EQ(syncobj_status(b, done), 1);
	CHECK_EQ(p[0], N);
	CHECK_EQ(p[1023], N);
	CHECK_EQ(queue_query(b, qb).flags, 0);
	CHECK_EQ(param(b, DRM_PIM_PARAM_RESETS), resets + 1);
	CHECK_OK(syncobj_wait(a, lost, 0, 1000));
	CHECK_EQ(syncobj_status(a, lost), -ECANCELED);
	CHECK_EQ(queue_query(a, qa).flags, DRM_PIM_QUEUE_INNOCENT);
	CHECK_OK(syncobj_wait(a, behind, 0, 1000));
	CHECK_EQ(syncobj_status(a, behind), -ECANCELED);
	CHECK_EQ(submit(a, qa, &nop, 1, 0, 0, NULL), -EIO);
	usable();
}

/* The job's descriptor is changed in the ring so that it has no slot: the card does not see that it was told to end it. */
static void disobedience(void)
{
	struct card c = card_map();
	int slow = dev_open(), bad = dev_open(), good = dev_open(), i;
	uint32_t qs = queue_new(slow), qb = queue_with(bad, 0, 200), qg = queue_new(good);
	uint32_t end = syncobj_new(slow), hung = syncobj_new(bad), done = syncobj_new(good);
	struct drm_pim_job jobs[2] = { job_nop(DRM_PIM_ENGINE_PIM), job_nop(DRM_PIM_ENGINE_HOST) };
	uint64_t before = running(&c), resets = param(good, DRM_PIM_PARAM_RESETS);
	struct pim_hw_desc *d;

	spin(slow, qs, SPIN_SECONDS / 8, end);
	for (i = 0; i < 1000 && running(&c) == before; i++)
		sleep_ms(1);
	spin(bad, qb, 2 * SPIN_SECONDS - 100, hung);
	job_wait(&jobs[1], DRM_PIM_ENGINE_PIM, 1);
	CHECK_OK(submit(good, qg, jobs, 2, 0, done, NULL));
	sleep_ms(20);
	d = (struct pim_hw_desc *)(c.bar + c.hw->ring_off[PIM_HW_PIM]) + running(&c) % c.hw->ring_entries;
	CHECK_EQ(d->op, PIM_HW_OP_PROGRAM);
	POKE(d->signal.value, 0);
	CHECK_OK(syncobj_wait(good, done, 0, 20000));
	CHECK_EQ(syncobj_status(good, done), 1);
	CHECK_EQ(syncobj_status(slow, end), 1);
	CHECK_EQ(syncobj_status(bad, hung), -EIO);
	CHECK_EQ(queue_query(bad, qb).flags, DRM_PIM_QUEUE_GUILTY);
	CHECK_EQ(queue_query(good, qg).flags, 0);
	CHECK_EQ(param(good, DRM_PIM_PARAM_RESETS), resets + 1);
	usable();
}

#define PCI_CAPS 0x34
#define PCI_CAP_MSIX 0x11
#define PCI_MSIX_MASK 0x40 /* in the high byte of its control word */

/* All vectors of the function are masked: completions are found by looking. */
static void lost_interrupts(void)
{
	struct drm_pim_job jobs[64];
	int fd = dev_open(), config = function_file("config"), i;
	uint32_t q = queue_new(fd), done = syncobj_new(fd);
	uint8_t at, cap[2], control;

	CHECK_EQ(pread(config, &at, 1, PCI_CAPS), 1);
	while (at && pread(config, cap, 2, at) == 2 && cap[0] != PCI_CAP_MSIX)
		at = cap[1];
	CHECK(at);
	CHECK_EQ(pread(config, &control, 1, at + 3), 1);
	control |= PCI_MSIX_MASK;
	CHECK_EQ(pwrite(config, &control, 1, at + 3), 1);
	for (i = 0; i < 64; i++)
		jobs[i] = job_nop((uint32_t)i % 2);
	for (i = 0; i < 3; i++) {
		CHECK_OK(submit(fd, q, jobs, 64, 0, done, NULL));
		CHECK_OK(syncobj_wait(fd, done, 0, 5000));
		CHECK_EQ(syncobj_status(fd, done), 1);
	}
	control &= (uint8_t)~PCI_MSIX_MASK;
	CHECK_EQ(pwrite(config, &control, 1, at + 3), 1);
	close(config);
	usable();
}

/* The driver read the header once. */
static void header_changes(void)
{
	struct card c = card_map();
	struct pim_hw_header saved = *c.hw, *h = (struct pim_hw_header *)c.bar;
	struct bystander b = bystander();

	memset(h, 0xff, sizeof(*h));
	usable();
	still_well(&b);
	memset(h, 0, sizeof(*h));
	usable();
	*h = saved;
	usable();
}

const struct test lies_tests[] = {
	{ "a card that lies about completions is reset, and harms nobody", about_completion },
	{ "a card that lies about its state is reset, and harms nobody", about_itself },
	{ "slots, descriptors and owners that are overwritten cost jobs, and harm nobody", about_others },
	{ "after a reset, jobs that had not begun run, and the lost one's queue is innocent", reset_gives_again },
	{ "a card that does not end a job it was told to end is reset, for that job's queue alone", disobedience },
	{ "lost interrupts cost time, but no job", lost_interrupts },
	{ "a header that changes after the probe changes nothing", header_changes },
	TEST_END
};
