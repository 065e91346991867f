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
#include "holdings.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int zcrx_holdings_init(struct zcrx_holdings *holdings, const struct zcrx_shape *shape)
{
	*holdings = (struct zcrx_holdings){.shape = *shape, .areas = 1};
	if (shape->areas_max > 1 && zcrx_areas_first(shape, shape->areas_max) != shape->num_niovs)
		return -EINVAL;
	holdings->known = calloc(shape->num_niovs, sizeof(*holdings->known));
	return holdings->known ? 0 : -ENOMEM;
}

void zcrx_holdings_destroy(struct zcrx_holdings *holdings)
{
	free(holdings->known);
	holdings->known = NULL;
}

void zcrx_holdings_suspect(struct zcrx_holdings *holdings, uint32_t niov, uint32_t rule,
			   uint64_t position)
{
	struct zcrx_known *known = &holdings->known[niov];

	assert(niov < holdings->shape.num_niovs);
	known->suspect = rule;
	known->suspect_age = 0;
	known->suspect_position = position;
}

void zcrx_holdings_stray(struct zcrx_holdings *holdings, uint32_t niov, uint32_t rule,
			 uint64_t position)
{
	zcrx_holdings_suspect(holdings, niov, rule, position);
	holdings->known[niov].strayed = 1;
}

void zcrx_holdings_expect_take(struct zcrx_holdings *holdings, uint32_t niov, uint32_t rule,
			       uint64_t position)
{
	zcrx_holdings_stray(holdings, niov, rule, position);
	holdings->known[niov].balance--;
}

void zcrx_holdings_expect_either(struct zcrx_holdings *holdings, uint32_t niov, uint64_t at,
				 uint32_t rule, uint64_t position, uint64_t consumed)
{
	struct zcrx_known *known = &holdings->known[niov];

	if (known->either_end <= consumed)
		known->either_count = 0;
	known->either_count++;
	if (known->either_end <= at)
		known->either_end = at + 1;
	zcrx_holdings_expect_take(holdings, niov, rule, position);
}

void zcrx_holdings_scrubbed(struct zcrx_holdings *holdings, uint32_t rule, uint64_t position)
{
	for (uint32_t niov = 0; niov < holdings->shape.num_niovs; niov++) {
		struct zcrx_known *known = &holdings->known[niov];

		if (known->balance > 0 || known->held)
			zcrx_holdings_stray(holdings, niov, rule, position);
		known->balance = 0;
	}
}

void zcrx_holdings_expect_again(struct zcrx_holdings *holdings, uint32_t rule, uint64_t position,
				uint64_t consumed)
{
	for (uint32_t niov = 0; niov < holdings->shape.num_niovs; niov++) {
		struct zcrx_known *known = &holdings->known[niov];

		for (uint32_t i = 0; known->either_end > consumed && i < known->either_count; i++)
			zcrx_holdings_expect_take(holdings, niov, rule, position);
	}
}
