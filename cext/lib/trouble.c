/* SPDX-License-Identifier: MIT */
/*
 * Each kind of work has its own triggers: rules that count something else keep their place
 * among the rules, and never fire there. So a rule is told by its number everywhere, and its
 * draws are the same whatever stands beside it.
 */
#include "trouble.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "nic.h"

#define NO_PACKET ((struct zcrx_lib_packet){.most = SIZE_MAX})

/* Of what a ring as a whole does, of one kind. */
struct counted {
	struct zcrx_fault_plan *triggers; /* NULL: no rule is of that kind */
	uint64_t ordinal;
};

struct zcrx_lib_trouble {
	struct zcrx_lib_plan plan;
	struct counted counted[ZCRX_LIB_ACTORS]; /* from ZCRX_LIB_RING on */
	uint32_t silent; /* steps in which receives have no turn yet */
	struct zcrx_lib_journal journal;
};

/* ---- triggers ---------------------------------------------------------------------------- */

static bool is_of(const struct zcrx_lib_fault *fault, enum zcrx_lib_actor actor, bool is_asked_once)
{
	return fault->actor == actor && fault->is_asked_once == is_asked_once;
}

/* The triggers of those rules that count the same, in *triggers; NULL if there are none. */
static int compile(const struct zcrx_emu *emu, enum zcrx_lib_actor actor, bool is_asked_once,
		   uint32_t queue, struct zcrx_fault_plan **triggers)
{
	static const struct zcrx_fault_area area = {.num_niovs = 1, .niov_shift = 12};
	const struct zcrx_lib_plan *plan = &emu->trouble->plan;
	struct zcrx_fault_rule *rules;
	uint32_t count = 0;
	int error = -ENOMEM;

	*triggers = NULL;
	for (uint32_t i = 0; i < plan->count; i++)
		count += is_of(plan->faults[i], actor, is_asked_once);
	if (count == 0)
		return 0;
	rules = malloc(plan->count * sizeof(*rules));
	*triggers = malloc(sizeof(**triggers));
	if (rules && *triggers) {
		for (uint32_t i = 0; i < plan->count; i++) {
			rules[i] = plan->rules[i];
			if (!is_of(plan->faults[i], actor, is_asked_once))
				rules[i].kind = ZCRX_FAULT_NONE;
		}
		error = zcrx_fault_compile(*triggers, rules, plan->count, emu->options.seed, queue,
					   &area);
	}
	free(rules);
	if (error) {
		free(*triggers);
		*triggers = NULL;
	}
	return error;
}

/* The next rule that is due, or NULL. */
static const struct zcrx_fault_lane *take(struct zcrx_fault_plan *triggers, uint64_t ordinal,
					  uint32_t flow, uint32_t *rule)
{
	int due = -1;

	if (triggers && zcrx_fault_is_due(triggers, ordinal))
		due = zcrx_fault_take_of(triggers, ordinal, flow);
	if (due < 0)
		return NULL;
	*rule = (uint32_t)due;
	return &triggers->lanes[due];
}

#define NO_FLOW 0U

/* ---- the plan ----------------------------------------------------------------------------- */

static void free_trouble(struct zcrx_lib_trouble *trouble)
{
	if (!trouble)
		return;
	zcrx_lib_plan_free(&trouble->plan);
	for (uint32_t actor = ZCRX_LIB_RING; actor < ZCRX_LIB_ACTORS; actor++)
		free(trouble->counted[actor].triggers);
	zcrx_lib_journal_free(&trouble->journal);
	free(trouble);
}

/* The queue follows no plan any more; whose it is stays. */
static void unfollow(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_queue_trouble *trouble = &queue->trouble;

	free(trouble->nic);
	free(trouble->provider);
	free(trouble->queue);
	*trouble = (struct zcrx_lib_queue_trouble){.ring = trouble->ring, .id = trouble->id};
}

static void drop_plan(struct zcrx_emu *emu)
{
	for (uint32_t id = 0; id < emu->ifq_count; id++) {
		if (emu->ifqs[id]->trouble.ring == emu)
			unfollow(emu->ifqs[id]);
	}
	free_trouble(emu->trouble);
	emu->trouble = NULL;
}

void zcrx_lib_trouble_free(struct zcrx_emu *emu)
{
	drop_plan(emu);
	for (uint32_t id = 0; id < emu->ifq_count; id++) {
		if (emu->ifqs[id]->trouble.ring == emu)
			emu->ifqs[id]->trouble.ring = NULL;
	}
}

void zcrx_lib_trouble_stop(struct zcrx_lib_ifq *queue)
{
	unfollow(queue);
}

/* A queue with fewer buffers than its area: the others stay where nobody takes them. */
void zcrx_lib_trouble_shrink(struct zcrx_lib_ifq *queue, uint32_t buffers)
{
	struct zcrx_area *area = &queue->area;
	uint32_t niov;

	while (zcrx_area_free_count(area) > buffers && zcrx_area_pop_free(area, &niov, 1))
		;
}

static int ask_once(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	struct zcrx_fault_plan *once;
	const struct zcrx_fault_lane *lane;
	int error = compile(emu, ZCRX_LIB_SETUP, true, queue->trouble.id, &once);
	uint32_t rule;

	while (!error && (lane = take(once, 0, NO_FLOW, &rule))) {
		zcrx_lib_trouble_shrink(queue, lane->rule.params[0]);
		zcrx_lib_journal_note(&emu->trouble->journal, rule, queue->trouble.id, 0);
	}
	free(once);
	return error;
}

static int follow(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_queue_trouble *trouble = &queue->trouble;
	int error = compile(emu, ZCRX_LIB_NIC, false, trouble->id, &trouble->nic);

	if (!error)
		error = compile(emu, ZCRX_LIB_PROVIDER, false, trouble->id, &trouble->provider);
	return error ? error : compile(emu, ZCRX_LIB_QUEUE, false, trouble->id, &trouble->queue);
}

int zcrx_lib_trouble_start(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	int error;

	queue->trouble.ring = emu;
	queue->trouble.id = emu->ifq_count;
	if (!emu->trouble)
		return 0;
	error = follow(emu, queue);
	return error ? error : ask_once(emu, queue);
}

/* Queues that the ring has registered follow the plan from now on. */
static int follow_all(struct zcrx_emu *emu)
{
	int error = 0;

	for (uint32_t actor = ZCRX_LIB_RING; !error && actor < ZCRX_LIB_ACTORS; actor++)
		error = compile(emu, (enum zcrx_lib_actor)actor, false, 0,
				&emu->trouble->counted[actor].triggers);
	for (uint32_t id = 0; !error && id < emu->ifq_count; id++) {
		if (emu->ifqs[id]->trouble.ring == emu)
			error = follow(emu, emu->ifqs[id]);
	}
	return error;
}

int zcrx_lib_trouble_plan(struct zcrx_emu *emu, const char *text, char *error, size_t size)
{
	struct zcrx_lib_trouble *trouble = calloc(1, sizeof(*trouble));
	int result;

	if (!trouble)
		return -ENOMEM;
	result = zcrx_lib_plan_parse(&trouble->plan, text, error, size);
	if (result) {
		free_trouble(trouble);
		return result;
	}
	drop_plan(emu);
	if (trouble->plan.count == 0) {
		free_trouble(trouble);
		return 0;
	}
	emu->trouble = trouble;
	result = follow_all(emu);
	if (result)
		drop_plan(emu);
	return result;
}

/* ---- where the work is done ---------------------------------------------------------------- */

/*
 * The ring does something of that kind once more: the last rule of the plan that is due, or NULL.
 * All that are due have fired then.
 */
static const struct zcrx_fault_rule *count_one(struct zcrx_emu *emu, enum zcrx_lib_actor actor)
{
	struct zcrx_lib_trouble *trouble = emu->trouble;
	const struct zcrx_fault_rule *due = NULL;
	const struct zcrx_fault_lane *lane;
	struct counted *counted;
	uint32_t rule;

	if (!trouble)
		return NULL;
	counted = &trouble->counted[actor];
	while ((lane = take(counted->triggers, counted->ordinal, NO_FLOW, &rule))) {
		zcrx_lib_journal_note(&trouble->journal, rule, 0, counted->ordinal);
		due = &lane->rule;
	}
	counted->ordinal++;
	return due;
}

bool zcrx_lib_trouble_setup(struct zcrx_emu *emu)
{
	return count_one(emu, ZCRX_LIB_SETUP) != NULL;
}

uint32_t zcrx_lib_trouble_register(struct zcrx_emu *emu)
{
	const struct zcrx_fault_rule *rule = count_one(emu, ZCRX_LIB_REGISTER);

	return rule ? rule->params[0] : 0;
}

uint32_t zcrx_lib_trouble_arm(struct zcrx_emu *emu)
{
	const struct zcrx_fault_rule *rule = count_one(emu, ZCRX_LIB_ARM);

	return rule ? rule->params[0] : 0;
}

bool zcrx_lib_trouble_copy(struct zcrx_emu *emu)
{
	return count_one(emu, ZCRX_LIB_COPY) != NULL;
}

bool zcrx_lib_trouble_post(struct zcrx_emu *emu)
{
	return count_one(emu, ZCRX_LIB_POST) != NULL;
}

bool zcrx_lib_trouble_wait(struct zcrx_emu *emu)
{
	return count_one(emu, ZCRX_LIB_WAIT) != NULL;
}

bool zcrx_lib_trouble_receives(struct zcrx_emu *emu)
{
	const struct zcrx_fault_rule *rule = count_one(emu, ZCRX_LIB_RING);
	struct zcrx_lib_trouble *trouble = emu->trouble;

	if (rule && trouble->silent < rule->params[0])
		trouble->silent = rule->params[0];
	if (!trouble || trouble->silent == 0)
		return true;
	trouble->silent--;
	return false;
}

static void befall_provider(struct zcrx_lib_ifq *queue, const struct zcrx_fault_rule *rule)
{
	struct zcrx_lib_queue_trouble *trouble = &queue->trouble;

	if (rule->kind == ZCRX_FAULT_ALLOC_FAIL)
		trouble->failing = rule->params[0];
	else if (rule->kind == ZCRX_FAULT_FREELIST_EMPTY)
		zcrx_ifq_hide_freelist(&queue->ifq, rule->params[0]);
	else
		trouble->blind = rule->params[0];
}

bool zcrx_lib_trouble_alloc(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_queue_trouble *trouble = &queue->trouble;
	const struct zcrx_fault_lane *lane;
	uint32_t rule;

	if (!trouble->provider)
		return false;
	/* One that failed is tried again under its number: its rules have had their turn. */
	while ((lane = take(trouble->provider, trouble->allocations, NO_FLOW, &rule))) {
		zcrx_lib_journal_note(&trouble->ring->trouble->journal, rule, trouble->id,
				      trouble->allocations);
		befall_provider(queue, &lane->rule);
	}
	if (trouble->failing) {
		trouble->failing--;
		return true;
	}
	trouble->allocations++;
	return false;
}

bool zcrx_lib_trouble_looks(struct zcrx_lib_ifq *queue)
{
	if (queue->trouble.blind == 0)
		return true;
	queue->trouble.blind--;
	return false;
}

static void scrub(struct zcrx_lib_ifq *queue)
{
	zcrx_ifq_scrub(&queue->ifq, NULL);
	zcrx_lib_ledger_scrubbed(&queue->ledger);
}

bool zcrx_lib_trouble_turn(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_queue_trouble *trouble = &queue->trouble;
	const struct zcrx_fault_lane *lane;
	uint32_t rule;

	while ((lane = take(trouble->queue, trouble->turns, NO_FLOW, &rule))) {
		bool is_restart = lane->rule.kind == ZCRX_LIB_FAULT_QUEUE_RESTART;

		/* Without a device there is no page pool to be replaced. */
		if (is_restart && queue->is_nodev)
			continue;
		zcrx_lib_journal_note(&trouble->ring->trouble->journal, rule, trouble->id,
				      trouble->turns);
		if (is_restart)
			trouble->is_restart_due = true;
		else
			scrub(queue);
	}
	trouble->turns++;
	return trouble->is_restart_due;
}

/* One bit of one byte. */
static bool flip(struct zcrx_lib_packet *packet, struct zcrx_rng *rng, size_t size)
{
	uint32_t most = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;

	packet->flipped_at = zcrx_rng_below(rng, most);
	packet->flips = (uint8_t)(1U << zcrx_rng_below(rng, 8));
	return true;
}

/* False: there is nothing that it could be done to. */
static bool befall_packet(const struct zcrx_lib_ifq *queue, struct zcrx_lib_packet *packet,
			  struct zcrx_fault_lane *lane, size_t size)
{
	uint32_t param = lane->rule.params[0];

	switch (lane->rule.kind) {
	case ZCRX_FAULT_NIC_DROP:
		packet->most = 0;
		return true;
	case ZCRX_FAULT_NIC_CORRUPT:
		return flip(packet, &lane->rng, size);
	case ZCRX_FAULT_NIC_DUPLICATE:
		packet->is_twice = true;
		return true;
	case ZCRX_FAULT_NIC_REORDER:
		packet->overtaken = queue->late ? 0 : param;
		return packet->overtaken != 0;
	case ZCRX_FAULT_NIC_TRUNCATE:
		if (size <= param || size > UINT32_MAX)
			return false;
		packet->most = param + zcrx_rng_below(&lane->rng, (uint32_t)size - param);
		return true;
	case ZCRX_FAULT_NIC_TINY:
		packet->tiny = size > 1 ? param : 0;
		return size > 1;
	case ZCRX_FAULT_CQ_FULL:
		packet->is_full = true;
		return true;
	default:
		packet->is_reset = true;
		packet->most = 0;
		return true;
	}
}

/* Done beside whatever is done to the packet. False: none can be held back. */
static bool hold(struct zcrx_lib_ifq *queue, struct zcrx_lib_packet *packet,
		 const struct zcrx_fault_rule *rule)
{
	if (packet->held || zcrx_lib_nic_may_hold(queue) == 0)
		return false;
	packet->held = rule->params[0];
	packet->held_for = rule->params[1];
	return true;
}

/* At most one thing is done to a packet: the first of the plan. */
struct zcrx_lib_packet zcrx_lib_trouble_packet(struct zcrx_lib_ifq *queue, uint32_t flow,
					       size_t size)
{
	struct zcrx_lib_queue_trouble *trouble = &queue->trouble;
	struct zcrx_lib_packet packet = NO_PACKET;
	bool is_done = false;
	uint32_t rule;

	if (!trouble->nic)
		return packet;
	while (take(trouble->nic, trouble->packets, flow, &rule)) {
		struct zcrx_fault_lane *lane = &trouble->nic->lanes[rule];

		if (lane->rule.kind == ZCRX_FAULT_NIC_HOLD) {
			if (!hold(queue, &packet, &lane->rule))
				continue;
		} else if (is_done || !befall_packet(queue, &packet, lane, size)) {
			continue;
		} else {
			is_done = true;
		}
		zcrx_lib_journal_note(&trouble->ring->trouble->journal, rule, trouble->id,
				      trouble->packets);
	}
	trouble->packets++;
	return packet;
}

/* ---- what fired ---------------------------------------------------------------------------- */

size_t zcrx_lib_trouble_journal(const struct zcrx_emu *emu, char *to, size_t size)
{
	static const struct zcrx_lib_plan nothing;
	static const struct zcrx_lib_journal none;
	const struct zcrx_lib_trouble *trouble = emu->trouble;

	return zcrx_lib_journal_text(trouble ? &trouble->journal : &none,
				     trouble ? &trouble->plan : &nothing, emu->ifq_count, to, size);
}

uint64_t zcrx_lib_trouble_fired(const struct zcrx_emu *emu, const char *fault)
{
	const struct zcrx_lib_trouble *trouble = emu->trouble;
	uint64_t count = 0;

	for (uint32_t rule = 0; trouble && rule < trouble->plan.count; rule++) {
		if (!fault || strcmp(trouble->plan.faults[rule]->name, fault) == 0)
			count += trouble->journal.counts[rule];
	}
	return count;
}
