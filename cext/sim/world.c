/* SPDX-License-Identifier: MIT */
/* Memory, views, and an actor's life from its first operation to its last. */
#include "world.h"
#include "run/control.h"
#include "kernel/plugin.h"
#include "invariants.h"
#include "operations.h"
#include "setup.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

static uint32_t round_up(uint64_t size)
{
	return (uint32_t)((size + 4095) & ~(uint64_t)4095);
}

/* A provider of somebody else's, if one was built in. */
extern const struct zcrx_provider_ops zcrx_provider __attribute__((weak));

static void attach(struct world *world, struct world_view *view)
{
	struct zcrx_queue *queue = &view->nq.queue;

	world->mapping.provider = &zcrx_provider;
	zcrx_queue_attach(queue, &world->scenario.shape, 0, &world->mapping);
	/* Time and room for what the simulation does not look at. */
	queue->ifq.flight = NULL;
	view->nq.generation = view->generation;
	view->nq.user = 1;
	view->cq = (struct zcrx_cq_user){
		.head = queue->cq.head,
		.tail = queue->cq.tail,
		.cqes = queue->cq.cqes,
		.entries = queue->cq.entries,
		.mask = queue->cq.mask,
		.cached_head = world->scenario.shape.initial_index,
		.cached_tail = world->scenario.shape.initial_index,
	};
	view->rq = (struct zcrx_rq_user){
		.head = queue->ifq.rq.head,
		.tail = queue->ifq.rq.tail,
		.rqes = queue->ifq.rq.rqes,
		.entries = queue->ifq.rq.entries,
		.mask = queue->ifq.rq.mask,
		.cached_head = world->scenario.shape.initial_index,
		.cached_tail = world->scenario.shape.initial_index,
	};
}

static bool make_memory(struct world *world)
{
	struct zcrx_sizes sizes;
	uint32_t views = round_up(sizeof(struct world_view) * (SIM_ACTORS_MAX + 1));
	uint32_t parts[6], at = 0;
	void **const pointers[6] = {&world->mapping.run,  &world->mapping.bells,
				    &world->mapping.kern, &world->mapping.rings,
				    &world->mapping.area, &world->mapping.notes};

	if (zcrx_layout_sizes(&world->scenario.shape, &sizes))
		return false;
	parts[0] = round_up(zcrx_run_size());
	parts[1] = round_up(zcrx_bells_size());
	parts[2] = round_up(sizes.kern);
	parts[3] = round_up(sizes.rings);
	parts[4] = round_up(sizes.area);
	parts[5] = round_up(sizes.notes);
	for (uint32_t i = 0; i < 6; i++)
		world->shared_size += parts[i];
	world->memory_size = views + world->shared_size;
	world->memory = aligned_alloc(4096, world->memory_size);
	if (!world->memory)
		return false;
	memset(world->memory, 0, world->memory_size);
	world->views = (struct world_view *)(void *)world->memory;
	world->shared = world->memory + views;
	for (uint32_t i = 0; i < 6; i++) {
		*pointers[i] = world->shared + at;
		at += parts[i];
	}
	return true;
}

static struct sim_range range_of(const struct world *world, const void *from, size_t size)
{
	return (struct sim_range){
		.offset = (uint32_t)((const unsigned char *)from - world->shared),
		.size = (uint32_t)size,
	};
}

static void find_slots(struct world *world)
{
	const struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;

	world->slots[0] = range_of(world, queue->ifq.rq.rqes,
				   sizeof(*queue->ifq.rq.rqes) * queue->shape.rq_entries);
	world->slots[1] =
		range_of(world, queue->cq.cqes, sizeof(*queue->cq.cqes) * queue->shape.cq_entries);
	world->slots[2] = range_of(world, queue->grants.slots,
				   sizeof(*queue->grants.slots) * queue->shape.grant_entries);
}

bool world_has_usable_provider(char *why, size_t size)
{
	return zcrx_plugin_is_usable(&zcrx_provider, why, size);
}

/* What the setup did privately is known to everybody: it was there before they came. */
static void share_setup(struct world *world)
{
	struct world_view *first = &world->views[SIM_ACTORS_MAX];

	for (uint32_t i = 0; i < SIM_ACTORS_MAX; i++) {
		struct world_view *view = &world->views[i];

		view->nq.queue.ifq.rq.cached_head = first->nq.queue.ifq.rq.cached_head;
		view->nq.queue.ifq.rq.claimed = first->nq.queue.ifq.rq.claimed;
		view->nq.queue.ifq.dying = first->nq.queue.ifq.dying;
		view->nq.queue.grants = first->nq.queue.grants;
		view->nq.queue.cq = first->nq.queue.cq;
		view->cq = first->cq;
		view->rq = first->rq;
		memcpy(view->generation, first->generation, sizeof(view->generation));
		memcpy(view->fragments, first->fragments, sizeof(view->fragments));
		view->fragment_count = first->fragment_count;
	}
	/* The first actor that works with buffers of the stack takes over what the setup holds. */
	memcpy(world->views[0].hand, first->hand, sizeof(first->hand));
	world->views[0].hand_count = first->hand_count;
	first->hand_count = 0;
}

static bool make(struct world *world, FILE *file, struct world_refusal *refusal)
{
	struct world_view *last;

	*refusal = (struct world_refusal){WORLD_REFUSED_NO_SCENARIO, 0};
	if (!script_read(&world->scenario, file))
		return false;
	refusal->why = WORLD_REFUSED_NO_SHAPE;
	if (!make_memory(world))
		return false;
	for (uint32_t i = 0; i <= SIM_ACTORS_MAX; i++)
		attach(world, &world->views[i]);
	find_slots(world);
	last = &world->views[SIM_ACTORS_MAX];
	zcrx_run_format(last->nq.queue.run, 1);
	zcrx_queue_format(&last->nq.queue);
	if (!setup_do(last, &world->scenario.setup, refusal))
		return false;
	share_setup(world);
	*refusal = (struct world_refusal){WORLD_REFUSED_NO_OWN_DATA, 0};
	return sim_state_keep();
}

struct world *world_open(FILE *scenario, struct world_refusal *refusal)
{
	struct world *world = calloc(1, sizeof(*world));

	*refusal = (struct world_refusal){WORLD_REFUSED_NO_MEMORY, 0};
	if (!world || make(world, scenario, refusal))
		return world;
	world_close(world);
	return NULL;
}

void world_close(struct world *world)
{
	if (!world)
		return;
	sim_state_forget();
	free(world->memory);
	free(world);
}

void world_begin(void *context)
{
	((struct world *)context)->lock_holder = WORLD_NOBODY;
	sim_state_put_back();
}

void world_act(void *context, uint32_t actor)
{
	struct world *world = context;

	operations_do_all(&world->views[actor], &world->scenario.actors[actor]);
}

/*
 * How far the refill ring was read is private to who read it. What comes afterwards
 * goes on from there: entries that were judged are not judged again.
 */
static void follow_reader(struct world *world)
{
	struct zcrx_rq *rq = &world->views[SIM_ACTORS_MAX].nq.queue.ifq.rq;
	uint32_t first = rq->cached_head, furthest = 0;

	for (uint32_t actor = 0; actor < world->scenario.actor_count; actor++) {
		const struct zcrx_rq *other = &world->views[actor].nq.queue.ifq.rq;

		if (other->cached_head - first <= furthest)
			continue;
		furthest = other->cached_head - first;
		rq->claimed = other->claimed;
	}
	rq->cached_head = first + furthest;
}

void world_judge(void *context)
{
	struct world *world = context;

	follow_reader(world);
	invariants_check_end(world);
	operations_do_all(&world->views[SIM_ACTORS_MAX], &world->scenario.end);
	invariants_check_end(world);
}
