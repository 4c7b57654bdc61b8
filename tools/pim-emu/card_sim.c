// SPDX-License-Identifier: MIT
/*
 * One batch as a piecewise-linear simulation of two engines and the arbiter between them.
 *
 * HOST: its arithmetic proceeds as far as its data is there; its data is fetched while it has authority, at the external bandwidth, and
 * no further ahead of the arithmetic than the GPU can hold. PIM: a program proceeds while it has authority. Never both at a time in one
 * domain, and neither during a switch.
 */
#include <stdlib.h>
#include <string.h>

#include "card_time_impl.h"

#define NEVER UINT64_MAX
#define REQUEST 64u
#define LONGEST (1ull << 55) /* ten hours */

typedef unsigned __int128 u128;

static uint64_t muldiv(uint64_t a, uint64_t b, uint64_t c)
{
	u128 v = (u128)a * b / c;

	return v > LONGEST ? LONGEST : (uint64_t)v;
}

static uint64_t muldiv_up(uint64_t a, uint64_t b, uint64_t c)
{
	u128 v = ((u128)a * b + c - 1) / c;

	return v > LONGEST ? LONGEST : (uint64_t)v;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t tck(const struct sim *s, uint64_t n)
{
	return n * s->cf->tck_ps;
}

void sim_job_init(const struct pim_cardfile *cf, struct sim_job *j)
{
	const struct card_cost *k = &j->t.cost;
	const uint32_t ndomains = __builtin_popcount(j->t.domains);
	uint64_t bus, window, columns;

	if (j->t.engine == PIM_HW_PIM) {
		columns = muldiv_up(k->column_tck * cf->tck_ps, cf->trefi, cf->trefi - cf->trfc);
		j->arith = (k->unit_tck + k->base_tck) * cf->tck_ps;
		j->work = j->arith + columns;
		return;
	}
	/* A job reaches the channels of its domains only. */
	bus = (uint64_t)(ndomains ? ndomains : cf->domains) * (cf->stacks * cf->pcs / cf->domains) * 16;
	j->arith = muldiv_up(k->flops, 100000, (uint64_t)cf->gpu_gflops * cf->gpu_conv_percent);
	window = muldiv_up(k->window_bytes, 1000000, cf->window_mbps);
	j->work = max64(j->arith, window);
	j->fetch = muldiv_up(muldiv_up(k->mem_bytes, cf->tck_ps, bus), cf->trefi, cf->trefi - cf->trfc);
	j->ahead = j->fetch;
	if (k->mem_bytes > (uint64_t)cf->gpu_prefetch_kib << 10)
		j->ahead = muldiv_up(j->fetch, (uint64_t)cf->gpu_prefetch_kib << 10, k->mem_bytes);
	/* Rounding must not starve a job whose one unit of work needs more than one of fetch. */
	if (j->work)
		j->ahead = max64(j->ahead, j->fetch / j->work + 2);
}

/* -- HOST's two lines: work done and data fetched -- */

static uint64_t work_of(const struct sim_job *h, uint64_t fetched)
{
	return fetched >= h->fetch ? h->work : muldiv(fetched, h->work, h->fetch);
}

static uint64_t fetch_limit(const struct sim_job *h, uint64_t done)
{
	if (!h->work)
		return h->fetch;
	return min64(h->fetch, muldiv(done, h->fetch, h->work) + h->ahead);
}

/* Where both are after dt. Exact for any dt in which authority does not change. */
static void host_after(const struct sim_job *h, bool access, uint64_t dt, uint64_t *done, uint64_t *fetched)
{
	uint64_t reach = access ? min64(h->fetch, h->fetched + dt) : h->fetched;

	*done = min64(h->done + dt, work_of(h, reach));
	*fetched = min64(reach, max64(h->fetched, fetch_limit(h, *done)));
	*done = min64(*done, work_of(h, *fetched));
}

/* Requests that the GPU would have outstanding if it had the memory. */
static uint64_t host_missing(const struct sim_job *h, uint64_t done, uint64_t fetched)
{
	uint64_t limit = fetch_limit(h, done);

	if (limit <= fetched || !h->fetch)
		return 0;
	return muldiv_up(limit - fetched, h->t.cost.mem_bytes, h->fetch * REQUEST);
}

static uint64_t pim_missing(const struct sim_job *p)
{
	return p->work ? muldiv_up(p->work - p->done, p->t.cost.mem_bytes, p->work) / REQUEST : 0;
}

static bool host_ended(const struct sim_job *h)
{
	return h->done >= h->work && h->fetched >= h->fetch;
}

/* -- authority -- */

static bool has_access(const struct sim *s, unsigned int e)
{
	const uint32_t mine = s->active[e]->t.auto_domains;

	if (mine & s->moving)
		return false;
	return e == PIM_HW_HOST ? !(mine & s->pim_domains) : !(mine & ~s->pim_domains);
}

/* Domains that the side must get. */
static uint32_t lacking(const struct sim *s, unsigned int e)
{
	const uint32_t mine = s->active[e]->t.auto_domains;

	return e == PIM_HW_HOST ? mine & s->pim_domains : mine & ~s->pim_domains;
}

/* The side has use for its domains now; a GPU that holds all data it may hold has not. */
static bool wants(const struct sim *s, unsigned int e)
{
	const struct sim_job *j = s->active[e];

	if (!j || !lacking(s, e))
		return false;
	return e == PIM_HW_PIM || host_missing(j, j->done, j->fetched) > 0;
}

static void begin_switch(struct sim *s, unsigned int to)
{
	uint32_t d;

	s->moving = lacking(s, to);
	s->moving_to = to;
	s->moving_end = s->now + tck(s, to == PIM_HW_PIM ? s->cf->enter_tck : s->cf->leave_tck);
	s->active[to]->switches++;
	for (d = 0; d < PIM_HW_MAX_DOMAINS; d++)
		s->domain[d].switches += s->moving >> d & 1;
}

static void end_switch(struct sim *s)
{
	if (s->moving_to == PIM_HW_PIM)
		s->pim_domains |= s->moving;
	else
		s->pim_domains &= ~s->moving;
	s->moving = 0;
	s->tenure_since = s->now;
}

static bool serial(const struct sim *s)
{
	return s->active[PIM_HW_HOST]->t.policy.kind == PIM_HW_POLICY_SERIAL || s->active[PIM_HW_PIM]->t.policy.kind == PIM_HW_POLICY_SERIAL;
}

/* A tenure lasts at least as long as the switches into and out of it. */
static uint64_t least_tenure_end(const struct sim *s, unsigned int owner)
{
	uint64_t least = max64((uint64_t)s->active[owner]->t.policy.min_ns * 1000, tck(s, s->cf->enter_tck + s->cf->leave_tck));

	return s->tenure_since + max64(least, 1000);
}

static uint64_t longest_tenure_end(const struct sim *s, unsigned int owner)
{
	const uint32_t max = s->active[owner]->t.policy.max_ns;

	return max ? s->tenure_since + (uint64_t)max * 1000 : NEVER;
}

/* HOST's queue calls for authority: at its threshold, or when nothing is left to compute and so nothing more will be queued. */
static bool host_calls(const struct sim_job *h, uint64_t done)
{
	return host_missing(h, done, h->fetched) >= max64(h->t.policy.high, 1) || done >= work_of(h, h->fetched);
}

/* PIM has drained its queue; a program that would be over before authority were back is finished first. */
static bool pim_drained(const struct sim *s, const struct sim_job *p)
{
	return pim_missing(p) < p->t.policy.low && p->work - p->done > tck(s, s->cf->enter_tck + s->cf->leave_tck);
}

/* Both sides are active and use a common domain. */
static bool contested(const struct sim *s)
{
	const struct sim_job *h = s->active[PIM_HW_HOST], *p = s->active[PIM_HW_PIM];

	return h && p && (h->t.auto_domains & p->t.auto_domains);
}

/* Shall the waiting side get authority now? */
static bool hand_over(const struct sim *s, unsigned int waiter)
{
	const struct sim_job *h = s->active[PIM_HW_HOST], *p = s->active[PIM_HW_PIM];
	const unsigned int owner = waiter == PIM_HW_HOST ? PIM_HW_PIM : PIM_HW_HOST;
	uint64_t own;

	/* Two jobs over several domains may each lack what the other holds: then whoever asks first gets all of his. */
	if (!contested(s) || lacking(s, owner))
		return true;
	if (serial(s))
		return false;
	own = owner == PIM_HW_HOST ? host_missing(h, h->done, h->fetched) : NEVER;
	if (!own)
		return true;
	if (s->now < least_tenure_end(s, owner))
		return false;
	if (s->now >= longest_tenure_end(s, owner))
		return true;
	if (waiter == PIM_HW_PIM)
		return pim_missing(p) >= p->t.policy.high || own < h->t.policy.low;
	return host_calls(h, h->done) || pim_drained(s, p);
}

static void arbitrate(struct sim *s)
{
	if (s->moving)
		return;
	/* HOST first: a rule, so that a tie has one result. */
	if (wants(s, PIM_HW_HOST) && hand_over(s, PIM_HW_HOST))
		begin_switch(s, PIM_HW_HOST);
	else if (wants(s, PIM_HW_PIM) && hand_over(s, PIM_HW_PIM))
		begin_switch(s, PIM_HW_PIM);
}

/* -- events -- */

static uint64_t host_end(const struct sim_job *h, bool access)
{
	if (access)
		return max64(h->work - h->done, h->fetch - h->fetched);
	return h->fetched >= h->fetch ? h->work - h->done : NEVER;
}

typedef bool host_cond(const struct sim_job *h, uint64_t done, uint64_t fetched);

/* How soon, at the latest after last, HOST comes to a state that it then stays in; NEVER also when it is in it already. */
static uint64_t first_true(const struct sim_job *h, host_cond *cond, bool access, uint64_t last)
{
	uint64_t lo = 1, hi = last, mid, done, fetched;

	if (!last || cond(h, h->done, h->fetched))
		return NEVER;
	host_after(h, access, hi, &done, &fetched);
	if (!cond(h, done, fetched))
		return NEVER;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		host_after(h, access, mid, &done, &fetched);
		if (cond(h, done, fetched))
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static bool below_low(const struct sim_job *h, uint64_t done, uint64_t fetched)
{
	return host_missing(h, done, fetched) < max64(h->t.policy.low, 1);
}

static bool calls(const struct sim_job *h, uint64_t done, uint64_t fetched)
{
	(void)fetched;
	return host_calls(h, done);
}

static bool misses(const struct sim_job *h, uint64_t done, uint64_t fetched)
{
	return host_missing(h, done, fetched) > 0;
}

/* When an owner's tenure may end under the thresholds, as far as it can be told now. */
static uint64_t policy_event(const struct sim *s, unsigned int owner)
{
	const struct sim_job *h = s->active[PIM_HW_HOST], *p = s->active[PIM_HW_PIM];
	uint64_t at = NEVER, t, low;

	t = least_tenure_end(s, owner);
	if (t > s->now)
		at = min64(at, t - s->now);
	t = longest_tenure_end(s, owner);
	if (t > s->now && t != NEVER)
		at = min64(at, t - s->now);
	if (owner == PIM_HW_HOST)
		return min64(at, first_true(h, below_low, true, host_end(h, true)));
	at = min64(at, first_true(h, calls, false, p->work - p->done));
	low = p->t.cost.mem_bytes ? muldiv((uint64_t)p->t.policy.low * REQUEST, p->work, p->t.cost.mem_bytes) : 0;
	if (low && p->work - p->done > low)
		at = min64(at, p->work - p->done - low + 1);
	return at;
}

static uint64_t next_event(const struct sim *s)
{
	uint64_t dt = NEVER;

	if (s->active[PIM_HW_HOST])
		dt = min64(dt, host_end(s->active[PIM_HW_HOST], has_access(s, PIM_HW_HOST)));
	if (s->active[PIM_HW_PIM] && has_access(s, PIM_HW_PIM))
		dt = min64(dt, s->active[PIM_HW_PIM]->work - s->active[PIM_HW_PIM]->done);
	if (s->moving)
		return min64(dt, s->moving_end - s->now);
	if (contested(s) && !serial(s))
		dt = min64(dt, policy_event(s, lacking(s, PIM_HW_HOST) ? PIM_HW_PIM : PIM_HW_HOST));
	else if (s->active[PIM_HW_HOST] && lacking(s, PIM_HW_HOST))
		dt = min64(dt, first_true(s->active[PIM_HW_HOST], misses, false, s->active[PIM_HW_HOST]->work));
	return dt;
}

static void advance(struct sim *s, uint64_t dt)
{
	struct sim_job *h = s->active[PIM_HW_HOST], *p = s->active[PIM_HW_PIM];
	uint64_t done, fetched;
	uint32_t d, pim = s->pim_domains;

	if (h) {
		bool access = has_access(s, PIM_HW_HOST);
		uint64_t stall;

		host_after(h, access, dt, &done, &fetched);
		stall = dt - (done - h->done);
		h->progress += done - h->done;
		*(access ? &h->memory : (h->t.auto_domains & s->moving) ? &h->switching : &h->authority) += stall;
		h->done = done;
		h->fetched = fetched;
	}
	if (p) {
		if (has_access(s, PIM_HW_PIM)) {
			p->done += dt;
			p->progress += dt;
		} else {
			*((p->t.auto_domains & s->moving) ? &p->switching : &p->authority) += dt;
		}
		pim |= p->t.domains & ~p->t.auto_domains;
	}
	for (d = 0; d < s->cf->domains; d++)
		s->domain[d].tenure[pim >> d & 1 ? PIM_HW_PIM : PIM_HW_HOST] += dt;
	s->now += dt;
}

/* -- the rings -- */

static bool ready(const struct sim_job *j)
{
	uint32_t i;

	for (i = 0; i < SIM_MAX_DEPS; i++)
		if (j->dep[i] && !j->dep[i]->ended)
			return false;
	return true;
}

static void start_jobs(struct sim *s)
{
	unsigned int e;

	for (e = 0; e < PIM_HW_ENGINES; e++) {
		if (s->active[e] || s->next[e] == s->list[e].n || !ready(&s->list[e].job[s->next[e]]))
			continue;
		s->active[e] = &s->list[e].job[s->next[e]++];
		s->active[e]->start = s->now;
	}
}

/* Ends what is over; true: something ended. */
static bool end_jobs(struct sim *s)
{
	struct sim_job *h = s->active[PIM_HW_HOST], *p = s->active[PIM_HW_PIM];
	const bool host_over = h && host_ended(h), pim_over = p && p->done >= p->work && (has_access(s, PIM_HW_PIM) || !p->work);
	const bool turn = h && p && serial(s);

	if (host_over) {
		h->end = s->now;
		h->ended = true;
		s->active[PIM_HW_HOST] = NULL;
	}
	if (pim_over) {
		p->end = s->now;
		p->ended = true;
		s->active[PIM_HW_PIM] = NULL;
	}
	/* In a serial exchange the end of a job is the other side's turn, before the next job of this side. */
	if (turn && host_over != pim_over)
		arbitrate(s);
	return host_over || pim_over;
}

struct signal {
	uint32_t slot;
	uint64_t value;
	struct sim_job *job;
};

static int compare_signals(const void *a, const void *b)
{
	const struct signal *x = a, *y = b;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	if (x->job->t.engine != y->job->t.engine)
		return x->job->t.engine < y->job->t.engine ? -1 : 1;
	return x->job->t.seqno < y->job->t.seqno ? -1 : x->job->t.seqno > y->job->t.seqno;
}

/* The first signal of a slot that reaches a value, unless the slot had reached it before. */
static struct sim_job *signaller(const struct signal *sig, size_t n, const struct pim_hw_wait *w)
{
	size_t lo = 0, hi = n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (sig[mid].slot < w->slot || (sig[mid].slot == w->slot && sig[mid].value < w->value))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == n || sig[lo].slot != w->slot || sig[lo].job->t.signal_from >= w->value)
		return NULL;
	return sig[lo].job;
}

static bool resolve_waits(struct sim *s)
{
	struct signal *sig = malloc((s->list[0].n + s->list[1].n) * sizeof(*sig) + 1);
	size_t n = 0, i;
	uint32_t k;
	int e;

	if (!sig)
		return false;
	for (e = 0; e < PIM_HW_ENGINES; e++)
		for (i = 0; i < s->list[e].n; i++)
			if (s->list[e].job[i].t.signal.value)
				sig[n++] = (struct signal){ s->list[e].job[i].t.signal.slot, s->list[e].job[i].t.signal.value,
							    &s->list[e].job[i] };
	qsort(sig, n, sizeof(*sig), compare_signals);
	for (e = 0; e < PIM_HW_ENGINES; e++)
		for (i = 0; i < s->list[e].n; i++)
			for (k = 0; k < s->list[e].job[i].t.nwaits; k++)
				s->list[e].job[i].dep[k] = signaller(sig, n, &s->list[e].job[i].t.wait[k]);
	free(sig);
	return true;
}

bool sim_run(struct sim *s)
{
	uint64_t dt;

	if (!resolve_waits(s))
		return false;
	s->tenure_since = s->now;
	for (;;) {
		start_jobs(s);
		if (end_jobs(s))
			continue;
		arbitrate(s);
		if (!s->active[PIM_HW_HOST] && !s->active[PIM_HW_PIM] && !s->moving)
			break;
		dt = next_event(s);
		if (dt == NEVER)
			break;
		advance(s, dt);
		if (s->moving && s->now >= s->moving_end)
			end_switch(s);
	}
	/* The CPU and other clients find the domains as they left them. */
	if (s->pim_domains) {
		uint32_t d, left = s->pim_domains;

		for (d = 0; d < PIM_HW_MAX_DOMAINS; d++)
			s->domain[d].switches += left >> d & 1;
		advance(s, tck(s, s->cf->leave_tck));
		s->pim_domains = 0;
	}
	return true;
}
