/* SPDX-License-Identifier: MIT */
/*
 * Delivery on one queue: what the sources of the NIC share. A burst is a
 * series of takes and puts that becomes visible by one zcrx_nic_queue_publish().
 */
#ifndef ZCRX_NIC_QUEUE_H
#define ZCRX_NIC_QUEUE_H

#include "faults/nic_faults.h"

#define ZCRX_BURST 64U
/*
 * Buffers of one burst: the last packet may bring up to 1024 pieces of 64 bytes,
 * and before them as many fragments of one byte (nic-tiny).
 */
#define ZCRX_TOUCHED_MAX (ZCRX_BURST + ZCRX_PACKET_MAX / 64U + ZCRX_TINY_MAX + 2U)

/* A buffer that this burst took, cut or finished; settled before publication. */
struct zcrx_touched {
	uint32_t niov;
	uint32_t fragments; /* new ones */
	bool fresh; /* no fragment of it was ever visible */
	bool closed; /* the NIC is done with it */
};

struct zcrx_nic_queue {
	struct zcrx_queue queue;
	/* arena source */
	const struct zcrx_arena *arena;
	const struct zcrx_packet *packets;
	uint64_t packet_count, cursor, lap;
	/* the buffer being cut */
	bool has_open;
	bool open_fresh;
	uint32_t open_niov, open_off, open_fragments;
	uint64_t open_at; /* what a CQE says of its first byte */
	/* the burst */
	struct zcrx_touched touched[ZCRX_TOUCHED_MAX];
	uint32_t touched_count;
	uint32_t cqes, fragments;
	uint64_t bytes, packets_done, bytes_offered, packets_offered;
	/* private bookkeeping */
	uint32_t *generation; /* [num_niovs] */
	uint64_t blocked_since; /* 0 = not blocked */
	uint32_t blocked_on; /* bell reasons of this round */
	uint32_t blocked_room, blocked_grants; /* what there was, and was not enough */
	uint32_t looks; /* for room, in vain, since something was delivered */
	uint32_t last_flow, last_seq; /* of the fragment that was put last */
	uint32_t recorded; /* of this time without room: bits of enum zcrx_event_kind */
	uint64_t copy_every, copy_countdown;
	uint32_t mark; /* rule + 1 that the next fragment is marked with, or 0 */
	uint64_t packets_seen; /* dealt with: the ordinal of the one at the cursor */
	struct zcrx_nic_faults faults;
	uint32_t user; /* whom we deliver to: see struct zcrx_user_shared */
};

enum zcrx_offer {
	ZCRX_OFFERED,
	ZCRX_BLOCKED_BUFFER,
	ZCRX_BLOCKED_CQ,
	ZCRX_DROPPED, /* by a fault */
	ZCRX_PUT_OFF, /* by a fault: it comes later */
};

/* May `fragments` be delivered that need `buffers` more granted buffers? */
enum zcrx_offer zcrx_nic_queue_room(struct zcrx_nic_queue *nq, uint32_t fragments,
				    uint32_t buffers);

/* Take a granted buffer; the caller has asked for room. */
uint32_t zcrx_nic_queue_take_grant(struct zcrx_nic_queue *nq);
/* Take a granted buffer and open it (the former open one must be closed). */
uint32_t zcrx_nic_queue_open(struct zcrx_nic_queue *nq);
/* Note that a buffer taken otherwise (copy fallback) belongs to this burst. */
void zcrx_nic_queue_open_copy(struct zcrx_nic_queue *nq, uint32_t niov);
/* Deliver `len` bytes at the open buffer's offset as one fragment. */
void zcrx_nic_queue_fragment(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t len, uint32_t crc);
/* The same under a sequence number that was taken before. */
void zcrx_nic_queue_fragment_as(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t seq,
				uint32_t len, uint32_t crc);
/* Take the next sequence numbers of a flow; the first of them. */
uint32_t zcrx_nic_queue_take_seqs(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t fragments);
/* Done with the open buffer: the stack's own reference goes away. */
void zcrx_nic_queue_close(struct zcrx_nic_queue *nq);
/* The end of a flow: a CQE without buffer. */
void zcrx_nic_queue_end(struct zcrx_nic_queue *nq, uint32_t flow, int32_t res);
/* Fragments of a flow that were not delivered. */
void zcrx_nic_queue_skip(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t fragments);
/* Settle references, publish the CQEs, ring. */
void zcrx_nic_queue_publish(struct zcrx_nic_queue *nq);
/* Note what the queue waits for, so that the NIC can sleep until there is more of it. */
void zcrx_nic_queue_blocked(struct zcrx_nic_queue *nq, enum zcrx_offer why);
/* Record that a packet of a flow was dropped for lack of room: the first since the last delivery. */
void zcrx_nic_queue_record_drop(struct zcrx_nic_queue *nq, enum zcrx_offer why, uint32_t flow);
/* Nothing more is offered, so nothing is waited for: the traffic is over. */
void zcrx_nic_queue_no_more(struct zcrx_nic_queue *nq);
/* The process goes to sleep: a queue that is blocked stands still from here on, at the latest. */
void zcrx_nic_queue_sleeps(struct zcrx_nic_queue *nq);
/* Is there more of it now? */
bool zcrx_nic_queue_may_proceed(struct zcrx_nic_queue *nq);
/*
 * Follow the control process's word on who the user is; false if there is none. What
 * is kept elsewhere for one who goes is let go of by `forget` (NULL: nothing is).
 */
bool zcrx_nic_queue_follow_user(struct zcrx_nic_queue *nq,
				void (*forget)(struct zcrx_nic_queue *nq));
/* Add an area, if the control process wants one: the NIC stands in for the system call. */
void zcrx_nic_queue_add_area(struct zcrx_nic_queue *nq);
/* Give back all granted buffers. */
void zcrx_nic_queue_return_grants(struct zcrx_nic_queue *nq);

/* How many buffers the payload of a packet needs for itself. */
static inline uint32_t zcrx_nic_queue_pieces(const struct zcrx_nic_queue *nq, uint32_t len)
{
	uint32_t shift = nq->queue.shape.niov_shift;

	return (len + (1U << shift) - 1) >> shift;
}

static inline uint32_t zcrx_nic_queue_niov_size(const struct zcrx_nic_queue *nq)
{
	return 1U << nq->queue.shape.niov_shift;
}

/*
 * Before `len` bytes are copied: the buffer that is granted next will be written soon, and
 * its lines are with its last user. So many of them are called for that a copy finds them
 * here; the processor fetches the rest by itself. Not for little payloads: they share buffers.
 */
#define ZCRX_EXPECT_MIN 256U
#define ZCRX_EXPECT_MAX 1536U

static inline void zcrx_nic_queue_expect(const struct zcrx_nic_queue *nq, uint32_t len)
{
	const struct zcrx_grant_ring *grants = &nq->queue.grants;
	const uint8_t *next;

	if (len < ZCRX_EXPECT_MIN || grants->cached_head == grants->cached_tail)
		return;
	next = zcrx_area_niov(
		&nq->queue.area,
		shm_load_relaxed_u32(&grants->slots[grants->cached_head & grants->mask],
				     POINT_GRANT_SLOT));
	for (uint32_t at = 0; at < len && at < ZCRX_EXPECT_MAX; at += SHM_CACHE_LINE)
		shm_expect_write(next + at);
}

static inline void zcrx_nic_queue_count_offered(struct zcrx_nic_queue *nq, uint32_t len)
{
	nq->packets_offered++;
	nq->bytes_offered += len;
}

/* The packet at the cursor was dealt with. */
static inline void zcrx_nic_faults_done(struct zcrx_nic_queue *nq)
{
	nq->faults.asked = false;
	nq->faults.rule = 0;
}

/* Is a packet waiting that was put off? */
static inline bool zcrx_nic_faults_has_put_off(const struct zcrx_nic_queue *nq)
{
	return nq->faults.copy.packet || nq->faults.late.packet;
}

/* A fault that writes the packet elsewhere, or later: the copy fallback is the next one's. */
static inline bool zcrx_nic_faults_passes_turn(const struct zcrx_nic_queue *nq)
{
	return nq->faults.rule && (nq->faults.kind == ZCRX_FAULT_NIC_TINY ||
				   nq->faults.kind == ZCRX_FAULT_NIC_REORDER);
}

#endif /* ZCRX_NIC_QUEUE_H */
