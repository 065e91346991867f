/* SPDX-License-Identifier: MIT */
/*
 * The fault plan's part in a return: which entries go into the ring for it, what
 * else the rules do that are due before it, and what must be remembered for them.
 */
#ifndef ZCRX_INJECTION_H
#define ZCRX_INJECTION_H

#include "actors/findings.h"
#include "fault.h"

#define ZCRX_HISTORY 4096U /* returned fragments remembered, for stale returns */
#define ZCRX_CUSTOM_ENTRIES_MAX 16U

/* A user's own fault is due: what it is told, and what it answers. */
struct zcrx_custom_call {
	uint32_t rule; /* of the plan */
	uint32_t queue;
	uint64_t ordinal;
	uint64_t position; /* of the next entry in the intent log */
	uint64_t seed; /* of its random numbers: see zcrx_fault_take() */
	struct io_uring_zcrx_rqe valid; /* the return that is due, as other rules left it */
	const struct io_uring_zcrx_rqe *history; /* [ZCRX_HISTORY], returns by number modulo that */
	uint64_t history_count; /* returns so far */
	/* the answer */
	struct io_uring_zcrx_rqe entries[ZCRX_CUSTOM_ENTRIES_MAX];
	uint32_t count;
	uint32_t in_place; /* the entries replace the return instead of standing beside it */
};

/* Carry out one firing. 0, or -1 when that failed: then nothing is written for it. */
typedef int zcrx_custom_ask(void *context, struct zcrx_custom_call *call);

/* A fragment read on after its return (early-return), to be checked again. */
struct zcrx_early {
	struct zcrx_held held;
	uint64_t due; /* position at which it is looked at again */
	uint64_t position; /* of its RQE */
	uint32_t rule;
};

/* How the entry of a return gets into the ring. */
enum zcrx_put {
	ZCRX_PUT = 0, /* written, then published with its batch */
	ZCRX_PUT_EARLY = 1, /* published, then written */
	ZCRX_PUT_REWRITTEN = 2, /* written, published, and then rewritten again and again */
};

struct zcrx_staged {
	struct zcrx_entry entry;
	uint8_t how; /* enum zcrx_put */
};

struct zcrx_injection {
	struct zcrx_fault_plan *plan;
	struct zcrx_findings *findings;
	struct zcrx_ring_faults *ring_faults;
	struct zcrx_rq_writer *writer;
	struct zcrx_holdings *holdings;

	/* Entries made for the return at the head, not written yet. */
	struct zcrx_staged staged[ZCRX_FAULT_RULES_MAX * 16 + 1];
	uint32_t staged_count, staged_at;
	uint32_t staged_end; /* once so many are written, the fragment is not held any more */
	bool is_staged;

	struct io_uring_zcrx_rqe *history; /* [ZCRX_HISTORY] */
	uint64_t history_count;
	bool keeps_history; /* some rule wants it */
	struct zcrx_early *early; /* [ZCRX_HISTORY], FIFO */
	uint64_t early_head, early_tail;
	uint64_t hoarded, misdirected;

	zcrx_custom_ask *ask_custom; /* NULL: users' own faults do nothing */
	void *custom_context;
	const struct zcrx_custom_call *custom_call; /* the one that is being answered */
	bool custom_failed; /* one of them could not be carried out: the consumer must end */
};

/* On zeroed memory. 0 or -ENOMEM; to be destroyed in either case. The plan outlives it. */
int zcrx_injection_init(struct zcrx_injection *injection, struct zcrx_fault_plan *plan,
			struct zcrx_findings *findings);
void zcrx_injection_destroy(struct zcrx_injection *injection);

/*
 * Write what goes into the ring for a return, the one of that ordinal, as far as
 * there is room; how many entries that were. Again with the same return while
 * is_staged says that some are left. Once the return itself is written, or is not to
 * be, the fragment is held no more.
 */
uint64_t zcrx_injection_put(struct zcrx_injection *injection, const struct zcrx_held *held,
			    uint64_t ordinal, uint64_t room);

/* A return is over, in whichever way. */
static inline void zcrx_injection_remember(struct zcrx_injection *injection,
					   const struct zcrx_held *held)
{
	if (injection->keeps_history)
		injection->history[injection->history_count++ % ZCRX_HISTORY] =
			(struct io_uring_zcrx_rqe){.off = held->off, .len = held->len};
}

/* Look at those fragments again that were read on for long enough. */
void zcrx_injection_check_early(struct zcrx_injection *injection);

/* Whom to ask when a rule of kind ZCRX_FAULT_CUSTOM fires. */
void zcrx_injection_set_custom(struct zcrx_injection *injection, zcrx_custom_ask *ask,
			       void *context);
/*
 * While a user's fault is asked: it changed its copy of the area from `before`
 * to `after` (both as large as the area). What differs is written into the area
 * itself, and put down to its rule.
 */
void zcrx_injection_custom_wrote(struct zcrx_injection *injection, const uint8_t *before,
				 const uint8_t *after);

#endif /* ZCRX_INJECTION_H */
