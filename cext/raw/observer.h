/* SPDX-License-Identifier: MIT */
/*
 * The observer of a consumer that writes its rings itself. It says of each entry what an
 * honest consumer's writer notes beforehand (its intent), for the reconciler, and has the
 * library's ledger say what the consumer does wrong. It lives in the control process and
 * rests on what NIC and provider have witnessed: on nothing that the consumer can write,
 * but for the words of the rings, which are what is judged.
 */
#ifndef ZCRX_RAW_OBSERVER_H
#define ZCRX_RAW_OBSERVER_H

#include "run/layout.h"

struct zcrx_observer;

/* Of a queue that is witnessed, which outlives it. `is_ours`: so is its provider. NULL: no memory. */
struct zcrx_observer *zcrx_observer_new(struct zcrx_queue *queue, bool is_ours);
void zcrx_observer_free(struct zcrx_observer *observer);

/* Look at all that was delivered and judged since the last call, and at the rings' words. */
void zcrx_observer_step(struct zcrx_observer *observer);

/*
 * Around a scrub, the NIC's burst included, if it may be at one: whatever is out then may be
 * given back without a reference. They may be nested.
 */
void zcrx_observer_scrub_begin(struct zcrx_observer *observer);
void zcrx_observer_scrub_end(struct zcrx_observer *observer);
/*
 * The user is gone: nothing more is delivered to it, nothing that it wrote is judged any more,
 * and all its references were scrubbed. Whoever comes next has nothing yet.
 */
void zcrx_observer_user_gone(struct zcrx_observer *observer);
/* Its successor finds the rings' words as they stand now. It has not begun. */
void zcrx_observer_new_user(struct zcrx_observer *observer);

/* Mistakes of the consumer's that were proven. */
uint64_t zcrx_observer_reports(const struct zcrx_observer *observer);
/* All of them as JSON, like snprintf(): see zcrx_emu_report_json(). */
size_t zcrx_observer_json(const struct zcrx_observer *observer, char *to, size_t size);
/* Fragments out; of the oldest a line in `text`. */
uint64_t zcrx_observer_out(const struct zcrx_observer *observer, char *text, size_t size);
/* Deliveries came faster than they were looked at: from then on no mistake can be proven. */
bool zcrx_observer_is_blind(const struct zcrx_observer *observer);

#endif /* ZCRX_RAW_OBSERVER_H */
