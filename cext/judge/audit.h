/* SPDX-License-Identifier: MIT */
/* Looking at a queue from outside: counters while it runs, the audit at its end. */
#ifndef ZCRX_AUDIT_H
#define ZCRX_AUDIT_H

#include "run/layout.h"

enum zcrx_counters {
	ZCRX_COUNTERS_NIC,
	ZCRX_COUNTERS_PROVIDER,
	ZCRX_COUNTERS_POOL,
	ZCRX_COUNTERS_CONSUMER,
};

/* How many counters a group has, the name of each (NULL past the end), and their values. */
uint32_t zcrx_counters_size(enum zcrx_counters group);
const char *zcrx_counters_name(enum zcrx_counters group, uint32_t number);
void zcrx_counters_read(struct zcrx_queue *queue, enum zcrx_counters group, uint64_t *values);

/* How often each rule of the plan fired, and what that led to; [ZCRX_RULES_MAX] each. */
void zcrx_injected_read(const struct zcrx_queue *queue, uint64_t *values);
/* The consumer's part of it, as it stands there: it may have written anything. */
void zcrx_notes_injected_read(const struct zcrx_queue *queue, uint64_t *values);
/* More than any counter can come to; what the consumer says beyond it counts as 0. */
#define ZCRX_COUNT_MAX ((uint64_t)1 << 48)
/* Rule + 1 that let the provider read beyond what was written, in the consumer's words. */
uint32_t zcrx_notes_astray_rule(const struct zcrx_queue *queue);
void zcrx_consequences_read(const struct zcrx_queue *queue, uint64_t *values);
/* The first consequences, at most max; how many were copied. */
uint32_t zcrx_consequence_list(const struct zcrx_queue *queue, struct zcrx_consequence *to,
			       uint32_t max);
/*
 * What an actor noted of its firings (rule << 56 | ordinal, [ZCRX_JOURNAL_MAX]);
 * how many. *count is how many there were; when that is more, *missing_from is
 * the ordinal of the first that was not noted.
 */
uint32_t zcrx_journal_read(const struct zcrx_queue *queue, enum zcrx_journal_actor actor,
			   uint64_t *to, uint64_t *count, uint64_t *missing_from);

/* Buffers by place. Exact only when nothing moves; a fair sample otherwise. */
struct zcrx_places {
	uint32_t freelist, cache, ptr_ring, grant_ring, nic, user;
	uint32_t in_flight; /* completions that the user has not read */
};
void zcrx_places_read(struct zcrx_queue *queue, struct zcrx_places *places);

struct zcrx_audit {
	struct zcrx_places places;
	uint32_t lost; /* buffers found nowhere */
	uint32_t doubled; /* buffers found in more than one place */
	uint32_t first_lost, first_doubled; /* niov, valid if the count is not 0 */
	uint64_t user_refs; /* references the user still holds, in all */
	uint32_t
		flows_wrong; /* flows where received is not what was delivered, or gaps exceed drops */
	uint32_t first_flow_wrong;
	uint64_t fragments_missing; /* over all flows: delivered and never received */
	uint64_t fragments_surplus; /* over all flows: received and never delivered */
};

/*
 * Find every buffer. Only when provider, NIC and consumer have stopped. 0, or -ENOMEM.
 */
int zcrx_audit_run(struct zcrx_queue *queue, struct zcrx_audit *audit);

/*
 * What alone makes a run a finding, counted while it runs: the order is that of
 * emu.core.Alarm. Cheap enough for each tick of the control process.
 */
#define ZCRX_ALARMS 10U
void zcrx_alarms_read(const struct zcrx_queue *queue, uint64_t *values);

/* Copy a flight recorder: see zcrx_flight_copy(). */
uint32_t zcrx_queue_flight(const struct zcrx_queue *queue, uint32_t writer, void *to,
			   uint64_t *first);

/* What a user says of itself: returns of what was not out, touches of what was given back. */
void zcrx_own_mistakes_read(const struct zcrx_queue *queue, uint64_t values[2]);
/* One flow: fragments delivered, dropped, received, and the gaps that its reader saw. */
void zcrx_flow_read(const struct zcrx_queue *queue, uint32_t flow, uint32_t values[4]);

/* What stands in the slot of a ring index now, and what is known of the buffer it names. */
struct zcrx_peek {
	uint64_t off;
	uint32_t len, pad;
	uint32_t tail; /* of the refill ring, as published now */
	uint32_t niov; /* that it names, through all areas; else as the kernel truncates it */
	uint32_t areas; /* that there are now */
	uint32_t user_refs, pp_refs; /* 0 if it names no buffer */
};
void zcrx_queue_peek(const struct zcrx_queue *queue, uint32_t index, struct zcrx_peek *peek);

#endif /* ZCRX_AUDIT_H */
