/*
 * The emulator's refill ring (cext/ring.h) in the run that every ring goes
 * through: the user's side puts entries in place, the provider's side takes
 * them one by one, each copied once as it must be.
 */
#include "ring_run.h"
#include "wire/ring.h"

struct shared {
	_Alignas(PAIR_LINE_BYTES) shm_u32 head;
	_Alignas(PAIR_LINE_BYTES) shm_u32 tail;
	_Alignas(PAIR_LINE_BYTES) struct zcrx_rqe_slot rqes[RING_ENTRIES];
};

/* Either side's private state; which one is used tells who is who. */
union side {
	struct zcrx_rq_user user;
	struct {
		struct zcrx_rq rq;
		uint32_t available; /* of the last look at the tail */
	} provider;
};

_Static_assert(sizeof(union side) <= RING_END_BYTES, "an end fits");

static size_t ring_size(void)
{
	return sizeof(struct shared);
}

static void create(void *memory)
{
	(void)memory; /* fresh memory is an empty ring */
}

static void attach(void *memory, void *end)
{
	struct shared *shared = memory;
	union side *side = end;

	/* The two views start with the same five members. */
	side->user = (struct zcrx_rq_user){
		.head = &shared->head,
		.tail = &shared->tail,
		.rqes = shared->rqes,
		.entries = RING_ENTRIES,
		.mask = RING_ENTRIES - 1,
	};
}

static inline void put(void *end, uint64_t first_value, uint32_t count, bool alone)
{
	struct zcrx_rq_user *rq = &((union side *)end)->user;

	while (zcrx_rq_user_room(rq, count) < count)
		wait_a_little(alone);
	zcrx_rq_user_expect(rq, count);
	for (uint32_t i = 0; i < count; i++)
		zcrx_rq_user_put(rq, first_value + i, count, 0);
	zcrx_rq_user_publish(rq);
}

static inline bool take(void *end, uint32_t count, uint64_t *sum)
{
	union side *side = end;
	struct zcrx_rq *rq = &side->provider.rq;
	uint64_t partial = 0;

	if (side->provider.available < count) {
		side->provider.available = zcrx_rq_available(rq);
		if (side->provider.available < count)
			return false;
	}
	zcrx_rq_expect(rq, side->provider.available, count);
	side->provider.available -= count;
	for (uint32_t i = 0; i < count; i++)
		partial += zcrx_rq_take(rq).off;
	zcrx_rq_release(rq);
	*sum += partial;
	return true;
}

int main(int argc, char **argv)
{
	static const struct ring_kind kind = {
		.size = ring_size,
		.create = create,
		.attach = attach,
		.put = put,
		.take = take,
	};

	return ring_main(argc, argv, &kind);
}
