/* SPDX-License-Identifier: MIT */
/*
 * Interleavings of the real code, one after the other.
 *
 * Each actor runs on a stack of its own. The code is compiled with the calls
 * that a thread sanitizer puts before its accesses, and this is what answers
 * them: before each atomic access of shared memory the actor stops, and somebody
 * chooses who goes on; which value a load sees is chosen too, among those that
 * the memory model allows. An execution is a function of these choices alone.
 *
 * Plain accesses are no choice. They are checked: two of them that no
 * happens-before orders, one of them a write, are a data race.
 */
#ifndef ZCRX_SIM_ENGINE_H
#define ZCRX_SIM_ENGINE_H

#include "finding.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_ACTORS_MAX 8U
#define SIM_STEPS_MAX 8192U /* of an execution; more is taken for one that does not end */
#define SIM_STORES_MAX 16384U

enum sim_memory {
	SIM_SC, /* a load sees the last store */
	SIM_TSO, /* stores wait in a buffer of their actor's */
	SIM_C11, /* a load sees any store that release and acquire do not forbid */
};

enum sim_kind { SIM_LOAD, SIM_STORE, SIM_RMW, SIM_FENCE, SIM_SLEEP, SIM_WAKE, SIM_DRAIN };

/* What is done at one step. */
struct sim_event {
	uint8_t actor;
	uint8_t kind; /* enum sim_kind */
	uint8_t size; /* bytes */
	uint8_t order; /* as the compiler numbers memory orders */
	uint8_t choices; /* values that a load could have seen */
	uint8_t choice; /* which: 0 = the newest */
	bool changed; /* an RMW that stored */
	uint32_t offset; /* of the word in shared memory */
	uint64_t before, after; /* the value read, and the one written */
	const void *place; /* in the code */
};

struct sim_engine;

/* Who chooses. Both see the engine as it stands. */
struct sim_chooser {
	/* One of the actors in the mask `enabled`; -1 ends the execution: nothing new comes of it. */
	int (*actor)(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t enabled);
	/* 0 .. count - 1: which value a load sees, the newest first. */
	uint32_t (*value)(struct sim_chooser *chooser, struct sim_engine *engine, uint32_t count);
	/* A step was done: engine->events[engine->steps - 1]. May be NULL. */
	void (*done)(struct sim_chooser *chooser, struct sim_engine *engine);
};

/* What a standing check sees of an access. */
struct sim_access {
	uint32_t offset;
	bool writes;
	uint64_t before, after; /* of an atomic one; a plain one does not say */
};

struct sim_range {
	uint32_t offset, size; /* in shared memory */
};

struct sim_setup {
	enum sim_memory memory;
	uint32_t actors;
	void *shared; /* what all actors share … */
	uint32_t shared_size;
	void *whole; /* … inside of what is put back before each execution */
	uint32_t whole_size;
	/*
	 * Words whose reuse must be ordered, as if they were plain: what one actor reads
	 * there another may write over only when it has been told. (A load is never put
	 * off behind a later store here, so that nothing else would show it.)
	 */
	const struct sim_range *ordered;
	uint32_t ordered_count;
	void (*begin)(void *context); /* before each execution, or NULL */
	/* An actor touches a shared word, atomically or not, at this very moment; or NULL. */
	void (*access)(void *context, uint32_t actor, const struct sim_access *access);
	void (*act)(void *context, uint32_t actor); /* an actor's life */
	void (*judge)(void *context); /* all have ended: sim_fail() says what is wrong */
	void *context;
};

struct sim_engine *sim_open(const struct sim_setup *setup); /* the memory as it is now is kept */
void sim_close(struct sim_engine *engine);

/* One execution; true if nothing was found. */
bool sim_execute(struct sim_engine *engine, struct sim_chooser *chooser);

/* Does an actor that slept find what it waits for, though nobody woke it? See SIM_LOST_WAKEUP. */
bool sim_was_left_asleep(void);

/* What came of the last execution. */
uint32_t sim_steps(const struct sim_engine *engine);
const struct sim_event *sim_event(const struct sim_engine *engine, uint32_t step);
const struct sim_finding *sim_finding(const struct sim_engine *engine);
uint64_t sim_trace_hash(const struct sim_engine *engine); /* equal traces, equal on each machine */
bool sim_was_cut(const struct sim_engine *engine); /* the chooser ended it */

/* For choosers: what an actor is about to do, and whether two such things commute. */
struct sim_pending {
	uint8_t kind;
	bool writes;
	uint32_t offset;
};
const struct sim_pending *sim_pending(const struct sim_engine *engine, uint32_t actor);
uint32_t sim_actors(const struct sim_engine *engine); /* those of stores that wait included */
bool sim_depends(const struct sim_pending *one, const struct sim_pending *other);

#endif /* ZCRX_SIM_ENGINE_H */
