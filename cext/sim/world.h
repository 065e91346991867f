/* SPDX-License-Identifier: MIT */
/*
 * What the actors of a scenario are: the product's own functions, on an instance
 * that is laid out as in a real run. Each actor has a view of its own, as each
 * process has; what is private there is private here.
 */
#ifndef ZCRX_SIM_WORLD_H
#define ZCRX_SIM_WORLD_H

#include "actors/nic_queue.h"
#include "script.h"

#define WORLD_HAND 32U
#define WORLD_NOBODY UINT32_MAX

/* One process's view, and what it holds. */
struct world_view {
	struct zcrx_nic_queue nq; /* nq.queue is everybody's view of the queue */
	uint32_t generation[64];
	struct zcrx_cq_user cq;
	struct zcrx_rq_user rq;
	uint32_t hand[WORLD_HAND]; /* niovs that it holds as NIC or stack, oldest first */
	uint32_t hand_count;
	uint64_t fragments[WORLD_HAND]; /* offsets that it holds as the user */
	uint32_t fragment_count;
	uint8_t doing; /* its operation */
};

static inline struct zcrx_ifq *world_ifq(struct world_view *view)
{
	return &view->nq.queue.ifq;
}

struct world {
	struct scenario scenario;
	/* One block: the views (setup's and end's is the last one), then what is shared. */
	unsigned char *memory;
	uint32_t memory_size;
	struct world_view *views; /* [SIM_ACTORS_MAX + 1] */
	unsigned char *shared;
	uint32_t shared_size;
	struct zcrx_mapping mapping;
	uint32_t lock_holder; /* of the refill ring, as its accesses show it */
	struct sim_range slots[3]; /* RQEs, CQEs, grants: ordered, if users keep to the rules */
};

/* X(NAME): why there cannot be such a one. emu/race/sentences.py has the words. */
#define WORLD_REFUSALS(X)                                                      \
	X(NO_MEMORY)                                                           \
	X(NO_SCENARIO)                                                         \
	X(NO_SHAPE)                                                            \
	X(NO_OWN_DATA)                                                         \
	/* an operation of the setup would do nothing, or less than it says */ \
	X(NO_POOL)                                                             \
	X(HAND_HOLDS_FEWER)                                                    \
	X(NOTHING_TO_SEND)                                                     \
	X(NOTHING_OPEN)                                                        \
	X(FEWER_COMPLETIONS)                                                   \
	X(TOOK_FEWER)                                                          \
	X(NOT_HELD)                                                            \
	X(RING_FULL)                                                           \
	X(RING_EMPTY)                                                          \
	X(FEWER_BUFFERS)                                                       \
	X(FEWER_GRANTS)                                                        \
	X(NO_AREA_MORE)

enum world_refused {
	WORLD_REFUSED_NOTHING,
#define WORLD_REFUSED_ENUM(name) WORLD_REFUSED_##name,
	WORLD_REFUSALS(WORLD_REFUSED_ENUM)
#undef WORLD_REFUSED_ENUM
};

struct world_refusal {
	enum world_refused why;
	uint32_t operation; /* of the setup, from 1; 0: it is about none of them */
};

/* NULL, and why, when there cannot be such a one. The setup has been done. */
struct world *world_open(FILE *scenario, struct world_refusal *refusal);
void world_close(struct world *world);

/* What somebody else's provider lacks to be run here; true if nothing, or if there is none. */
bool world_has_usable_provider(char *why, size_t size);

/* For the engine. The context is the world. */
void world_begin(void *context);
void world_act(void *context, uint32_t actor);
void world_judge(void *context);

#endif /* ZCRX_SIM_WORLD_H */
