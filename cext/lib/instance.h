/* SPDX-License-Identifier: MIT */
/*
 * What there is of one ring. The pieces of cext/kernel/ do the work; here is what stands
 * around them: where the user's memory is, what is registered, what waits in sockets.
 */
#ifndef ZCRX_LIB_INSTANCE_H
#define ZCRX_LIB_INSTANCE_H

#include <pthread.h>

#include "batch.h"
#include "kernel/provider.h"
#include "ledger.h"
#include "level.h"
#include "machine.h"
#include "wire/rng.h"

#define ZCRX_LIB_PAGE 4096U
#define ZCRX_LIB_IFQS_MAX 64U
#define ZCRX_LIB_HEADER_MAX 128U /* bytes before the entries, at any level */
#define ZCRX_LIB_LOG 1024U
/* Entries that one call of the provider takes, at most. */
#define ZCRX_LIB_LOOK_MAX 512U
/* Bytes of buffers that are read from afar together, at most. */
#define ZCRX_LIB_AHEAD_MAX 65536U

struct zcrx_lib_flow;
struct zcrx_lib_receive;
struct zcrx_lib_waiting;
struct zcrx_lib_trouble;

/* A buffer that the NIC goes on to fill: one reference is the NIC's. */
struct zcrx_lib_open {
	bool is_open;
	uint32_t niov;
	uint32_t used; /* bytes, from the start */
	uint32_t fragments;
};

/* See nic.h. */
struct zcrx_lib_nic {
	uint32_t descriptors;
	uint32_t mtu; /* 0: what arrives by one call is one packet */
	uint64_t wanted; /* buffers that would stand in the descriptors */
	uint32_t *standing; /* a ring of `capacity`; the oldest at `first` */
	uint32_t first, count, capacity;
	bool takes_hot; /* what is being delivered: see arrival.c */
	uint32_t wanted_now; /* what is being delivered may take so many buffers more; a guess */
	struct zcrx_lib_open open;
	uint32_t *held; /* by a fault: buffers that it fills none of, for so many packets yet */
	uint32_t held_count;
	uint64_t hold_left;
};

/* Bytes that arrive, on their way into buffers: see arrival.c. */
struct zcrx_lib_filling {
	struct zcrx_lib_batch batch;
	struct zcrx_lib_waiting **sure; /* what waits in the socket before this is written */
	bool is_torn; /* some could not be */
};

/* Is a buffer yet to be poisoned? */
enum zcrx_lib_owed { ZCRX_LIB_NOT_OWED, ZCRX_LIB_OWED, ZCRX_LIB_OWED_AND_LEFT };

/* What of buffers is looked at or overwritten together: see watch.c. */
struct zcrx_lib_watch {
	struct zcrx_lib_batch poisoning;
	uint32_t niovs[ZCRX_EMU_PIECES_MAX]; /* whose each piece is */
	uint8_t poison[ZCRX_LIB_PAGE];
	uint8_t *bytes; /* room for ZCRX_LIB_AHEAD_MAX of them, read from afar; NULL: none yet */
	/*
	 * Buffers that came home within a delivery: they may leave again before it ends, and be
	 * filled. By buffer an enum zcrx_lib_owed; and those that are not 0.
	 */
	uint8_t *owed;
	uint32_t *owing;
	uint32_t owing_count;
	bool puts_off; /* a delivery is under way */
	uint32_t look; /* never 0: buffers that were looked at in this one need not be again */
};

/* What is told of a queue, and to whom. Sets are by enum zcrx_event_type. */
struct zcrx_lib_events {
	struct zcrx_emu *ring; /* the one that registered it; NULL: nobody */
	uint64_t user_data;
	uint32_t wanted;
	uint32_t fired; /* since they were armed */
	uint32_t due; /* fired, and not completed yet */
	uint64_t stats_at; /* in the region; 0: none are kept */
};

struct zcrx_fault_plan;

/* What a plan of faults does to a queue: see trouble.h. */
struct zcrx_lib_queue_trouble {
	struct zcrx_emu
		*ring; /* which registered the queue, and whose plan it follows; NULL: gone */
	uint32_t id; /* as that one calls it */
	/* Triggers; NULL: there is nothing to ask. */
	struct zcrx_fault_plan *nic, *provider, *queue;
	uint64_t packets, allocations, turns; /* their ordinals */
	uint32_t failing; /* allocations that fail yet */
	uint32_t blind; /* allocations that do not look into the refill ring yet */
	bool is_restart_due; /* it waits for a page pool to be gone */
};

struct zcrx_lib_late;

/* One interface queue. */
struct zcrx_lib_ifq {
	struct zcrx_lib_ifq *next; /* of the machine */
	uint32_t users; /* rings, and descriptors that stand for it */
	/* As the ring had it that registered the queue, which may be gone before it is. */
	const struct zcrx_lib_level *level;
	struct zcrx_emu_memory memory;
	uint32_t flags; /* ZCRX_EMU_… */
	uint8_t poison;
	uint32_t if_idx, if_rxq;
	bool is_nodev;
	struct zcrx_ifq ifq;
	struct zcrx_area area;
	struct zcrx_lib_area **areas; /* where its bytes are, by area id: see area.h */
	uint32_t area_count;
	/*
	 * The refill ring: the program's, and the copy that the provider judges. Each look
	 * copies what is new, once: so provider and ledger have seen the same bytes, whatever
	 * the program writes meanwhile and wherever its memory is.
	 */
	struct zcrx_lib_window region;
	uint64_t region_size;
	uint8_t *made; /* by us, which the program is told an offset of; NULL: it is its own */
	uint32_t head; /* as published */
	uint32_t steps_to_publish; /* ZCRX_EMU_LATE_HEAD: until it is published; 0: it is */
	uint32_t last_tail; /* as last seen */
	uint32_t seen; /* entries up to this one were looked at, and stand in the copy */
	uint32_t last_available;
	uint32_t round_tail; /* see zcrx_lib_queue_tail_of_round() */
	bool has_round_tail;
	_Alignas(uint64_t)
		uint8_t header[ZCRX_LIB_HEADER_MAX]; /* as it should be, but for the tail */
	shm_u32 copy_head, copy_tail;
	struct zcrx_trace trace;
	struct zcrx_judgement judged[ZCRX_LIB_LOOK_MAX];
	struct zcrx_lib_nic nic;
	struct zcrx_lib_filling filling;
	struct zcrx_lib_watch watch;
	struct zcrx_lib_late *late; /* a packet that others overtake, or NULL: see late.h */
	struct zcrx_lib_events events;
	struct zcrx_lib_queue_trouble trouble;
	struct zcrx_lib_ledger ledger;
	void *block; /* what the pieces of the kernel's side lie in */
	shm_u32 *more_rings; /* of the page pools behind the first; NULL: it was never restarted */
};

/* The completion queue, the program's. */
struct zcrx_lib_cq {
	struct zcrx_lib_window head; /* the program's to write: anything may stand there */
	struct zcrx_lib_window tail; /* ours to publish */
	struct zcrx_lib_window cqes;
	struct zcrx_lib_window sq_flags; /* not open: none */
	uint32_t entries; /* 0: no queue was set */
	uint32_t entry_shift; /* 5: of 32 bytes; 4: of 16, in a ring of mixed sizes */
	uint32_t large; /* entries that one of 32 bytes takes: 1, or 2 there */
	uint32_t cached_head;
	uint32_t cached_tail; /* private: never read back */
};

struct zcrx_emu {
	struct zcrx_lib_handle handle;
	struct zcrx_emu_machine *machine;
	struct zcrx_emu *next; /* of the machine */
	struct zcrx_emu_options options;
	struct zcrx_emu_memory memory;
	struct zcrx_emu_descriptors descriptors;
	const struct zcrx_lib_level *level;
	struct zcrx_contract contract;
	bool is_finished;
	char why[640];
	struct zcrx_lib_ifq *ifqs[ZCRX_LIB_IFQS_MAX]; /* by id */
	uint32_t ifq_count;
	struct zcrx_lib_cq cq;
	bool is_head_reported;
	struct zcrx_emu_cqe *waiting; /* completions that found no room */
	uint32_t waiting_count, waiting_capacity;
	bool is_posting; /* the callback is at work */
	uint64_t rounds; /* of all receives */
	struct zcrx_lib_flow **flows; /* hashed */
	struct zcrx_lib_receive *receives; /* oldest first */
	struct zcrx_lib_receive **receives_end;
	struct zcrx_lib_waiting *spare; /* not in use */
	struct zcrx_rng rng;
	struct zcrx_lib_trouble *trouble; /* NULL: nothing goes wrong */
	struct zcrx_lib_reports reports;
	pthread_t issuer; /* who made it: IORING_SETUP_SINGLE_ISSUER */
	pthread_t thread;
	bool has_thread;
	shm_u32 is_stopped;
};

/* Say why something is refused; returns `error`. */
int zcrx_lib_refuse(struct zcrx_emu *emu, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static inline bool zcrx_lib_is_zero(const void *bytes, size_t size)
{
	const uint8_t *byte = bytes;

	while (size--) {
		if (*byte++)
			return false;
	}
	return true;
}

static inline bool zcrx_lib_checks(const struct zcrx_emu *emu)
{
	return !(emu->options.flags & ZCRX_EMU_NO_CHECK);
}

static inline bool zcrx_lib_ifq_checks(const struct zcrx_lib_ifq *queue)
{
	return !(queue->flags & ZCRX_EMU_NO_CHECK);
}

/* Completions have 16 bytes, and those of data 32: IORING_CQE_F_32 says which. */
static inline bool zcrx_lib_is_mixed(const struct zcrx_emu *emu)
{
	return !(emu->options.ring_flags & IORING_SETUP_CQE32);
}

/* Where a ring maps the region of its queue `id`, if that is one that we made. */
static inline uint64_t zcrx_lib_region_offset(uint32_t id)
{
	return 0x30000000U + ((uint64_t)id << 16);
}

/* NULL if there is none. */
static inline struct zcrx_lib_ifq *zcrx_lib_ifq_of(struct zcrx_emu *emu, uint32_t id)
{
	return id < emu->ifq_count ? emu->ifqs[id] : NULL;
}

#endif /* ZCRX_LIB_INSTANCE_H */
