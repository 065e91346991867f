/* SPDX-License-Identifier: MIT */
/*
 * Faults of the refill ring itself: tails that lie, entries that change while
 * they are read, returns over what was not consumed yet, returns by the wrong
 * ring, words that are scribbled on. Each leaves the intent log such that every
 * verdict can be judged. What a plan wants later is armed here, and carried out
 * when whoever has the returns says that it is time.
 */
#ifndef ZCRX_RING_FAULTS_H
#define ZCRX_RING_FAULTS_H

#include "actors/rq_writer.h"
#include "fault.h"

struct zcrx_ring_faults {
	struct zcrx_rq_writer *writer;
	struct zcrx_holdings *holdings;
	shm_u32 *cq_head, *cq_tail; /* the completion queue's, as its header says */

	uint32_t tail_ahead; /* entries to publish unwritten behind this batch */
	uint32_t tail_rule; /* + 1 */
	uint32_t over, over_rule; /* returns that ignore a full ring, rule + 1 */
	uint32_t forget, forget_rule; /* returns that are forgotten when it is full, rule + 1 */
	uint32_t lies; /* rule + 1 of a lie about the tail that follows this batch, 0 = none */
	uint32_t lie; /* … the tail itself, or how far it is moved back */
	bool lie_is_absolute;
	uint32_t astray; /* rule + 1 of a lie that the provider may still follow, 0 = none */
	uint32_t scribble; /* what we last wrote into the head */
	bool has_scribbled;
	bool has_scribbled_cq; /* the completion queue's head is to be published again */

	uint32_t queues; /* of the run */
	uint32_t rule_count;
	/* Rules of any queue that send returns elsewhere. */
	bool misdirecting[ZCRX_FAULT_RULES_MAX];
};

/* The rules are a plan's that compiled. From here on no lie is out. */
void zcrx_ring_faults_init(struct zcrx_ring_faults *faults, struct zcrx_rq_writer *writer,
			   uint32_t queues, const struct zcrx_fault_rule *rules,
			   uint32_t rule_count);

/* Entries that are published and not consumed, as far as can be seen. */
uint32_t zcrx_ring_faults_lead(const struct zcrx_ring_faults *faults);

/* ---- a tail that lies ---- */

/* Publish so many entries more than are written. */
void zcrx_ring_faults_arm_ahead(struct zcrx_ring_faults *faults, uint32_t count, uint32_t rule);
void zcrx_ring_faults_run_ahead(struct zcrx_ring_faults *faults);

/*
 * Let a lie follow this batch: a tail that is moved back by so much, or any
 * value. It is published last, since nothing may be written behind it.
 */
void zcrx_ring_faults_arm_lie(struct zcrx_ring_faults *faults, uint32_t value, bool is_absolute,
			      uint32_t rule);
void zcrx_ring_faults_lie(struct zcrx_ring_faults *faults);

/*
 * After a tail that lied: the provider may have read beyond what was written,
 * and may be at it. Claim what it took and what it still may take, publish the
 * true tail. True when nothing written from now on can be overtaken.
 */
bool zcrx_ring_faults_recover(struct zcrx_ring_faults *faults);

/* ---- a head that lies ---- */

/* A value for an index word that cannot be mistaken for one near `index`. */
uint32_t zcrx_ring_faults_scribble(uint32_t index, uint32_t random);
/* Scribble on the refill ring's head, and on the completion queue's. */
void zcrx_ring_faults_scribble_head(struct zcrx_ring_faults *faults, uint32_t random);
void zcrx_ring_faults_scribble_cq_head(struct zcrx_ring_faults *faults, uint32_t random);

/* ---- entries that are not what was published ---- */

/*
 * Put an entry where there is room for one. What was put before it is published
 * first, so that it is the last that the provider sees.
 *
 * Early: it is published, then written, after that long at the latest.
 */
void zcrx_ring_faults_put_early(struct zcrx_ring_faults *faults, const struct zcrx_entry *entry,
				uint32_t wait_us);
/* Rewritten: written, published, and then spoiled and restored so many times; `how`: see spoiled(). */
void zcrx_ring_faults_put_rewritten(struct zcrx_ring_faults *faults, const struct zcrx_entry *entry,
				    uint32_t times, uint32_t how);

/* ---- a full ring ---- */

/* So many returns, as soon as the ring is full: written all the same, or forgotten. */
void zcrx_ring_faults_arm_overrun(struct zcrx_ring_faults *faults, uint32_t count, uint32_t rule);
void zcrx_ring_faults_arm_forget(struct zcrx_ring_faults *faults, uint32_t count, uint32_t rule);
/* So many were forgotten: that is over. */
void zcrx_ring_faults_forgot(struct zcrx_ring_faults *faults, uint64_t count);

/* How many returns an overrun may write now. */
uint32_t zcrx_ring_faults_overrun_room(const struct zcrx_ring_faults *faults);
/*
 * Before returns are written over what is not consumed: first this for each of
 * them, then the excuse for all. Each is found at an earlier place than it was put
 * at, too, and robs what is in between.
 */
void zcrx_ring_faults_expect_overrun(struct zcrx_ring_faults *faults, const struct zcrx_held *held);
void zcrx_ring_faults_excuse_overrun(struct zcrx_ring_faults *faults);
/*
 * Write one of them, over an entry that was not consumed when we last looked. Room
 * for one intent is there.
 */
void zcrx_ring_faults_put_over(struct zcrx_ring_faults *faults, const struct zcrx_held *held);
/* All are written: that is over. */
void zcrx_ring_faults_overran(struct zcrx_ring_faults *faults);

/* ---- by the wrong ring ---- */

/* Give a fragment to the user of another queue, whose ring it does not belong in. */
bool zcrx_ring_faults_misdirect(struct zcrx_ring_faults *faults, uint64_t off, uint32_t by,
				uint32_t rule);
/* Put in what others sent here so; how many entries were written (0 or 1). */
uint32_t zcrx_ring_faults_put_misdirected(struct zcrx_ring_faults *faults);

#endif /* ZCRX_RING_FAULTS_H */
