/* SPDX-License-Identifier: MIT */
#include "arrival.h"

#include <errno.h>

#include "late.h"
#include "nic.h"
#include "queue.h"
#include "socket.h"
#include "trouble.h"
#include "watch.h"

static uint32_t between(struct zcrx_emu *emu, uint32_t min, uint32_t max)
{
	return max > min ? min + zcrx_rng_below(&emu->rng, max - min + 1) : min;
}

/* The fragment goes on in the buffer that is open, or begins one. 0 or -errno. */
static int place_fragment(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
			  const struct zcrx_emu_shape *shape, uint32_t *length, uint32_t *at)
{
	struct zcrx_lib_open *open = &queue->nic.open;
	uint32_t size = (uint32_t)1 << queue->area.niov_shift;
	uint32_t most = shape->per_buffer ? shape->per_buffer : 1;
	int64_t niov;

	if (open->is_open && (open->fragments >= most || open->used >= size))
		zcrx_lib_nic_close_buffer(queue);
	/* One of a chosen size is not cut for lack of room: the next buffer has it. */
	if (open->is_open && shape->fragment_max && size - open->used < *length)
		zcrx_lib_nic_close_buffer(queue);
	if (!open->is_open) {
		niov = zcrx_lib_nic_take(queue);
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

/* All that was put off. What cannot be written takes what waits for it along, later. */
static int finish_filling(struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow)
{
	struct zcrx_lib_filling *filling = &queue->filling;

	zcrx_lib_watch_poison_rest(queue);
	filling->is_torn |= !zcrx_lib_batch_write(&filling->batch);
	if (!filling->is_torn)
		filling->sure = flow->end;
	return filling->is_torn ? -EFAULT : 0;
}

/* Bytes that stay where they are until the delivery ends go into a buffer, with others. 0 or -errno. */
static int fill(struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow, uint32_t niov, uint32_t at,
		const uint8_t *data, uint32_t size)
{
	struct zcrx_lib_batch *batch = &queue->filling.batch;
	const struct zcrx_lib_window *window;
	uint64_t begin = zcrx_lib_area_at(queue, niov, &window);
	int error = 0;

	if (!zcrx_lib_batch_suits(window))
		return zcrx_lib_window_put(window, begin + at, data, size) ? 0 : -EFAULT;
	if (!zcrx_lib_batch_has_room(batch, window))
		error = finish_filling(queue, flow);
	if (error)
		return error;
	zcrx_lib_watch_filling(queue, niov, size);
	zcrx_lib_batch_add(batch, window, begin + at, (void *)(uintptr_t)data, size);
	return 0;
}

static int take_in(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow,
		   const uint8_t *data, const struct zcrx_emu_shape *shape, uint32_t *length)
{
	struct zcrx_lib_open *open = &queue->nic.open;
	struct zcrx_lib_waiting *waiting;
	uint32_t at = 0;
	int error;

	if (queue->is_nodev ||
	    (shape->copy_percent && zcrx_rng_below(&emu->rng, 100) < shape->copy_percent)) {
		waiting = zcrx_lib_flow_add(emu, queue, flow, *length, true);
		if (!waiting)
			return -ENOMEM;
		memcpy(waiting->bytes, data, *length);
		return 0;
	}
	error = place_fragment(emu, queue, shape, length, &at);
	if (error)
		return error;
	error = fill(queue, flow, open->niov, at, data, *length);
	waiting = error ? NULL : zcrx_lib_flow_add(emu, queue, flow, *length, false);
	if (!waiting)
		return error ? error : -ENOMEM;
	waiting->niov = open->niov;
	waiting->at = at;
	open->used += *length;
	/* Where nothing else will go in there the NIC's own reference becomes the socket's. */
	if (++open->fragments >= (shape->per_buffer ? shape->per_buffer : 1))
		open->is_open = false;
	else
		zcrx_pp_ref_get(&queue->area, open->niov, 1);
	return 0;
}

/* The head of a packet, which the stack has where no buffer of the area is. */
static int take_in_linear(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
			  struct zcrx_lib_flow *flow, const uint8_t *data, uint32_t length)
{
	struct zcrx_lib_waiting *waiting = zcrx_lib_flow_add(emu, queue, flow, length, true);

	if (!waiting)
		return -ENOMEM;
	memcpy(waiting->bytes, data, length);
	waiting->is_linear = true;
	return 0;
}

static uint32_t least(uint32_t length, size_t most)
{
	return length < most ? length : (uint32_t)most;
}

/* How many bytes of the packet were taken: the rest of it is dropped. */
static size_t take_in_packet(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
			     struct zcrx_lib_flow *flow, const uint8_t *data, size_t size,
			     const struct zcrx_emu_shape *shape, uint32_t tiny)
{
	uint32_t linear = least(between(emu, shape->linear_min, shape->linear_max), size);
	uint32_t max = shape->fragment_max ? shape->fragment_max : 1U << queue->area.niov_shift;
	uint32_t min = shape->fragment_min ? shape->fragment_min : max;
	size_t done = 0;

	if (linear) {
		if (take_in_linear(emu, queue, flow, data, linear))
			return 0;
		done = linear;
	}
	while (done < size) {
		uint32_t length = tiny ? 1 : least(between(emu, min, max), size - done);

		tiny -= tiny != 0;
		if (take_in(emu, queue, flow, data + done, shape, &length))
			break;
		done += length;
	}
	return done;
}

/* Bits of a byte of the packet whose fragments begin with `waiting` are not as they were sent. */
static void flip(struct zcrx_lib_flow *flow, struct zcrx_lib_waiting *waiting, size_t at,
		 const uint8_t *data, uint8_t bits)
{
	const uint8_t byte = data[at] ^ bits;

	for (; waiting && at >= waiting->length; waiting = waiting->next)
		at -= waiting->length;
	if (!waiting)
		return;
	if (waiting->is_copy)
		waiting->bytes[waiting->at + at] = byte;
	else if (finish_filling(waiting->queue, flow) == 0)
		zcrx_lib_queue_fill(waiting->queue, waiting->niov, waiting->at + (uint32_t)at,
				    &byte, 1);
}

/* What has arrived comes once more. */
static void repeat(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow,
		   const uint8_t *data, size_t size, const struct zcrx_emu_shape *shape)
{
	struct zcrx_lib_waiting **first = flow->end;

	take_in_packet(emu, queue, flow, data, size, shape, 0);
	for (struct zcrx_lib_waiting *waiting = *first; waiting; waiting = waiting->next)
		waiting->is_repeated = true;
}

/* One packet, as a plan has it; how many of its bytes arrived. */
static size_t arrive_as(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
			struct zcrx_lib_flow *flow, const uint8_t *data, size_t size,
			const struct zcrx_emu_shape *shape, const struct zcrx_lib_packet *packet)
{
	struct zcrx_lib_waiting **first = flow->end;
	size_t taken = take_in_packet(emu, queue, flow, data,
				      size < packet->most ? size : packet->most, shape,
				      packet->tiny);

	if (packet->flips)
		flip(flow, *first, packet->flipped_at, data, packet->flips);
	if (packet->is_twice && taken == size)
		repeat(emu, queue, flow, data, size, shape);
	if (packet->is_full && taken)
		(*first)->meets_full = true;
	if (packet->is_reset)
		flow->is_ended = flow->is_reset = true;
	return taken;
}

#define A_FEW 4U /* buffers: not worth it */

/*
 * Buffers that come back are to be filled while they are in the processor's caches: those that
 * wait in the refill ring come before those that the pool has at hand. Where fragments share
 * buffers, an entry is not one: all are judged.
 */
static void take_hot(struct zcrx_lib_ifq *queue, const struct zcrx_emu_shape *shape)
{
	if (shape->per_buffer > 1) {
		zcrx_lib_queue_drain_now(queue);
	} else if (queue->nic.wanted_now > A_FEW) {
		zcrx_pp_empty_cache(zcrx_ifq_pool(&queue->ifq));
		queue->nic.takes_hot = true;
	}
}

/* What waits in the refill ring, as last seen, leaves little room there. */
static bool is_crowded(const struct zcrx_lib_ifq *queue)
{
	const struct zcrx_rq *rq = &queue->ifq.rq;

	return queue->last_tail - rq->cached_head > rq->entries - rq->entries / 4;
}

static void begin(struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow, size_t size,
		  const struct zcrx_emu_shape *shape)
{
	uint32_t shift = queue->area.niov_shift;
	uint64_t buffers = (size + ((uint64_t)1 << shift) - 1) >> shift;

	if (shape->fragment_max)
		buffers = size / shape->fragment_max / (shape->per_buffer ? shape->per_buffer : 1) +
			  1;
	queue->nic.wanted_now = buffers < UINT32_MAX ? (uint32_t)buffers : UINT32_MAX;
	queue->filling.sure = flow->end;
	queue->filling.is_torn = false;
	zcrx_lib_watch_delivery(queue);
	if (queue->flags & ZCRX_EMU_HOT && !queue->is_nodev)
		take_hot(queue, shape);
}

/* How many bytes have not arrived after all. */
static int64_t finish(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow)
{
	int error = finish_filling(queue, flow);

	queue->nic.wanted_now = 0;
	if (queue->nic.takes_hot && is_crowded(queue))
		zcrx_lib_queue_drain_now(queue);
	queue->nic.takes_hot = false;
	zcrx_lib_watch_delivered(queue);
	return error ? zcrx_lib_flow_cut(emu, flow, queue->filling.sure) : 0;
}

/* Of one whose flow has been reset meanwhile nothing comes, as of any other. */
void zcrx_lib_arrive_late(struct zcrx_lib_ifq *queue)
{
	const struct zcrx_lib_late *late = queue->late;
	struct zcrx_emu *emu = late->ring;
	struct zcrx_lib_flow *flow = zcrx_lib_flow_of(emu, late->flow, true);

	if (flow && !flow->is_ended) {
		begin(queue, flow, late->size, &late->shape);
		take_in_packet(emu, queue, flow, late->bytes, late->size, &late->shape, 0);
		finish(emu, queue, flow);
	}
	zcrx_lib_late_drop(queue);
	zcrx_lib_nic_refill(queue);
}

/* The same while a delivery to `flow` goes on, which is complete up to here. */
static void arrive_late_amid(struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow)
{
	uint32_t wanted = queue->nic.wanted_now;

	if (finish_filling(queue, flow)) {
		zcrx_lib_late_drop(queue);
		return;
	}
	zcrx_lib_arrive_late(queue);
	queue->nic.wanted_now = wanted;
	queue->filling.sure = flow->end;
	queue->filling.is_torn = false;
}

/* A packet has been dealt with, other than the one that is late. */
static void pass(struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow)
{
	zcrx_lib_nic_pass(queue);
	if (queue->late && --queue->late->packets == 0)
		arrive_late_amid(queue, flow);
}

/* One packet, and what goes wrong with it; how many of its bytes the NIC took. */
static size_t arrive(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, struct zcrx_lib_flow *flow,
		     const uint8_t *data, size_t size, const struct zcrx_emu_shape *shape)
{
	const struct zcrx_lib_packet packet = zcrx_lib_trouble_packet(queue, flow->id, size);
	size_t taken;

	if (packet.held)
		zcrx_lib_nic_hold(queue, packet.held, packet.held_for);
	if (packet.overtaken &&
	    zcrx_lib_late_keep(queue, emu, flow->id, data, size, shape, packet.overtaken)) {
		zcrx_lib_nic_pass(queue);
		return size;
	}
	taken = arrive_as(emu, queue, flow, data, size, shape, &packet);
	pass(queue, flow);
	return taken;
}

static int check_shape(struct zcrx_emu *emu, uint32_t buffer, const struct zcrx_emu_shape *shape)
{
	uint32_t max = shape->fragment_max ? shape->fragment_max : buffer;
	uint32_t min = shape->fragment_min ? shape->fragment_min : max;

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
	if (shape->linear_max > ZCRX_LIB_PAGE || shape->linear_min > shape->linear_max)
		return zcrx_lib_refuse(emu, -EINVAL,
				       "linear_min %u, linear_max %u: must be 0 to %u",
				       shape->linear_min, shape->linear_max, ZCRX_LIB_PAGE);
	return 0;
}

int64_t zcrx_lib_deliver(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, uint32_t id,
			 const uint8_t *data, size_t size, const struct zcrx_emu_shape *shape)
{
	size_t packet = queue->nic.mtu ? queue->nic.mtu : size;
	int error = check_shape(emu, 1U << queue->area.niov_shift, shape);
	struct zcrx_lib_flow *flow;
	size_t done = 0;

	if (error)
		return error;
	flow = zcrx_lib_flow_of(emu, id, true);
	if (!flow)
		return zcrx_lib_refuse(emu, -ENOMEM, "no memory for a flow");
	if (flow->is_ended)
		return zcrx_lib_refuse(emu, -EPIPE, "flow %u: its sender has ended it", id);
	begin(queue, flow, size, shape);
	while (done < size) {
		size_t now = size - done < packet ? size - done : packet;
		size_t taken = arrive(emu, queue, flow, data + done, now, shape);

		zcrx_lib_nic_refill(queue);
		done += taken;
		if (taken < now)
			break;
	}
	return (int64_t)done - finish(emu, queue, flow);
}

int zcrx_lib_end(struct zcrx_emu *emu, uint32_t id)
{
	struct zcrx_lib_flow *flow = zcrx_lib_flow_of(emu, id, true);

	if (!flow)
		return zcrx_lib_refuse(emu, -ENOMEM, "no memory for a flow");
	for (uint32_t at = 0; at < emu->ifq_count; at++) {
		if (zcrx_lib_late_is_of(emu->ifqs[at], emu, id))
			zcrx_lib_arrive_late(emu->ifqs[at]);
	}
	flow->is_ended = true;
	return 0;
}
