/* SPDX-License-Identifier: MIT */
#include "access.h"
#include "history.h"
#include "races.h"
#include "step.h"

#include <string.h>

static struct sim_event *begin(struct sim_engine *engine, uint8_t kind, struct access access)
{
	return step_begin(engine, (uint32_t)engine->current,
			  (struct sim_event){
				  .kind = kind,
				  .size = access.size,
				  .order = (uint8_t)access.order,
				  .offset = access.offset,
				  .place = access.place,
			  });
}

/* TSO: what this actor's own buffer has for a word, if anything. */
static bool find_buffered(const struct actor *actor, uint32_t offset, uint64_t *value)
{
	for (uint32_t i = actor->buffered; i-- > 0;) {
		if (actor->buffer[i].offset == offset) {
			*value = actor->buffer[i].value;
			return true;
		}
	}
	return false;
}

/* Which of the stores that it may see: 0 = the newest. */
static void choose(struct sim_engine *engine, struct actor *actor, const struct word *word,
		   struct sim_event *event)
{
	uint32_t choices;

	event->choices = 1;
	if (engine->setup.memory == SIM_C11 && !actor->must_see_newest) {
		choices = engine->stores[word->newest].number - history_floor(engine, actor, word) +
			  1;
		event->choices = (uint8_t)(choices < UINT8_MAX ? choices : UINT8_MAX);
		event->choice =
			(uint8_t)engine->chooser->value(engine->chooser, engine, event->choices);
	}
	actor->must_see_newest = false;
}

static const struct store *chosen_store(const struct sim_engine *engine, const struct word *word,
					uint32_t choice)
{
	uint32_t at = word->newest;

	while (choice--)
		at = engine->stores[at].older;
	return &engine->stores[at];
}

uint64_t access_load(struct access access)
{
	struct sim_engine *engine = execution_now;
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	const struct store *seen;
	struct sim_event *event;
	struct word *word;

	step_await_turn(engine, SIM_LOAD, access.offset, false);
	event = begin(engine, SIM_LOAD, access);
	races_show(engine, access.offset, false, history_peek(engine, access.offset, access.size),
		   0);
	races_check_load(engine, access.offset, access.place);
	if (find_buffered(actor, access.offset, &event->before)) {
		event->choices = 1;
		actor->last_word = NONE; /* its own store: nobody else's would be news */
		step_end(engine, event);
		return event->before;
	}
	word = history_word(engine, access.offset, access.size);
	choose(engine, actor, word, event);
	seen = chosen_store(engine, word, event->choice);
	event->before = seen->value;
	history_note_sight(engine, me, word, seen->number);
	history_learn(actor, seen, access.order);
	actor->last_word = access.offset;
	actor->last_number = seen->number;
	step_end(engine, event);
	return event->before;
}

static void buffer(struct actor *actor, struct waiting_store store)
{
	if (actor->buffered == BUFFER_MAX)
		sim_fail(BUFFER_FULL, BUFFER_MAX);
	actor->buffer[actor->buffered++] = store;
}

void access_store(struct access access, uint64_t value)
{
	struct sim_engine *engine = execution_now;
	uint32_t me = (uint32_t)engine->current;
	struct waiting_store store = {access.offset, access.size, value, access.place};
	struct sim_event *event;

	step_await_turn(engine, SIM_STORE, access.offset, engine->setup.memory != SIM_TSO);
	event = begin(engine, SIM_STORE, access);
	event->before = history_peek(engine, access.offset, access.size);
	event->after = value;
	event->changed = true;
	races_show(engine, access.offset, true, event->before, value);
	races_check_store(engine, access.offset, access.place);
	if (engine->setup.memory == SIM_TSO)
		buffer(&engine->actors[me], store);
	else
		history_store(engine, me, &store, access.order, NULL);
	step_end(engine, event);
}

void access_drain(struct sim_engine *engine, uint32_t owner)
{
	struct actor *actor = &engine->actors[owner];
	struct waiting_store store = actor->buffer[0];
	struct sim_event *event =
		step_begin(engine, engine->setup.actors + owner,
			   (struct sim_event){
				   .kind = SIM_DRAIN,
				   .size = store.size,
				   .offset = store.offset,
				   .place = store.place,
				   .before = history_peek(engine, store.offset, store.size),
				   .after = store.value,
				   .changed = true,
			   });

	actor->buffered--;
	memmove(actor->buffer, actor->buffer + 1, sizeof(actor->buffer[0]) * actor->buffered);
	/* TSO orders all stores: each is a release. */
	history_store(engine, owner, &store, RELEASE, NULL);
	step_end(engine, event);
}

static uint64_t combine(enum rmw rmw, uint64_t now, uint64_t operand)
{
	switch (rmw) {
	case RMW_EXCHANGE:
		return operand;
	case RMW_ADD:
		return now + operand;
	case RMW_SUB:
		return now - operand;
	case RMW_AND:
		return now & operand;
	case RMW_OR:
		return now | operand;
	case RMW_XOR:
		return now ^ operand;
	}
	return now;
}

static uint64_t cut_to(uint64_t value, uint32_t size)
{
	return size == 8 ? value : value & (((uint64_t)1 << (8 * size)) - 1);
}

uint64_t access_rmw(struct access access, enum rmw rmw, uint64_t operand, const uint64_t *expected,
		    int failure_order)
{
	struct sim_engine *engine = execution_now;
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	struct sim_event *event;
	struct word *word;
	struct store read;

	step_await_turn(engine, SIM_RMW, access.offset, true);
	event = begin(engine, SIM_RMW, access);
	event->choices = 1;
	word = history_word(engine, access.offset, access.size);
	read = engine->stores[word->newest];
	event->before = event->after = read.value;
	event->changed = !expected || read.value == *expected;
	if (event->changed)
		event->after = cut_to(combine(rmw, read.value, operand), access.size);
	races_show(engine, access.offset, event->changed, event->before, event->after);
	history_note_sight(engine, me, word, read.number);
	history_learn(actor, &read, event->changed ? access.order : failure_order);
	if (event->changed) {
		races_check_atomic_store(engine, access.offset);
		history_store(engine, me,
			      &(struct waiting_store){access.offset, access.size, event->after,
						      access.place},
			      access.order, &read);
	} else {
		races_check_atomic_load(engine, access.offset);
	}
	actor->last_word = access.offset;
	actor->last_number = engine->stores[word->newest].number;
	step_end(engine, event);
	return event->before;
}

void access_fence(int order, const void *place)
{
	struct sim_engine *engine = execution_now;
	struct actor *actor = &engine->actors[engine->current];
	struct sim_event *event;

	/* Only those that are sequentially consistent concern others at once. */
	if (order != SEQ_CST) {
		if (acquires(order))
			clock_join(&actor->clock, &actor->acquired);
		if (releases(order))
			actor->released = actor->clock;
		return;
	}
	step_await_turn(engine, SIM_FENCE, NONE, true);
	event = begin(engine, SIM_FENCE, (struct access){NONE, 0, order, place});
	clock_join(&actor->clock, &actor->acquired);
	clock_join(&actor->clock, &engine->fences);
	engine->fences = actor->clock;
	actor->released = actor->clock;
	step_end(engine, event);
}
