/* SPDX-License-Identifier: MIT */
/*
 * One execution as it stands: actors, the histories of words, what was done so far.
 * For the files of the engine alone; everybody else has engine.h.
 */
#ifndef ZCRX_SIM_EXECUTION_H
#define ZCRX_SIM_EXECUTION_H

#include "engine.h"
#include "fiber.h"

#include <stddef.h>

#define NONE UINT32_MAX
#define BUFFER_MAX 64U /* stores that wait in one actor's buffer */
#define READS_MAX SIM_STORES_MAX

/* Memory orders as compilers number them. */
enum { RELAXED, CONSUME, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST };

static inline bool acquires(int order)
{
	return order != RELAXED && order != RELEASE;
}

static inline bool releases(int order)
{
	return order >= RELEASE;
}

struct clock {
	uint32_t at[SIM_ACTORS_MAX];
};

static inline void clock_join(struct clock *to, const struct clock *from)
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

/* Does what an actor did happen before the next step of this one? */
static inline bool actor_knows(const struct actor *actor, uint32_t other, uint32_t time)
{
	return other == SIM_ACTORS_MAX || actor->clock.at[other] >= time;
}

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

/* Calls of instrumented code have no context. One simulation at a time; NULL: none runs. */
extern struct sim_engine *execution_now;

/* The engine, if it is an actor that calls; else NULL. */
static inline struct sim_engine *execution_of_actor(void)
{
	return execution_now && execution_now->current >= 0 ? execution_now : NULL;
}

/* The offset of a shared word, or NONE. */
static inline uint32_t execution_offset(const struct sim_engine *engine,
					const volatile void *address)
{
	uintptr_t at = (uintptr_t)address - (uintptr_t)engine->setup.shared;

	return at < engine->setup.shared_size ? (uint32_t)at : NONE;
}

/* The actor that runs is not gone on with. */
__attribute__((noreturn)) void execution_leave(struct sim_engine *engine);

#endif /* ZCRX_SIM_EXECUTION_H */
