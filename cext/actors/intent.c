/* SPDX-License-Identifier: MIT */
/*
 * Why the verdicts of stray returns can be judged at all: the consumer cannot
 * know what the provider will find, since completions that it has not read yet
 * count as well. But it knows a lower bound. The user references of a buffer
 * are the fragments delivered less the RQEs that took one; at least as many
 * were delivered as were received, and at most as many RQEs took one as were
 * written. So if `balance` (received less written) is above 0 when an RQE is
 * written, it must succeed; otherwise it may also find nothing. Nothing else is
 * ever legal.
 *
 * How often a return may find nothing is the reconciler's to say, which sees what
 * the strays took. For that each entry is noted either as the one return of a
 * fragment that was delivered or as nobody's.
 */
#include "returns_impl.h"

#define SUCCEEDS ZCRX_LEGAL_SUCCEEDS

/* The verdicts that an entry may earn that is written now: by its bytes, and by what is known. */
static struct zcrx_legal legal_now(const struct zcrx_returns *returns,
				   const struct io_uring_zcrx_rqe *rqe)
{
	struct zcrx_legal legal = zcrx_returns_legal(returns, rqe);

	if (legal.names && returns->known[legal.niov].balance > 0)
		legal.verdicts = SUCCEEDS;
	return legal;
}

/* A return by the rules, of a buffer that was never returned against them, must succeed. */
static bool must_succeed(const struct zcrx_returns *returns, uint32_t niov, uint32_t rule)
{
	return rule == ZCRX_INTENT_VALID && !returns->known[niov].strayed;
}

/*
 * What an entry of a user's own fault may earn: what the fault says, as far as
 * the bytes leave a choice. If they leave none of it, the fault is held to its
 * word all the same, and the mismatch tells. But of a buffer that another stray
 * return may have robbed already, no word can be kept.
 */
static uint32_t declared_verdicts(const struct zcrx_returns *returns, uint32_t rule, uint32_t legal,
				  bool spoiled)
{
	uint32_t declared = returns->plan.lanes[rule - 1].rule.custom_verdicts;

	if (spoiled)
		return legal;
	return legal & declared ? legal & declared : declared;
}

/*
 * Note what the entry at the private tail means; it stands there or is put there
 * now. `spoiled`: the buffer that it names was strayed to before this entry.
 */
static void intend(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe, uint32_t rule,
		   bool spoiled, bool is_due)
{
	struct zcrx_legal legal = legal_now(returns, rqe);

	if (legal.names && must_succeed(returns, legal.niov, rule))
		legal.verdicts = SUCCEEDS;
	if (zcrx_kind_of(returns, rule) == ZCRX_FAULT_CUSTOM)
		legal.verdicts =
			declared_verdicts(returns, rule, legal.verdicts, legal.names && spoiled);
	zcrx_intent_put(returns, returns->position, rule, legal.verdicts,
			is_due && legal.names ? ZCRX_DUE(legal.niov) : ZCRX_DUE_NONE);
	if (legal.names)
		returns->known[legal.niov].balance--;
	returns->position++;
}

void zcrx_returns_stray(struct zcrx_returns *returns, uint32_t niov, uint32_t rule)
{
	zcrx_returns_suspect(returns, niov, rule);
	returns->known[niov].strayed = 1;
}

void zcrx_returns_claim(struct zcrx_returns *returns, uint32_t rule, bool late)
{
	struct io_uring_zcrx_rqe rqe = zcrx_slot_read(zcrx_next_slot(returns));
	/*
	 * Late: the provider may have taken it already, before what we know now. A
	 * fragment received since then says nothing about the references of that time.
	 */
	struct zcrx_legal legal = late ? zcrx_returns_legal(returns, &rqe) :
					 legal_now(returns, &rqe);

	if (legal.names)
		zcrx_returns_stray(returns, legal.niov, rule);
	zcrx_intent_put(returns, returns->position++, rule, legal.verdicts, ZCRX_DUE_NONE);
	returns->rq.cached_tail++;
	if (legal.names)
		returns->known[legal.niov].balance--;
}

static bool is_stray(enum zcrx_fault_kind kind)
{
	return kind == ZCRX_FAULT_DOUBLE_RETURN || kind == ZCRX_FAULT_STALE_RETURN ||
	       kind == ZCRX_FAULT_NEIGHBOUR_RETURN || kind == ZCRX_FAULT_NEVER_GIVEN ||
	       kind == ZCRX_FAULT_BAD_OFFSET;
}

void zcrx_returns_put(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe,
		      uint32_t rule, uint32_t strays, bool is_due)
{
	uint32_t niov = zcrx_niov_of(returns, rqe->off);
	bool spoiled = false;

	if (!(rqe->off & IORING_ZCRX_AREA_MASK) && niov < returns->fault_area.num_niovs) {
		spoiled = returns->known[niov].strayed && returns->known[niov].balance <= 0;
		if (is_stray(zcrx_kind_of(returns, rule)))
			strays = rule;
		if (strays)
			zcrx_returns_stray(returns, niov, strays);
	}
	intend(returns, rqe, rule, spoiled, is_due);
	zcrx_rq_user_put(&returns->rq, rqe->off, rqe->len, rqe->__pad);
}
