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
#include "events.h"
#include "late.h"
#include "queue.h"
#include "socket.h"
#include "trouble.h"

#define CQE_F_MORE (1U << 1)

struct zcrx_lib_receive {
	struct zcrx_lib_receive *next;
	struct zcrx_emu_recv recv;
	struct zcrx_lib_flow *flow; /* NULL: cancelled */
	uint32_t left; /* of the limit, if there is one */
	bool is_short; /* by a plan: */
	uint32_t few; /* so many completions more, and it ends as if there were no room */
	uint64_t round; /* in which it was armed, by a callback: its turn is the next one */
};

/* ---- handing over ------------------------------------------------------------------------- */

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
		.off = zcrx_area_offset(&queue->area, niov) + at,
	};

	if (receive->is_short && receive->few == 0)
		return false;
	if (zcrx_lib_ifq_checks(queue)) {
		struct zcrx_lib_held held = {
			.completion = emu->machine->completions + 1,
			.flow = receive->recv.flow,
			.at = at,
			.length = length,
			.tail = zcrx_lib_queue_tail_of_round(queue),
			.given_ms = zcrx_lib_now_ms(),
		};

		if (zcrx_lib_ledger_reserve(&queue->ledger))
			return false;
		zcrx_lib_ledger_give(&queue->ledger, niov, &held);
	}
	zcrx_user_ref_give(&queue->area, niov, 1);
	if (zcrx_lib_cq_post(emu, &cqe)) {
		emu->machine->completions++;
		receive->few -= receive->is_short;
		return true;
	}
	/* A callback said no: nobody has seen it. */
	zcrx_user_ref_take(&queue->area, niov, 1);
	if (zcrx_lib_ifq_checks(queue))
		zcrx_lib_ledger_take_back(&queue->ledger, niov);
	return false;
}

/* A piece of a copy: into a buffer of the freelist. 0 or -errno. */
static int hand_over_piece(struct zcrx_emu *emu, struct zcrx_lib_receive *receive,
			   struct zcrx_lib_waiting *waiting, uint32_t length)
{
	struct zcrx_lib_ifq *queue = waiting->queue;
	int64_t niov = zcrx_lib_trouble_copy(emu) ? -ENOMEM : zcrx_lib_queue_copy_buffer(queue);
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

/* `length` bytes of it have become the program's. */
static void took(struct zcrx_emu *emu, struct zcrx_lib_receive *receive, uint32_t length)
{
	struct zcrx_lib_waiting *waiting = receive->flow->first;

	if (receive->recv.limit)
		receive->left -= length;
	waiting->at += length;
	waiting->length -= length;
	if (waiting->length == 0)
		zcrx_lib_flow_pass(emu, receive->flow);
}

/*
 * Copied by the page, whatever a buffer holds. What was copied before there was no room or no
 * buffer for the rest counts as one copy, and so does the rest.
 */
static int receive_copy(struct zcrx_emu *emu, struct zcrx_lib_receive *receive, uint32_t length,
			uint32_t *count)
{
	struct zcrx_lib_waiting *waiting = receive->flow->first;
	struct zcrx_lib_ifq *queue = waiting->queue;
	bool is_silent = waiting->is_linear;
	uint32_t done = 0;
	int error = 0;

	while (done < length) {
		uint32_t piece = length - done < ZCRX_LIB_PAGE ? length - done : ZCRX_LIB_PAGE;

		error = zcrx_lib_cq_has_room(emu) ? hand_over_piece(emu, receive, waiting, piece) :
						    -ENOSPC;
		if (error)
			break;
		done += piece;
		(*count)++;
		took(emu, receive, piece);
	}
	if (done && !is_silent)
		zcrx_lib_event_copied(queue, done);
	return error;
}

static int receive_fragment(struct zcrx_emu *emu, struct zcrx_lib_receive *receive, uint32_t length,
			    uint32_t *count)
{
	struct zcrx_lib_waiting *waiting = receive->flow->first;
	struct zcrx_lib_ifq *queue = waiting->queue;

	if (!zcrx_lib_cq_has_room(emu))
		return -ENOSPC;
	/* The socket's own reference goes along with the last of it. */
	if (length < waiting->length)
		zcrx_pp_ref_get(&queue->area, waiting->niov, 1);
	if (!hand_over(emu, receive, queue, waiting->niov, waiting->at, length)) {
		if (length < waiting->length)
			zcrx_ifq_drop(&queue->ifq, waiting->niov, 1);
		return -ENOSPC;
	}
	(*count)++;
	took(emu, receive, length);
	return 0;
}

/* One fragment, or what of it the limit allows. 0 or -errno. */
static int receive_one(struct zcrx_emu *emu, struct zcrx_lib_receive *receive, uint32_t most,
		       uint32_t *count)
{
	struct zcrx_lib_waiting *waiting = receive->flow->first;
	uint32_t length = waiting->length < most ? waiting->length : most;

	if (waiting->meets_full) {
		waiting->meets_full = false;
		return -ENOSPC;
	}
	if (waiting->queue != zcrx_lib_ifq_of(emu, receive->recv.zcrx_id))
		return -EFAULT;
	return waiting->is_copy ? receive_copy(emu, receive, length, count) :
				  receive_fragment(emu, receive, length, count);
}

/* The receive is over: has the flow ended in order? 0 or -errno. */
static int32_t end_of(const struct zcrx_lib_flow *flow)
{
	return flow->is_reset && !flow->first ? -ECONNRESET : 0;
}

/* True: it goes on. */
static bool receive_some(struct zcrx_emu *emu, struct zcrx_lib_receive *receive, uint32_t *count)
{
	int32_t res = 0;

	while (receive->flow && receive->flow->first && res == 0) {
		uint32_t most = receive->recv.limit ? receive->left : UINT32_MAX;

		if (most == 0)
			break;
		res = receive_one(emu, receive, most, count);
	}
	if (!receive->flow)
		return false;
	if (res == 0 && !(receive->recv.limit && receive->left == 0) &&
	    !(receive->flow->is_ended && !receive->flow->first))
		return true;
	if (res == 0)
		res = end_of(receive->flow);
	receive->flow->is_abandoned = res == -ENOSPC || res == -ENOMEM;
	receive->flow->error = (uint32_t)-res;
	receive->flow->zcrx_id = receive->recv.zcrx_id;
	zcrx_lib_cq_post_last(emu, receive->recv.user_data, res);
	(*count)++;
	return false;
}

static void drop_receive(struct zcrx_emu *emu, struct zcrx_lib_receive **link)
{
	struct zcrx_lib_receive *receive = *link;

	*link = receive->next;
	if (emu->receives_end == &receive->next)
		emu->receives_end = link;
	free(receive);
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
	for (uint32_t id = 0; id < emu->ifq_count; id++)
		emu->ifqs[id]->has_round_tail = false;
	while (*link) {
		struct zcrx_lib_receive *receive = *link;

		if (receive->round == emu->rounds || receive_some(emu, receive, &count)) {
			link = &receive->next;
			continue;
		}
		drop_receive(emu, link);
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
	flow = zcrx_lib_flow_of(emu, recv->flow, true);
	receive = flow ? calloc(1, sizeof(*receive)) : NULL;
	if (!receive)
		return zcrx_lib_refuse(emu, -ENOMEM, "no memory for a receive");
	flow->is_abandoned = false;
	receive->recv = *recv;
	receive->left = recv->limit;
	receive->few = zcrx_lib_trouble_arm(emu);
	receive->is_short = receive->few != 0;
	receive->round = emu->is_posting ? emu->rounds : 0;
	receive->flow = flow;
	*emu->receives_end = receive;
	emu->receives_end = &receive->next;
	return 0;
}

/* ---- the socket's ------------------------------------------------------------------------ */

bool zcrx_lib_is_armed(const struct zcrx_emu *emu, uint32_t id)
{
	const struct zcrx_lib_receive *receive = emu->receives;

	while (receive && !(receive->flow && receive->flow->id == id))
		receive = receive->next;
	return receive != NULL;
}

int zcrx_lib_fail(struct zcrx_emu *emu, uint32_t id, int error)
{
	struct zcrx_lib_receive **link = &emu->receives;
	int count = 0;

	while (*link) {
		struct zcrx_lib_receive *receive = *link;

		if (!receive->flow || receive->flow->id != id) {
			link = &receive->next;
			continue;
		}
		zcrx_lib_cq_post_last(emu, receive->recv.user_data, error);
		drop_receive(emu, link);
		count++;
	}
	return count;
}

int zcrx_lib_close(struct zcrx_emu *emu, uint32_t id)
{
	struct zcrx_lib_flow *flow = zcrx_lib_flow_of(emu, id, false);

	if (!flow)
		return zcrx_lib_refuse(emu, -ENOENT, "flow %u: nothing was done with it", id);
	for (struct zcrx_lib_receive *receive = emu->receives; receive; receive = receive->next) {
		if (receive->flow == flow)
			receive->flow = NULL;
	}
	zcrx_lib_flow_clear(emu, flow);
	zcrx_lib_late_drop_flow(emu, id);
	/* The number may be used again, for another connection. */
	flow->is_ended = flow->is_reset = flow->is_abandoned = false;
	flow->error = 0;
	flow->left = 0;
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
			if (flow->is_abandoned && (flow->first || flow->left))
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
	zcrx_lib_flows_free(emu);
	while (emu->receives) {
		struct zcrx_lib_receive *receive = emu->receives;

		emu->receives = receive->next;
		free(receive);
	}
	free(emu->waiting);
}
