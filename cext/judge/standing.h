/* SPDX-License-Identifier: MIT */
/*
 * A queue that may stand still, seen from outside: what its NIC waits for, and
 * where every buffer is meanwhile. A fair sample while something moves; exact
 * when it really stands still.
 */
#ifndef ZCRX_STANDING_H
#define ZCRX_STANDING_H

#include "run/layout.h"

struct zcrx_standing {
	/* the NIC's words: see struct zcrx_nic_shared */
	uint64_t since, looks, longest, longest_since, last_since, last_until;
	uint64_t short_rounds; /* the provider's: it was asked for buffers and had too few */
	uint64_t consumed; /* RQEs that it has taken */
	uint32_t waits_for_cq;
	uint32_t has_user;
	uint32_t consumer_sleeps; /* until there is a completion; by a word that it can write */
	/* buffers, each in one place */
	uint32_t freelist, cache, ptr_ring, grant_ring, nic;
	uint32_t unread; /* with the user: in a completion that it has not read */
	uint32_t returned; /* with the user: a published RQE names it, which nobody has read */
	uint32_t kept; /* with the user: it was read, and no published RQE names it */
	/* entries */
	uint32_t completions_unread, rqes_unread;
	/* of the buffers that are kept: the one whose last fragment is the oldest */
	uint32_t oldest_niov, oldest_completion, oldest_flow, oldest_seq;
};

/* Since when packets are offered and none is delivered, 0 = they flow: cheap enough for each tick. */
uint64_t zcrx_still_since(const struct zcrx_queue *queue);

/* 0, or -ENOMEM. The control process. */
int zcrx_standing_read(struct zcrx_queue *queue, struct zcrx_standing *standing);

#endif /* ZCRX_STANDING_H */
