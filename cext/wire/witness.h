/* SPDX-License-Identifier: MIT */
/*
 * What a user was given and what it gave back, noted on the kernel's side for whoever
 * judges a user that writes its rings itself: the NIC notes each fragment, the provider
 * the bytes of each entry as it read them. The user can reach none of it.
 *
 * Two numbers put the two logs into one order. A delivery says how many entries had been
 * judged for certain before it: what gave its buffer back last is among them, what gives
 * this fragment back is not. An entry says how many fragments had been delivered when it
 * was read, which is after the tail was: whoever had seen a fragment's completion before
 * it published the entry finds the fragment among them, and its reference was there.
 *
 * Without a judge there are no logs, and nothing is noted.
 */
#ifndef ZCRX_WITNESS_H
#define ZCRX_WITNESS_H

#include "abi.h"
#include "shm.h"

/* One fragment. */
struct zcrx_delivery {
	uint64_t judged; /* entries judged before it, of which that is certain */
	uint32_t niov;
	uint32_t at, length; /* in its buffer; at is below 2^31 */
	uint32_t flow;
	uint32_t completion; /* its index in the completion queue, u32, free-running */
	uint32_t tail; /* of the refill ring, before the completion could be seen */
	bool is_first; /* since its buffer was granted */
};

/* The same in the log. */
struct zcrx_delivery_slot {
	shm_u64 judged;
	shm_u64 niov_at; /* is_first << 63 | at << 32 | niov */
	shm_u64 length_flow; /* flow << 32 | length */
	shm_u64 completion_tail; /* tail << 32 | completion */
};

/* One entry, at the position of its verdict in the verdict log. */
struct zcrx_entry_slot {
	shm_u64 off;
	shm_u64 len_pad; /* as in a slot of the ring */
	shm_u64 delivered; /* fragments that had been delivered when it was read */
};

struct zcrx_witness_shared {
	_Alignas(SHM_CACHE_LINE) shm_u64 delivered; /* fragments ever; the NIC is the one writer */
};

struct zcrx_witness {
	struct zcrx_witness_shared *shared; /* NULL: nobody judges, nothing is noted */
	struct zcrx_delivery_slot *deliveries; /* [2 * (mask + 1)] */
	struct zcrx_entry_slot *entries; /* [mask + 1] */
	uint64_t mask;
	uint64_t noted; /* private to the NIC: deliveries in the log, published or not */
};

static inline struct zcrx_delivery_slot *zcrx_witness_slot(const struct zcrx_witness *witness,
							   uint64_t number)
{
	return &witness->deliveries[number & (2 * witness->mask + 1)];
}

/* A fragment of the burst; zcrx_witness_publish() says that it is there. */
static inline void zcrx_witness_note(struct zcrx_witness *witness,
				     const struct zcrx_delivery *delivery)
{
	struct zcrx_delivery_slot *slot = zcrx_witness_slot(witness, witness->noted++);

	shm_store_relaxed_u64(&slot->judged, delivery->judged, POINT_LOG);
	shm_store_relaxed_u64(&slot->niov_at,
			      (uint64_t)delivery->is_first << 63 | (uint64_t)delivery->at << 32 |
				      delivery->niov,
			      POINT_LOG);
	shm_store_relaxed_u64(&slot->length_flow, (uint64_t)delivery->flow << 32 | delivery->length,
			      POINT_LOG);
	shm_store_relaxed_u64(&slot->completion_tail,
			      (uint64_t)delivery->tail << 32 | delivery->completion, POINT_LOG);
}

/*
 * The fragments of a burst have their references; the completions come next.
 *
 * Ordering: pairs with the acquire in zcrx_witness_delivered(): who sees the count finds
 * the references, and the slots of the log.
 */
static inline void zcrx_witness_publish(struct zcrx_witness *witness)
{
	if (witness->shared)
		shm_store_release_u64(&witness->shared->delivered, witness->noted, POINT_LOG);
}

/* Ordering: pairs with the release in zcrx_witness_publish(). */
static inline uint64_t zcrx_witness_delivered(const struct zcrx_witness *witness)
{
	return shm_load_acquire_u64(&witness->shared->delivered, POINT_LOG);
}

static inline struct zcrx_delivery zcrx_witness_read(const struct zcrx_witness *witness,
						     uint64_t number)
{
	const struct zcrx_delivery_slot *slot = zcrx_witness_slot(witness, number);
	uint64_t niov_at = shm_load_relaxed_u64(&slot->niov_at, POINT_LOG);
	uint64_t length_flow = shm_load_relaxed_u64(&slot->length_flow, POINT_LOG);
	uint64_t completion_tail = shm_load_relaxed_u64(&slot->completion_tail, POINT_LOG);

	return (struct zcrx_delivery){
		.judged = shm_load_relaxed_u64(&slot->judged, POINT_LOG),
		.niov = (uint32_t)niov_at,
		.at = (uint32_t)(niov_at >> 32) & 0x7fffffffU,
		.length = (uint32_t)length_flow,
		.flow = (uint32_t)(length_flow >> 32),
		.completion = (uint32_t)completion_tail,
		.tail = (uint32_t)(completion_tail >> 32),
		.is_first = niov_at >> 63,
	};
}

/*
 * An entry as the provider read it, `delivered` as zcrx_witness_delivered() said after the
 * tail was read. Covered by the release of the count of judged entries, as its verdict is.
 */
static inline void zcrx_witness_note_entry(const struct zcrx_witness *witness, uint64_t position,
					   struct io_uring_zcrx_rqe rqe, uint64_t delivered)
{
	struct zcrx_entry_slot *slot = &witness->entries[position & witness->mask];

	shm_store_relaxed_u64(&slot->off, rqe.off, POINT_LOG);
	shm_store_relaxed_u64(&slot->len_pad, (uint64_t)rqe.__pad << 32 | rqe.len, POINT_LOG);
	shm_store_relaxed_u64(&slot->delivered, delivered, POINT_LOG);
}

/* The entry at a position that was judged. */
static inline struct io_uring_zcrx_rqe zcrx_witness_entry(const struct zcrx_witness *witness,
							  uint64_t position, uint64_t *delivered)
{
	const struct zcrx_entry_slot *slot = &witness->entries[position & witness->mask];
	uint64_t len_pad = shm_load_relaxed_u64(&slot->len_pad, POINT_LOG);

	*delivered = shm_load_relaxed_u64(&slot->delivered, POINT_LOG);
	return (struct io_uring_zcrx_rqe){
		.off = shm_load_relaxed_u64(&slot->off, POINT_LOG),
		.len = (uint32_t)len_pad,
		.__pad = (uint32_t)(len_pad >> 32),
	};
}

#endif /* ZCRX_WITNESS_H */
