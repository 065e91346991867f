/* SPDX-License-Identifier: MIT */
/*
 * Faults of the NIC. The plan is asked once for each packet of a queue. What it
 * wants is done in one of three places: at once (a pause, a jump of the clock,
 * buffers held back), to the packet at the cursor (at most one thing, the first
 * of the plan), or later, to a packet that was put off.
 *
 * Without a due rule none of this is entered.
 */
#ifndef ZCRX_NIC_FAULTS_H
#define ZCRX_NIC_FAULTS_H

#include "fault.h"
#include "actors/nic.h"

#define ZCRX_TINY_MAX 1024U /* fragments of one byte of a packet, at most */

struct zcrx_nic_queue;

/* A packet that is delivered later, under sequence numbers that it has already. */
struct zcrx_put_off {
	const struct zcrx_packet *packet; /* NULL = none */
	uint64_t due; /* packet of the queue before which it comes */
	uint32_t seq; /* of its first fragment */
	uint32_t rule; /* + 1 */
	enum zcrx_fault_kind kind;
};

struct zcrx_nic_faults {
	struct zcrx_fault_plan plan;
	bool asked; /* about the packet at the cursor */
	/* What is done to the packet at the cursor. */
	enum zcrx_fault_kind kind;
	uint32_t rule; /* + 1; 0 = nothing */
	uint32_t amount; /* its parameter; truncate and tiny: what that comes to */
	/* While a packet that is not delivered as it came is written. */
	enum zcrx_fault_kind put_kind;
	uint32_t put_rule; /* + 1; 0 = as it came */
	uint32_t put_seq; /* put off: of the next fragment */
	uint32_t put_left; /* truncate: fragments before the one that is cut short */
	/* Later. */
	struct zcrx_put_off copy; /* the second delivery of a packet */
	struct zcrx_put_off late;
	uint64_t
		hold_until; /* packet at which held buffers go back; ZCRX_FAULT_NEVER = none held */
	uint64_t later_due; /* the least of the three */
	uint64_t burst_end; /* packets before this one come without giving other queues a turn */
	bool gathering; /* they wait for the last of them to be due */
};

/* 0, or what zcrx_fault_compile() says; tells the consumer what the rules' marks stand for. */
int zcrx_nic_faults_init(struct zcrx_nic_queue *nq, const struct zcrx_fault_rule *rules,
			 uint32_t rule_count, uint64_t seed);

/*
 * Ask the plan about the packet at the cursor, once. *skew_ns is what the clock
 * that paces packets is ahead of the monotonic one.
 */
void zcrx_nic_faults_ask(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
			 int64_t *skew_ns);
/* What was to be done to the packet at the cursor is done. */
void zcrx_nic_faults_count(struct zcrx_nic_queue *nq);

/* It comes later; its sequence numbers are those that it would have had now. */
void zcrx_nic_faults_put_off_late(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet);
/* It was delivered, from sequence number `seq` on, and will be once more. */
void zcrx_nic_faults_put_off_copy(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
				  uint32_t seq);

/* From here to zcrx_nic_faults_put_end() fragments are written by zcrx_nic_faults_put(). */
void zcrx_nic_faults_put_begin(struct zcrx_nic_queue *nq, const struct zcrx_put_off *put_off);
void zcrx_nic_faults_put_end(struct zcrx_nic_queue *nq);
/* The fragment that lies at `to`, of the packet that is not delivered as it came. */
void zcrx_nic_faults_put(struct zcrx_nic_queue *nq, uint8_t *to, uint32_t flow, uint32_t len,
			 uint32_t crc);

/* What was put off and is due now; NULL = nothing. Gives held buffers back that are due. */
struct zcrx_put_off *zcrx_nic_faults_due(struct zcrx_nic_queue *nq);
/* It was delivered, or its time was up. */
void zcrx_nic_faults_put_off_done(struct zcrx_nic_queue *nq, struct zcrx_put_off *put_off,
				  bool delivered);
/* No packet follows: what was put off is due. True if there is any. */
bool zcrx_nic_faults_no_more(struct zcrx_nic_queue *nq);
/* Whoever should have had it is gone: drop what was put off. */
void zcrx_nic_faults_forget(struct zcrx_nic_queue *nq);

/* Give the buffers back that were held. */
void zcrx_nic_faults_give_back(struct zcrx_nic_queue *nq);

#endif /* ZCRX_NIC_FAULTS_H */
