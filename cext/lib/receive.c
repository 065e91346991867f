/* SPDX-License-Identifier: MIT */
/*
 * A fragment that waits in a socket holds a page-pool reference. Handing it over gives the
 * user a reference of its own; the socket's stands behind it from then on. The user's is
 * counted before the completion can be seen: an entry written at once finds it.
 */
#include "receive.h"

#include <errno.h>
#include <stdlib.h>

#include "completion.h"
#include "queue.h"

#define FLOW_BUCKETS 256U
#define CQE_F_MORE (1U << 1)

/* What waits: in a buffer of the area, or beside it. */
struct zcrx_lib_waiting {
	struct zcrx_lib_waiting *next;
	struct zcrx_lib_ifq *queue;
	uint32_t niov;
	uint32_t at; /* in the buffer, or in `bytes` */
	uint32_t length; /* what is left of it */
	bool is_copy;
	uint8_t bytes[]; /* of a copy */
};

struct zcrx_lib_flow {
	struct zcrx_lib_flow *next; /* of the bucket */
	uint32_t id;
	bool is_ended; /* by its sender */
	bool is_abandoned; /* its last receive ended by an error that passes */
	uint32_t error; /* which */
	uint32_t zcrx_id; /* of that receive */
	struct zcrx_lib_waiting *first, **end;
};

struct zcrx_lib_receive {
	struct zcrx_lib_receive *next;
	struct zcrx_emu_recv recv;
	struct zcrx_lib_flow *flow; /* NULL: cancelled */
	uint32_t left; /* of the limit, if there is one */
	uint64_t round; /* in which it was armed, by a callback: its turn is the next one */
};

static struct zcrx_lib_flow *flow_of(struct zcrx_emu *emu, uint32_t id, bool make)
{
	struct zcrx_lib_flow **bucket, *flow;

	if (!emu->flows) {
		if (!make)
			return NULL;
		emu->flows = calloc(FLOW_BUCKETS, sizeof(struct zcrx_lib_flow *));
		if (!emu->flows)
			return NULL;
	}
	bucket = &emu->flows[id % FLOW_BUCKETS];
	for (flow = *bucket; flow; flow = flow->next) {
		if (flow->id == id)
			return flow;
	}
	flow = make ? calloc(1, sizeof(*flow)) : NULL;
	if (!flow)
		return NULL;
	flow->id = id;
	flow->end = &flow->first;
	flow->next = *bucket;
	*bucket = flow;
	return flow;
}

/* ---- arriving ---------------------------------------------------------------------------- */

static uint32_t between(struct zcrx_emu *emu, uint32_t min, uint32_t max)
{
	return max > min ? min + zcrx_rng_below(&emu->rng, max - min + 1) : min;
}

/* One without bytes is kept for the next: each buffer that arrives has one. */
static struct zcrx_lib_waiting *take_spare(struct zcrx_emu *emu)
{
	struct zcrx_lib_waiting *waiting = emu->spare;

	if (waiting)
		emu->spare = waiting->next;
	return waiting;
}

static struct zcrx_lib_waiting *enqueue(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
					struct zcrx_lib_flow *flow, uint32_t length, bool is_copy)
{
	struct zcrx_lib_waiting *waiting = is_copy ? NULL : take_spare(emu);

	if (!waiting)
		waiting = malloc(sizeof(*waiting) + (is_copy ? length : 0));
	if (!waiting)
		return NULL;
	waiting->next = NULL;
	waiting->queue = queue;
	waiting->at = 0;
	waiting->length = length;
	waiting->is_copy = is_copy;
	*flow->end = waiting;
	flow->end = &waiting->next;
	return waiting;
}

/* The fragment goes on in the buffer that is open, or begins one. 0 or -errno. */
static int place_fragment(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
			  const struct zcrx_emu_shape *shape, uint32_t *length, uint32_t *at)
{
	struct zcrx_lib_open *open = &queue->open;
	uint32_t size = (uint32_t)1 << queue->area.niov_shift;
	uint32_t most = shape->per_buffer ? shape->per_buffer : 1;
	int64_t niov;

	if (open->is_open && (open->fragments >= most || open->used >= size))
		zcrx_lib_queue_close_buffer(queue);
	/* One of a chosen size is not cut for lack of room: the next buffer has it. */
	if (open->is_open && shape->fragment_max && size - open->used < *length)
		zcrx_lib_queue_close_buffer(queue);
	if (!open->is_open) {
		niov = zcrx_lib_queue_alloc(queue);
		if (niov < 0)
			return (int)niov;
		*open = (struct zcrx_lib_open){.is_open = true, .niov = (uint32_t)niov};
		open->used = between(emu, shape->offset_min, shape->offset_max);
	}
	if (*length > size - open->used)
		*length = size - open->used;
	*at = open->used;
	return 0;
}

static int take_in(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow,
		   const uint8_t *data, const struct zcrx_emu_shape *shape, uint32_t *length)
{
	struct zcrx_lib_open *open = &queue->open;
	struct zcrx_lib_waiting *waiting;
	uint32_t at = 0;
	int error;

	if (queue->is_nodev ||
	    (shape->copy_percent && zcrx_rng_below(&emu->rng, 100) < shape->copy_percent)) {
		waiting = enqueue(emu, queue, flow, *length, true);
		if (!waiting)
			return -ENOMEM;
		memcpy(waiting->bytes, data, *length);
		return 0;
	}
	error = place_fragment(emu, queue, shape, length, &at);
	if (error)
		return error;
	error = zcrx_lib_queue_fill(queue, open->niov, at, data, *length);
	waiting = error ? NULL : enqueue(emu, queue, flow, *length, false);
	if (!waiting)
		return error ? error : -ENOMEM;
	waiting->niov = open->niov;
	waiting->at = at;
	zcrx_pp_ref_get(&queue->area, open->niov, 1);
	open->used += *length;
	/* Nothing else will go in there: the NIC is done with it. */
	if (++open->fragments >= (shape->per_buffer ? shape->per_buffer : 1))
		zcrx_lib_queue_close_buffer(queue);
	return 0;
}

int64_t zcrx_lib_deliver(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, uint32_t id,
			 const uint8_t *data, size_t size, const struct zcrx_emu_shape *shape)
{
	uint32_t buffer = (uint32_t)1 << queue->area.niov_shift;
	uint32_t max = shape->fragment_max ? shape->fragment_max : buffer;
	uint32_t min = shape->fragment_min ? shape->fragment_min : max;
	struct zcrx_lib_flow *flow;
	size_t done = 0;

	if (max > buffer || min > max)
		return zcrx_lib_refuse(emu, -EINVAL,
				       "fragment_min %u, fragment_max %u: must be 1 to %u", min,
				       max, buffer);
	if (shape->offset_max >= buffer || shape->offset_min > shape->offset_max)
		return zcrx_lib_refuse(emu, -EINVAL,
				       "offset_min %u, offset_max %u: must be 0 to %u",
				       shape->offset_min, shape->offset_max, buffer - 1);
	if (shape->copy_percent > 100)
		return zcrx_lib_refuse(emu, -EINVAL, "copy_percent: %u; must be 0 to 100",
				       shape->copy_percent);
	flow = flow_of(emu, id, true);
	if (!flow)
		return zcrx_lib_refuse(emu, -ENOMEM, "no memory for a flow");
	if (flow->is_ended)
		return zcrx_lib_refuse(emu, -EPIPE, "flow %u: its sender has ended it", id);
	while (done < size) {
		uint32_t length = between(emu, min, max);

		if (length > size - done)
			length = (uint32_t)(size - done);
		if (take_in(emu, queue, flow, data + done, shape, &length))
			break;
		done += length;
	}
	return (int64_t)done;
}

int zcrx_lib_end(struct zcrx_emu *emu, uint32_t id)
{
	struct zcrx_lib_flow *flow = flow_of(emu, id, true);

	if (!flow)
		return zcrx_lib_refuse(emu, -ENOMEM, "no memory for a flow");
	flow->is_ended = true;
	return 0;
}

/* ---- handing over ------------------------------------------------------------------------- */

static void dequeue(struct zcrx_emu *emu, struct zcrx_lib_flow *flow)
{
	struct zcrx_lib_waiting *waiting = flow->first;

	flow->first = waiting->next;
	if (!flow->first)
		flow->end = &flow->first;
	if (waiting->is_copy) {
		free(waiting);
		return;
	}
	waiting->next = emu->spare;
	emu->spare = waiting;
}

/*
 * `length` bytes of a buffer become the program's; its reference stands behind a page-pool
 * reference that the caller has. False: there was no room, and nothing has happened.
 */
static bool hand_over(struct zcrx_emu *emu, struct zcrx_lib_receive *receive,
		      struct zcrx_lib_ifq *queue, uint32_t niov, uint32_t at, uint32_t length)
{
	struct zcrx_emu_cqe cqe = {
		.user_data = receive->recv.user_data,
		.res = (int32_t)length,
		.flags = CQE_F_MORE | (zcrx_lib_is_mixed(emu) ? CQE_F_32 : 0),
		.off = ((uint64_t)niov << queue->area.niov_shift) + at,
	};

	if (zcrx_lib_ifq_checks(queue)) {
		struct zcrx_lib_held held = {
			.completion = emu->machine->completions + 1,
			.flow = receive->recv.flow,
			.at = at,
			.length = length,
			.tail = zcrx_lib_queue_tail(queue),
		};

		if (zcrx_lib_ledger_reserve(&queue->ledger))
			return false;
		zcrx_lib_ledger_give(&queue->ledger, niov, &held);
	}
	zcrx_user_ref_give(&queue->area, niov, 1);
	if (zcrx_lib_cq_post(emu, &cqe)) {
		emu->machine->completions++;
		return true;
	}
	/* A callback said no: nobody has seen it. */
	zcrx_user_ref_take(&queue->area, niov, 1);
	if (zcrx_lib_ifq_checks(queue))
		zcrx_lib_ledger_take_back(&queue->ledger, niov);
	return false;
}

/* Of a copy: into a buffer of the freelist. 0 or -errno. */
static int hand_over_copy(struct zcrx_emu *emu, struct zcrx_lib_receive *receive,
			  struct zcrx_lib_waiting *waiting, uint32_t length)
{
	struct zcrx_lib_ifq *queue = waiting->queue;
	int64_t niov = zcrx_lib_queue_copy_buffer(queue);
	int error;

	if (niov < 0)
		return -ENOMEM;
	error = zcrx_lib_queue_fill(queue, (uint32_t)niov, 0, waiting->bytes + waiting->at, length);
	if (!error && !hand_over(emu, receive, queue, (uint32_t)niov, 0, length))
		error = -ENOSPC;
	if (error)
		zcrx_ifq_drop(&queue->ifq, (uint32_t)niov, 1);
	return error;
}

/* One fragment, or what of it the limit allows. 0 or -errno. */
static int receive_one(struct zcrx_emu *emu, struct zcrx_lib_receive *receive, uint32_t most)
{
	struct zcrx_lib_waiting *waiting = receive->flow->first;
	struct zcrx_lib_ifq *queue = waiting->queue;
	uint32_t length = waiting->length < most ? waiting->length : most;
	int error;

	if (queue != zcrx_lib_ifq_of(emu, receive->recv.zcrx_id))
		return -EFAULT;
	if (!zcrx_lib_cq_has_room(emu))
		return -ENOSPC;
	if (waiting->is_copy) {
		if (length > ZCRX_LIB_PAGE)
			length = ZCRX_LIB_PAGE;
		error = hand_over_copy(emu, receive, waiting, length);
		if (error)
			return error;
	} else {
		/* The socket's own reference goes along with the last of it. */
		if (length < waiting->length)
			zcrx_pp_ref_get(&queue->area, waiting->niov, 1);
		if (!hand_over(emu, receive, queue, waiting->niov, waiting->at, length)) {
			if (length < waiting->length)
				zcrx_ifq_drop(&queue->ifq, waiting->niov, 1);
			return -ENOSPC;
		}
	}
	if (receive->recv.limit)
		receive->left -= length;
	waiting->at += length;
	waiting->length -= length;
	if (waiting->length == 0)
		dequeue(emu, receive->flow);
	return 0;
}

/* True: it goes on. */
static bool receive_some(struct zcrx_emu *emu, struct zcrx_lib_receive *receive, uint32_t *count)
{
	int32_t res = 0;

	while (receive->flow && receive->flow->first && res == 0) {
		uint32_t most = receive->recv.limit ? receive->left : UINT32_MAX;

		if (most == 0)
			break;
		res = receive_one(emu, receive, most);
		if (res == 0)
			(*count)++;
	}
	if (!receive->flow)
		return false;
	if (res == 0 && !(receive->recv.limit && receive->left == 0) &&
	    !(receive->flow->is_ended && !receive->flow->first))
		return true;
	receive->flow->is_abandoned = res == -ENOSPC || res == -ENOMEM;
	receive->flow->error = (uint32_t)-res;
	receive->flow->zcrx_id = receive->recv.zcrx_id;
	zcrx_lib_cq_post_last(emu, receive->recv.user_data, res);
	(*count)++;
	return false;
}

uint32_t zcrx_lib_receive_all(struct zcrx_emu *emu)
{
	struct zcrx_lib_receive **link = &emu->receives;
	uint32_t count = 0;

	/*
	 * One that a callback arms waits for the next round: else a program that arms anew
	 * whenever there is no buffer would never come out of this one.
	 */
	emu->rounds++;
	while (*link) {
		struct zcrx_lib_receive *receive = *link;

		if (receive->round == emu->rounds || receive_some(emu, receive, &count)) {
			link = &receive->next;
			continue;
		}
		*link = receive->next;
		if (emu->receives_end == &receive->next)
			emu->receives_end = link;
		free(receive);
	}
	return count;
}

int zcrx_lib_arm(struct zcrx_emu *emu, const struct zcrx_emu_recv *recv)
{
	struct zcrx_lib_receive *receive;
	struct zcrx_lib_flow *flow;

	if (!zcrx_lib_ifq_of(emu, recv->zcrx_id)) {
		zcrx_lib_refuse(emu, -EINVAL, "zcrx_id: %u is not registered", recv->zcrx_id);
		zcrx_lib_cq_post_last(emu, recv->user_data, -EINVAL);
		return 0;
	}
	flow = flow_of(emu, recv->flow, true);
	receive = flow ? calloc(1, sizeof(*receive)) : NULL;
	if (!receive)
		return zcrx_lib_refuse(emu, -ENOMEM, "no memory for a receive");
	flow->is_abandoned = false;
	receive->recv = *recv;
	receive->left = recv->limit;
	receive->round = emu->is_posting ? emu->rounds : 0;
	receive->flow = flow;
	*emu->receives_end = receive;
	emu->receives_end = &receive->next;
	return 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void drop_waiting(struct zcrx_emu *emu, struct zcrx_lib_flow *flow)
{
	while (flow->first) {
		struct zcrx_lib_waiting *waiting = flow->first;

		if (!waiting->is_copy)
			zcrx_ifq_drop(&waiting->queue->ifq, waiting->niov, 1);
		dequeue(emu, flow);
	}
}

int zcrx_lib_close(struct zcrx_emu *emu, uint32_t id)
{
	struct zcrx_lib_flow *flow = flow_of(emu, id, false);

	if (!flow)
		return zcrx_lib_refuse(emu, -ENOENT, "flow %u: nothing was done with it", id);
	for (struct zcrx_lib_receive *receive = emu->receives; receive; receive = receive->next) {
		if (receive->flow == flow)
			receive->flow = NULL;
	}
	drop_waiting(emu, flow);
	/* The number may be used again, for another connection. */
	flow->is_ended = flow->is_abandoned = false;
	return 0;
}

static void report_abandoned(struct zcrx_emu *emu, const struct zcrx_lib_flow *flow)
{
	struct zcrx_emu_report report = {
		.kind = ZCRX_EMU_NOT_ARMED,
		.zcrx_id = flow->zcrx_id,
		.flow = flow->id,
	};

	zcrx_lib_report(&emu->reports, &report,
			"the receive of flow %u ended with -%s, bytes wait in its socket, and no "
			"other was armed",
			flow->id, flow->error == ENOSPC ? "ENOSPC" : "ENOMEM");
}

void zcrx_lib_receive_close(struct zcrx_emu *emu)
{
	struct zcrx_emu_report report = {.kind = ZCRX_EMU_CQ_OVERFLOW};

	for (uint32_t bucket = 0; emu->flows && bucket < FLOW_BUCKETS; bucket++) {
		for (struct zcrx_lib_flow *flow = emu->flows[bucket]; flow; flow = flow->next) {
			if (flow->is_abandoned && flow->first)
				report_abandoned(emu, flow);
		}
	}
	zcrx_lib_cq_check(emu);
	if (emu->waiting_count)
		zcrx_lib_report(&emu->reports, &report,
				"%u completions, the last of receives, still wait for room in the "
				"completion queue",
				emu->waiting_count);
}

void zcrx_lib_receive_free(struct zcrx_emu *emu)
{
	for (uint32_t bucket = 0; emu->flows && bucket < FLOW_BUCKETS; bucket++) {
		while (emu->flows[bucket]) {
			struct zcrx_lib_flow *flow = emu->flows[bucket];

			drop_waiting(emu, flow);
			emu->flows[bucket] = flow->next;
			free(flow);
		}
	}
	free(emu->flows);
	while (emu->spare)
		free(take_spare(emu));
	while (emu->receives) {
		struct zcrx_lib_receive *receive = emu->receives;

		emu->receives = receive->next;
		free(receive);
	}
	free(emu->waiting);
}
