/* SPDX-License-Identifier: MIT */
/*
 * A plan of faults by its text, as docs/faults.md has it: compiled here, without Python, to
 * the same rules. Of the catalogue those are known that the kernel's side of a ring and its
 * NIC can commit, and a few that only a program of its own has reason to meet.
 */
#ifndef ZCRX_LIB_PLAN_H
#define ZCRX_LIB_PLAN_H

#include "faults/fault.h"

#include <stddef.h>

/* Whose work the ordinals of a rule count. */
enum zcrx_lib_actor {
	ZCRX_LIB_NIC, /* packets of a queue */
	ZCRX_LIB_PROVIDER, /* allocations of a queue */
	ZCRX_LIB_QUEUE, /* turns of a queue: the kernel makes steps; of runs milliseconds */
	ZCRX_LIB_RING, /* steps of a ring */
	ZCRX_LIB_SETUP, /* steps of registering, or the registration itself */
	ZCRX_LIB_REGISTER, /* registrations of queues that were right */
	ZCRX_LIB_ARM, /* receives of a ring that were armed */
	ZCRX_LIB_COPY, /* pieces that a ring's receives copy */
	ZCRX_LIB_POST, /* completions of a ring without data */
	ZCRX_LIB_WAIT, /* calls that have to wait for completions */
	ZCRX_LIB_ACTORS,
};

/* Beside those of enum zcrx_fault_kind; the first of them Python's plans have as well. */
enum zcrx_lib_fault_kind {
	ZCRX_LIB_FAULT_SCRUB_MIDWAY = 68,
	ZCRX_LIB_FAULT_QUEUE_RESTART = 69,
	ZCRX_LIB_FAULT_SETUP_FAIL = 73,
	ZCRX_LIB_FAULT_CONN_RESET = 120,
	ZCRX_LIB_FAULT_RQ_LATE = 121,
	ZCRX_LIB_FAULT_RECV_LATE = 122,
	ZCRX_LIB_FAULT_TINY_AREA = 123,
	ZCRX_LIB_FAULT_REGISTER_FAIL = 124,
	ZCRX_LIB_FAULT_SHORT_MULTISHOT = 125,
	ZCRX_LIB_FAULT_COPY_FAIL = 126,
	ZCRX_LIB_FAULT_CQ_OVERFLOW = 127,
	ZCRX_LIB_FAULT_EINTR = 128,
};

#define ZCRX_LIB_PARAMS 2U

struct zcrx_lib_param {
	const char *name; /* NULL: there is none */
	uint32_t preset, low, high;
};

struct zcrx_lib_fault {
	const char *name;
	uint32_t kind;
	enum zcrx_lib_actor actor;
	struct zcrx_lib_param params[ZCRX_LIB_PARAMS];
	bool is_asked_once; /* of each queue, when it is registered */
};

struct zcrx_lib_plan {
	uint32_t count;
	struct zcrx_fault_rule rules[ZCRX_FAULT_RULES_MAX];
	const struct zcrx_lib_fault *faults[ZCRX_FAULT_RULES_MAX]; /* of each rule */
	uint64_t *lists[ZCRX_FAULT_RULES_MAX]; /* what the rules' at_list point to, or NULL */
};

/* All that there are; NULL behind the last. */
const struct zcrx_lib_fault *zcrx_lib_fault_at(uint32_t number);

/*
 * Compile a text; "" and "none" are the plan without rules. 0; -EINVAL, and `error` (of
 * `size` bytes) has a line that names the rule, the value and what is allowed; -ENOMEM.
 */
int zcrx_lib_plan_parse(struct zcrx_lib_plan *plan, const char *text, char *error, size_t size);
void zcrx_lib_plan_free(struct zcrx_lib_plan *plan);

#endif /* ZCRX_LIB_PLAN_H */
