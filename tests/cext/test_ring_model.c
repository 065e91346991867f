/* SPDX-License-Identifier: MIT */
/*
 * All that a consumer can do to its refill ring, at random and all at once,
 * against the real provider, NIC queue, control functions and reconciler. One
 * thread plays every process. The core is built with a hook at its points: at a
 * random point of one process's operation another one's takes place (and in
 * its middle a third one's), a consumer may die at any of its points.
 *
 * Whatever happens: no verdict but those that the intents allow, no entry lost,
 * no error that no fault explains, and every buffer home in the end.
 *
 *	test_ring_model [seed [last]]	all seeds, or that one alone, or all up to another
 */
#include "wire/crc32c.h"
#include "actors/nic_queue.h"
#include "queue_memory.h"
#include "judge/reconcile.h"
#include "actors/returns.h"
#include "rules.h"

#include <setjmp.h>

#define QUEUES_MAX 2U
#define NIOVS_MAX 16U
#define NIOV_SHIFT 8U
#define HANDS 32U /* fragments that the user keeps before it gives any back */
#define NEVER UINT64_MAX
#define CHANCE_UNIT 1024U

/* ---- the world ----------------------------------------------------------------------------- */

/* One queue as each of its processes sees it. */
struct site {
	struct zcrx_mapping mapping;
	struct zcrx_queue provider, control, user;
	struct zcrx_nic_queue nq;
	uint32_t generation[NIOVS_MAX];
	struct zcrx_reconciler reconciler;
	struct zcrx_returns returns;
	struct zcrx_cq_user cq;
	struct zcrx_held hands[HANDS];
	uint32_t hand_count;
	uint32_t users;
	bool is_scrubbing; /* the user has not taken note of it yet */
};

enum process { CONSUMER_0, CONSUMER_1, PROVIDER, NIC, CONTROL, PROCESSES };

struct world {
	struct zcrx_run_shared *run;
	struct zcrx_bells *bells;
	struct zcrx_shape shape;
	struct zcrx_consumer_params params;
	struct zcrx_fault_rule rules[ZCRX_FAULT_RULES_MAX];
	uint32_t rule_count;
	struct site sites[QUEUES_MAX];
	uint32_t queues;
	struct zcrx_rng rng;
	/* the scheduler */
	uint32_t chance; /* of an interruption at a point, in CHANCE_UNITs */
	uint32_t death_chance; /* of a consumer, at one of its points */
	uint32_t scrub_chance, kill_chance; /* at a step */
	bool is_busy[PROCESSES];
	uint32_t depth, locks;
	bool armed;
	jmp_buf death;
	/* what flips of verdicts would have been noticed */
	struct strictness *strictness;
	uint64_t interruptions, deaths, kills, scrubs;
};

static struct world *world;

static uint32_t below(uint32_t bound)
{
	return zcrx_rng_below(&world->rng, bound);
}

static bool happens(uint32_t chance)
{
	return chance && below(CHANCE_UNIT) < chance;
}

static struct site *any_site(void)
{
	return &world->sites[below(world->queues)];
}

/* ---- rules ------------------------------------------------------------------------------------ */

/* Every fault of a consumer but the pauses. */
static const uint32_t all_kinds[] = {
	ZCRX_FAULT_BAD_PAD,
	ZCRX_FAULT_BAD_AREA,
	ZCRX_FAULT_BAD_INDEX,
	ZCRX_FAULT_BAD_OFFSET,
	ZCRX_FAULT_ALIAS,
	ZCRX_FAULT_MID_BUFFER,
	ZCRX_FAULT_LEN_GARBAGE,
	ZCRX_FAULT_DOUBLE_RETURN,
	ZCRX_FAULT_STALE_RETURN,
	ZCRX_FAULT_EARLY_RETURN,
	ZCRX_FAULT_NEIGHBOUR_RETURN,
	ZCRX_FAULT_NEVER_GIVEN,
	ZCRX_FAULT_HOARD,
	ZCRX_FAULT_WRONG_RING,
	ZCRX_FAULT_TAIL_AHEAD,
	ZCRX_FAULT_HEAD_SCRIBBLE,
	ZCRX_FAULT_CQ_HEAD_SCRIBBLE,
	ZCRX_FAULT_TAIL_BACK,
	ZCRX_FAULT_TAIL_RANDOM,
	ZCRX_FAULT_TAIL_EARLY,
	ZCRX_FAULT_TAIL_STALL,
	ZCRX_FAULT_RQE_REWRITE,
	ZCRX_FAULT_RQ_OVERRUN,
	ZCRX_FAULT_WRITE_FOREIGN,
};
/* Those that leave no doubt of what any entry must earn. */
static const uint32_t exact_kinds[] = {
	ZCRX_FAULT_BAD_PAD,
	ZCRX_FAULT_BAD_AREA,
	ZCRX_FAULT_BAD_INDEX,
	ZCRX_FAULT_BAD_OFFSET,
	ZCRX_FAULT_ALIAS,
	ZCRX_FAULT_MID_BUFFER,
	ZCRX_FAULT_LEN_GARBAGE,
	ZCRX_FAULT_EARLY_RETURN,
	ZCRX_FAULT_HOARD,
	ZCRX_FAULT_HEAD_SCRIBBLE,
	ZCRX_FAULT_CQ_HEAD_SCRIBBLE,
	ZCRX_FAULT_TAIL_STALL,
	ZCRX_FAULT_WRITE_FOREIGN,
};

static struct zcrx_fault_rule rule_made(uint32_t kind, double probability)
{
	struct zcrx_fault_rule rule = rule_likely(kind, probability);
	uint32_t small = 1 + below(8);

	switch ((enum zcrx_fault_kind)kind) {
	case ZCRX_FAULT_BAD_PAD:
	case ZCRX_FAULT_BAD_AREA:
	case ZCRX_FAULT_BAD_INDEX:
	case ZCRX_FAULT_BAD_OFFSET:
	case ZCRX_FAULT_LEN_GARBAGE:
		rule.params[0] = below(4);
		break;
	case ZCRX_FAULT_TAIL_AHEAD:
	case ZCRX_FAULT_TAIL_BACK:
		rule.params[0] = 1 + below(below(2) ? 8 : 200);
		break;
	case ZCRX_FAULT_TAIL_EARLY: /* no time at all: it must not depend on a clock */
		rule.params[0] = 0;
		rule.limit = 16;
		break;
	case ZCRX_FAULT_RQE_REWRITE:
		rule.params[0] = 1 + below(10);
		rule.params[1] = below(3);
		rule.limit = 16;
		break;
	case ZCRX_FAULT_TAIL_STALL: /* until the user says so */
		rule.params[0] = 3600000000;
		break;
	case ZCRX_FAULT_WRONG_RING:
		rule.params[0] = 1;
		rule.params[1] = 8;
		break;
	default:
		rule.params[0] = small;
		break;
	}
	/* A rule may be one queue's alone. */
	if (below(8) == 0)
		rule.queue = (int32_t)below(world->queues);
	return rule;
}

static void make_rules(const uint32_t *kinds, size_t count, uint32_t some_in)
{
	static const double probabilities[] = {0.003, 0.02, 0.1, 0.4};

	world->rule_count = 0;
	for (size_t i = 0; i < count; i++) {
		if (below(some_in) == 0)
			world->rules[world->rule_count++] =
				rule_made(kinds[i], probabilities[below(4)]);
	}
}

/* ---- birth and death of a user ------------------------------------------------------------------ */

static void new_user(struct site *site)
{
	struct zcrx_rq_user *rq = &site->returns.writer.rq;

	world->params.position = zcrx_queue_consumed(&site->control);
	REQUIRE(zcrx_queue_attach(&site->user, &world->shape, site->control.index,
				  &site->mapping) == 0);
	REQUIRE(zcrx_returns_init(&site->returns, &site->user, &world->params, world->rules,
				  world->rule_count) == 0);
	*rq = user_of(&site->user);
	rq->cached_head = shm_load_acquire_u32(rq->head, POINT_RQ_HEAD_LOAD);
	rq->cached_tail = shm_load_acquire_u32(rq->tail, POINT_RQ_TAIL_LOAD);
	site->cq = (struct zcrx_cq_user){
		.head = site->user.cq.head,
		.tail = site->user.cq.tail,
		.cqes = site->user.cq.cqes,
		.entries = site->user.cq.entries,
		.mask = site->user.cq.mask,
		.cached_head = shm_load_acquire_u32(site->user.cq.head, POINT_CQ_HEAD_LOAD),
		.cached_tail = shm_load_acquire_u32(site->user.cq.head, POINT_CQ_HEAD_LOAD),
	};
	site->returns.ring_faults.cq_head = site->cq.head;
	site->returns.ring_faults.cq_tail = site->cq.tail;
	site->hand_count = 0;
}

/* As the provider's loop does it. */
static void provider_follows(struct site *site)
{
	struct zcrx_user_shared *user = site->provider.user;
	uint32_t wanted = shm_load_acquire_u32(&user->wanted, POINT_USER);

	site->provider.ifq.detached = wanted == 0;
	if (wanted)
		zcrx_ifq_reset_ring(&site->provider.ifq);
	shm_store_release_u32(&user->provider, wanted, POINT_USER);
}

static void set_user(struct site *site, uint32_t user)
{
	zcrx_queue_set_user(&site->control, user);
	provider_follows(site);
	zcrx_nic_queue_follow_user(&site->nq, NULL);
	CHECK(zcrx_queue_user_is(&site->control, user));
}

/* ---- the control process -------------------------------------------------------------------------- */

/* How often each verdict, told as one of another group, would have been noticed. */
enum group { SUCCEEDED, FOUND_NOTHING, BAD_PAD, BAD_AREA, BAD_INDEX, GROUPS };

struct strictness {
	struct queue_memory desk; /* where the falsified entries are laid before a reconciler */
	struct zcrx_reconciler reconciler;
	uint64_t entries[GROUPS];
	uint64_t flips[GROUPS], noticed[GROUPS]; /* by the true group */
};

static enum group group_of(uint8_t verdict)
{
	switch ((enum zcrx_verdict)verdict) {
	case ZCRX_ACCEPTED:
	case ZCRX_STILL_REFERENCED:
	case ZCRX_OTHER_POOL:
		break;
	case ZCRX_BAD_PAD:
		return BAD_PAD;
	case ZCRX_BAD_AREA:
		return BAD_AREA;
	case ZCRX_BAD_INDEX:
		return BAD_INDEX;
	case ZCRX_NO_USER_REF:
		return FOUND_NOTHING;
	}
	return SUCCEEDED;
}

/*
 * Would a reconciler with these accounts notice that verdict at that position? The
 * accounts are left as they are then.
 */
static bool is_noticed(struct strictness *strictness, const struct site *site, uint64_t at,
		       uint8_t verdict, struct zcrx_account *accounts)
{
	const struct zcrx_queue *queue = &site->control;
	struct zcrx_queue *desk = &strictness->desk.queue;
	struct zcrx_reconciler *reconciler = &strictness->reconciler;
	uint64_t slot = at & (desk->shape.log_entries - 1);
	uint64_t from = at & queue->ifq.log_mask;

	*reconciler = (struct zcrx_reconciler){
		.checked = at,
		.accounts = accounts,
		.account_count = site->reconciler.account_count,
	};
	desk->intents[slot] = queue->intents[from];
	desk->dues[slot] = queue->dues[from];
	desk->ifq.verdict_log[slot] = verdict;
	desk->ifq.niov_log[slot] = queue->ifq.niov_log[from];
	desk->area.scrubbed = queue->area.scrubbed;
	shm_store_release_u64(&desk->notes->written, at + 1, POINT_LOG);
	shm_store_release_u64(&desk->ifq.shared->consumed, at + 1, POINT_LOG);
	REQUIRE(zcrx_reconcile(reconciler, desk) == 1);
	return reconciler->mismatch_count != 0;
}

/* All entries that the reconciler is about to look at, with each verdict that they did not earn. */
static void measure(struct strictness *strictness, const struct site *site)
{
	const struct zcrx_queue *queue = &site->control;
	uint64_t consumed = zcrx_queue_consumed(queue);
	uint64_t written = count_of(&queue->notes->written);
	struct zcrx_account accounts[NIOVS_MAX], other[NIOVS_MAX];

	memcpy(accounts, site->reconciler.accounts,
	       sizeof(*accounts) * site->reconciler.account_count);
	if (word_of(&queue->notes->astray_rule) && consumed > written)
		consumed = written;
	for (uint64_t at = site->reconciler.checked; at < consumed; at++) {
		uint8_t logged = queue->ifq.verdict_log[at & queue->ifq.log_mask];
		enum group truly = group_of(logged & 7);

		strictness->entries[truly]++;
		for (uint8_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++) {
			if (group_of(verdict) == truly)
				continue;
			memcpy(other, accounts, sizeof(accounts));
			strictness->flips[truly]++;
			strictness->noticed[truly] +=
				is_noticed(strictness, site, at, verdict, other);
		}
		CHECK(!is_noticed(strictness, site, at, logged, accounts));
	}
}

static void reconcile(struct site *site)
{
	uint64_t seen;

	if (site->is_scrubbing && zcrx_queue_scrub_seen(&site->control, &seen))
		site->is_scrubbing = false;
	if (world->strictness)
		measure(world->strictness, site);
	zcrx_reconcile(&site->reconciler, &site->control);
}

static void scrub(struct site *site)
{
	reconcile(site);
	zcrx_queue_scrub(&site->control, NULL);
}

static void scrub_living(struct site *site)
{
	if (site->is_scrubbing)
		return;
	world->scrubs++;
	zcrx_queue_scrub_begin(&site->control, 1 + below(world->rule_count));
	scrub(site);
	/* The control process would wait for a NIC that is at it; here it comes back to it. */
	site->is_scrubbing = true;
}

static void end_scrub(struct site *site)
{
	const struct zcrx_notes_shared *notes = site->control.notes;

	if (site->is_scrubbing && word_of(&notes->scrubs_done) != word_of(&notes->scrubs_begun) &&
	    zcrx_queue_nic_is_quiet(&site->control))
		zcrx_queue_scrub_end(&site->control);
}

static void control_acts(void)
{
	struct site *site = any_site();

	end_scrub(site);
	if (world->rule_count && happens(world->scrub_chance))
		scrub_living(site);
	else
		reconcile(site);
}

/* ---- the NIC ------------------------------------------------------------------------------------- */

static bool open_some_buffer(struct zcrx_nic_queue *nq)
{
	int64_t niov;

	if (nq->has_open)
		return zcrx_nic_queue_room(nq, 1, 0) == ZCRX_OFFERED;
	if (below(16) == 0 && zcrx_nic_queue_room(nq, 1, 0) == ZCRX_OFFERED) {
		niov = zcrx_ifq_take_copy_buffer(&nq->queue.ifq);
		if (niov < 0)
			return false;
		zcrx_nic_queue_open_copy(nq, (uint32_t)niov);
		return true;
	}
	if (zcrx_nic_queue_room(nq, 1, 1) != ZCRX_OFFERED)
		return false;
	zcrx_nic_queue_open(nq);
	return true;
}

static void nic_acts(void)
{
	struct site *site = any_site();
	struct zcrx_nic_queue *nq = &site->nq;
	uint32_t fragments = 1 + below(6);
	uint8_t payload[1U << NIOV_SHIFT];

	if (nq->user == 0)
		return;
	while (fragments-- && open_some_buffer(nq)) {
		uint32_t len = 1 + below((1U << NIOV_SHIFT) - nq->open_off);

		for (uint32_t i = 0; i < len; i++)
			payload[i] = (uint8_t)zcrx_rng_next(&world->rng);
		shm_copy_payload(zcrx_area_niov(&nq->queue.area, nq->open_niov) + nq->open_off,
				 payload, len);
		zcrx_nic_queue_fragment(nq, below(world->shape.flows_max), len,
					zcrx_crc32c(payload, len));
		if (nq->open_off >= 1U << NIOV_SHIFT || below(2))
			zcrx_nic_queue_close(nq);
	}
	zcrx_nic_queue_publish(nq);
}

/* ---- the provider ---------------------------------------------------------------------------------- */

static void refill(struct site *site)
{
	zcrx_ifq_refill_ring(&site->provider.ifq, zcrx_ifq_pool(&site->provider.ifq));
}

static void provider_acts(void)
{
	struct site *site = any_site();

	switch (below(4)) {
	case 0:
		zcrx_pp_empty_cache(zcrx_ifq_pool(&site->provider.ifq));
		/* fall through */
	case 1:
		refill(site);
		break;
	default:
		grant(&site->provider, 1 + below(NIOVS_MAX));
		break;
	}
}

/* ---- the consumers ----------------------------------------------------------------------------------- */

static struct zcrx_held take_one(struct site *site)
{
	const struct zcrx_ledger_entry *note =
		&site->user.ledger[site->cq.cached_head & site->cq.mask];
	uint64_t flow_seq = shm_load_relaxed_u64(&note->flow_seq, POINT_LOG);
	uint64_t crc_generation = shm_load_relaxed_u64(&note->crc_generation, POINT_LOG);
	struct zcrx_cqe32 cqe = zcrx_cq_user_take(&site->cq);

	return (struct zcrx_held){
		.off = cqe.zcrx.off,
		.len = (uint32_t)cqe.cqe.res,
		.crc = (uint32_t)(crc_generation >> 32),
		.flow = (uint32_t)cqe.cqe.user_data,
		.seq = (uint32_t)flow_seq,
		.generation = (uint32_t)crc_generation,
	};
}

static void receive(struct site *site)
{
	uint32_t available = zcrx_cq_user_available(&site->cq);
	uint32_t room = HANDS - site->hand_count;
	uint32_t count = 1 + below(16);

	zcrx_findings_look(&site->returns.findings);
	for (uint32_t i = 0; i < count && i < available && i < room; i++) {
		uint32_t index = site->cq.cached_head;
		struct zcrx_held held = take_one(site);

		zcrx_findings_received(&site->returns.findings, &held, index);
		site->hands[site->hand_count++] = held;
	}
	zcrx_cq_user_release(&site->cq);
}

static void give(struct site *site)
{
	uint32_t count = below(site->hand_count + 1);

	while (count--) {
		uint32_t at = below(site->hand_count);

		zcrx_returns_give(&site->returns, site->hands[at]);
		site->hands[at] = site->hands[--site->hand_count];
	}
	zcrx_returns_flush(&site->returns);
}

static void consumer_acts(struct site *site)
{
	switch (below(8)) {
	case 0:
		zcrx_returns_flush(&site->returns);
		break;
	case 1:
		site->returns.writer.withheld_until = 0;
		zcrx_returns_flush(&site->returns);
		break;
	case 2:
	case 3:
	case 4:
		receive(site);
		break;
	default:
		give(site);
		break;
	}
}

/* ---- the scheduler -------------------------------------------------------------------------------------- */

static void act(enum process process)
{
	world->is_busy[process] = true;
	world->depth++;
	switch (process) {
	case CONSUMER_0:
		consumer_acts(&world->sites[0]);
		break;
	case CONSUMER_1:
		consumer_acts(&world->sites[1]);
		break;
	case PROVIDER:
		provider_acts();
		break;
	case NIC:
		nic_acts();
		break;
	case CONTROL:
	case PROCESSES:
		control_acts();
		break;
	}
	world->depth--;
	world->is_busy[process] = false;
}

static bool can_act(enum process process)
{
	return !world->is_busy[process] && (process != CONSUMER_1 || world->queues == 2);
}

static bool is_rq_lock(const volatile void *word)
{
	for (uint32_t i = 0; i < world->queues; i++) {
		if (word == &world->sites[i].provider.ifq.shared->rq_lock.word)
			return true;
	}
	return false;
}

/*
 * Nobody is interrupted with a lock that others wait for; the refill ring's is
 * the provider's alone.
 */
void zcrx_point_hook(enum zcrx_point point, const volatile void *word)
{
	enum process other;

	if (!world || !world->armed)
		return;
	if ((point == POINT_LOCK_TAKE || point == POINT_LOCK_RELEASE) && !is_rq_lock(word)) {
		world->locks += point == POINT_LOCK_TAKE ? 1 : UINT32_MAX;
		return;
	}
	if (world->locks)
		return;
	if (world->depth == 1 && (world->is_busy[CONSUMER_0] || world->is_busy[CONSUMER_1]) &&
	    world->death_chance && below(CHANCE_UNIT * 64) < world->death_chance) {
		world->deaths++;
		longjmp(world->death, 1);
	}
	if (world->depth > 2 || !happens(world->chance))
		return;
	other = (enum process)below(PROCESSES);
	if (!can_act(other))
		return;
	world->interruptions++;
	act(other);
}

/* ---- a killed user and its successor --------------------------------------------------------------------- */

static void bury(struct site *site)
{
	/* Whatever the provider still makes of what the dead left in the ring. */
	for (uint32_t i = below(4); i; i--)
		provider_acts();
	set_user(site, 0);
	site->is_scrubbing = false;
	zcrx_queue_claim(&site->control);
	reconcile(site);
	scrub(site);
	zcrx_returns_destroy(&site->returns);
}

static void replace(struct site *site)
{
	world->armed = false;
	world->kills++;
	bury(site);
	for (uint32_t i = below(8); i; i--)
		act(below(2) ? PROVIDER : NIC);
	set_user(site, ++site->users);
	reconcile(site);
	zcrx_reconcile_new_user(&site->reconciler, &site->control);
	new_user(site);
	world->armed = true;
}

/* ---- a run ------------------------------------------------------------------------------------------------ */

static void site_init(struct site *site, uint32_t index)
{
	site->mapping = queue_objects(&world->shape, world->run, world->bells);
	REQUIRE(zcrx_queue_attach(&site->provider, &world->shape, index, &site->mapping) == 0);
	REQUIRE(zcrx_queue_format(&site->provider) == 0);
	REQUIRE(zcrx_queue_attach(&site->control, &world->shape, index, &site->mapping) == 0);
	REQUIRE(zcrx_queue_attach(&site->nq.queue, &world->shape, index, &site->mapping) == 0);
	site->provider.ifq.is_checked = true;
	site->nq.generation = site->generation;
	site->nq.user = site->users = 1;
	REQUIRE(zcrx_reconciler_init(&site->reconciler, world->shape.num_niovs) == 0);
	new_user(site);
}

static uint32_t power_below(uint32_t bits)
{
	return UINT32_C(1) << below(bits);
}

static void world_init(uint64_t seed)
{
	world = zeroed(sizeof(*world));
	world->rng = zcrx_rng_for(seed, 0);
	world->run = zeroed(zcrx_run_size());
	world->bells = zeroed(zcrx_bells_size());
	zcrx_run_format(world->run, 2);
	world->queues = 1 + below(QUEUES_MAX);
	world->shape = (struct zcrx_shape){
		.num_niovs = 1 + below(NIOVS_MAX),
		.niov_shift = NIOV_SHIFT,
		.rq_entries = power_below(8),
		.cq_entries = power_below(7),
		.ptr_ring_size = 1 + below(2 * NIOVS_MAX),
		.grant_entries = power_below(5),
		.log_entries = below(2) ? 1024 : power_below(9),
		.flows_max = 4,
		.initial_index = (uint32_t)zcrx_rng_next(&world->rng) | below(2) * 0xffffff00,
	};
	world->params = (struct zcrx_consumer_params){
		.output_fd = -1,
		.seed = seed,
		.verify = ZCRX_VERIFY_CRC,
		.recheck_every = 1 + below(3),
		.return_order = below(3),
		.hold = below(8),
		.queues = world->queues,
	};
	world->shape.contract.deviations = below(2) ? ZCRX_CONTRACT_STRICT_ALIAS : 0;
}

static void sites_init(void)
{
	for (uint32_t i = 0; i < world->queues; i++)
		site_init(&world->sites[i], i);
}

static void play(uint32_t steps)
{
	for (volatile uint32_t step = 0; step < steps; step++) {
		if (setjmp(world->death)) {
			struct site *dead = &world->sites[world->is_busy[CONSUMER_1]];

			memset(world->is_busy, 0, sizeof(world->is_busy));
			world->depth = 0;
			replace(dead);
		}
		if (happens(world->kill_chance))
			replace(any_site());
		world->armed = true;
		for (;;) {
			enum process process = (enum process)below(PROCESSES);

			if (!can_act(process))
				continue;
			act(process);
			break;
		}
		world->armed = false;
	}
}

/* As at the end of a run: the ring is drained while the user's references are taken back. */
static void drain(struct site *site)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&site->provider.ifq);
	uint32_t left = world->shape.rq_entries;

	if (site->nq.has_open)
		zcrx_nic_queue_close(&site->nq);
	zcrx_nic_queue_publish(&site->nq);
	scrub(site);
	while (left) {
		uint32_t consumed;

		zcrx_pp_empty_cache(pool);
		consumed = zcrx_ifq_refill_ring(&site->provider.ifq, pool);
		if (consumed == 0)
			break;
		left -= consumed < left ? consumed : left;
	}
	site->provider.ifq.detached = true;
	site->is_scrubbing = false;
	zcrx_queue_claim(&site->control);
	scrub(site);
	zcrx_returns_destroy(&site->returns);
}

static void judge(struct site *site)
{
	const struct zcrx_reconciler *reconciler = &site->reconciler;
	struct zcrx_queue *control = &site->control;

	reconcile(site);
	CHECK_EQ(reconciler->mismatch_count, 0);
	for (uint32_t i = 0; i < reconciler->mismatch_count && i < ZCRX_MISMATCHES_MAX; i++) {
		const struct zcrx_mismatch *found = &reconciler->mismatches[i];

		if (i == 0)
			fprintf(stderr, "queue %u, position %" PRIu64 ": intent %04x, verdict %x\n",
				control->index, found->position, found->intent, found->verdict);
	}
	CHECK_EQ(reconciler->lost, 0);
	CHECK_EQ(reconciler->checked, zcrx_queue_consumed(control));
	CHECK_EQ(count_of(&control->notes->integrity_errors), 0);
	CHECK_EQ(count_of(&control->notes->ownership_errors), 0);
	CHECK_EQ(count_of(&control->nic->ownership_violations), 0);
	CHECK_EQ(count_of(&control->area.shared->ref_underflows), 0);
	CHECK_EQ(count_of(&control->area.shared->freelist_overflows), 0);
	zcrx_nic_queue_return_grants(&site->nq);
	CHECK_EQ(zcrx_ifq_teardown(&site->provider.ifq), 0);
	CHECK_EQ(zcrx_area_free_count(&site->provider.area), world->shape.num_niovs);
}

static void sites_end(void)
{
	for (uint32_t i = 0; i < world->queues; i++) {
		struct site *site = &world->sites[i];

		if (below(2))
			bury(site);
		else
			drain(site);
	}
	for (uint32_t i = 0; i < world->queues; i++)
		judge(&world->sites[i]);
}

/* Of all runs: that what is to be met was met. */
static uint64_t interruptions, deaths, kills, scrubs;

static uint64_t world_free(void)
{
	uint64_t judged = 0;

	interruptions += world->interruptions;
	deaths += world->deaths;
	kills += world->kills;
	scrubs += world->scrubs;

	for (uint32_t i = 0; i < world->queues; i++) {
		judged += world->sites[i].reconciler.checked;
		queue_objects_free(&world->sites[i].mapping);
		zcrx_reconciler_destroy(&world->sites[i].reconciler);
	}
	free(world->run);
	free(world->bells);
	free(world);
	world = NULL;
	return judged;
}

static void describe(void)
{
	const struct zcrx_shape *shape = &world->shape;

	printf("%u queues, %u niovs, rq %u, cq %u, log %u, hold %u, order %u\n", world->queues,
	       shape->num_niovs, shape->rq_entries, shape->cq_entries, shape->log_entries,
	       world->params.hold, world->params.return_order);
	for (uint32_t i = 0; i < world->rule_count; i++) {
		const struct zcrx_fault_rule *rule = &world->rules[i];

		printf("rule %u: kind %u, probability %g, queue %d, params %u %u\n", i + 1,
		       rule->kind, rule->probability, rule->queue, rule->params[0],
		       rule->params[1]);
	}
}

/* One run; how many entries were judged. */
static uint64_t run(uint64_t seed, bool is_described)
{
	static const uint32_t chances[] = {0, 4, 32, 128};
	unsigned int before = atomic_load(&check_failures);

	world_init(seed);
	world->chance = chances[seed % 4];
	world->death_chance = seed / 4 % 2 ? 64 : 0;
	world->kill_chance = seed / 8 % 2 ? 8 : 0;
	world->scrub_chance = seed / 16 % 2 ? 64 : 0;
	make_rules(all_kinds, COUNT_OF(all_kinds), 1 + below(4));
	if (is_described)
		describe();
	sites_init();
	play(300);
	sites_end();
	if (atomic_load(&check_failures) != before)
		fprintf(stderr, "again: test_ring_model %" PRIu64 "\n", seed);
	return world_free();
}

static void no_verdict_is_wrong_and_no_buffer_lost_whatever_a_consumer_does(void)
{
	uint64_t judged = 0;

	for (uint64_t seed = 1; seed <= CHECK_REPEAT(10000U); seed++)
		judged += run(seed, false);
	CHECK(judged > CHECK_REPEAT(2000000U));
	CHECK(interruptions > CHECK_REPEAT(100000U));
	CHECK(kills > deaths && deaths > CHECK_REPEAT(500U));
	CHECK(scrubs > CHECK_REPEAT(5000U));
}

/* ---- and it would be noticed ------------------------------------------------------------------------------- */

static void strictness_init(struct strictness *strictness)
{
	struct zcrx_shape shape = small_shape();

	memset(strictness, 0, sizeof(*strictness));
	queue_memory_init(&strictness->desk, &shape);
}

static double share(const struct strictness *strictness, enum group group)
{
	return (double)strictness->noticed[group] / (double)strictness->flips[group];
}

static void print_strictness(const char *name, const struct strictness *strictness)
{
	static const char *const names[] = {"succeeds", "no_user_ref", "bad_pad", "bad_area",
					    "bad_index"};

	printf("%s:", name);
	for (enum group group = 0; group < GROUPS; group++) {
		if (strictness->flips[group])
			printf(" %s %.4f of %" PRIu64, names[group], share(strictness, group),
			       strictness->flips[group]);
	}
	printf("\n");
}

/*
 * Runs with all of these faults. Up to the end, when the scrub excuses whatever
 * finds nothing. The caller frees it.
 */
static void measure_runs(struct strictness *strictness, const char *name, const uint32_t *kinds,
			 size_t count, uint64_t runs)
{
	strictness_init(strictness);
	for (uint64_t seed = 1; seed <= runs; seed++) {
		world_init(seed);
		world->strictness = strictness;
		make_rules(kinds, count, 1);
		sites_init();
		play(300);
		for (uint32_t i = 0; i < world->queues; i++)
			reconcile(&world->sites[i]);
		world->strictness = NULL;
		sites_end();
		world_free();
	}
	print_strictness(name, strictness);
}

static void every_falsified_verdict_is_noticed_where_nothing_strays(void)
{
	struct strictness strictness;

	measure_runs(&strictness, "exact", exact_kinds, COUNT_OF(exact_kinds), 100);
	CHECK_EQ(strictness.entries[FOUND_NOTHING], 0);
	for (enum group group = 0; group < GROUPS; group++) {
		CHECK_EQ(strictness.noticed[group], strictness.flips[group]);
		CHECK(group == FOUND_NOTHING || strictness.entries[group] > 50);
	}
	queue_memory_free(&strictness.desk);
}

/*
 * What is malformed stays exact whatever else goes on. An entry that may find
 * nothing may also succeed: three of the six other verdicts.
 */
static void few_falsified_verdicts_can_hide_among_all_faults_at_once(void)
{
	struct strictness strictness;

	measure_runs(&strictness, "all", all_kinds, COUNT_OF(all_kinds), 100);
	CHECK(share(&strictness, SUCCEEDED) > 0.8);
	CHECK(share(&strictness, FOUND_NOTHING) > 0.49);
	CHECK(share(&strictness, BAD_PAD) > 0.99);
	CHECK(share(&strictness, BAD_AREA) > 0.99);
	CHECK(share(&strictness, BAD_INDEX) > 0.99);
	queue_memory_free(&strictness.desk);
}

/* One kind alone: most returns of buffers that were never named by a stray stay exact. */
static void a_fault_alone_leaves_most_returns_exact(void)
{
	for (size_t i = 0; i < COUNT_OF(all_kinds); i++) {
		struct strictness strictness;
		char name[16];

		snprintf(name, sizeof(name), "kind %u", all_kinds[i]);
		measure_runs(&strictness, name, &all_kinds[i], 1, CHECK_REPEAT(100));
		CHECK(share(&strictness, SUCCEEDED) > 0.9);
		queue_memory_free(&strictness.desk);
	}
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		CASE(no_verdict_is_wrong_and_no_buffer_lost_whatever_a_consumer_does),
		CASE(every_falsified_verdict_is_noticed_where_nothing_strays),
		CASE(few_falsified_verdicts_can_hide_among_all_faults_at_once),
		CASE(a_fault_alone_leaves_most_returns_exact),
	};

	if (argc > 1 && argv[1][0] >= '0' && argv[1][0] <= '9') {
		uint64_t seed = strtoull(argv[1], NULL, 10);
		uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10) : seed;
		uint64_t judged = 0;

		setvbuf(stdout, NULL, _IOLBF, 0);
		for (; seed <= last; seed++)
			judged += run(seed, argc == 2);
		printf("%" PRIu64 " entries judged\n", judged);
		return atomic_load(&check_failures) != 0;
	}
	return check_run(cases, COUNT_OF(cases), argc, argv);
}
