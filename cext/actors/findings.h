/* SPDX-License-Identifier: MIT */
/*
 * What the consumer finds: bytes that are not what was sent, buffers that are given
 * again while they are held, a scrub while it lives. Each is put down to the rule that
 * did it, as its consequence; what no rule explains is an error of the system.
 */
#ifndef ZCRX_FINDINGS_H
#define ZCRX_FINDINGS_H

#include "faults/ring_faults.h"

struct zcrx_findings {
	struct zcrx_rq_writer *writer;
	struct zcrx_holdings *holdings;
	struct zcrx_ring_faults *ring_faults; /* what a lie about the tail did may be unknown yet */
	struct zcrx_notes_shared *notes;
	bool checks_bytes;
	uint32_t errors_recorded; /* in this batch: bits of enum zcrx_event_error */
	/* A scrub of a living user: fragments up to this CQ index may have no reference. */
	uint32_t scrubs_seen;
	bool is_tainted;
	uint32_t tainted_until;
};

/* `checks_bytes`: what is received is compared with what was sent. */
void zcrx_findings_init(struct zcrx_findings *findings, struct zcrx_ring_faults *ring_faults,
			struct zcrx_rq_writer *writer, bool checks_bytes);

/* A fragment was delivered at that CQ index: check bytes and ownership, and count it as held. */
void zcrx_findings_received(struct zcrx_findings *findings, const struct zcrx_held *held,
			    uint32_t index);
/* Before completions are read, or returns written: has a scrub taken what is held? */
void zcrx_findings_look(struct zcrx_findings *findings);

/* Its bytes must be what was sent, or wrong on purpose if it bears a mark. */
void zcrx_findings_check(struct zcrx_findings *findings, const struct zcrx_held *held);
/* The same of one that was given back at that position, and read on, for the rule (+ 1). */
void zcrx_findings_check_early(struct zcrx_findings *findings, const struct zcrx_held *held,
			       uint32_t rule, uint64_t position);
/* A fragment that was received came again, or late, on purpose: tell it of `rule` (+ 1). */
void zcrx_findings_tell(struct zcrx_findings *findings, const struct zcrx_held *held,
			enum zcrx_consequence_kind kind, uint32_t rule);

/* For the flight recorder: a batch of completions, and an error of which each batch shows the first. */
void zcrx_findings_record_taken(struct zcrx_findings *findings, uint32_t count, uint32_t head);
void zcrx_findings_record_error(struct zcrx_findings *findings, enum zcrx_event_error error,
				uint64_t b, uint64_t c);

#endif /* ZCRX_FINDINGS_H */
