/* SPDX-License-Identifier: MIT */
/*
 * One provider in one process, operation by operation: the same code as the
 * live run on private memory, for tests, teaching and notebooks. The caller
 * plays NIC, stack and user, and keeps its own account of what it holds.
 */
#ifndef ZCRX_STEP_H
#define ZCRX_STEP_H

#include "layout.h"

struct zcrx_step;

/* NULL when the shape is impossible or memory is short. */
struct zcrx_step *zcrx_step_new(const struct zcrx_shape *shape);
/* The same with a provider in the place of ours, if not NULL. */
struct zcrx_step *zcrx_step_new_of(const struct zcrx_shape *shape,
				   const struct zcrx_provider_ops *provider);
void zcrx_step_free(struct zcrx_step *step);

/* A niov, -ENOMEM, or -ENOENT when no pool serves the queue. */
int64_t zcrx_step_alloc(struct zcrx_step *step);
void zcrx_step_deliver(struct zcrx_step *step, uint32_t niov, uint32_t fragments);
void zcrx_step_drop(struct zcrx_step *step, uint32_t niov);
void zcrx_step_write_rqe(struct zcrx_step *step, uint32_t slot, uint64_t off, uint32_t len,
			 uint32_t pad);
uint32_t zcrx_step_head(const struct zcrx_step *step);
uint32_t zcrx_step_tail(const struct zcrx_step *step);
uint32_t zcrx_step_cached_head(const struct zcrx_step *step);
void zcrx_step_set_head(struct zcrx_step *step, uint32_t value);
void zcrx_step_set_tail(struct zcrx_step *step, uint32_t value);
uint64_t zcrx_step_scrub(struct zcrx_step *step);
int64_t zcrx_step_copy_fallback(struct zcrx_step *step);
/* RQEs consumed, or -EOPNOTSUPP at a level without it, or -ENOMEM. */
int64_t zcrx_step_flush(struct zcrx_step *step);
/* The new area's id, or -errno: see zcrx_ifq_add_area(). */
int zcrx_step_add_area(struct zcrx_step *step, uint32_t num_niovs);
int zcrx_step_restart(struct zcrx_step *step);
int zcrx_step_retry_release(struct zcrx_step *step, uint32_t slot);
int zcrx_step_destroy(struct zcrx_step *step);

/* Inspection; arrays are the caller's, with room for what the name says. */
uint32_t zcrx_step_niovs(const struct zcrx_step *step); /* of all areas */
uint64_t zcrx_step_offset(const struct zcrx_step *step, uint32_t niov);
uint32_t zcrx_step_areas(const struct zcrx_step *step, uint32_t *niovs); /* [ZCRX_AREAS_MAX] */
uint32_t zcrx_step_freelist(const struct zcrx_step *step, uint32_t *niovs);
void zcrx_step_buffers(const struct zcrx_step *step, uint32_t *user_refs, uint32_t *pp_refs,
		       uint32_t *pools);
struct zcrx_step_pool {
	uint32_t phase, cache_count, ring_count, inflight;
};
void zcrx_step_pool_read(const struct zcrx_step *step, uint32_t slot, struct zcrx_step_pool *pool,
			 uint32_t *cache, uint32_t *ring);
uint32_t zcrx_step_current_pool(const struct zcrx_step *step); /* slot + 1, 0 = none */
/* Copy out and forget the judgements so far, at most max; how many. */
uint32_t zcrx_step_take_verdicts(struct zcrx_step *step, struct zcrx_judgement *to, uint32_t max);
struct zcrx_queue *zcrx_step_queue(struct zcrx_step *step);

#endif /* ZCRX_STEP_H */
