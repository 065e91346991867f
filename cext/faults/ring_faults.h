/* SPDX-License-Identifier: MIT */
/*
 * Faults of the refill ring itself: tails that lie, entries that change while
 * they are read, returns over what was not consumed yet, returns by the wrong
 * ring. Each leaves the intent log such that every verdict can be judged.
 */
#ifndef ZCRX_RING_FAULTS_H
#define ZCRX_RING_FAULTS_H

#include "actors/returns.h"

/* How the entry of a return gets into the ring. */
enum zcrx_put {
	ZCRX_PUT = 0, /* written, then published with its batch */
	ZCRX_PUT_EARLY = 1, /* published, then written */
	ZCRX_PUT_REWRITTEN = 2, /* written, published, and then rewritten again and again */
};

/*
 * Put an entry in one of the latter two ways: what was put before it is
 * published first, so that it is the last that the provider sees. Room for one
 * entry is there.
 */
void zcrx_put_early(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe,
		    uint32_t rule, bool is_due);
void zcrx_put_rewritten(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe,
			uint32_t rule, bool is_due);

/*
 * Before the first so many pending returns are written over what is not
 * consumed: each is found at an earlier place than it was put at, too, and robs
 * what is in between.
 */
void zcrx_excuse_overrun(struct zcrx_returns *returns, uint64_t count);

/*
 * The ring is full. Write the return all the same, over an entry that was not
 * consumed when we last looked. Room for one intent is there.
 */
void zcrx_put_over(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe, uint32_t rule,
		   bool is_due);

/*
 * Let a lie follow this batch: a tail that is moved back by so much, or any
 * value. It is published last, since nothing may be written behind it.
 */
void zcrx_tail_lie(struct zcrx_returns *returns, uint32_t value, bool is_absolute, uint32_t rule);
void zcrx_tail_publish_lie(struct zcrx_returns *returns);

/*
 * After a tail that lied: the provider may have read beyond what was written,
 * and may be at it. Claim what it took and what it still may take, publish the
 * true tail. True when nothing written from now on can be overtaken.
 */
bool zcrx_returns_recover(struct zcrx_returns *returns);

/* A value for an index word that cannot be mistaken for one near `index`. */
uint32_t zcrx_scribble(uint32_t index, uint32_t random);
/* Scribble on the refill ring's head. */
void zcrx_scribble_head(struct zcrx_returns *returns, uint32_t random);

/* Give a fragment to the user of another queue, whose ring it does not belong in. */
bool zcrx_misdirect(struct zcrx_returns *returns, uint64_t off, uint32_t by, uint32_t rule);
/* Put in what others sent here so; how many entries were written (0 or 1). */
uint32_t zcrx_put_misdirected(struct zcrx_returns *returns);

/* A scrub of a living user went by: what it holds and what it has not read is no longer its own. */
void zcrx_returns_follow_scrub(struct zcrx_returns *returns);

#endif /* ZCRX_RING_FAULTS_H */
