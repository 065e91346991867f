/* SPDX-License-Identifier: MIT */
/* The NIC's loop, step by step in one thread, with the test as provider and as user. */
#ifndef WIRE_H
#define WIRE_H

#include "actors/nic.h"
#include "queue_memory.h"
#include "traffic.h"

#define QUEUES_MAX 2U

static const struct zcrx_nic_params plain = {.laps_max = 1, .listen_fd = -1};

/* A NIC, and its queues as provider and user see them. */
struct wire {
	struct traffic traffic;
	struct zcrx_arena *arena;
	struct zcrx_nic *nic;
	struct zcrx_run_shared *run;
	struct zcrx_bells *bells;
	struct zcrx_mapping mappings[QUEUES_MAX];
	struct zcrx_queue queues[QUEUES_MAX];
	struct zcrx_queue *queue; /* the first */
	struct zcrx_cq_user users[QUEUES_MAX];
};

static inline void wire_init_faulty(struct wire *wire, const struct zcrx_shape *shape,
				    const struct zcrx_nic_params *params, struct traffic traffic,
				    const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	memset(wire, 0, sizeof(*wire));
	wire->traffic = traffic;
	wire->arena = traffic_arena(&traffic);
	wire->run = zeroed(zcrx_run_size());
	wire->bells = zeroed(zcrx_bells_size());
	zcrx_run_format(wire->run, traffic.queues);
	for (uint32_t i = 0; i < traffic.queues; i++) {
		struct zcrx_queue *queue = &wire->queues[i];

		wire->mappings[i] = queue_objects(shape, wire->run, wire->bells);
		REQUIRE(zcrx_queue_attach(queue, shape, i, &wire->mappings[i]) == 0);
		REQUIRE(zcrx_queue_format(queue) == 0);
		wire->users[i] = (struct zcrx_cq_user){
			queue->cq.head,	      queue->cq.tail, queue->cq.cqes,
			shape->cq_entries,    queue->cq.mask, shape->initial_index,
			shape->initial_index,
		};
	}
	wire->queue = &wire->queues[0];
	wire->nic = zcrx_nic_new(shape, traffic.queues, wire->mappings, wire->arena, params, rules,
				 rule_count);
	REQUIRE(wire->nic);
	zcrx_run_set_state(wire->run, wire->bells, ZCRX_RUN_TRAFFIC);
}

static inline void wire_init_with(struct wire *wire, const struct zcrx_shape *shape,
				  const struct zcrx_nic_params *params, struct traffic traffic)
{
	wire_init_faulty(wire, shape, params, traffic, NULL, 0);
}

#define LENS(...)                                                                         \
	(struct traffic)                                                                  \
	{                                                                                 \
		.lens = (const uint32_t[]){__VA_ARGS__},                                  \
		.lens_count = sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), \
		.packets = sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),    \
		.queues = 1, .flows = 1, .niov_shift = 12,                                \
	}

static inline void wire_init(struct wire *wire, const struct zcrx_nic_params *params,
			     struct traffic traffic)
{
	struct zcrx_shape shape = small_shape();

	wire_init_with(wire, &shape, params, traffic);
}

static inline void wire_free(struct wire *wire)
{
	zcrx_nic_free(wire->nic);
	for (uint32_t i = 0; i < wire->traffic.queues; i++)
		queue_objects_free(&wire->mappings[i]);
	free(wire->arena);
	free(wire->run);
	free(wire->bells);
}

static inline void run(struct wire *wire)
{
	CHECK_EQ(zcrx_nic_run(wire->nic, 0), 0);
}

/* The user reads the next completion of a queue. */
static inline struct zcrx_cqe32 next_of(struct wire *wire, uint32_t queue)
{
	struct zcrx_cqe32 cqe = {0};

	if (CHECK(zcrx_cq_user_available(&wire->users[queue]) > 0)) {
		cqe = zcrx_cq_user_take(&wire->users[queue]);
		zcrx_cq_user_release(&wire->users[queue]);
	}
	return cqe;
}

static inline uint32_t unread(struct wire *wire)
{
	return zcrx_cq_user_available(&wire->users[0]);
}

static inline void check_next(struct wire *wire, uint64_t off, int32_t res)
{
	struct zcrx_cqe32 cqe = next_of(wire, 0);

	CHECK_EQ(cqe.zcrx.off, off);
	CHECK_EQ(cqe.cqe.res, res);
	CHECK_EQ(cqe.cqe.flags, IORING_CQE_F_MORE);
}

static inline uint32_t user_refs(const struct wire *wire, uint32_t niov)
{
	return word_of(&wire->queue->area.niovs[niov].user_refs);
}

static inline uint32_t pp_refs(const struct wire *wire, uint32_t niov)
{
	return word_of(&wire->queue->area.niovs[niov].pp_refs);
}

#define NIC(wire, name) count_of(&(wire)->queue->nic->name)

#endif /* WIRE_H */
