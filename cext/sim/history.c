/* SPDX-License-Identifier: MIT */
#include "history.h"
#include "written.h"

#include <string.h>

uint64_t history_peek(const struct sim_engine *engine, uint32_t offset, uint32_t size)
{
	const unsigned char *at = (const unsigned char *)engine->setup.shared + offset;
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

static void poke(struct sim_engine *engine, uint32_t offset, uint32_t size, uint64_t value)
{
	written_note((unsigned char *)engine->setup.shared + offset, size);
	memcpy((unsigned char *)engine->setup.shared + offset, &value, size);
}

static struct store *new_store(struct sim_engine *engine, uint32_t *number)
{
	if (engine->store_count == SIM_STORES_MAX)
		sim_fail(TOO_MANY_STORES, SIM_STORES_MAX);
	*number = engine->store_count++;
	return &engine->stores[*number];
}

struct word *history_word(struct sim_engine *engine, uint32_t offset, uint32_t size)
{
	struct word *word = &engine->words[offset / 2];
	struct store *first;

	if (word->epoch == engine->epoch)
		return word;
	word->epoch = engine->epoch;
	for (uint32_t i = 0; i < SIM_ACTORS_MAX; i++)
		word->sights[i] = NONE;
	first = new_store(engine, &word->newest);
	*first = (struct store){
		.value = history_peek(engine, offset, size),
		.actor = SIM_ACTORS_MAX,
		.older = NONE,
	};
	return word;
}

uint32_t history_floor(const struct sim_engine *engine, const struct actor *actor,
		       const struct word *word)
{
	uint32_t floor = 0;

	for (uint32_t at = word->newest; at != NONE; at = engine->stores[at].older) {
		if (actor_knows(actor, engine->stores[at].actor, engine->stores[at].time)) {
			floor = engine->stores[at].number;
			break;
		}
	}
	for (uint32_t other = 0; other < engine->setup.actors; other++) {
		uint32_t at = word->sights[other];

		while (at != NONE && actor->clock.at[other] < engine->sights[at].time)
			at = engine->sights[at].older;
		if (at != NONE && engine->sights[at].number > floor)
			floor = engine->sights[at].number;
	}
	return floor;
}

void history_note_sight(struct sim_engine *engine, uint32_t actor, struct word *word,
			uint32_t number)
{
	struct sight *sight;

	if (engine->sight_count == READS_MAX)
		sim_fail(TOO_MANY_LOADS, READS_MAX);
	sight = &engine->sights[engine->sight_count];
	*sight = (struct sight){number, engine->actors[actor].clock.at[actor], word->sights[actor]};
	word->sights[actor] = engine->sight_count++;
}

void history_learn(struct actor *actor, const struct store *store, int order)
{
	if (!store->has_clock)
		return;
	if (acquires(order))
		clock_join(&actor->clock, &store->clock);
	else
		clock_join(&actor->acquired, &store->clock);
}

static void add_store(struct sim_engine *engine, uint32_t actor_number, struct word *word,
		      uint64_t value, int order, const struct store *continued)
{
	struct actor *actor = &engine->actors[actor_number];
	uint32_t at;
	struct store *store = new_store(engine, &at);

	*store = (struct store){
		.value = value,
		.actor = actor_number,
		.time = actor->clock.at[actor_number],
		.older = word->newest,
		.number = engine->stores[word->newest].number + 1,
		.has_clock = true,
		.clock = releases(order) ? actor->clock : actor->released,
	};
	/* An exchange goes on with the release that it read. */
	if (continued && continued->has_clock)
		clock_join(&store->clock, &continued->clock);
	word->newest = at;
}

void history_store(struct sim_engine *engine, uint32_t actor, const struct waiting_store *store,
		   int order, const struct store *continued)
{
	struct word *word = history_word(engine, store->offset, store->size);

	add_store(engine, actor, word, store->value, order, continued);
	poke(engine, store->offset, store->size, store->value);
}
