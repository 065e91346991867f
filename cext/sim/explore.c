/* SPDX-License-Identifier: MIT */
#include "explore.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_BITS 8U

static uint32_t pick(uint32_t enabled, uint32_t nth)
{
	while (nth--)
		enabled &= enabled - 1;
	return (uint32_t)__builtin_ctz(enabled);
}

/* ---- by chance --------------------------------------------------------------------- */

static int random_actor(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t enabled)
{
	struct explore_random *random = (struct explore_random *)chooser;

	(void)engine;
	if (!(enabled >> random->last & 1) || zcrx_rng_below(&random->rng, random->patience) == 0)
		random->last = pick(enabled, zcrx_rng_below(&random->rng,
							    (uint32_t)__builtin_popcount(enabled)));
	return (int)random->last;
}

/* The newest as often as all older ones together: else hardly anything would be seen in time. */
static uint32_t drawn_value(struct zcrx_rng *rng, uint32_t count)
{
	return count > 1 && zcrx_rng_below(rng, 2) ? zcrx_rng_below(rng, count) : 0;
}

static uint32_t random_value(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t count)
{
	(void)engine;
	return drawn_value(&((struct explore_random *)chooser)->rng, count);
}

void explore_random_start(struct explore_random *random, uint64_t seed)
{
	*random = (struct explore_random){
		.chooser = {.actor = random_actor, .value = random_value},
		.rng = zcrx_rng_for(seed, 1),
	};
	random->patience = 1U << zcrx_rng_below(&random->rng, PATIENCE_BITS);
	random->last = zcrx_rng_below(&random->rng, SIM_ACTORS_MAX);
}

static int pct_actor(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t enabled)
{
	struct explore_pct *pct = (struct explore_pct *)chooser;
	uint32_t best = 2 * SIM_ACTORS_MAX;

	(void)engine;
	for (uint32_t i = 0; i < pct->actors; i++) {
		if (enabled >> i & 1 &&
		    (best == 2 * SIM_ACTORS_MAX || pct->priorities[i] > pct->priorities[best]))
			best = i;
	}
	for (uint32_t i = 0; i + 1 < pct->depth; i++) {
		/* Below all that have not been changed, each change lower than the one before. */
		if (pct->changes[i] == pct->step)
			pct->priorities[best] = pct->depth - 1 - i;
	}
	pct->step++;
	return (int)best;
}

static uint32_t pct_value(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t count)
{
	(void)engine;
	return drawn_value(&((struct explore_pct *)chooser)->rng, count);
}

void explore_pct_start(struct explore_pct *pct, uint64_t seed, uint32_t depth, uint32_t actors,
		       uint32_t steps)
{
	*pct = (struct explore_pct){
		.chooser = {.actor = pct_actor, .value = pct_value},
		.rng = zcrx_rng_for(seed, 2),
		.depth = depth,
		.actors = actors,
		.steps = steps,
	};
	for (uint32_t i = 0; i < actors; i++)
		pct->priorities[i] = EXPLORE_DEPTH_MAX + 1 + i;
	for (uint32_t left = actors; left > 1; left--) {
		uint32_t other = zcrx_rng_below(&pct->rng, left);
		uint32_t kept = pct->priorities[left - 1];

		pct->priorities[left - 1] = pct->priorities[other];
		pct->priorities[other] = kept;
	}
	for (uint32_t i = 0; i + 1 < depth; i++)
		pct->changes[i] = zcrx_rng_below(&pct->rng, steps ? steps : 1);
}

/* ---- everything ----------------------------------------------------------------------- */

#define SLOTS 2U * SIM_ACTORS_MAX

/* When each actor's step happened last that is before a given one: by step number + 1. */
struct order {
	uint32_t at[SLOTS];
};

static void join(struct order *to, const struct order *from)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		to->at[i] = to->at[i] > from->at[i] ? to->at[i] : from->at[i];
}

/* A state on the way: who could go on, who has, who must, and who need not. */
struct node {
	uint32_t enabled, wanted, done, asleep;
	uint32_t passes_on; /* who is asleep at the next state: this step does not concern them */
	uint32_t preemptions; /* so far */
	uint8_t actor; /* who goes on now */
	uint8_t choice, choices; /* of values */
};

/* The last accesses of one word on the way. */
struct last {
	uint64_t key; /* word + 1, 0 = free */
	uint32_t write; /* step + 1 */
	uint32_t reads[SLOTS]; /* step + 1, since that write */
	struct order writes_order, reads_order;
};

#define LASTS 1024U /* hashed; a power of two */

struct explore_all {
	struct sim_chooser chooser;
	uint32_t preemptions_max;
	struct node nodes[SIM_STEPS_MAX];
	uint32_t depth; /* nodes that are valid */
	uint32_t step; /* in this execution */
	uint32_t known; /* steps that are as in the execution before */
	struct sim_pending pendings[SLOTS]; /* at this step */
	struct order orders[SLOTS]; /* of each actor's last step */
	struct order steps[SIM_STEPS_MAX];
	struct last lasts[LASTS];
	uint32_t touched[LASTS];
	uint32_t touched_count;
};

static struct last *last_of(struct explore_all *all, uint32_t word)
{
	uint64_t key = (uint64_t)word + 1; /* the fences' "word" is the largest number there is */
	uint32_t at = (word * 2654435761U) % LASTS;

	while (all->lasts[at].key && all->lasts[at].key != key)
		at = (at + 1) % LASTS;
	if (!all->lasts[at].key) {
		memset(&all->lasts[at], 0, sizeof(all->lasts[at]));
		all->lasts[at].key = key;
		all->touched[all->touched_count++] = at;
	}
	return &all->lasts[at];
}

static bool is_bounded(const struct explore_all *all)
{
	return all->preemptions_max != UINT32_MAX;
}

/* Does step `before`, of `by`, happen before what has this order? */
static bool is_before(uint32_t before, uint32_t by, const struct order *order)
{
	return order->at[by] > before;
}

/*
 * Who could go on at a step so that what comes after it, and what `actor` is about
 * to do, happens without it: those whose first step of that kind waits for none
 * of the others ("initials"). One of them must be tried there, and which one does
 * not matter (source sets: Abdulla, Aronis, Jonsson and Sagonas, 2014). Trying the
 * actor itself would not do: it may be asleep, for a step that comes before.
 */
static uint32_t initials_of(const struct explore_all *all, uint32_t before, uint32_t actor,
			    const struct order *order)
{
	uint32_t by = all->nodes[before].actor;
	uint32_t initials = 0, known = 0;

	for (uint32_t step = before + 1; step <= all->step; step++) {
		bool is_last = step == all->step;
		uint32_t who = is_last ? actor : all->nodes[step].actor;
		const struct order *its = is_last ? order : &all->steps[step];
		bool waits = known >> who & 1;

		if (!is_last && is_before(before, by, its))
			continue;
		for (uint32_t other = before + 1; other < step && !waits; other++)
			waits = !is_before(before, by, &all->steps[other]) &&
				is_before(other, all->nodes[other].actor, its);
		if (!waits)
			initials |= 1U << who;
		known |= 1U << who;
	}
	return initials;
}

/* Step `before` and what `actor` is about to do could have come the other way round. */
static void want_reversal(struct explore_all *all, uint32_t before, uint32_t actor,
			  const struct order *order)
{
	struct node *node = &all->nodes[before];
	uint32_t initials;

	if (node->actor == actor || is_before(before, node->actor, &all->orders[actor]))
		return; /* that step happens before it anyway */
	initials = initials_of(all, before, actor, order) & node->enabled;
	if (!initials)
		node->wanted |= node->enabled;
	else if (!(initials & node->wanted))
		node->wanted |= initials & -initials;
}

static void find_reversals(struct explore_all *all, uint32_t actor)
{
	const struct sim_pending *pending = &all->pendings[actor];
	const struct last *last = last_of(all, pending->offset);
	struct order order = all->orders[actor];
	bool was_read = false;

	join(&order, &last->writes_order);
	if (pending->writes)
		join(&order, &last->reads_order);
	for (uint32_t other = 0; other < SLOTS && pending->writes; other++) {
		if (!last->reads[other])
			continue;
		want_reversal(all, last->reads[other] - 1, actor, &order);
		was_read = true;
	}
	/* A write that was read comes before the reading: those two are turned round first. */
	if (last->write && !was_read)
		want_reversal(all, last->write - 1, actor, &order);
}

static uint32_t first_choice(const struct explore_all *all, const struct node *node)
{
	uint32_t usable = node->enabled & ~node->asleep;

	/* Whoever went on before goes on: few switches first. */
	if (all->step > 0 && usable >> all->nodes[all->step - 1].actor & 1)
		return all->nodes[all->step - 1].actor;
	return usable ? (uint32_t)__builtin_ctz(usable) : SLOTS;
}

static void make_node(struct explore_all *all, uint32_t enabled)
{
	struct node *node = &all->nodes[all->step];
	uint32_t asleep = 0, first;

	if (all->step > 0 && !is_bounded(all))
		asleep = all->nodes[all->step - 1].passes_on;
	*node = (struct node){.enabled = enabled, .asleep = asleep & enabled};
	first = first_choice(all, node);
	if (first == SLOTS) {
		node->actor = SLOTS;
		return;
	}
	node->actor = (uint8_t)first;
	if (all->step > 0) {
		const struct node *before = &all->nodes[all->step - 1];

		node->preemptions = before->preemptions +
				    (first != before->actor && enabled >> before->actor & 1);
	}
	node->wanted = is_bounded(all) ? enabled : 1U << first;
}

static int all_actor(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t enabled)
{
	struct explore_all *all = (struct explore_all *)chooser;
	uint32_t actors = sim_actors(engine);

	if (all->step == SIM_STEPS_MAX)
		return -1;
	for (uint32_t i = 0; i < actors; i++)
		all->pendings[i] = *sim_pending(engine, i);
	/* Before an execution is cut short, too: what would follow tells of reversals all the same. */
	if (!is_bounded(all) && all->step >= all->known) {
		for (uint32_t i = 0; i < actors; i++) {
			if (enabled >> i & 1)
				find_reversals(all, i);
		}
	}
	if (all->step == all->depth) {
		make_node(all, enabled);
		if (all->nodes[all->step].actor == SLOTS)
			return -1; /* all that could follow has been seen elsewhere */
		all->depth++;
	}
	return all->nodes[all->step].actor;
}

static uint32_t all_value(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t count)
{
	struct explore_all *all = (struct explore_all *)chooser;
	struct node *node = &all->nodes[all->step];

	(void)engine;
	node->choices = (uint8_t)count;
	return node->choice;
}

static void all_done(struct sim_chooser *chooser, struct sim_engine *engine)
{
	struct explore_all *all = (struct explore_all *)chooser;
	struct node *node = &all->nodes[all->step];
	const struct sim_pending *done = &all->pendings[node->actor];
	struct order *order = &all->orders[node->actor];
	struct last *last = last_of(all, done->offset);

	(void)engine;
	join(order, &last->writes_order);
	if (done->writes)
		join(order, &last->reads_order);
	order->at[node->actor] = all->step + 1;
	all->steps[all->step] = *order;
	if (done->writes) {
		last->write = all->step + 1;
		memset(last->reads, 0, sizeof(last->reads));
		last->writes_order = *order;
		memset(&last->reads_order, 0, sizeof(last->reads_order));
	} else {
		last->reads[node->actor] = all->step + 1;
		join(&last->reads_order, order);
	}
	/* The others' steps that commute with this one are still done with behind it. */
	node->passes_on = node->asleep | node->done;
	for (uint32_t i = 0; i < SLOTS; i++) {
		if (node->passes_on >> i & 1 && sim_depends(done, &all->pendings[i]))
			node->passes_on &= ~(1U << i);
	}
	all->step++;
}

struct explore_all *explore_all_open(uint32_t preemptions_max)
{
	struct explore_all *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->chooser = (struct sim_chooser){
		.actor = all_actor,
		.value = all_value,
		.done = all_done,
	};
	all->preemptions_max = preemptions_max;
	return all;
}

void explore_all_close(struct explore_all *all)
{
	free(all);
}

struct sim_chooser *explore_all_chooser(struct explore_all *all)
{
	return &all->chooser;
}

static bool is_within_bound(const struct explore_all *all, uint32_t depth, uint32_t actor)
{
	const struct node *before;

	if (!is_bounded(all) || depth == 0)
		return true;
	before = &all->nodes[depth - 1];
	return before->preemptions +
		       (actor != before->actor && all->nodes[depth].enabled >> before->actor & 1) <=
	       all->preemptions_max;
}

static bool turn_to_next(struct explore_all *all, uint32_t depth)
{
	struct node *node = &all->nodes[depth];

	if (node->choice + 1U < node->choices) {
		node->choice++;
		return true;
	}
	node->done |= 1U << node->actor;
	for (uint32_t actor = 0; actor < SLOTS; actor++) {
		if (!((node->wanted & ~node->done & ~node->asleep) >> actor & 1) ||
		    !is_within_bound(all, depth, actor))
			continue;
		node->actor = (uint8_t)actor;
		node->choice = node->choices = 0;
		if (depth > 0)
			node->preemptions = all->nodes[depth - 1].preemptions +
					    (actor != all->nodes[depth - 1].actor &&
					     node->enabled >> all->nodes[depth - 1].actor & 1);
		return true;
	}
	return false;
}

bool explore_all_next(struct explore_all *all)
{
	while (all->touched_count)
		all->lasts[all->touched[--all->touched_count]].key = 0;
	memset(all->orders, 0, sizeof(all->orders));
	all->step = 0;
	while (all->depth > 0) {
		if (turn_to_next(all, all->depth - 1)) {
			all->known = all->depth;
			return true;
		}
		all->depth--;
	}
	return false;
}

double explore_all_share(const struct explore_all *all)
{
	double share = 0.0, part = 1.0;

	for (uint32_t i = 0; i < all->depth; i++) {
		const struct node *node = &all->nodes[i];
		uint32_t ways = (uint32_t)__builtin_popcount(node->wanted);
		uint32_t gone = (uint32_t)__builtin_popcount(node->done & node->wanted);

		if (ways == 0)
			continue;
		share += part * gone / ways;
		part /= ways;
	}
	return share;
}

/* ---- as it was before ------------------------------------------------------------------ */

static int replay_actor(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t enabled)
{
	struct explore_replay *replay = (struct explore_replay *)chooser;

	(void)engine;
	if (replay->at == replay->count || !(enabled >> replay->steps[replay->at].actor & 1)) {
		replay->does_not_fit = true;
		return -1;
	}
	return replay->steps[replay->at].actor;
}

static uint32_t replay_value(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t count)
{
	struct explore_replay *replay = (struct explore_replay *)chooser;
	uint32_t choice = replay->steps[replay->at].choice;

	(void)engine;
	if (choice < count)
		return choice;
	replay->does_not_fit = true;
	return 0;
}

static void replay_done(struct sim_chooser *chooser, struct sim_engine *engine)
{
	(void)engine;
	((struct explore_replay *)chooser)->at++;
}

void explore_replay_start(struct explore_replay *replay, const struct explore_step *steps,
			  uint32_t count)
{
	*replay = (struct explore_replay){
		.chooser = {replay_actor, replay_value, replay_done},
		.steps = steps,
		.count = count,
	};
}

uint32_t explore_schedule(const struct sim_engine *engine, struct explore_step *steps)
{
	for (uint32_t i = 0; i < sim_steps(engine); i++)
		steps[i] = (struct explore_step){
			.actor = sim_event(engine, i)->actor,
			.choice = sim_event(engine, i)->choice,
		};
	return sim_steps(engine);
}

uint32_t explore_switches(const struct explore_step *steps, uint32_t count)
{
	uint32_t switches = 0;

	for (uint32_t i = 1; i < count; i++)
		switches += steps[i].actor != steps[i - 1].actor;
	return switches;
}
