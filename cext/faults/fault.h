/* SPDX-License-Identifier: MIT */
/*
 * Fault plans, compiled: when a rule fires, and what a malformed entry looks
 * like. A plan is asked before each unit of its actor's work (the consumer's
 * valid RQEs, the NIC's packets) and costs one comparison when nothing is due.
 */
#ifndef ZCRX_FAULT_H
#define ZCRX_FAULT_H

#include "wire/abi.h"
#include "wire/journal.h"
#include "wire/rng.h"
#include "wire/shm.h"

#include <stdbool.h>

/* An intent has a byte for its rule, and so has a mark of the NIC; 0 and 255 are no rules. */
#define ZCRX_FAULT_RULES_MAX 254U
#define ZCRX_FAULT_PARAMS 4U
#define ZCRX_FAULT_NEVER UINT64_MAX

/* What can go wrong. Numbers are shared with Python's faults.catalogue. */
enum zcrx_fault_kind {
	ZCRX_FAULT_NONE = 0, /* another actor's rule: never fires here */
	/* content: see zcrx_fault_content() */
	ZCRX_FAULT_BAD_PAD = 1,
	ZCRX_FAULT_BAD_AREA = 2,
	ZCRX_FAULT_BAD_INDEX = 3,
	ZCRX_FAULT_BAD_OFFSET = 4,
	ZCRX_FAULT_ALIAS = 5,
	ZCRX_FAULT_MID_BUFFER = 6,
	ZCRX_FAULT_LEN_GARBAGE = 7,
	/* stray returns: well-formed entries that the consumer has no right to */
	ZCRX_FAULT_DOUBLE_RETURN = 10,
	ZCRX_FAULT_STALE_RETURN = 11,
	ZCRX_FAULT_EARLY_RETURN = 12,
	ZCRX_FAULT_NEIGHBOUR_RETURN = 13,
	ZCRX_FAULT_NEVER_GIVEN = 14,
	ZCRX_FAULT_HOARD = 15,
	ZCRX_FAULT_WRONG_RING = 16,
	ZCRX_FAULT_DROP_WHEN_FULL = 17,
	ZCRX_FAULT_WRONG_AREA = 18,
	/* ring words, and entries that change under the reader */
	ZCRX_FAULT_TAIL_AHEAD = 20,
	ZCRX_FAULT_HEAD_SCRIBBLE = 21,
	ZCRX_FAULT_CQ_HEAD_SCRIBBLE = 22,
	ZCRX_FAULT_TAIL_BACK = 26,
	ZCRX_FAULT_TAIL_RANDOM = 27,
	ZCRX_FAULT_TAIL_EARLY = 28,
	ZCRX_FAULT_TAIL_STALL = 29,
	ZCRX_FAULT_RQE_REWRITE = 32,
	ZCRX_FAULT_RQ_OVERRUN = 33,
	/* pace */
	ZCRX_FAULT_CQ_STALL = 24,
	ZCRX_FAULT_SLOW = 25,
	/* area */
	ZCRX_FAULT_WRITE_FOREIGN = 30,
	/* NIC */
	ZCRX_FAULT_NIC_DROP = 40,
	ZCRX_FAULT_NIC_CORRUPT = 41,
	ZCRX_FAULT_NIC_DUPLICATE = 42,
	ZCRX_FAULT_NIC_REORDER = 43,
	ZCRX_FAULT_NIC_TRUNCATE = 44,
	ZCRX_FAULT_NIC_STALL = 45,
	ZCRX_FAULT_NIC_BURST = 46,
	ZCRX_FAULT_NIC_HOLD = 47,
	ZCRX_FAULT_NIC_TINY = 48,
	ZCRX_FAULT_CQ_FULL = 49,
	ZCRX_FAULT_CLOCK_JUMP = 50,
	/* resources of the kernel side */
	ZCRX_FAULT_ALLOC_FAIL = 52,
	ZCRX_FAULT_FREELIST_EMPTY = 53,
	ZCRX_FAULT_PTR_RING_FULL = 54,
	/* 60 .. 79 are carried out by the control process */
	ZCRX_FAULT_CUSTOM = 100, /* a user's own: asked through zcrx_injection_set_custom() */
};

/* The second parameter of ZCRX_FAULT_CLOCK_JUMP. */
#define ZCRX_CLOCK_FORWARD 0U
#define ZCRX_CLOCK_BACK 1U

/* One rule of a plan, as compiled by Python. Exactly one of probability, every, at is set. */
struct zcrx_fault_rule {
	uint32_t kind;
	uint32_t after; /* only once that rule has fired: its number + 1, 0 = at once */
	double probability; /* for each ordinal, 0 .. 1 */
	uint64_t every; /* at each multiple; 0 = not so */
	uint64_t at; /* once, at this ordinal; ZCRX_FAULT_NEVER = not so */
	const uint64_t
		*at_list; /* [at_count], ascending; outlives the plan, counts instead of `at` */
	uint64_t first, last; /* only from .. until, ordinals */
	uint64_t limit; /* at most that often; 0 = no limit */
	int32_t queue; /* -1 = each */
	uint32_t flow; /* only what is of that flow: its number + 1; 0 = each */
	uint32_t params[ZCRX_FAULT_PARAMS];
	uint32_t at_count; /* once at each of so many ordinals; 0 = no list */
	uint32_t custom; /* which of a user's own faults: a hash of its name; 0 = none of them */
	uint32_t custom_verdicts; /* of such a fault: what its entries may earn, a bit each */
};

struct zcrx_fault_lane {
	struct zcrx_fault_rule rule;
	struct zcrx_rng gaps; /* distances from one firing to the next */
	struct zcrx_rng rng; /* what the last firing draws; see zcrx_fault_take() */
	uint64_t next; /* ordinal at which the rule fires next */
	uint64_t fired;
	uint64_t fired_at; /* ordinal of the last firing in this process; NEVER = none */
	uint32_t at_index; /* of at_list: those before it are over */
};

struct zcrx_fault_plan {
	uint64_t next; /* the least of the lanes' */
	uint32_t count;
	uint32_t queue;
	uint64_t seed;
	struct zcrx_journal *journal; /* where firings are noted; NULL = nowhere */
	struct zcrx_fault_lane lanes[ZCRX_FAULT_RULES_MAX];
};

/* What an entry must be compared with when it is made. */
struct zcrx_fault_area {
	uint32_t num_niovs; /* of the area that it names */
	uint32_t niov_shift;
	uint32_t areas_max; /* from this id on no area can ever be; 0: there is one */
};

/*
 * The plan of one queue; each has random numbers of its own. It notes nothing
 * until it is given a journal. 0, or -EINVAL for too many rules, a probability
 * outside 0..1, ordinals that do not ascend, an `after` that names no other
 * rule, or a kind that this area makes impossible.
 */
int zcrx_fault_compile(struct zcrx_fault_plan *plan, const struct zcrx_fault_rule *rules,
		       uint32_t count, uint64_t seed, uint32_t queue,
		       const struct zcrx_fault_area *area);

/* Is any rule due at `ordinal`? The one branch of the hot path. */
static inline bool zcrx_fault_is_due(const struct zcrx_fault_plan *plan, uint64_t ordinal)
{
	return ordinal >= plan->next;
}

/*
 * The next rule due at `ordinal`, or -1 when none is due any more. Each rule
 * fires at most once at an ordinal.
 *
 * The lane's rng is set for what the firing draws. It depends on seed, queue,
 * fault and ordinal alone, and on how many rules of the same fault fired there
 * before: a plan that names the ordinals draws what one with probabilities drew.
 */
int zcrx_fault_take(struct zcrx_fault_plan *plan, uint64_t ordinal);
/* The same where the ordinal is about something of that flow: rules of others pass it by. */
int zcrx_fault_take_of(struct zcrx_fault_plan *plan, uint64_t ordinal, uint32_t flow);

/*
 * Take a plan over at `ordinal`, from a consumer that is gone: what its rules
 * fired (as counted in fired[plan->count]) goes towards their limits, and wakes
 * those that wait for them.
 */
void zcrx_fault_resume(struct zcrx_fault_plan *plan, uint64_t ordinal, const shm_u64 *fired);

/*
 * The same plan where Python carries the rules out, and looks when it can: a rule
 * is due from its next ordinal on, and has fired when Python says so. Rules are about
 * no queue (-1). NULL if there is no memory or a rule cannot be.
 */
struct zcrx_fault_plan *zcrx_fault_new(const struct zcrx_fault_rule *rules, uint32_t count,
				       uint64_t seed);
void zcrx_fault_free(struct zcrx_fault_plan *plan);
/* The ordinal from which on a rule is due; ZCRX_FAULT_NEVER = none. */
uint64_t zcrx_fault_next(const struct zcrx_fault_plan *plan, uint32_t rule);
/*
 * A rule that was due has fired. It and those that waited for it are on again from
 * `from`; the rest of a list that has become due meanwhile is late, but not left out.
 */
void zcrx_fault_fire(struct zcrx_fault_plan *plan, uint32_t rule, uint64_t from);

/* Where the entry that a content fault makes is written. */
enum zcrx_content {
	ZCRX_CONTENT_NONE, /* that is no content fault */
	ZCRX_CONTENT_BESIDE, /* it is malformed, and the valid one follows */
	ZCRX_CONTENT_INSTEAD, /* it is valid */
};
enum zcrx_content zcrx_fault_content(uint32_t kind);

/*
 * The content faults' mutation of a valid entry; `value` chooses the variant
 * (the first parameter). Other kinds leave the entry as it is.
 */
struct io_uring_zcrx_rqe zcrx_fault_mutate(enum zcrx_fault_kind kind, uint32_t value,
					   struct zcrx_rng *rng,
					   const struct io_uring_zcrx_rqe *valid,
					   const struct zcrx_fault_area *area);

#endif /* ZCRX_FAULT_H */
