/* SPDX-License-Identifier: MIT */
/*
 * What an execution proves wrong, in numbers: emu/race/sentences.py has the words.
 *
 * X(NAME, kind, NUMBERS, TELLING): how many numbers belong to it, in the order in which
 * its sentence has them, and how many of these, the first ones, make it another mistake
 * when they differ. The others differ with the buffer or the index that shows it.
 */
#ifndef ZCRX_SIM_FINDING_H
#define ZCRX_SIM_FINDING_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_KINDS(X)                                                                        \
	X(NOTHING, "nothing")                                                               \
	X(WRONG, "wrong") /* the scenario says so: a verdict, a count, what must hold */    \
	X(RACE, "race") /* plain accesses that nothing orders */                            \
	X(DEADLOCK, "deadlock") /* everybody waits */                                       \
	X(LOST_WAKEUP, "lost-wakeup") /* somebody sleeps, and what it waits for is there */ \
	X(LIVELOCK, "livelock") /* an execution of too many steps */                        \
	X(ASSERT, "assertion") /* an assertion of the code failed */                        \
	X(CRASH, "crash") /* the code did what the machine forbids */

enum sim_finding_kind {
#define SIM_KIND_ENUM(name, word) SIM_##name,
	SIM_KINDS(SIM_KIND_ENUM)
#undef SIM_KIND_ENUM
		SIM_KIND_COUNT,
};

#define SIM_FINDINGS(X)                                                           \
	/* of the engine */                                                       \
	X(TOO_MANY_STEPS, LIVELOCK, 1, 0)                                         \
	X(TOO_MANY_STORES, LIVELOCK, 1, 0)                                        \
	X(TOO_MANY_LOADS, LIVELOCK, 1, 0)                                         \
	X(BUFFER_FULL, LIVELOCK, 1, 0)                                            \
	X(NO_END, LIVELOCK, 0, 0)                                                 \
	X(NEVER_YIELDS, LIVELOCK, 0, 0)                                           \
	X(DATA_RACE, RACE, 4, 4) /* sim_touch, who; who else, sim_touch */        \
	X(WAITS_FOR_EVER, DEADLOCK, 1, 1) /* who */                               \
	X(SYSTEM_CALL, WRONG, 1, 1)                                               \
	X(SLEEPS_ON_PRIVATE, WRONG, 0, 0)                                         \
	X(SIGNAL, CRASH, 1, 1)                                                    \
	X(ASSERTION, ASSERT, 1, 1) /* line; file, function and text are quoted */ \
	/* of what an operation sees */                                           \
	X(HAND_FULL, WRONG, 0, 0)                                                 \
	X(USER_FULL, WRONG, 0, 0)                                                 \
	X(HANDED_OUT, WRONG, 1, 0)                                                \
	X(PROVIDER_SLEEPS, LOST_WAKEUP, 0, 0)                                     \
	X(USER_SLEEPS, LOST_WAKEUP, 0, 0)                                         \
	X(FOREIGN_COMPLETION, WRONG, 0, 0)                                        \
	X(FOREIGN_PAYLOAD, WRONG, 2, 0)                                           \
	X(NO_VERDICT, WRONG, 1, 0)                                                \
	X(PHASE_IN_CHARGE, WRONG, 2, 0)                                           \
	X(POOL_GONE, WRONG, 1, 0)                                                 \
	X(QUIET_TOO_EARLY, WRONG, 0, 0)                                           \
	X(DESTROY_MISSING, WRONG, 0, 0)                                           \
	X(DESTROY_COMPLETE, WRONG, 0, 0)                                          \
	X(USER_REFS_LEFT, WRONG, 1, 0)                                            \
	X(VERDICTS, WRONG, 3, 1)                                                  \
	X(BOUND_AND_FREE, WRONG, 2, 0)                                            \
	X(UNBOUND_NOT_FREE, WRONG, 1, 0)                                          \
	/* of what always holds */                                                \
	X(TAIL_UNLOCKED, WRONG, 0, 0)                                             \
	X(HEAD_UNLOCKED, WRONG, 0, 0)                                             \
	X(ENTRY_UNLOCKED, WRONG, 0, 0)                                            \
	X(CACHED_UNBOUND, WRONG, 1, 0)                                            \
	X(QUEUED_UNBOUND, WRONG, 1, 0)                                            \
	X(INFLIGHT, WRONG, 3, 0)                                                  \
	X(NOT_IN_ONE_PLACE, WRONG, 4, 0)                                          \
	X(PP_REFS, WRONG, 3, 0)                                                   \
	X(FREED_TWICE, WRONG, 0, 0)                                               \
	X(REFS_UNDERFLOW, WRONG, 0, 0)                                            \
	X(GRANTED_WHILE_HELD, WRONG, 0, 0)                                        \
	X(UNJUDGED, WRONG, 2, 0)                                                  \
	X(LOCK_LEFT, WRONG, 0, 0)

#define SIM_NUMBERS_MAX 4U

enum sim_found {
	SIM_FOUND_NOTHING,
#define SIM_FOUND_ENUM(name, kind, numbers, telling) SIM_FOUND_##name,
	SIM_FINDINGS(SIM_FOUND_ENUM)
#undef SIM_FOUND_ENUM
};

enum {
#define SIM_FOUND_NUMBERS(name, kind, numbers, telling) SIM_NUMBERS_##name = numbers,
	SIM_FINDINGS(SIM_FOUND_NUMBERS)
#undef SIM_FOUND_NUMBERS
};

/* X(NAME): how somebody touches a word that another one touches, too. */
#define SIM_TOUCHES(X) \
	X(READ)        \
	X(WRITE)       \
	X(PLAIN_READ)  \
	X(PLAIN_WRITE) \
	X(ATOMIC_LOAD) \
	X(ATOMIC_STORE)

enum sim_touch {
#define SIM_TOUCH_ENUM(name) SIM_##name,
	SIM_TOUCHES(SIM_TOUCH_ENUM)
#undef SIM_TOUCH_ENUM
};

/* Of an assertion that failed: literals of the code. */
struct sim_quote {
	const char *file, *function, *text;
};

struct sim_finding {
	enum sim_found found;
	uint32_t actor; /* UINT32_MAX: nobody in particular */
	uint32_t offset; /* of the shared word that it is about, or UINT32_MAX */
	uint64_t numbers[SIM_NUMBERS_MAX];
	struct sim_quote quote; /* of an assertion */
	const void *place; /* of a plain access in a race, else NULL: the last step has it */
	const void *other_place; /* of the plain access that it races with, or NULL */
};

enum sim_finding_kind sim_kind_of(enum sim_found found);
/* Is it the same mistake, whichever buffer or index shows it? Shared words are not compared. */
bool sim_is_same(const struct sim_finding *one, const struct sim_finding *other);
/* Name and numbers, as values of a record. */
void sim_print_finding(FILE *to, const struct sim_finding *finding);

/*
 * From inside an actor or the judge: something is wrong. Does not return in an actor.
 * Before there is anything to search, in a scenario's setup, it ends the program.
 */
void sim_report(struct sim_finding finding);

/* The same for what needs no more than its numbers. */
#define sim_fail(name, ...)                                                         \
	do {                                                                        \
		_Static_assert(sizeof((const uint64_t[]){0, ##__VA_ARGS__}) ==      \
				       (1 + SIM_NUMBERS_##name) * sizeof(uint64_t), \
			       "as many numbers as " #name " has");                 \
		sim_report((struct sim_finding){.found = SIM_FOUND_##name,          \
						.offset = UINT32_MAX,               \
						.numbers = {__VA_ARGS__}});         \
	} while (0)

#endif /* ZCRX_SIM_FINDING_H */
