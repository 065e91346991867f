/* SPDX-License-Identifier: MIT */
/*
 * Flight recorders: what each process did last, batch by batch, kept in a ring
 * that overwrites itself. Nobody reads them in a run that finds nothing.
 *
 * One writer each, in memory that this writer may write: NIC and provider in
 * the kern object of the queue, the consumer in its notes object. The control
 * process copies a recorder while its writer goes on; what may have been
 * overwritten meanwhile is left out, so no torn event is ever shown.
 *
 * An event is for a batch (a burst, a refill, a return), never for a packet.
 */
#ifndef ZCRX_FLIGHT_H
#define ZCRX_FLIGHT_H

#include "shm.h"

#define ZCRX_FLIGHT_ENTRIES 16384U /* events of a recorder in a run: over two ticks' worth */
#define ZCRX_FLIGHT_ENTRIES_MAX (1U << 20)

/* Kinds, and what a, b and c are. Shared with Python's emu.verdict.flight.EventKind. */
enum zcrx_event_kind {
	ZCRX_EVENT_NONE = 0,
	ZCRX_EVENT_USER = 1, /* a: the user that is followed, 0 = nobody */
	ZCRX_EVENT_ERROR = 2, /* see enum zcrx_event_error */
	ZCRX_EVENT_FAULT = 3, /* a: rule, b: ordinal, c: position of the RQE or packet */
	/* NIC */
	ZCRX_EVENT_BURST = 8, /* a: CQEs, b: CQ tail behind them, c: buffers touched */
	ZCRX_EVENT_BLOCKED = 9, /* a: 0 no buffer, 1 no room in the CQ; b: buffers or CQEs free */
	ZCRX_EVENT_DROPPED = 10, /* a: as above, b: flow, c: packets dropped before it */
	ZCRX_EVENT_UNBLOCKED = 11, /* b: packets dropped so far */
	ZCRX_EVENT_QUIESCED = 12, /* b: CQ tail */
	ZCRX_EVENT_AREA_ADDED = 13, /* a: its buffers, 0 = there was no room; b: its id */
	/* provider */
	ZCRX_EVENT_REFILL =
		16, /* a: RQEs, b: position of the first, c: rejected | ring index << 32 */
	ZCRX_EVENT_GRANT = 17, /* a: buffers, b: grant ring tail behind them */
	ZCRX_EVENT_STARVED = 18, /* a: buffers granted before the pool ran out */
	ZCRX_EVENT_RING_RESET = 19, /* a: ring index at which the new user starts */
	ZCRX_EVENT_DRAIN = 20, /* b: position behind the last RQE judged */
	ZCRX_EVENT_TEARDOWN = 21, /* a: 0 every buffer home, 1 not; b: buffers on the freelist */
	ZCRX_EVENT_RESTARTED = 22, /* a: slot of the new page pool + 1, 0 = there was none free */
	/* consumer */
	ZCRX_EVENT_TAKEN = 24, /* a: completions, b: CQ head behind them */
	ZCRX_EVENT_RETURNED = 25, /* a: RQEs, b: position of the first, c: tail word */
	ZCRX_EVENT_CONSEQUENCE = 26, /* a: rule | kind << 16, b: flow << 32 | seq, c: niov */
	ZCRX_EVENT_TAIL_LIE = 27, /* a: rule, b: position behind the last RQE, c: tail word */
	ZCRX_EVENT_RECOVERED = 28, /* b: position behind what was claimed, c: tail word */
	ZCRX_EVENT_SCRUB_SEEN = 29, /* b: position, c: scrubs so far */
};

/* What was wrong: a of ZCRX_EVENT_ERROR. Numbers of its own: see error_of() in findings.c. */
enum zcrx_event_error {
	ZCRX_ERROR_BYTES_CHANGED = 1, /* b: flow << 32 | seq, c: niov << 32 | generation */
	ZCRX_ERROR_GIVEN_AGAIN = 2, /* the same, of the new fragment */
	ZCRX_ERROR_CORRUPT_MISSED = 3, /* the same */
	ZCRX_ERROR_ORDER = 4, /* b: flow << 32 | seq, c: the seq that was due */
	ZCRX_ERROR_OUTSIDE = 5, /* b: offset, c: length */
	ZCRX_ERROR_GRANTED_HELD = 6, /* NIC. c: niov << 32 | user references */
	ZCRX_ERROR_TRUNCATED_MISSED = 7, /* as the first three */
};

/* Where times are taken from; the control process chooses one for a run. */
enum zcrx_flight_clock {
	ZCRX_CLOCK_MONOTONIC = 0, /* ns */
	ZCRX_CLOCK_COUNTER = 1, /* ticks of the CPU's counter; only where the kernel trusts it */
};

enum zcrx_writer { ZCRX_WRITER_NIC, ZCRX_WRITER_PROVIDER, ZCRX_WRITER_CONSUMER, ZCRX_WRITERS };

/* 32 bytes: u64 time, u16 kind, u16 reserved, u32 a, u64 b, u64 c. */
struct zcrx_event {
	shm_u64 time; /* by the recorder's clock */
	shm_u64 kind_a; /* kind | a << 32 */
	shm_u64 b;
	shm_u64 c;
};
_Static_assert(sizeof(struct zcrx_event) == 32, "event");

struct zcrx_flight_shared {
	_Alignas(SHM_CACHE_LINE) shm_u64 count; /* events ever recorded */
	shm_u32 clock; /* enum zcrx_flight_clock; set before the writer starts */
	_Alignas(SHM_CACHE_LINE) struct zcrx_event events[];
};

/* A process's view. shared is NULL where the recorder is not mapped, or there is none. */
struct zcrx_flight {
	struct zcrx_flight_shared *shared;
	uint64_t mask; /* events - 1 */
	uint32_t last_kind; /* private to the writer: what it recorded last */
};

/* Record one event. Does nothing without a recorder. */
void zcrx_flight_record(struct zcrx_flight *flight, enum zcrx_event_kind kind, uint32_t a,
			uint64_t b, uint64_t c);

/* The same, but not twice in a row: for what a loop finds again at each look. */
static inline void zcrx_flight_record_once(struct zcrx_flight *flight, enum zcrx_event_kind kind,
					   uint32_t a, uint64_t b, uint64_t c)
{
	if (flight->last_kind != (uint32_t)kind)
		zcrx_flight_record(flight, kind, a, b, c);
}

/*
 * Copy the events that are whole, oldest first; how many. `to` has room for
 * mask + 1 events of 32 bytes; *first is the number of the first one copied.
 * A count that somebody scribbled on gives fewer events or senseless ones,
 * never an access outside.
 */
uint32_t zcrx_flight_copy(const struct zcrx_flight *flight, void *to, uint64_t *first);

/* Read one clock and CLOCK_MONOTONIC (ns) as nearly at the same time as can be. */
void zcrx_flight_read_clocks(uint32_t clock, uint64_t *ticks, uint64_t *ns);
/* Does this build have a counter to read? */
bool zcrx_flight_has_counter(void);

#endif /* ZCRX_FLIGHT_H */
