/* SPDX-License-Identifier: MIT */
/*
 * Each kind of work has its own triggers: rules that count something else keep their place
 * among the rules, and never fire there. So a rule is told by its number everywhere, and its
 * draws are the same whatever stands beside it.
 */
#include "trouble.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "plan.h"

#define JOURNAL_MAX 16384U /* firings that are noted */
#define NO_PACKET ((struct zcrx_lib_packet){.most = SIZE_MAX})

struct fired {
	uint64_t ordinal;
	uint32_t queue;
	uint32_t rule;
};

struct zcrx_lib_trouble {
	struct zcrx_lib_plan plan;
	struct zcrx_fault_plan *ring, *setup; /* NULL: no rule is of that kind */
	uint64_t steps, setup_steps; /* their ordinals */
	uint32_t silent; /* steps in which receives have no turn yet */
	struct fired *fired; /* in the order of firing */
	uint32_t fired_count, fired_capacity;
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

static void note(struct zcrx_lib_trouble *trouble, uint32_t rule, uint32_t queue, uint64_t ordinal)
{
	if (trouble->fired_count == JOURNAL_MAX)
		return;
	if (trouble->fired_count == trouble->fired_capacity) {
		uint32_t capacity = trouble->fired_capacity ? 2 * trouble->fired_capacity : 64;
		void *fired = realloc(trouble->fired, capacity * sizeof(*trouble->fired));

		if (!fired)
			return;
		trouble->fired = fired;
		trouble->fired_capacity = capacity;
	}
	trouble->fired[trouble->fired_count++] = (struct fired){ordinal, queue, rule};
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
	free(trouble->ring);
	free(trouble->setup);
	free(trouble->fired);
	free(trouble);
}

/* The queue follows no plan any more; whose it is stays. */
static void unfollow(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_queue_trouble *trouble = &queue->trouble;

	free(trouble->nic);
	free(trouble->provider);
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
static void shrink(struct zcrx_lib_ifq *queue, uint32_t buffers)
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
		shrink(queue, lane->rule.params[0]);
		note(emu->trouble, rule, queue->trouble.id, 0);
	}
	free(once);
	return error;
}

static int follow(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_queue_trouble *trouble = &queue->trouble;
	int error = compile(emu, ZCRX_LIB_NIC, false, trouble->id, &trouble->nic);

	return error ? error :
		       compile(emu, ZCRX_LIB_PROVIDER, false, trouble->id, &trouble->provider);
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
	int error = compile(emu, ZCRX_LIB_RING, false, 0, &emu->trouble->ring);

	if (!error)
		error = compile(emu, ZCRX_LIB_SETUP, false, 0, &emu->trouble->setup);
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

bool zcrx_lib_trouble_setup(struct zcrx_emu *emu)
{
	struct zcrx_lib_trouble *trouble = emu->trouble;
	bool fails = false;
	uint32_t rule;

	if (!trouble)
		return false;
	while (take(trouble->setup, trouble->setup_steps, NO_FLOW, &rule)) {
		note(trouble, rule, 0, trouble->setup_steps);
		fails = true;
	}
	trouble->setup_steps++;
	return fails;
}

bool zcrx_lib_trouble_receives(struct zcrx_emu *emu)
{
	struct zcrx_lib_trouble *trouble = emu->trouble;
	const struct zcrx_fault_lane *lane;
	uint32_t rule;

	if (!trouble)
		return true;
	while ((lane = take(trouble->ring, trouble->steps, NO_FLOW, &rule))) {
		note(trouble, rule, 0, trouble->steps);
		if (trouble->silent < lane->rule.params[0])
			trouble->silent = lane->rule.params[0];
	}
	trouble->steps++;
	if (trouble->silent == 0)
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
		note(trouble->ring->trouble, rule, trouble->id, trouble->allocations);
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

/* False: there is nothing that it could be done to. */
static bool befall_packet(struct zcrx_lib_packet *packet, struct zcrx_fault_lane *lane, size_t size)
{
	uint32_t param = lane->rule.params[0];

	switch (lane->rule.kind) {
	case ZCRX_FAULT_NIC_DROP:
		packet->most = 0;
		return true;
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
		if (is_done || !befall_packet(&packet, &trouble->nic->lanes[rule], size))
			continue;
		is_done = true;
		note(trouble->ring->trouble, rule, trouble->id, trouble->packets);
	}
	trouble->packets++;
	return packet;
}

/* ---- what fired ---------------------------------------------------------------------------- */

/* What snprintf() does, again and again behind each other. */
struct sink {
	char *to;
	size_t size, used;
};

static void put(struct sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct sink *sink, const char *format, ...)
{
	size_t left = sink->used < sink->size ? sink->size - sink->used : 0;
	va_list arguments;
	int count;

	va_start(arguments, format);
	count = vsnprintf(left ? sink->to + sink->used : NULL, left, format, arguments);
	va_end(arguments);
	sink->used += count > 0 ? (size_t)count : 0;
}

static void put_rule(struct sink *sink, const struct zcrx_lib_trouble *trouble, uint32_t rule,
		     uint32_t queue)
{
	const struct zcrx_lib_fault *fault = trouble->plan.faults[rule];
	const char *before = ":at=";

	for (uint32_t i = 0; i < trouble->fired_count; i++) {
		const struct fired *fired = &trouble->fired[i];

		if (fired->rule != rule || fired->queue != queue)
			continue;
		if (before[0] == ':')
			put(sink, "%s%s", sink->used ? "," : "", fault->name);
		put(sink, "%s%llu", before, (unsigned long long)fired->ordinal);
		before = "+";
	}
	if (before[0] == ':')
		return;
	if (fault->param.name && trouble->plan.rules[rule].params[0] != fault->param.preset)
		put(sink, ":%s=%u", fault->param.name, trouble->plan.rules[rule].params[0]);
	if (fault->actor < ZCRX_LIB_RING)
		put(sink, ":queue=%u", queue);
}

size_t zcrx_lib_trouble_journal(const struct zcrx_emu *emu, char *to, size_t size)
{
	const struct zcrx_lib_trouble *trouble = emu->trouble;
	struct sink sink = {to, size, 0};

	for (uint32_t rule = 0; trouble && rule < trouble->plan.count; rule++) {
		/* What is asked once of each queue is said once. */
		bool is_of_queues = trouble->plan.faults[rule]->actor < ZCRX_LIB_RING;

		for (uint32_t queue = 0; queue <= (is_of_queues ? emu->ifq_count : 0); queue++)
			put_rule(&sink, trouble, rule, queue);
	}
	if (sink.used == 0)
		put(&sink, "none");
	return sink.used;
}
