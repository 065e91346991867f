/* SPDX-License-Identifier: MIT */
/*
 * The one place that says how big each shared object is and what lies where.
 *
 *   object   made once a   mapped by                        holds
 *   run      run           kernel side                      state, acknowledgements, totals
 *   bells    run           everyone                         doorbells (harmless to scribble on)
 *   arena    run           NIC                              the traffic to replay
 *   kern     queue         kernel side                      references, freelist, pools, grants, verdicts,
 *                                                           journals and flight recorders of NIC and provider,
 *                                                           what they witness of a user that is judged by it
 *   rings    queue         everyone of the queue            refill ring, completion queue
 *   area     queue         everyone of the queue            the buffers
 *   notes      queue         everyone of the queue            what the experiment itself writes down:
 *                                                           intents, ledger, the consumer's counters,
 *                                                           journal and flight recorder
 *
 * "Kernel side" is NIC, provider and control process. A consumer maps bells,
 * rings, area and notes of its own queue, and nothing else.
 */
#ifndef ZCRX_LAYOUT_H
#define ZCRX_LAYOUT_H

#include "wire/bell.h"
#include "wire/flight.h"
#include "kernel/plugin.h"
#include "wire/journal.h"

#define ZCRX_LAYOUT_VERSION 1U
#define ZCRX_QUEUES_MAX 64U
#define ZCRX_RULES_MAX 254U
#define ZCRX_AREA_SIZES 8U /* of areas that differ in size */
#define ZCRX_NIC_HELD_MAX 4096U /* granted buffers that a fault may make the NIC hold back */

/* One queue: its sizes, all powers of two but num_niovs and ptr_ring_size, and its contract. */
struct zcrx_shape {
	uint32_t num_niovs; /* of all areas, those that may be added too */
	uint32_t niov_shift;
	uint32_t rq_entries;
	uint32_t cq_entries;
	uint32_t ptr_ring_size;
	uint32_t grant_entries;
	uint32_t log_entries; /* of the verdict log (three bytes each) and the intent log (four) */
	uint32_t flows_max;
	uint32_t initial_index; /* where both indices of both rings start */
	/*
	 * Where the pieces of the rings object stand: 0 = as usual; any other number
	 * draws another order and other gaps, for each queue its own. The kernel side
	 * knows it, a consumer need not: it goes by the offsets of the header.
	 */
	uint32_t ring_layout;
	uint32_t flight_entries; /* events of each flight recorder; 0 = none */
	struct zcrx_contract contract;
	uint32_t
		has_no_device; /* bool: see struct zcrx_ifq; of a level with a flush, and of pages */
	uint32_t is_witnessed; /* bool: its user writes the rings itself: see wire/witness.h */
	/*
	 * How many areas there may be; up to 1: there is one, and it has all the buffers. More,
	 * at a level that has them: it begins with `areas` of them. Their buffers, area by area;
	 * those behind the last that is not 0 have as many: see areas.h.
	 */
	uint32_t areas_max;
	uint32_t areas;
	uint32_t area_niovs[ZCRX_AREA_SIZES];
};

struct zcrx_sizes {
	uint64_t kern, rings, area, notes;
};

/* 0 and the sizes of a queue's objects, or -EINVAL for a shape that cannot be. */
int zcrx_layout_sizes(const struct zcrx_shape *shape, struct zcrx_sizes *sizes);

/* ---- run ------------------------------------------------------------------- */

enum zcrx_run_state {
	ZCRX_RUN_STARTING = 0,
	ZCRX_RUN_TRAFFIC = 1, /* the NIC offers packets */
	ZCRX_RUN_QUIESCE = 2, /* the NIC offers nothing more; what was delivered is consumed */
	ZCRX_RUN_DRAIN = 3, /* the user is gone; RQEs are judged, buffers come home */
	ZCRX_RUN_DESTROY = 4, /* pools are torn down, the destroy check runs */
	ZCRX_RUN_EXIT = 5,
};

struct zcrx_run_shared {
	uint32_t version;
	uint32_t queues;
	_Alignas(SHM_CACHE_LINE) shm_u32 state; /* written by the control process */
	shm_u32 aborted; /* a kernel-side process died: locks may be broken */
	_Alignas(SHM_CACHE_LINE) shm_u32 nic_ack; /* the last state that the NIC has carried out */
	_Alignas(SHM_CACHE_LINE) shm_u32 provider_ack;
};

/* Those of a run that are ever busy: the NIC, the provider, and a consumer a queue. */
#define ZCRX_BUSY_PROCESSES(queues) ((queues) + 2U)

struct zcrx_bells {
	struct zcrx_bell provider;
	struct zcrx_bell nic;
	struct zcrx_bell control;
	struct zcrx_bell consumers[ZCRX_QUEUES_MAX];
	/*
	 * A fragment on its way to the wrong queue's user (an application that mixes its
	 * rings up): rule + 1 << 56 | its place in the memory of all areas; 0 = none.
	 */
	shm_u64 misdirected[ZCRX_QUEUES_MAX];
};

/* ---- kern: the NIC's part ---------------------------------------------------- */

#define ZCRX_NIC_COUNTERS(X)    \
	X(packets_offered)      \
	X(packets_delivered)    \
	X(packets_dropped)      \
	X(dropped_no_buffer)    \
	X(dropped_cq_full)      \
	X(bytes_offered)        \
	X(bytes_delivered)      \
	X(fragments_delivered)  \
	X(fragments_dropped)    \
	X(copied_packets)       \
	X(copied_bytes)         \
	X(copies_placed)        \
	X(grants_taken)         \
	X(ownership_violations) \
	X(waits_no_buffer)      \
	X(waits_cq_full)        \
	X(connections)

/*
 * What came out of the sockets of a queue, by the NIC's own account: that is
 * what a file is held against, and what tells that nothing more will come. A
 * completion may be lost with its reader; this cannot.
 *
 * marks[i] is the CRC32C of the first (i + 1) * step bytes. When all are in
 * use, every other one goes and step doubles, so the list never ends and the
 * place of a first difference is known to within a part in 512.
 */
#define ZCRX_STREAM_MARKS 1024U
#define ZCRX_STREAM_STEP 4096U

struct zcrx_stream_shared {
	shm_u64 bytes;
	shm_u64 step; /* 0 = nothing came */
	shm_u32 crc; /* of all bytes */
	shm_u32 mark_count;
	shm_u32 error; /* errno of the first connection that broke; 0 = none */
	shm_u32 ends; /* connections that ended, in order or not; written last */
	shm_u32 marks[ZCRX_STREAM_MARKS];
};

struct zcrx_nic_shared {
#define ZCRX_NIC_FIELD(name) shm_u64 name;
	_Alignas(SHM_CACHE_LINE) ZCRX_NIC_COUNTERS(ZCRX_NIC_FIELD)
#undef ZCRX_NIC_FIELD
		shm_u64 injected[ZCRX_RULES_MAX]; /* by rule of the plan: how often it fired */
	shm_u32 open_niov; /* the buffer being cut into fragments, + 1; 0 = none */
	shm_u32 publishing; /* fragments have their references and are not visible yet */
	shm_u32 held_count; /* granted buffers held back by a fault */
	struct zcrx_stream_shared stream;
	/*
	 * Standing still: packets are offered and none is delivered. Times are of
	 * CLOCK_MONOTONIC in ns; the clock is read when it begins and when it ends.
	 */
	shm_u64 still_since; /* 0 = packets flow, or none is offered */
	shm_u64 still_looks; /* how often room was looked for since then, in vain */
	shm_u64 still_longest, still_longest_since; /* of those that ended */
	shm_u64 still_last_since, still_last_until; /* with which the traffic ended, or 0 */
	shm_u32 still_cq; /* it waits for room in the completion queue, not for a buffer */
};

/* The last fragment that was delivered of a buffer: whoever keeps it has had it since then. */
struct zcrx_given {
	shm_u32 completion; /* its index in the completion queue, u32, free-running */
	shm_u32 flow, seq;
};

/*
 * Who the queue's user is: 0 = nobody, n = the n-th. The control process wants
 * a change, NIC and provider follow: with no user, nothing is delivered and no
 * RQE is read; a new user finds both rings empty, whatever the last one left.
 */
struct zcrx_user_shared {
	_Alignas(SHM_CACHE_LINE) shm_u32 wanted;
	shm_u32 nic;
	shm_u32 provider;
};

/* How often the queue is to get a new page pool, and what came of the last time. */
struct zcrx_restart_shared {
	_Alignas(SHM_CACHE_LINE) shm_u32 wanted; /* written by the control process */
	shm_u32 done; /* the provider: how many it has dealt with … */
	shm_u32 pool; /* … and the new pool's slot + 1, 0 = there was no slot for it */
};

/*
 * How many areas the queue is to have, and has: ADD_AREA. The NIC process carries it out, in
 * the place of the system call: beside the provider, which may be refilling.
 */
struct zcrx_adding_shared {
	_Alignas(SHM_CACHE_LINE) shm_u32 wanted; /* written by the control process */
	shm_u32 done; /* the NIC: so many there are, or as many as were wanted in vain */
};

/* What the provider's faults did. */
struct zcrx_provider_shared {
	_Alignas(SHM_CACHE_LINE) shm_u64 injected[ZCRX_RULES_MAX]; /* by rule of the plan */
	shm_u64 short_rounds; /* it was asked for more buffers than it had: it has looked everywhere */
};

/* What was sent on one flow, in fragments. */
struct zcrx_flow_sent {
	shm_u32 next_seq; /* delivered and dropped */
	shm_u32 delivered; /* each time, when one was delivered twice */
	shm_u32 repeated; /* of these: fragments that had been delivered before */
};

/* ---- notes --------------------------------------------------------------------- */

/* What the NIC notes of each completion, at the CQE's own slot. */
struct zcrx_ledger_entry {
	shm_u64 flow_seq; /* mark << 56 | flow << 32 | sequence of the fragment in the flow */
	shm_u64 crc_generation; /* CRC32C of the bytes high, how often the buffer was granted low */
};

/*
 * The intent log has two bytes for each RQE: the rule that wrote it (0 = a valid
 * return, r + 1 = rule r), and above it the set of verdicts that it may earn.
 */
#define ZCRX_INTENT_VALID 0U
#define ZCRX_INTENT(rule, legal) ((uint16_t)((legal) << 8 | (rule)))
#define ZCRX_INTENT_RULE(intent) ((intent) & 0xffU)
#define ZCRX_INTENT_LEGAL(intent) ((uint32_t)(intent) >> 8)

/*
 * Beside it: the account (see area.h) of the buffer whose fragment the entry
 * gives back, + 1; 0 = it is nobody's return. Each fragment that was delivered
 * has one such entry at most. That is what bounds the excuses: see reconcile.h.
 */
#define ZCRX_DUE_NONE 0U
#define ZCRX_DUE(niov) ((uint16_t)(zcrx_account_of(niov) + 1))

/* What a fault did to the consumer that committed it. */
enum zcrx_consequence_kind {
	ZCRX_BYTES_CHANGED = 1, /* a fragment was overwritten while it was held */
	ZCRX_GIVEN_AGAIN = 2, /* its buffer was delivered again while it was held */
	ZCRX_CORRUPT_FOUND = 3, /* a payload that the NIC corrupted was found out */
	ZCRX_DUPLICATE_FOUND = 4, /* a fragment that was delivered before came again */
	ZCRX_LATE_FOUND = 5, /* a fragment came after others that were received behind it */
	ZCRX_TRUNCATED_FOUND = 6, /* a payload that the NIC cut short was found out */
};

struct zcrx_consequence {
	uint32_t rule;
	uint32_t kind;
	uint32_t niov;
	uint32_t flow, seq; /* the fragment that suffered; given again: the new one */
	uint32_t generation_held, generation_now; /* of its buffer: of what was held, and newest */
	uint32_t reserved;
	uint64_t position; /* of the RQE that caused it */
};

#define ZCRX_CONSEQUENCES_MAX 256U

#define ZCRX_CONSUMER_COUNTERS(X) \
	X(fragments)              \
	X(bytes)                  \
	X(ends)                   \
	X(rqe_submitted)          \
	X(rqe_valid)              \
	X(integrity_errors)       \
	X(order_errors)           \
	X(ownership_errors)       \
	X(bad_completions)        \
	X(order_gaps)             \
	X(waits_rq_full)          \
	X(waits_log_full)         \
	X(hoarded)                \
	X(pending_returns)

struct zcrx_notes_shared {
#define ZCRX_CONSUMER_FIELD(name) shm_u64 name;
	_Alignas(SHM_CACHE_LINE) ZCRX_CONSUMER_COUNTERS(ZCRX_CONSUMER_FIELD)
#undef ZCRX_CONSUMER_FIELD
		shm_u64 injected[ZCRX_RULES_MAX]; /* by rule of the plan: how often it fired */
	shm_u64 consequences[ZCRX_RULES_MAX]; /* by rule: what it led to */
	shm_u64 consequence_count; /* the first ones are below */
	struct zcrx_consequence consequence[ZCRX_CONSEQUENCES_MAX];
	/*
	 * By rule: which kind of fault a mark in the ledger stands for; 0 = none of
	 * the NIC's. Written before the first completion, and published with it.
	 */
	shm_u32 mark_kinds[ZCRX_RULES_MAX];
	_Alignas(SHM_CACHE_LINE) shm_u64 written; /* RQEs whose intents stand in the log */
	shm_u32 astray_rule; /* rule + 1 that let the provider read beyond them, 0 = none */
	shm_u32 scrubs_seen; /* scrubs of a living user that it has taken note of … */
	shm_u64 scrub_position; /* … and the RQEs that it had written by then */
	/* A user's own mistakes, of a consumer that is not ours. */
	shm_u64 own_strays; /* returns of what was not out */
	shm_u64 own_touches; /* reads and writes of what had been given back */
	/* The control process's words. */
	_Alignas(SHM_CACHE_LINE) shm_u64 checked; /* RQEs reconciled */
	shm_u32 scrubs_begun, scrubs_done; /* of a living user */
	shm_u32 scrub_rule; /* rule + 1 of the last of them */
};

struct zcrx_flow_received {
	shm_u32 received;
	shm_u32 gaps;
};

/* ---- rings: what is in front of them ------------------------------------------ */

struct zcrx_rings_header {
	struct io_uring_zcrx_offsets rq; /* relative to this object's start */
	struct io_uring_zcrx_offsets cq; /* same shape: head, tail, first CQE */
	uint32_t rq_entries;
	uint32_t cq_entries;
	/* The control process's words. */
	_Alignas(SHM_CACHE_LINE) shm_u32 stop; /* the consumer is asked to finish */
	shm_u32 areas_begun, areas_done; /* areas that there may be by now, and are */
};

/* ---- one process's view of a queue -------------------------------------------- */

struct zcrx_queue {
	struct zcrx_shape shape;
	uint32_t index;
	struct zcrx_run_shared *run;
	struct zcrx_bells *bells;
	/* kernel side; NULL pointers in a consumer, those into its rings too */
	struct zcrx_ifq ifq;
	struct zcrx_area area;
	struct zcrx_grant_ring grants;
	struct zcrx_cq cq;
	struct zcrx_nic_shared *nic;
	struct zcrx_user_shared *user;
	struct zcrx_restart_shared *restart;
	struct zcrx_adding_shared *adding;
	struct zcrx_provider_shared *provider;
	struct zcrx_calls_shared *calls;
	struct zcrx_witness witness;
	struct zcrx_flow_sent *flows_sent;
	struct zcrx_given *given; /* [num_niovs]; the NIC's word */
	shm_u32 *nic_held; /* [ZCRX_NIC_HELD_MAX]: niovs, the first nic->held_count are valid */
	/* notes */
	struct zcrx_notes_shared *notes;
	shm_u16 *intents; /* [log_entries] */
	shm_u16 *dues; /* [log_entries]: see ZCRX_DUE() */
	struct zcrx_ledger_entry *ledger; /* [cq_entries] */
	struct zcrx_flow_received *flows_received;
	/* what fired, by actor: the consumer's in notes, the others in kern */
	struct zcrx_journal *journals[ZCRX_JOURNAL_ACTORS];
	/* rings */
	struct zcrx_rings_header *rings;
	/* kern and notes: of each writer; a process records in its own and in no other */
	struct zcrx_flight flights[ZCRX_WRITERS];
	struct zcrx_plugin plugin; /* used when somebody else's provider serves the queue */
};

/* Where the objects are mapped in this process; NULL for those that are not. */
struct zcrx_mapping {
	void *run, *bells, *kern, *rings, *area, *notes;
	const struct zcrx_provider_ops *provider; /* in the place of ours, or NULL; needs kern */
	uint32_t caller; /* enum zcrx_caller: who calls it */
};

/*
 * Point a view at mapped objects. -EINVAL for an impossible shape. Without kern
 * it is a consumer's: of the rings object it knows the header alone.
 */
int zcrx_queue_attach(struct zcrx_queue *queue, const struct zcrx_shape *shape, uint32_t index,
		      const struct zcrx_mapping *mapping);

/*
 * Give freshly made objects their first state: freelist, ring headers, indices.
 * Once, by the control process. All must be zeroed but the rings, where anything
 * may stand: head, tail and header are written, slots keep what they hold.
 */
void zcrx_queue_format_objects(struct zcrx_queue *queue);

/*
 * Format the objects and put the first page pool in charge. 0, or what the
 * provider's init answered: then there is no pool, and the instance has its own
 * reference alone.
 */
int zcrx_queue_format(struct zcrx_queue *queue);

/* The second half of it. */
int zcrx_queue_create_pool(struct zcrx_queue *queue);

#endif /* ZCRX_LAYOUT_H */
