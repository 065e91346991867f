/* SPDX-License-Identifier: MIT */
/*
 * What an operation of the setup lacks is the scenario's mistake, and told at once:
 * a search of what does nothing would find nothing.
 */
#include "setup.h"
#include "operations.h"

static uint64_t held_in(const struct world_view *view, uint32_t niov)
{
	return niov < view->nq.queue.shape.num_niovs ?
		       zcrx_ifq_user_refs(&view->nq.queue.ifq, niov) :
		       0;
}

static bool has_room(const struct zcrx_area *area, uint64_t count)
{
	return area->extents && count && count <= area->num_niovs - zcrx_area_niovs(area);
}

static enum world_refused unless(bool holds, enum world_refused why)
{
	return holds ? WORLD_REFUSED_NOTHING : why;
}

/*
 * Why an operation of the setup, which is done by one alone, would not do all that
 * it says; nothing if it would. (What actors find depends on the others.)
 */
static enum world_refused lacks(struct world_view *view, const struct script_op *op)
{
	const struct zcrx_nic_queue *nq = &view->nq;
	uint64_t count = op->numbers[0];

	switch (op->kind) {
	case OP_ALLOC:
	case OP_GRANT:
		return unless(zcrx_ifq_pool(world_ifq(view)), WORLD_REFUSED_NO_POOL);
	case OP_DELIVER:
	case OP_DROP:
		return unless(view->hand_count >= count, WORLD_REFUSED_HAND_HOLDS_FEWER);
	case OP_SEND:
	case OP_SEND_BYTES:
	case OP_CUT:
		return unless(zcrx_nic_queue_room(&view->nq, (uint32_t)count,
						  nq->has_open ? 0 : 1) == ZCRX_OFFERED,
			      WORLD_REFUSED_NOTHING_TO_SEND);
	case OP_CLOSE:
		return unless(nq->has_open, WORLD_REFUSED_NOTHING_OPEN);
	case OP_TAKE:
	case OP_TAKE_BYTES:
		return unless(zcrx_cq_user_available(&view->cq) >= count,
			      WORLD_REFUSED_FEWER_COMPLETIONS);
	case OP_GIVE:
		return unless(view->fragment_count >= count, WORLD_REFUSED_TOOK_FEWER);
	case OP_RETURN:
		if (held_in(view, (uint32_t)count) < op->numbers[1])
			return WORLD_REFUSED_NOT_HELD;
		return unless(zcrx_rq_user_room(&view->rq, (uint32_t)op->numbers[1]),
			      WORLD_REFUSED_RING_FULL);
	case OP_ADD_AREA:
		return unless(has_room(&nq->queue.area, count), WORLD_REFUSED_NO_AREA_MORE);
	case OP_PUSH:
		return unless(zcrx_rq_user_room(&view->rq, 1), WORLD_REFUSED_RING_FULL);
	case OP_REFILL:
	case OP_FLUSH:
	case OP_FLUSH_RQ:
		return unless(zcrx_ifq_available(world_ifq(view)), WORLD_REFUSED_RING_EMPTY);
	default:
		return WORLD_REFUSED_NOTHING;
	}
}

/* What it had to take was less than it says. */
static enum world_refused falls_short(const struct world_view *view, const struct script_op *op,
				      uint32_t held, uint32_t granted)
{
	if (op->kind == OP_ALLOC && view->hand_count - held < op->numbers[0])
		return WORLD_REFUSED_FEWER_BUFFERS;
	if (op->kind == OP_GRANT && view->nq.queue.grants.cached_tail - granted < op->numbers[0])
		return WORLD_REFUSED_FEWER_GRANTS;
	return WORLD_REFUSED_NOTHING;
}

static enum world_refused do_one(struct world_view *view, const struct script_op *op)
{
	uint32_t held = view->hand_count, granted = view->nq.queue.grants.cached_tail;
	enum world_refused why = lacks(view, op);

	if (why)
		return why;
	operations_do(view, op);
	return falls_short(view, op, held, granted);
}

bool setup_do(struct world_view *view, const struct script *script, struct world_refusal *refusal)
{
	for (uint32_t i = 0; i < script->count; i++) {
		*refusal = (struct world_refusal){do_one(view, &script->ops[i]), i + 1};
		if (refusal->why)
			return false;
	}
	return true;
}
