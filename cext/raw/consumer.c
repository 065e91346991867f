/* SPDX-License-Identifier: MIT */
/*
 * Little is here, on purpose: whatever stood between a consumer and its rings would be
 * something that the kernel does not do.
 */
#include "consumer.h"
#include "run/areas.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(struct zcrx_consumer_rqe) == sizeof(struct io_uring_zcrx_rqe) &&
		       offsetof(struct zcrx_consumer_rqe, len) ==
			       offsetof(struct io_uring_zcrx_rqe, len) &&
		       offsetof(struct zcrx_consumer_rqe, pad) ==
			       offsetof(struct io_uring_zcrx_rqe, __pad),
	       "rqe");
_Static_assert(sizeof(struct zcrx_consumer_cqe) == sizeof(struct zcrx_cqe32) &&
		       offsetof(struct zcrx_consumer_cqe, res) ==
			       offsetof(struct zcrx_cqe32, cqe.res) &&
		       offsetof(struct zcrx_consumer_cqe, flags) ==
			       offsetof(struct zcrx_cqe32, cqe.flags) &&
		       offsetof(struct zcrx_consumer_cqe, off) ==
			       offsetof(struct zcrx_cqe32, zcrx.off),
	       "cqe");
_Static_assert(ZCRX_CONSUMER_CQE_MORE == IORING_CQE_F_MORE, "flags");

/* ---- loading ----------------------------------------------------------------------- */

static bool is_usable(const struct zcrx_consumer_ops *ops, char *why, size_t size)
{
	if (!ops)
		snprintf(why, size, "it does not define the symbol " ZCRX_CONSUMER_SYMBOL);
	else if (ops->abi != ZCRX_CONSUMER_ABI)
		snprintf(why, size, "its ABI version is %u; this program speaks %u", ops->abi,
			 ZCRX_CONSUMER_ABI);
	else if (ops->size != sizeof(*ops))
		snprintf(why, size, "its struct zcrx_consumer_ops has %u bytes; ABI %u has %zu",
			 ops->size, ZCRX_CONSUMER_ABI, sizeof(*ops));
	else if (!ops->run)
		snprintf(why, size, "it has no run()");
	else
		return true;
	return false;
}

const struct zcrx_consumer_ops *zcrx_raw_open(const char *path, char *why, size_t size)
{
	const struct zcrx_consumer_ops *ops;
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		snprintf(why, size, "it cannot be opened: %s", dlerror());
		return NULL;
	}
	ops = dlsym(library, ZCRX_CONSUMER_SYMBOL);
	if (is_usable(ops, why, size))
		return ops;
	dlclose(library);
	return NULL;
}

/* ---- services ----------------------------------------------------------------------- */

static struct zcrx_queue *host_of(struct zcrx_consumer_queue *queue)
{
	return queue->host;
}

static bool should_stop(struct zcrx_consumer_queue *queue)
{
	/* Pairs with the release in zcrx_queue_stop_consumer(). */
	return shm_load_acquire_u32(&host_of(queue)->rings->stop, POINT_RUN_STATE) != 0;
}

static bool has_completion(const struct zcrx_consumer_queue *queue)
{
	return zcrx_consumer_load(queue->cq_tail) != zcrx_consumer_load(queue->cq_head);
}

static bool enter(struct zcrx_consumer_queue *queue, uint32_t timeout_us)
{
	struct zcrx_bells *bells = host_of(queue)->bells;
	struct zcrx_bell *bell = &bells->consumers[queue->queue];
	uint32_t seq;

	zcrx_bell_ring(&bells->provider, zcrx_bell_refill(queue->queue));
	zcrx_bell_ring(&bells->nic, ZCRX_BELL_ROOM);
	if (timeout_us) {
		seq = zcrx_bell_prepare(bell, ZCRX_BELL_WORK);
		if (has_completion(queue) || should_stop(queue))
			zcrx_bell_cancel(bell);
		else
			zcrx_bell_sleep(bell, seq, timeout_us);
	}
	return !should_stop(queue);
}

static const struct zcrx_consumer_services services = {
	.enter = enter,
	.should_stop = should_stop,
};

/* ---- the call ------------------------------------------------------------------------- */

static struct zcrx_consumer_offsets offsets_of(const struct io_uring_zcrx_offsets *ring)
{
	return (struct zcrx_consumer_offsets){ring->head, ring->tail, ring->rqes};
}

/* What a consumer is told of its queue: everything is found through the offsets. */
static struct zcrx_consumer_queue given(struct zcrx_queue *queue, const struct zcrx_sizes *sizes,
					const struct zcrx_consumer_area *areas)
{
	struct zcrx_rings_header *rings = queue->rings;
	uint8_t *region = (uint8_t *)rings;

	return (struct zcrx_consumer_queue){
		.size = sizeof(struct zcrx_consumer_queue),
		.queue = queue->index,
		.services = &services,
		.host = queue,
		.region = region,
		.region_size = sizes->rings,
		.rq_offsets = offsets_of(&rings->rq),
		.cq_offsets = offsets_of(&rings->cq),
		.rq_head = (const uint32_t *)(void *)(region + rings->rq.head),
		.rq_tail = (uint32_t *)(void *)(region + rings->rq.tail),
		.rqes = (struct zcrx_consumer_rqe *)(void *)(region + rings->rq.rqes),
		.rq_entries = rings->rq_entries,
		.cq_entries = rings->cq_entries,
		.cq_head = (uint32_t *)(void *)(region + rings->cq.head),
		.cq_tail = (const uint32_t *)(void *)(region + rings->cq.tail),
		.cqes = (const struct zcrx_consumer_cqe *)(void *)(region + rings->cq.rqes),
		.area = areas[0].bytes,
		.area_size = areas[0].size,
		.num_niovs = areas[0].num_niovs,
		.niov_shift = queue->shape.niov_shift,
		.areas = areas,
		.area_count = (const uint32_t *)(const void *)&rings->areas_begun,
	};
}

/* Those that are to come, too: their memory is the application's own. */
static struct zcrx_consumer_area *areas_of(const struct zcrx_queue *queue)
{
	const struct zcrx_shape *shape = &queue->shape;
	struct zcrx_consumer_area *areas = calloc(zcrx_areas_max(shape), sizeof(*areas));

	for (uint32_t id = 0; areas && id < zcrx_areas_max(shape); id++) {
		uint32_t niovs = zcrx_areas_size(shape, id);

		areas[id] = (struct zcrx_consumer_area){
			.bytes = zcrx_area_niov(&queue->area, zcrx_areas_first(shape, id)),
			.size = (uint64_t)niovs << shape->niov_shift,
			.token = (uint64_t)id << IORING_ZCRX_AREA_SHIFT,
			.num_niovs = niovs,
		};
	}
	return areas;
}

int zcrx_raw_run(const struct zcrx_consumer_ops *ops, const struct zcrx_shape *shape,
		 uint32_t index, const struct zcrx_mapping *mapping)
{
	struct zcrx_consumer_area *areas;
	struct zcrx_consumer_queue user;
	struct zcrx_queue queue;
	struct zcrx_sizes sizes;
	int error = zcrx_layout_sizes(shape, &sizes);

	if (!error)
		error = zcrx_queue_attach(&queue, shape, index, mapping);
	if (error)
		return error;
	areas = areas_of(&queue);
	if (!areas)
		return -ENOMEM;
	user = given(&queue, &sizes, areas);
	error = ops->run(&user);
	free(areas);
	return error;
}
