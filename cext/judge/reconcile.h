/* SPDX-License-Identifier: MIT */
/*
 * Reconciliation: what the consumer meant by each RQE (intent log) against what
 * the provider said of it (verdict log), entry by entry, while the run goes on.
 * The control process does it; the consumer may not run further ahead than the
 * logs are long.
 *
 * A return by the rules may find no user reference only because something else
 * took it: an entry that was nobody's return and succeeded, or a scrub. How often
 * that can happen is bounded, buffer by buffer. Of a buffer let
 *
 *	D  fragments delivered	S  stray entries that succeeded
 *	V  returns judged	X  references that scrubs took
 *	F  returns among them that found nothing
 *
 * Each reference came with a delivery and went once, so when a return finds none,
 * D = (V - F) + S + X, with V and F before it. It is itself the return of one of
 * the D fragments, as each of the V was of another: D >= V + 1. Hence
 *
 *	F + 1 <= S + X
 *
 * So each success of a stray entry and each scrubbed reference puts down one
 * credit for its buffer, and each return that finds nothing spends one. No time
 * comes into it, nothing is estimated, and it holds whatever the order: entries
 * are compared in the order in which they were judged, and a scrub's references
 * are counted before the control process, which scrubs and compares, goes on.
 *
 * When a user has gone and every reference was scrubbed, D = V - F + S + X for all
 * of it: the next one starts with an account of its own.
 *
 * Where the provider takes entries in a row that name the same buffer all or none
 * (7.3), such a run is judged as one. Let it have n returns and k strays. It fails if
 * there are fewer than n + k references: D - (V - F) - S - X < n + k. Its n are of the
 * D fragments, too: D >= V + n. Hence F + 1 <= S + X + k, and then F grows by n. So a
 * stray that fails may take good returns with it, whose references stay where they are;
 * and that they stay is in F.
 *
 * What the consumer is sure of (see holdings.c) is more: then only a scrub that it
 * did not know of can be the reason. It counts each entry that it writes as if it
 * took a reference, those that found nothing too; so by the same reasoning such
 * failures are X at most. Of a run it is sure if it is of its last entry: that one had
 * a reference left with all those before it taken, so there was one for each.
 */
#ifndef ZCRX_RECONCILE_H
#define ZCRX_RECONCILE_H

#include "run/layout.h"

#define ZCRX_MISMATCHES_MAX 64U

/* Why an entry is a mismatch. */
enum zcrx_mismatch_why {
	ZCRX_WHY_ILLEGAL = 0, /* the verdict is none of those that its intent allows */
	ZCRX_WHY_NO_CREDIT = 1, /* a return found nothing, and nothing had taken its reference */
	ZCRX_WHY_OTHER_BUFFER = 2, /* it was judged as one of a buffer that it did not name */
};

struct zcrx_mismatch {
	uint64_t position; /* RQEs before this one since the run began */
	uint32_t index; /* its ring index */
	uint16_t intent; /* rule and legal verdicts: see ZCRX_INTENT() */
	uint16_t verdict; /* log byte: verdict, alias bit */
	uint32_t why;
	uint32_t account; /* of the buffer, as the provider logged it */
	uint32_t put_down, spent; /* credits of that account until then */
};

/* The user references of one buffer (see zcrx_account_of()), modulo 2^32. */
struct zcrx_account {
	uint32_t taken; /* by entries judged, of all users */
	/* Of the present user: */
	uint32_t strays; /* entries that were nobody's return and took one */
	uint32_t scrubbed_before; /* what had been scrubbed when it came */
	uint32_t spent; /* returns that found nothing … */
	uint32_t spent_on_strays; /* … of these: put down to strays */
	uint32_t excused; /* entries that were sure of a reference, and a scrub had taken it */
};

/* One entry, as it was meant and as it was judged. */
struct zcrx_compared {
	uint64_t position;
	uint16_t intent;
	uint16_t due; /* see ZCRX_DUE() */
	uint8_t logged; /* the verdict log's byte */
	uint32_t account; /* of the buffer that the provider found in it */
};

/* Entries in a row that found nothing in the same buffer. */
struct zcrx_failed_run {
	struct zcrx_compared last;
	uint32_t returns, strays; /* both 0: there is none */
};

struct zcrx_reconciler {
	uint64_t checked;
	uint64_t mismatch_count;
	uint64_t after_scrub; /* entries that came too late, legally: a scrub had their reference */
	uint64_t after_stray; /* the same: an entry that was nobody's return had it */
	uint64_t aliases;
	uint64_t lost; /* entries whose log bytes were overwritten before they were looked at */
	uint64_t table[ZCRX_RULES_MAX + 1][8]; /* [0 = valid, r + 1 = rule r][verdict] */
	uint64_t wrong[ZCRX_RULES_MAX + 1]; /* mismatches, by the same */
	uint64_t strays[ZCRX_RULES_MAX + 1]; /* credits that its entries put down, by the same */
	struct zcrx_mismatch mismatches[ZCRX_MISMATCHES_MAX];
	struct zcrx_account *accounts; /* [account_count] */
	uint32_t account_count;
	struct zcrx_failed_run failed; /* which may go on with the next entry; 7.3 */
};

/* The references of one account, when all is over; they balance if both sides are the same. */
struct zcrx_balance {
	uint32_t wrong; /* accounts that do not balance; the rest is of the first of them */
	uint32_t account;
	uint32_t delivered; /* by the NIC's count … */
	uint32_t taken, scrubbed, held; /* … and where they went */
};

/* For a queue with so many buffers; -ENOMEM without memory. */
int zcrx_reconciler_init(struct zcrx_reconciler *reconciler, uint32_t num_niovs);
void zcrx_reconciler_destroy(struct zcrx_reconciler *reconciler);

/* Compare all that was consumed since the last call; how many entries that were. */
uint64_t zcrx_reconcile(struct zcrx_reconciler *reconciler, struct zcrx_queue *queue);

/*
 * The old user is gone, nothing that it wrote is judged any more, and all its
 * references were scrubbed: credits are the next one's from here on.
 */
void zcrx_reconcile_new_user(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue);

/* Once provider, NIC and consumer have stopped and everything was compared. */
void zcrx_reconcile_balance(const struct zcrx_reconciler *reconciler,
			    const struct zcrx_queue *queue, struct zcrx_balance *balance);

#endif /* ZCRX_RECONCILE_H */
