/* SPDX-License-Identifier: MIT */
/*
 * What a program showed, in numbers and names: which of all things was wrong, where, and
 * what it is by each side. Words for people are made of it by emu/fuzz/account.py.
 */
#ifndef ZCRX_FUZZ_FINDING_H
#define ZCRX_FUZZ_FINDING_H

#include "program.h"

#include <stdio.h>

/* X(NAME, key); what each means is in emu/fuzz/program.py. */
#define FUZZ_FINDINGS(X)            \
	X(RESULT, "result")         \
	X(VERDICT, "verdict")       \
	X(NIOV, "niov")             \
	X(ALIAS, "alias")           \
	X(CONSUMED, "consumed")     \
	X(READ_TWICE, "read-twice") \
	X(READ_LATE, "read-late")   \
	X(UNLOCKED, "unlocked")     \
	X(HEAD, "head")             \
	X(USER_REFS, "user-refs")   \
	X(PP_REFS, "pp-refs")       \
	X(BINDING, "binding")       \
	X(FREELIST, "freelist")     \
	X(CACHE, "cache")           \
	X(PTR_RING, "ptr-ring")     \
	X(POOL, "pool")             \
	X(COUNTER, "counter")       \
	X(LOCK, "lock")             \
	X(LOG, "verdict-log")       \
	X(RED_ZONE, "red-zone")

enum fuzz_finding_kind {
	FUZZ_NOTHING,
#define FUZZ_FINDING_ENUM(name, key) FUZZ_FOUND_##name,
	FUZZ_FINDINGS(FUZZ_FINDING_ENUM)
#undef FUZZ_FINDING_ENUM
		FUZZ_FINDING_KINDS,
};

/* X(NAME, kind): all that can be wrong. What `which` says of it, and what its values are, is there. */
#define FUZZ_WRONGS(X)                                             \
	X(ANSWER, RESULT)                                          \
	X(BUFFERS_SCRUBBED, RESULT)                                \
	X(NETLINK, RESULT)                                         \
	X(VERDICT, VERDICT) /* which: ring index; also the niov */ \
	X(ENTRY_NIOV, NIOV) /* which: ring index */                \
	X(ENTRY_ALIAS, ALIAS)                                      \
	X(ENTRY_INDEX, CONSUMED)                                   \
	X(ENTRIES, CONSUMED)                                       \
	X(READ_TWICE, READ_TWICE) /* which: slot */                \
	X(READ_LATE, READ_LATE)                                    \
	X(TAIL_UNLOCKED, UNLOCKED)                                 \
	X(HEAD_UNLOCKED, UNLOCKED)                                 \
	X(ENTRY_UNLOCKED, UNLOCKED)                                \
	X(HEAD, HEAD)                                              \
	X(OWN_HEAD, HEAD)                                          \
	X(TAIL, HEAD)                                              \
	X(USER_REFS, USER_REFS) /* which: niov */                  \
	X(PP_REFS, PP_REFS)                                        \
	X(REF_UNDERFLOWS, PP_REFS)                                 \
	X(BINDING, BINDING)                                        \
	X(FREELIST, FREELIST) /* which: queue */                   \
	X(FREE_COUNT, FREELIST)                                    \
	X(FREELIST_OVERFLOWS, FREELIST)                            \
	X(CACHE, CACHE) /* which: pool */                          \
	X(PTR_RING, PTR_RING)                                      \
	X(PTR_RING_HEAD, PTR_RING)                                 \
	X(PHASE, POOL)                                             \
	X(BOUND, POOL)                                             \
	X(RQES_CONSUMED, COUNTER)                                  \
	X(VERDICTS, COUNTER) /* which: verdict */                  \
	X(ALIASES, COUNTER)                                        \
	X(ALLOC_FAILURES, COUNTER)                                 \
	X(DESTROY_WARNINGS, COUNTER)                               \
	X(INSTANCE_REFS, COUNTER)                                  \
	X(SHOWN_HEAD, COUNTER)                                     \
	X(CURRENT_POOL, COUNTER)                                   \
	X(FREELIST_LOCK, LOCK)                                     \
	X(RQ_LOCK, LOCK)                                           \
	X(PRODUCER_LOCK, LOCK) /* which: pool */                   \
	X(LOG_BYTE, LOG) /* which: ring index */                   \
	X(NIOV_RESERVED, RED_ZONE) /* which: niov */               \
	/* memory behind an array */                               \
	X(ZONE_FIRST, RED_ZONE) /* before all of them */           \
	X(ZONE_IFQ, RED_ZONE)                                      \
	X(ZONE_AREA, RED_ZONE)                                     \
	X(ZONE_NIOVS, RED_ZONE)                                    \
	X(ZONE_FREELIST, RED_ZONE)                                 \
	X(ZONE_SCRUBBED, RED_ZONE)                                 \
	X(ZONE_EXTENTS, RED_ZONE)                                  \
	X(ZONE_VERDICT_LOG, RED_ZONE)                              \
	X(ZONE_NIOV_LOG, RED_ZONE)                                 \
	X(ZONE_RQ_INDICES, RED_ZONE)                               \
	X(ZONE_RQES, RED_ZONE)                                     \
	X(ZONE_FLIGHT, RED_ZONE)                                   \
	X(ZONE_POOL, RED_ZONE) /* which: pool */                   \
	X(ZONE_PTR_RING, RED_ZONE)

enum fuzz_wrong {
	WRONG_NOTHING,
#define FUZZ_WRONG_ENUM(name, kind) WRONG_##name,
	FUZZ_WRONGS(FUZZ_WRONG_ENUM)
#undef FUZZ_WRONG_ENUM
		WRONG_COUNT,
};

/* More than anybody reads at once. */
#define FUZZ_VALUES_MAX 80U

/* A number, or the beginning of a list; what is a word or nothing else has none. */
struct fuzz_values {
	uint32_t count;
	uint64_t values[FUZZ_VALUES_MAX];
};

struct fuzz_finding {
	enum fuzz_wrong what;
	uint32_t step; /* the operation of the program after which it showed */
	uint32_t op; /* enum fuzz_op_kind: what was done then; within a repetition not the same */
	uint32_t round; /* of a repetition, from 1 on; 0 = none */
	uint32_t which; /* of many: see the table */
	uint32_t niov; /* of a verdict */
	struct fuzz_values expected, actual;
};

enum fuzz_finding_kind fuzz_finding_kind(const struct fuzz_finding *finding);

/* Same mistake, same number, as a rule: the kind, and a verdict's two sides or else the operation. */
uint32_t fuzz_finding_key(const struct fuzz_finding *finding);

/* It as fields of a record, each with a tab before it. */
void fuzz_put_finding(FILE *to, const struct fuzz_finding *finding);

/* Its signature, as emu/fuzz/account.py makes it: the same mistake has the same one, as a rule. */
void fuzz_put_signature(FILE *to, const struct fuzz_finding *finding);

#endif /* ZCRX_FUZZ_FINDING_H */
