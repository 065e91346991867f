/* SPDX-License-Identifier: MIT */
/*
 * The memory model. Each word has the history of its stores, in the order in
 * which they were executed. A store has the time of its actor, and, if it was a
 * release (or continues one), the clock that a load which acquires it learns. A
 * load may see any store that is not older than what its actor must know:
 * the last store or load of that word that happens before it, by the clocks.
 * An exchange sees the newest always. A fence that is sequentially consistent
 * learns from all such fences before it.
 *
 * Source: the release/acquire fragment of C11 (5.1.2.4, 7.17.3), with the
 * modification order of a word being the order of execution.
 */
#define _GNU_SOURCE
#include "engine.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NONE UINT32_MAX
#define BUFFER_MAX 64U /* stores that wait in one actor's buffer */
#define READS_MAX SIM_STORES_MAX

/* Memory orders as compilers number them. */
enum { RELAXED, CONSUME, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST };

static bool acquires(int order)
{
	return order != RELAXED && order != RELEASE;
}

static bool releases(int order)
{
	return order >= RELEASE;
}

struct clock {
	uint32_t at[SIM_ACTORS_MAX];
};

static void join(struct clock *to, const struct clock *from)
{
	for (uint32_t i = 0; i < SIM_ACTORS_MAX; i++)
		to->at[i] = to->at[i] > from->at[i] ? to->at[i] : from->at[i];
}

struct store {
	uint64_t value;
	uint32_t actor; /* SIM_ACTORS_MAX: it was there at the beginning */
	uint32_t time; /* of that actor */
	uint32_t older; /* store, or NONE */
	uint32_t number; /* in the word's history */
	bool has_clock;
	struct clock clock; /* what an acquire of it learns */
};

/* That an actor saw a store, and when. */
struct sight {
	uint32_t number, time;
	uint32_t older; /* of the same actor and word, or NONE */
};

struct word {
	uint32_t epoch; /* of the execution in which it was touched first */
	uint32_t newest; /* store */
	uint32_t sights[SIM_ACTORS_MAX]; /* newest of each actor, or NONE */
};

/* Plain accesses of four bytes (or one, where it is alone), and atomic stores there. */
struct shadow {
	uint32_t epoch;
	uint32_t writer, write_time; /* last plain write */
	uint32_t atomic_writer, atomic_time; /* last atomic store */
	uint32_t read_times[SIM_ACTORS_MAX];
	const void *write_place, *read_places[SIM_ACTORS_MAX];
};

enum state { ACTOR_READY, ACTOR_ASLEEP, ACTOR_OVER };

struct waiting_store {
	uint32_t offset;
	uint8_t size;
	uint64_t value;
	const void *place;
};

struct actor {
	struct fiber fiber;
	enum state state;
	struct sim_pending pending;
	struct clock clock; /* what happens before its next step */
	struct clock acquired; /* what a fence would learn from its relaxed loads */
	struct clock released; /* what its last release fence gives its relaxed stores */
	/* Spinning: it is not worth going on before that word changes. */
	bool is_waiting;
	uint32_t waits_for, waits_since; /* word, and the number of the store that it saw */
	uint32_t last_word, last_number; /* that it loaded, and which of its stores */
	bool must_see_newest; /* it was let go on because there is something new */
	uint32_t slept_on;
	bool left_asleep; /* its sleep ended by its bound alone, with nobody else to go on */
	struct waiting_store buffer[BUFFER_MAX]; /* TSO */
	uint32_t buffered;
};

struct sim_engine {
	struct sim_setup setup;
	struct sim_chooser *chooser;
	unsigned char *kept; /* what `whole` is before each execution */
	unsigned char *is_dirty; /* by block of `whole`: it was written in this execution */
	uint32_t *dirty; /* those blocks */
	uint32_t dirty_count;
	struct actor actors[SIM_ACTORS_MAX];
	struct fiber main;
	int current; /* -1: none */
	bool is_running;
	bool was_cut;
	uint32_t epoch;
	struct clock fences; /* of all sequentially consistent fences so far */
	struct word *words; /* by offset / 2 */
	struct shadow *shadows; /* by offset */
	struct store stores[SIM_STORES_MAX];
	uint32_t store_count;
	struct sight sights[READS_MAX];
	uint32_t sight_count;
	struct sim_event events[SIM_STEPS_MAX];
	uint32_t steps;
	struct sim_finding finding;
	uint64_t hash;
};

/* Calls of instrumented code have no context. One simulation at a time. */
static struct sim_engine *running;

/* ---- findings ------------------------------------------------------------------------- */

static void leave_for_good(struct sim_engine *engine)
{
	struct actor *actor = &engine->actors[engine->current];

	fiber_switch(&actor->fiber, &engine->main);
	__builtin_trap();
}

void sim_fail(enum sim_finding_kind kind, const char *format, ...)
{
	struct sim_engine *engine = running;
	va_list arguments;

	if (engine && kind != SIM_RACE)
		engine->finding.place = NULL;
	if (!engine) { /* before there is anything to search: the scenario's setup */
		va_start(arguments, format);
		fprintf(stderr, "setup: ");
		vfprintf(stderr, format, arguments);
		fprintf(stderr, "\n");
		va_end(arguments);
		_exit(2);
	}
	if (engine->finding.kind == SIM_NOTHING) {
		engine->finding.kind = kind;
		engine->finding.actor = engine->current < 0 ? NONE : (uint32_t)engine->current;
		va_start(arguments, format);
		vsnprintf(engine->finding.text, sizeof(engine->finding.text), format, arguments);
		va_end(arguments);
	}
	if (engine->current >= 0)
		leave_for_good(engine);
}

bool sim_was_left_asleep(void)
{
	return running && running->current >= 0 && running->actors[running->current].left_asleep;
}

/* ---- what was written is put back -------------------------------------------------------- */

#define BLOCK 128U

/* All instrumented code says where it writes, in private memory too. */
static void note_write(const volatile void *address, size_t size)
{
	struct sim_engine *engine = running;
	uintptr_t from;

	if (!engine)
		return;
	from = (uintptr_t)address - (uintptr_t)engine->setup.whole;
	if (from >= engine->setup.whole_size)
		return;
	for (uintptr_t block = from / BLOCK; block <= (from + size - 1) / BLOCK; block++) {
		if (engine->is_dirty[block])
			continue;
		engine->is_dirty[block] = 1;
		engine->dirty[engine->dirty_count++] = (uint32_t)block;
	}
}

static void put_back(struct sim_engine *engine)
{
	while (engine->dirty_count) {
		uint32_t block = engine->dirty[--engine->dirty_count];

		memcpy((unsigned char *)engine->setup.whole + (size_t)block * BLOCK,
		       engine->kept + (size_t)block * BLOCK, BLOCK);
		engine->is_dirty[block] = 0;
	}
}

/* ---- words and their histories --------------------------------------------------------- */

static uint64_t peek(const struct sim_engine *engine, uint32_t offset, uint32_t size)
{
	const unsigned char *at = (const unsigned char *)engine->setup.shared + offset;
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

static void poke(struct sim_engine *engine, uint32_t offset, uint32_t size, uint64_t value)
{
	note_write((unsigned char *)engine->setup.shared + offset, size);
	memcpy((unsigned char *)engine->setup.shared + offset, &value, size);
}

static struct store *new_store(struct sim_engine *engine, uint32_t *number)
{
	if (engine->store_count == SIM_STORES_MAX)
		sim_fail(SIM_LIVELOCK, "more than %u stores: it does not come to an end",
			 SIM_STORES_MAX);
	*number = engine->store_count++;
	return &engine->stores[*number];
}

static struct word *word_at(struct sim_engine *engine, uint32_t offset, uint32_t size)
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
		.value = peek(engine, offset, size),
		.actor = SIM_ACTORS_MAX,
		.older = NONE,
	};
	return word;
}

static bool knows(const struct actor *actor, uint32_t other, uint32_t time)
{
	return other == SIM_ACTORS_MAX || actor->clock.at[other] >= time;
}

/* The number of the oldest store of a word that an actor may still see. */
static uint32_t floor_of(const struct sim_engine *engine, const struct actor *actor,
			 const struct word *word)
{
	uint32_t floor = 0;

	for (uint32_t at = word->newest; at != NONE; at = engine->stores[at].older) {
		if (knows(actor, engine->stores[at].actor, engine->stores[at].time)) {
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

static void note_sight(struct sim_engine *engine, uint32_t actor, struct word *word,
		       uint32_t number)
{
	struct sight *sight;

	if (engine->sight_count == READS_MAX)
		sim_fail(SIM_LIVELOCK, "more than %u loads: it does not come to an end", READS_MAX);
	sight = &engine->sights[engine->sight_count];
	*sight = (struct sight){number, engine->actors[actor].clock.at[actor], word->sights[actor]};
	word->sights[actor] = engine->sight_count++;
}

static void learn(struct actor *actor, const struct store *store, int order)
{
	if (!store->has_clock)
		return;
	if (acquires(order))
		join(&actor->clock, &store->clock);
	else
		join(&actor->acquired, &store->clock);
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
	};
	if (releases(order)) {
		store->clock = actor->clock;
		store->has_clock = true;
	} else {
		store->clock = actor->released;
		store->has_clock = true;
	}
	/* An exchange goes on with the release that it read. */
	if (continued && continued->has_clock)
		join(&store->clock, &continued->clock);
	word->newest = at;
}

/* ---- plain accesses --------------------------------------------------------------------- */

static struct shadow *shadow_at(struct sim_engine *engine, uint32_t offset)
{
	struct shadow *shadow = &engine->shadows[offset];

	if (shadow->epoch != engine->epoch) {
		memset(shadow, 0, sizeof(*shadow));
		shadow->epoch = engine->epoch;
		shadow->writer = shadow->atomic_writer = SIM_ACTORS_MAX;
	}
	return shadow;
}

static void race(struct sim_engine *engine, uint32_t offset, const char *what, uint32_t other)
{
	if (other == engine->shadows[offset].writer)
		engine->finding.other_place = engine->shadows[offset].write_place;
	sim_fail(SIM_RACE, "data race at shared offset %u: %s of %s, not ordered with %s's write",
		 offset, what, engine->setup.names[engine->current], engine->setup.names[other]);
}

static bool is_ordered(const struct sim_engine *engine, uint32_t offset)
{
	for (uint32_t i = 0; i < engine->setup.ordered_count; i++) {
		if (offset - engine->setup.ordered[i].offset < engine->setup.ordered[i].size)
			return true;
	}
	return false;
}

static void check_plain_at(struct sim_engine *engine, uint32_t offset, bool writes,
			   const void *place)
{
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	struct shadow *shadow = shadow_at(engine, offset);

	const char *what = is_ordered(engine, offset) ? (writes ? "a write" : "a read") :
			   writes		      ? "a plain write" :
							"a plain read";

	/* Should it be a finding: no step says where a plain access is. */
	engine->finding.place = place;
	if (!knows(actor, shadow->writer, shadow->write_time))
		race(engine, offset, what, shadow->writer);
	if (!knows(actor, shadow->atomic_writer, shadow->atomic_time))
		race(engine, offset, what, shadow->atomic_writer);
	if (!writes) {
		shadow->read_times[me] = actor->clock.at[me];
		shadow->read_places[me] = place;
		return;
	}
	for (uint32_t other = 0; other < engine->setup.actors; other++) {
		if (actor->clock.at[other] < shadow->read_times[other]) {
			engine->finding.other_place = shadow->read_places[other];
			sim_fail(SIM_RACE,
				 "data race at shared offset %u: %s of %s, not ordered with %s's "
				 "read",
				 offset, what, engine->setup.names[me], engine->setup.names[other]);
		}
	}
	shadow->writer = me;
	shadow->write_time = actor->clock.at[me];
	shadow->write_place = place;
}

static void show_access(struct sim_engine *engine, uint32_t offset, bool writes, uint64_t before,
			uint64_t after)
{
	struct sim_access access = {offset, writes, before, after};

	if (engine->setup.access)
		engine->setup.access(engine->setup.context, (uint32_t)engine->current, &access);
}

/* Time passes for an actor with each step, and with each plain access too: they have no step. */
static void check_plain(const volatile void *address, size_t size, bool writes, const void *place)
{
	struct sim_engine *engine = running;
	uintptr_t offset;

	if (writes)
		note_write(address, size);
	if (!engine || engine->current < 0)
		return;
	offset = (uintptr_t)address - (uintptr_t)engine->setup.shared;
	if (offset >= engine->setup.shared_size)
		return;
	show_access(engine, (uint32_t)offset, writes, 0, 0);
	if (size < 4) {
		check_plain_at(engine, (uint32_t)offset, writes, place);
		return;
	}
	for (size_t at = 0; at < size; at += 4)
		check_plain_at(engine, (uint32_t)(offset + at), writes, place);
}

static void check_atomic_store(struct sim_engine *engine, uint32_t offset)
{
	uint32_t me = (uint32_t)engine->current;
	struct shadow *shadow = shadow_at(engine, offset);

	engine->finding.place = NULL; /* the last step is the place */
	if (!knows(&engine->actors[me], shadow->writer, shadow->write_time))
		race(engine, offset, "an atomic store", shadow->writer);
	for (uint32_t other = 0; other < engine->setup.actors; other++) {
		if (engine->actors[me].clock.at[other] < shadow->read_times[other]) {
			engine->finding.other_place = shadow->read_places[other];
			sim_fail(
				SIM_RACE,
				"data race at shared offset %u: an atomic store of %s, not ordered "
				"with %s's plain read",
				offset, engine->setup.names[me], engine->setup.names[other]);
		}
	}
	shadow->atomic_writer = me;
	shadow->atomic_time = engine->actors[me].clock.at[me];
}

static void check_atomic_load(struct sim_engine *engine, uint32_t offset)
{
	struct shadow *shadow = shadow_at(engine, offset);

	engine->finding.place = NULL; /* the last step is the place */
	if (!knows(&engine->actors[engine->current], shadow->writer, shadow->write_time))
		race(engine, offset, "an atomic load", shadow->writer);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static struct sim_event *new_event(struct sim_engine *engine, uint32_t actor, uint8_t kind)
{
	struct sim_event *event;

	if (engine->steps == SIM_STEPS_MAX)
		sim_fail(SIM_LIVELOCK, "more than %u steps: it does not come to an end",
			 SIM_STEPS_MAX);
	event = &engine->events[engine->steps++];
	*event = (struct sim_event){.actor = (uint8_t)actor, .kind = kind};
	return event;
}

static void mix(struct sim_engine *engine, uint64_t value)
{
	engine->hash = (engine->hash ^ value) * 0x100000001b3U;
}

static void end_step(struct sim_engine *engine, const struct sim_event *event)
{
	mix(engine, (uint64_t)event->actor << 40 | (uint64_t)event->kind << 32 | event->offset);
	mix(engine, event->before);
	mix(engine, event->after);
	if (event->actor < engine->setup.actors)
		engine->actors[event->actor].clock.at[event->actor]++;
	if (engine->chooser->done)
		engine->chooser->done(engine->chooser, engine);
}

/* Stop before a step until it is this actor's turn. */
static void await_turn(struct sim_engine *engine, uint8_t kind, uint32_t offset, bool writes)
{
	struct actor *actor = &engine->actors[engine->current];

	actor->pending = (struct sim_pending){.kind = kind, .writes = writes, .offset = offset};
	fiber_switch(&actor->fiber, &engine->main);
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

static uint64_t do_load(uint32_t offset, uint32_t size, int order, const void *place)
{
	struct sim_engine *engine = running;
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	struct sim_event *event;
	struct word *word;
	uint32_t chosen, choices = 1;

	await_turn(engine, SIM_LOAD, offset, false);
	event = new_event(engine, me, SIM_LOAD);
	event->offset = offset;
	event->size = (uint8_t)size;
	event->order = (uint8_t)order;
	event->place = place;
	show_access(engine, offset, false, peek(engine, offset, size), 0);
	if (is_ordered(engine, offset))
		check_plain_at(engine, offset, false, place);
	else
		check_atomic_load(engine, offset);
	if (find_buffered(actor, offset, &event->before)) {
		event->choices = 1;
		actor->last_word = NONE; /* its own store: nobody else's would be news */
		end_step(engine, event);
		return event->before;
	}
	word = word_at(engine, offset, size);
	chosen = word->newest;
	if (engine->setup.memory == SIM_C11 && !actor->must_see_newest) {
		uint32_t floor = floor_of(engine, actor, word);

		choices = engine->stores[chosen].number - floor + 1;
		if (choices > 255)
			choices = 255;
		event->choice = (uint8_t)engine->chooser->value(engine->chooser, engine, choices);
		for (uint32_t i = 0; i < event->choice; i++)
			chosen = engine->stores[chosen].older;
	}
	actor->must_see_newest = false;
	event->choices = (uint8_t)choices;
	event->before = engine->stores[chosen].value;
	note_sight(engine, me, word, engine->stores[chosen].number);
	learn(actor, &engine->stores[chosen], order);
	actor->last_word = offset;
	actor->last_number = engine->stores[chosen].number;
	end_step(engine, event);
	return event->before;
}

static void store_now(struct sim_engine *engine, uint32_t actor, uint32_t offset, uint32_t size,
		      uint64_t value, int order, const struct store *continued)
{
	struct word *word = word_at(engine, offset, size);

	add_store(engine, actor, word, value, order, continued);
	poke(engine, offset, size, value);
}

static void do_store(uint32_t offset, uint32_t size, uint64_t value, int order, const void *place)
{
	struct sim_engine *engine = running;
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	struct sim_event *event;

	await_turn(engine, SIM_STORE, offset, engine->setup.memory != SIM_TSO);
	event = new_event(engine, me, SIM_STORE);
	event->offset = offset;
	event->size = (uint8_t)size;
	event->order = (uint8_t)order;
	event->place = place;
	event->before = peek(engine, offset, size);
	event->after = value;
	event->changed = true;
	show_access(engine, offset, true, event->before, value);
	if (is_ordered(engine, offset))
		check_plain_at(engine, offset, true, place);
	else
		check_atomic_store(engine, offset);
	if (engine->setup.memory == SIM_TSO) {
		if (actor->buffered == BUFFER_MAX)
			sim_fail(SIM_LIVELOCK, "more than %u stores wait in one buffer",
				 BUFFER_MAX);
		actor->buffer[actor->buffered++] =
			(struct waiting_store){offset, (uint8_t)size, value, place};
	} else {
		store_now(engine, me, offset, size, value, order, NULL);
	}
	end_step(engine, event);
}

/* The oldest store of a buffer reaches memory: a step of its own, in the actor's name. */
static void drain_one(struct sim_engine *engine, uint32_t owner)
{
	struct actor *actor = &engine->actors[owner];
	struct waiting_store store = actor->buffer[0];
	struct sim_event *event = new_event(engine, engine->setup.actors + owner, SIM_DRAIN);

	event->offset = store.offset;
	event->size = store.size;
	event->place = store.place;
	event->before = peek(engine, store.offset, store.size);
	event->after = store.value;
	event->changed = true;
	actor->buffered--;
	memmove(actor->buffer, actor->buffer + 1, sizeof(actor->buffer[0]) * actor->buffered);
	/* TSO orders all stores: each is a release. */
	store_now(engine, owner, store.offset, store.size, store.value, RELEASE, NULL);
	end_step(engine, event);
}

enum rmw { RMW_EXCHANGE, RMW_ADD, RMW_SUB, RMW_AND, RMW_OR, RMW_XOR };

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

/* Both halves of an exchange; `expected` NULL: unconditional. */
static uint64_t do_rmw(uint32_t offset, uint32_t size, enum rmw rmw, uint64_t operand,
		       const uint64_t *expected, int order, int failure_order, const void *place)
{
	struct sim_engine *engine = running;
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	struct sim_event *event;
	struct word *word;
	struct store read;

	await_turn(engine, SIM_RMW, offset, true);
	event = new_event(engine, me, SIM_RMW);
	event->offset = offset;
	event->size = (uint8_t)size;
	event->order = (uint8_t)order;
	event->place = place;
	event->choices = 1;
	word = word_at(engine, offset, size);
	read = engine->stores[word->newest];
	event->before = read.value;
	event->changed = !expected || read.value == *expected;
	event->after = event->changed ? cut_to(combine(rmw, read.value, operand), size) :
					read.value;
	show_access(engine, offset, event->changed, event->before, event->after);
	note_sight(engine, me, word, read.number);
	learn(actor, &read, event->changed ? order : failure_order);
	if (event->changed) {
		check_atomic_store(engine, offset);
		store_now(engine, me, offset, size, event->after, order, &read);
	} else {
		check_atomic_load(engine, offset);
	}
	actor->last_word = offset;
	actor->last_number = engine->stores[word->newest].number;
	end_step(engine, event);
	return event->before;
}

static void do_fence(int order, const void *place)
{
	struct sim_engine *engine = running;
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	struct sim_event *event;

	/* Only those that are sequentially consistent concern others at once. */
	if (order != SEQ_CST) {
		if (acquires(order))
			join(&actor->clock, &actor->acquired);
		if (releases(order))
			actor->released = actor->clock;
		return;
	}
	await_turn(engine, SIM_FENCE, NONE, true);
	event = new_event(engine, me, SIM_FENCE);
	event->offset = NONE;
	event->order = (uint8_t)order;
	event->place = place;
	join(&actor->clock, &actor->acquired);
	join(&actor->clock, &engine->fences);
	engine->fences = actor->clock;
	actor->released = actor->clock;
	end_step(engine, event);
}

/* ---- sleeping ---------------------------------------------------------------------------------- */

long sim_syscall(long number, ...);
int sim_sched_yield(void);
int sim_clock_gettime(clockid_t clock, struct timespec *now);
void zcrx_pause_hook(void);

static long sleep_on(uint32_t offset, uint32_t expected, const void *place)
{
	struct sim_engine *engine = running;
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	struct sim_event *event;
	struct word *word;

	await_turn(engine, SIM_SLEEP, offset, true);
	event = new_event(engine, me, SIM_SLEEP);
	event->offset = offset;
	event->size = 4;
	event->place = place;
	event->before = peek(engine, offset, 4);
	event->after = expected;
	/* The kernel's look is a load: what the sleeper loads next is not older. */
	word = word_at(engine, offset, 4);
	note_sight(engine, me, word, engine->stores[word->newest].number);
	end_step(engine, event);
	actor->left_asleep = false;
	if (event->before != expected)
		return -EAGAIN;
	actor->state = ACTOR_ASLEEP;
	actor->slept_on = offset;
	/* Somebody wakes it, or its bound is reached with nobody else to go on. */
	actor->pending = (struct sim_pending){.kind = SIM_SLEEP, .writes = true, .offset = offset};
	fiber_switch(&actor->fiber, &engine->main);
	return actor->left_asleep ? -ETIMEDOUT : 0;
}

static long wake(uint32_t offset, uint32_t count, const void *place)
{
	struct sim_engine *engine = running;
	struct sim_event *event;
	uint32_t woken = 0;

	await_turn(engine, SIM_WAKE, offset, true);
	event = new_event(engine, (uint32_t)engine->current, SIM_WAKE);
	event->offset = offset;
	event->size = 4;
	event->place = place;
	for (uint32_t i = 0; i < engine->setup.actors && woken < count; i++) {
		struct actor *actor = &engine->actors[i];

		if (actor->state != ACTOR_ASLEEP || actor->slept_on != offset)
			continue;
		actor->state = ACTOR_READY;
		woken++;
	}
	event->after = woken;
	end_step(engine, event);
	return woken;
}

long sim_syscall(long number, ...)
{
	struct sim_engine *engine = running;
	va_list arguments;
	uintptr_t address;
	int operation;
	uint32_t value;

	va_start(arguments, number);
	address = (uintptr_t)va_arg(arguments, void *);
	operation = va_arg(arguments, int);
	value = va_arg(arguments, uint32_t);
	va_end(arguments);
	if (!engine || engine->current < 0)
		return 0;
	if (number != SYS_futex)
		sim_fail(SIM_WRONG, "system call %ld has no part in a simulation", number);
	address -= (uintptr_t)engine->setup.shared;
	if (address >= engine->setup.shared_size)
		sim_fail(SIM_WRONG, "somebody sleeps on a word that is not shared");
	if (operation == FUTEX_WAIT)
		return sleep_on((uint32_t)address, value, __builtin_return_address(0));
	return wake((uint32_t)address, value, __builtin_return_address(0));
}

/* Whoever spins has seen that it cannot go on before somebody writes. */
void zcrx_pause_hook(void)
{
	struct sim_engine *engine = running;
	struct actor *actor;

	if (!engine || engine->current < 0)
		return;
	actor = &engine->actors[engine->current];
	if (actor->last_word == NONE)
		return;
	actor->is_waiting = true;
	actor->waits_for = actor->last_word;
	actor->waits_since = actor->last_number;
}

int sim_sched_yield(void)
{
	zcrx_pause_hook();
	return 0;
}

/* Time stands still: what only a clock would end has to end otherwise. */
int sim_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){.tv_sec = 1};
	return 0;
}

/* ---- an execution ---------------------------------------------------------------------------------- */

static void live(void *argument)
{
	struct sim_engine *engine = running;
	uint32_t number = (uint32_t)(uintptr_t)argument;
	struct actor *actor = &engine->actors[number];

	engine->setup.act(engine->setup.context, number);
	actor->state = ACTOR_OVER;
	leave_for_good(engine);
}

static void resume(struct sim_engine *engine, uint32_t number)
{
	engine->current = (int)number;
	fiber_switch(&engine->main, &engine->actors[number].fiber);
	engine->current = -1;
}

static bool has_news(struct sim_engine *engine, const struct actor *actor)
{
	return engine->stores[word_at(engine, actor->waits_for, 4)->newest].number !=
	       actor->waits_since;
}

static bool is_enabled(struct sim_engine *engine, uint32_t number)
{
	struct actor *actor;

	if (number >= engine->setup.actors)
		return engine->actors[number - engine->setup.actors].buffered > 0;
	actor = &engine->actors[number];
	if (actor->state != ACTOR_READY || (actor->is_waiting && !has_news(engine, actor)))
		return false;
	/* TSO: an exchange and a fence wait for the buffer; so does a sleeper's system call. */
	return actor->buffered == 0 || actor->pending.kind == SIM_LOAD ||
	       actor->pending.kind == SIM_STORE;
}

static uint32_t enabled_now(struct sim_engine *engine)
{
	uint32_t enabled = 0;

	for (uint32_t i = 0; i < sim_actors(engine); i++) {
		if (is_enabled(engine, i))
			enabled |= 1U << i;
	}
	return enabled;
}

/* Nobody can go on: is it the end, does a sleeper's bound help, or is it a deadlock? */
static bool go_on(struct sim_engine *engine)
{
	uint32_t stuck = NONE;

	for (uint32_t i = 0; i < engine->setup.actors; i++) {
		struct actor *actor = &engine->actors[i];

		if (actor->state == ACTOR_ASLEEP) {
			actor->state = ACTOR_READY;
			actor->left_asleep = true;
			return true;
		}
		if (actor->state == ACTOR_READY)
			stuck = i;
	}
	if (stuck != NONE)
		sim_fail(SIM_DEADLOCK, "%s waits for a word at shared offset %u that nobody writes",
			 engine->setup.names[stuck], engine->actors[stuck].waits_for);
	return false;
}

static void begin(struct sim_engine *engine)
{
	put_back(engine);
	if (engine->setup.begin)
		engine->setup.begin(engine->setup.context);
	engine->epoch++;
	engine->store_count = engine->sight_count = engine->steps = 0;
	engine->finding = (struct sim_finding){.kind = SIM_NOTHING};
	engine->hash = 0xcbf29ce484222325U;
	engine->was_cut = false;
	memset(&engine->fences, 0, sizeof(engine->fences));
	for (uint32_t i = 0; i < engine->setup.actors; i++) {
		struct actor *actor = &engine->actors[i];
		struct fiber fiber = actor->fiber;

		memset(actor, 0, offsetof(struct actor, buffer));
		actor->buffered = 0;
		actor->fiber = fiber;
		actor->last_word = NONE;
		actor->clock.at[i] = 1;
		fiber_start(&actor->fiber, live, (void *)(uintptr_t)i);
	}
	/* Each up to its first step: what it does before concerns nobody. */
	for (uint32_t i = 0; i < engine->setup.actors && engine->finding.kind == SIM_NOTHING; i++)
		resume(engine, i);
}

static bool take_step(struct sim_engine *engine)
{
	uint32_t enabled = enabled_now(engine);
	struct actor *actor;
	int chosen;

	if (!enabled)
		return go_on(engine);
	/* Before the choice: a chooser that keeps its steps has no room for more of them either. */
	if (engine->steps == SIM_STEPS_MAX) {
		sim_fail(SIM_LIVELOCK, "more than %u steps: it does not come to an end",
			 SIM_STEPS_MAX);
		return false;
	}
	chosen = engine->chooser->actor(engine->chooser, engine, enabled);
	if (chosen < 0 || !(enabled >> chosen & 1)) {
		engine->was_cut = true;
		return false;
	}
	if ((uint32_t)chosen >= engine->setup.actors) {
		drain_one(engine, (uint32_t)chosen - engine->setup.actors);
		return true;
	}
	actor = &engine->actors[chosen];
	actor->must_see_newest = actor->is_waiting;
	actor->is_waiting = false;
	resume(engine, (uint32_t)chosen);
	return true;
}

bool sim_execute(struct sim_engine *engine, struct sim_chooser *chooser)
{
	engine->chooser = chooser;
	running = engine;
	begin(engine);
	while (engine->finding.kind == SIM_NOTHING && take_step(engine))
		;
	if (engine->finding.kind == SIM_NOTHING && !engine->was_cut)
		engine->setup.judge(engine->setup.context);
	running = NULL;
	return engine->finding.kind == SIM_NOTHING;
}

struct sim_engine *sim_open(const struct sim_setup *setup)
{
	struct sim_engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return NULL;
	engine->setup = *setup;
	engine->current = -1;
	engine->kept = malloc(setup->whole_size);
	engine->is_dirty = calloc(setup->whole_size / BLOCK + 1, 1);
	engine->dirty = calloc(setup->whole_size / BLOCK + 1, sizeof(*engine->dirty));
	engine->words = calloc(setup->shared_size / 2 + 1, sizeof(*engine->words));
	/* One entry a byte: untouched pages cost nothing. */
	engine->shadows = calloc(setup->shared_size, sizeof(*engine->shadows));
	if (!engine->kept || !engine->is_dirty || !engine->dirty || !engine->words ||
	    !engine->shadows)
		goto out_close;
	memcpy(engine->kept, setup->whole, setup->whole_size);
	for (uint32_t i = 0; i < setup->actors; i++) {
		if (fiber_make(&engine->actors[i].fiber))
			goto out_close;
	}
	return engine;

out_close:
	sim_close(engine);
	return NULL;
}

void sim_close(struct sim_engine *engine)
{
	if (!engine)
		return;
	for (uint32_t i = 0; i < SIM_ACTORS_MAX; i++)
		fiber_free(&engine->actors[i].fiber);
	free(engine->kept);
	free(engine->is_dirty);
	free(engine->dirty);
	free(engine->words);
	free(engine->shadows);
	free(engine);
}

uint32_t sim_steps(const struct sim_engine *engine)
{
	return engine->steps;
}

const struct sim_event *sim_event(const struct sim_engine *engine, uint32_t step)
{
	return &engine->events[step];
}

const struct sim_finding *sim_finding(const struct sim_engine *engine)
{
	return &engine->finding;
}

uint64_t sim_trace_hash(const struct sim_engine *engine)
{
	return engine->hash;
}

bool sim_was_cut(const struct sim_engine *engine)
{
	return engine->was_cut;
}

uint32_t sim_actors(const struct sim_engine *engine)
{
	return engine->setup.memory == SIM_TSO ? 2 * engine->setup.actors : engine->setup.actors;
}

const struct sim_pending *sim_pending(const struct sim_engine *engine, uint32_t actor)
{
	static struct sim_pending drain;

	if (actor < engine->setup.actors)
		return &engine->actors[actor].pending;
	drain = (struct sim_pending){
		.kind = SIM_DRAIN,
		.writes = true,
		.offset = engine->actors[actor - engine->setup.actors].buffer[0].offset,
	};
	return &drain;
}

bool sim_depends(const struct sim_pending *one, const struct sim_pending *other)
{
	return one->offset == other->offset && (one->writes || other->writes);
}

/* ---- what instrumented code calls ------------------------------------------------------------------- */

/* Is it a word of ours, and an actor that touches it? */
static bool is_shared(const volatile void *address, uint32_t *offset)
{
	uintptr_t at;

	if (!running || running->current < 0)
		return false;
	at = (uintptr_t)address - (uintptr_t)running->setup.shared;
	if (at >= running->setup.shared_size)
		return false;
	*offset = (uint32_t)at;
	return true;
}

#define PLACE __builtin_return_address(0)

#define DEFINE_PLAIN(bytes)                           \
	void __tsan_read##bytes(void *at);            \
	void __tsan_write##bytes(void *at);           \
	void __tsan_unaligned_read##bytes(void *at);  \
	void __tsan_unaligned_write##bytes(void *at); \
	void __tsan_volatile_read##bytes(void *at);   \
	void __tsan_volatile_write##bytes(void *at);  \
	void __tsan_read##bytes(void *at)             \
	{                                             \
		check_plain(at, bytes, false, PLACE); \
	}                                             \
	void __tsan_write##bytes(void *at)            \
	{                                             \
		check_plain(at, bytes, true, PLACE);  \
	}                                             \
	void __tsan_unaligned_read##bytes(void *at)   \
	{                                             \
		check_plain(at, bytes, false, PLACE); \
	}                                             \
	void __tsan_unaligned_write##bytes(void *at)  \
	{                                             \
		check_plain(at, bytes, true, PLACE);  \
	}                                             \
	void __tsan_volatile_read##bytes(void *at)    \
	{                                             \
		check_plain(at, bytes, false, PLACE); \
	}                                             \
	void __tsan_volatile_write##bytes(void *at)   \
	{                                             \
		check_plain(at, bytes, true, PLACE);  \
	}

DEFINE_PLAIN(1)
DEFINE_PLAIN(2)
DEFINE_PLAIN(4)
DEFINE_PLAIN(8)
DEFINE_PLAIN(16)

void __tsan_read_range(void *at, size_t size);
void __tsan_write_range(void *at, size_t size);
void *sim_memcpy(void *to, const void *from, size_t size);
void *sim_memmove(void *to, const void *from, size_t size);
void *sim_memset(void *to, int value, size_t size);
void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int value, size_t size);
void __tsan_init(void);
void __tsan_func_entry(void *place);
void __tsan_func_exit(void);
void __tsan_vptr_update(void **at, void *value);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_read_range(void *at, size_t size)
{
	check_plain(at, size, false, PLACE);
}

void __tsan_write_range(void *at, size_t size)
{
	check_plain(at, size, true, PLACE);
}

void *__tsan_memcpy(void *to, const void *from, size_t size)
{
	check_plain(from, size, false, PLACE);
	check_plain(to, size, true, PLACE);
	return memcpy(to, from, size);
}

void *__tsan_memmove(void *to, const void *from, size_t size)
{
	check_plain(from, size, false, PLACE);
	check_plain(to, size, true, PLACE);
	return memmove(to, from, size);
}

void *__tsan_memset(void *to, int value, size_t size)
{
	check_plain(to, size, true, PLACE);
	return memset(to, value, size);
}

/* GCC leaves these alone, so the build names them by hand. */
void *sim_memcpy(void *to, const void *from, size_t size)
{
	return __tsan_memcpy(to, from, size);
}

void *sim_memmove(void *to, const void *from, size_t size)
{
	return __tsan_memmove(to, from, size);
}

void *sim_memset(void *to, int value, size_t size)
{
	return __tsan_memset(to, value, size);
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *place)
{
	(void)place;
}

void __tsan_func_exit(void)
{
}

void __tsan_atomic_thread_fence(int order)
{
	if (running && running->current >= 0)
		do_fence(order, PLACE);
	else
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}

#define DEFINE_RMW(bits, name, rmw, builtin)                                                     \
	uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *at,                 \
						    uint##bits##_t value, int order);            \
	uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *at,                 \
						    uint##bits##_t value, int order)             \
	{                                                                                        \
		uint32_t offset;                                                                 \
		if (is_shared(at, &offset))                                                      \
			return (uint##bits##_t)do_rmw(offset, bits / 8, rmw, value, NULL, order, \
						      order, PLACE);                             \
		note_write(at, bits / 8);                                                        \
		return builtin(at, value, __ATOMIC_SEQ_CST);                                     \
	}

#define DEFINE_ATOMIC(bits)                                                                        \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *at, int order);   \
	void __tsan_atomic##bits##_store(volatile uint##bits##_t *at, uint##bits##_t value,        \
					 int order);                                               \
	int __tsan_atomic##bits##_compare_exchange_strong(                                         \
		volatile uint##bits##_t *at, uint##bits##_t *expected, uint##bits##_t value,       \
		int order, int failure_order);                                                     \
	int __tsan_atomic##bits##_compare_exchange_weak(                                           \
		volatile uint##bits##_t *at, uint##bits##_t *expected, uint##bits##_t value,       \
		int order, int failure_order);                                                     \
	uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                 \
		volatile uint##bits##_t *at, uint##bits##_t expected, uint##bits##_t value,        \
		int order, int failure_order);                                                     \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *at, int order)    \
	{                                                                                          \
		uint32_t offset;                                                                   \
		if (is_shared(at, &offset))                                                        \
			return (uint##bits##_t)do_load(offset, bits / 8, order, PLACE);            \
		return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                      \
	}                                                                                          \
	void __tsan_atomic##bits##_store(volatile uint##bits##_t *at, uint##bits##_t value,        \
					 int order)                                                \
	{                                                                                          \
		uint32_t offset;                                                                   \
		if (is_shared(at, &offset))                                                        \
			do_store(offset, bits / 8, value, order, PLACE);                           \
		else {                                                                             \
			note_write(at, bits / 8);                                                  \
			__atomic_store_n(at, value, __ATOMIC_SEQ_CST);                             \
		}                                                                                  \
	}                                                                                          \
	int __tsan_atomic##bits##_compare_exchange_strong(                                         \
		volatile uint##bits##_t *at, uint##bits##_t *expected, uint##bits##_t value,       \
		int order, int failure_order)                                                      \
	{                                                                                          \
		uint32_t offset;                                                                   \
		uint64_t wanted = *expected, now;                                                  \
		if (!is_shared(at, &offset)) {                                                     \
			note_write(at, bits / 8);                                                  \
			return __atomic_compare_exchange_n(at, expected, value, false,             \
							   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);    \
		}                                                                                  \
		now = do_rmw(offset, bits / 8, RMW_EXCHANGE, value, &wanted, order, failure_order, \
			     PLACE);                                                               \
		*expected = (uint##bits##_t)now;                                                   \
		return now == wanted;                                                              \
	}                                                                                          \
	int __tsan_atomic##bits##_compare_exchange_weak(                                           \
		volatile uint##bits##_t *at, uint##bits##_t *expected, uint##bits##_t value,       \
		int order, int failure_order)                                                      \
	{                                                                                          \
		return __tsan_atomic##bits##_compare_exchange_strong(at, expected, value, order,   \
								     failure_order);               \
	}                                                                                          \
	uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                 \
		volatile uint##bits##_t *at, uint##bits##_t expected, uint##bits##_t value,        \
		int order, int failure_order)                                                      \
	{                                                                                          \
		__tsan_atomic##bits##_compare_exchange_strong(at, &expected, value, order,         \
							      failure_order);                      \
		return expected;                                                                   \
	}                                                                                          \
	DEFINE_RMW(bits, exchange, RMW_EXCHANGE, __atomic_exchange_n)                              \
	DEFINE_RMW(bits, fetch_add, RMW_ADD, __atomic_fetch_add)                                   \
	DEFINE_RMW(bits, fetch_sub, RMW_SUB, __atomic_fetch_sub)                                   \
	DEFINE_RMW(bits, fetch_and, RMW_AND, __atomic_fetch_and)                                   \
	DEFINE_RMW(bits, fetch_or, RMW_OR, __atomic_fetch_or)                                      \
	DEFINE_RMW(bits, fetch_xor, RMW_XOR, __atomic_fetch_xor)

DEFINE_ATOMIC(8)
DEFINE_ATOMIC(16)
DEFINE_ATOMIC(32)
DEFINE_ATOMIC(64)
