/* SPDX-License-Identifier: MIT */
/*
 * A scenario is numbers, which emu/race/script.py makes of its text; in lines:
 *
 *	NIOVS RQ CQ GRANTS PTR-RING INDEX MORE LEVEL DEVIATIONS HONEST ACTORS
 *	OPERATIONS =NAME	for each actor, then those before (setup) and behind (end)
 *	WORD N N N		for each of its operations
 *
 * MORE is how many buffers may be added, in areas of their own. HONEST is 1 if users keep to the rings' rules: slots must be ordered.
 */
#ifndef ZCRX_SIM_SCRIPT_H
#define ZCRX_SIM_SCRIPT_H

#include "engine.h"
#include "run/layout.h"

#include <stdio.h>

/* X(NAME, word); what each takes is in emu/race/operations.py. */
#define SCRIPT_OPS(X)                                                          \
	X(ALLOC, "alloc") /* provider: buffers into its hand */                \
	X(REFILL, "refill")                                                    \
	X(FLUSH, "flush")                                                      \
	X(FLUSH_RQ, "flush-rq")                                                \
	X(GRANT, "grant")                                                      \
	X(AWAIT_RQES, "await-rqes") /* sleep until there are so many */        \
	X(RESTART, "restart")                                                  \
	X(RETRY, "retry")                                                      \
	X(DESTROY, "destroy") /* with what it must answer: 0 or 1 */           \
	X(DETACH_RING, "follow-detach")                                        \
	X(RESET_RING, "reset-ring")                                            \
	X(DELIVER, "deliver") /* stack: from its hand, in so many fragments */ \
	X(SEND, "send") /* NIC: a granted buffer, in so many fragments */      \
	X(DROP, "drop")                                                        \
	X(COPY, "copy")                                                        \
	X(TAKE, "take") /* user: completions */                                \
	X(AWAIT_CQES, "await-cqes")                                            \
	X(GIVE, "give") /* user: what it took */                               \
	X(RETURN, "return") /* user: a niov, so many times */                  \
	X(PUSH, "push") /* user: any offset, length, padding */                \
	X(WRITE, "write") /* user: slot, offset, padding */                    \
	X(TAIL, "tail") /* user: any word */                                   \
	X(SCRUB, "scrub")                                                      \
	X(EXPECT_HOME, "expect-home")                                          \
	X(EXPECT_VERDICT, "expect-verdict")                                    \
	X(CUT, "cut") /* NIC: fragments of a buffer that stays open */         \
	X(CLOSE, "close")                                                      \
	X(SEND_BYTES, "send-bytes") /* NIC: a buffer with a payload */         \
	X(TAKE_BYTES, "take-bytes") /* user: read the payload too */           \
	X(READ_LOG, "read-log") /* control: each verdict so far */             \
	X(LOOK, "look") /* control: the pool in charge is one */               \
	X(TEARDOWN, "teardown") /* and look again so many times */             \
	X(SCRUB_QUIET, "scrub-quiet") /* of a living user */                   \
	X(EXPECT_BOUND, "expect-bound")                                        \
	X(ADD_AREA, "add-area") /* user: of so many buffers */

enum script_operation {
#define SCRIPT_OP_ENUM(name, word) OP_##name,
	SCRIPT_OPS(SCRIPT_OP_ENUM)
#undef SCRIPT_OP_ENUM
		OP_COUNT,
};

#define SCRIPT_OPS_MAX 64U
#define SCRIPT_NIOVS_MAX 64U
#define SCRIPT_NAME 24U

struct script_op {
	uint8_t kind; /* enum script_operation */
	uint64_t numbers[3];
};

/* What one does. */
struct script {
	char name[SCRIPT_NAME];
	struct script_op ops[SCRIPT_OPS_MAX];
	uint32_t count;
};

struct scenario {
	struct zcrx_shape shape;
	struct script setup, end;
	struct script actors[SIM_ACTORS_MAX];
	uint32_t actor_count;
	bool is_honest; /* nobody writes over a slot of a ring before it is free */
};

/* False if it is none. */
bool script_read(struct scenario *scenario, FILE *file);

#endif /* ZCRX_SIM_SCRIPT_H */
