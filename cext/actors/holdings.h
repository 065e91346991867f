/* SPDX-License-Identifier: MIT */
/*
 * The user's account of the buffers: what it holds of each, what it may claim, and
 * which rule did something to it last. Private to the consumer; it knows of no ring
 * and of no plan. See holdings.c for why this is enough to judge by.
 */
#ifndef ZCRX_HOLDINGS_H
#define ZCRX_HOLDINGS_H

#include "faults/fault.h"
#include "judge/legal.h"

/* A fragment that the consumer may still read. */
struct zcrx_held {
	uint64_t off;
	uint32_t len;
	uint32_t crc; /* what the NIC sent */
	uint32_t flow, seq;
	uint32_t generation; /* of its buffer, when it was delivered */
	uint32_t mark; /* rule + 1 that made its bytes wrong on purpose, or 0 */
	uint32_t astray; /* the user gives back what is not out: its own mistake, nobody's return */
};

/* What the consumer knows of one buffer. */
struct zcrx_known {
	uint32_t generation; /* of the fragments held */
	uint32_t held; /* fragments received and not given back */
	/*
	 * Fragments received less RQEs written that name the buffer: the user
	 * references are never fewer. Above 0 a return must succeed.
	 */
	int32_t balance;
	uint32_t strayed; /* a stray return has named it: its references may be short for ever */
	uint32_t suspect; /* rule + 1 of the last stray return or write, 0 = none */
	uint32_t suspect_age; /* generations seen since the provider took it */
	uint64_t suspect_position;
	/* Entries before either_end that name it at times: what their slots held, or hold now. */
	uint32_t either_count;
	uint64_t either_end;
	uint64_t overrun; /* the overrun in which its return is written, as position + 1 */
};

struct zcrx_holdings {
	struct zcrx_known *known; /* [shape.num_niovs] */
	struct zcrx_shape shape; /* with the provider's contract: see zcrx_legal_of() */
	uint32_t areas; /* that are there for certain, as far as we have taken note */
};

/* 0, -ENOMEM, or -EINVAL where the areas are not all the buffers. */
int zcrx_holdings_init(struct zcrx_holdings *holdings, const struct zcrx_shape *shape);
void zcrx_holdings_destroy(struct zcrx_holdings *holdings);

/* Of a fragment that was delivered. */
static inline uint32_t zcrx_holdings_niov(const struct zcrx_holdings *holdings, uint64_t off)
{
	return zcrx_areas_niov(&holdings->shape, off);
}

static inline struct zcrx_known *zcrx_holdings_of(const struct zcrx_holdings *holdings,
						  const struct zcrx_held *held)
{
	return &holdings->known[zcrx_holdings_niov(holdings, held->off)];
}

/* ZCRX_DUE() of the buffer whose fragment is given back, or ZCRX_DUE_NONE. */
static inline uint16_t zcrx_holdings_due(const struct zcrx_holdings *holdings,
					 const struct zcrx_held *held)
{
	return held->astray ? ZCRX_DUE_NONE : ZCRX_DUE(zcrx_holdings_niov(holdings, held->off));
}

/* A user may give a fragment back twice by mistake: what it holds is not below nothing. */
static inline void zcrx_holdings_let_go(struct zcrx_holdings *holdings,
					const struct zcrx_held *held)
{
	struct zcrx_known *known = zcrx_holdings_of(holdings, held);

	known->held -= known->held != 0 && !held->astray;
}

/* The verdicts that an entry may earn by its bytes alone. */
static inline struct zcrx_legal zcrx_holdings_legal(const struct zcrx_holdings *holdings,
						    const struct io_uring_zcrx_rqe *rqe)
{
	return zcrx_legal_of(rqe, &holdings->shape, holdings->areas);
}

/* Of those, what an entry may earn that is written now: by what is known, too. */
static inline struct zcrx_legal zcrx_holdings_legal_now(const struct zcrx_holdings *holdings,
							struct zcrx_legal by_bytes)
{
	if (by_bytes.names && holdings->known[by_bytes.niov].balance > 0)
		by_bytes.verdicts = ZCRX_LEGAL_SUCCEEDS;
	return by_bytes;
}

/*
 * From here on `position` is that of the entry that is written next.
 *
 * The rule did something to this buffer: what happens to its fragments is put down to it.
 */
void zcrx_holdings_suspect(struct zcrx_holdings *holdings, uint32_t niov, uint32_t rule,
			   uint64_t position);
/* An entry that the rule has no right to names this buffer. */
void zcrx_holdings_stray(struct zcrx_holdings *holdings, uint32_t niov, uint32_t rule,
			 uint64_t position);
/* An entry may take a reference of this buffer that is not its own. */
void zcrx_holdings_expect_take(struct zcrx_holdings *holdings, uint32_t niov, uint32_t rule,
			       uint64_t position);
/*
 * The same, of an entry `at` a position that says so only at times. Remembered until
 * the provider, which stands at `consumed`, is past it, since its slot does not tell.
 */
void zcrx_holdings_expect_either(struct zcrx_holdings *holdings, uint32_t niov, uint64_t at,
				 uint32_t rule, uint64_t position, uint64_t consumed);

/* All references were scrubbed: nothing that has its own by now has one to count on. */
void zcrx_holdings_scrubbed(struct zcrx_holdings *holdings, uint32_t rule, uint64_t position);
/* Those of zcrx_holdings_expect_either() that may still be found are to be expected once more. */
void zcrx_holdings_expect_again(struct zcrx_holdings *holdings, uint32_t rule, uint64_t position,
				uint64_t consumed);

#endif /* ZCRX_HOLDINGS_H */
