/* SPDX-License-Identifier: MIT */
/*
 * What the actors of a scenario are and do: the product's own functions, on an
 * instance that is laid out as in a real run. Each actor has a view of its own,
 * as each process has; what is private there is private here.
 *
 * A scenario is numbers, which emu/race/script.py makes of its text; in lines:
 *
 *	NIOVS RQ CQ GRANTS PTR-RING INDEX HONEST ACTORS
 *	OPERATIONS =NAME	for each actor, then those before (setup) and behind (end)
 *	WORD N N N		for each of its operations
 *
 * HONEST is 1 if users keep to the rings' rules: slots must be ordered.
 */
#ifndef ZCRX_SIM_WORLD_H
#define ZCRX_SIM_WORLD_H

#include "actors/nic_queue.h"
#include "engine.h"

#include <stdio.h>

#define WORLD_OPS_MAX 64U
#define WORLD_NAME 24U
#define WORLD_HAND 32U

struct world_op {
	uint8_t kind;
	uint64_t numbers[3];
};

struct world_script {
	char name[WORLD_NAME];
	struct world_op ops[WORLD_OPS_MAX];
	uint32_t count;
};

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

struct world {
	struct zcrx_shape shape;
	struct world_script setup, end;
	struct world_script actors[SIM_ACTORS_MAX];
	uint32_t actor_count;
	/* One block: the views (setup's and end's is the last one), then what is shared. */
	unsigned char *memory;
	uint32_t memory_size;
	struct world_view *views; /* [SIM_ACTORS_MAX + 1] */
	unsigned char *shared;
	uint32_t shared_size;
	struct zcrx_mapping mapping;
	uint32_t lock_holder; /* of the refill ring, as its accesses show it */
	bool is_honest; /* nobody writes over a slot of a ring before it is free … */
	struct sim_range slots[3]; /* … so that these are ordered: RQEs, CQEs, grants */
};

/* NULL, and a line in `why`, when there cannot be such a one. The setup has been done. */
struct world *world_open(FILE *scenario, char *why, size_t size);
void world_close(struct world *world);

/* What somebody else's provider lacks to be run here; true if nothing, or if there is none. */
bool world_has_usable_provider(char *why, size_t size);

/* For the engine. The context is the world. */
void world_begin(void *context);
void world_access(void *context, uint32_t actor, const struct sim_access *access);
void world_act(void *context, uint32_t actor);
void world_judge(void *context);

/* What is known of a shared offset: "user references of niov 3". */
void world_name(const struct world *world, uint32_t offset, char *text, size_t size);

#endif /* ZCRX_SIM_WORLD_H */
