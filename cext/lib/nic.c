/* SPDX-License-Identifier: MIT */
#include "nic.h"

#include <errno.h>
#include <stdlib.h>

#include "queue.h"
#include "watch.h"

static uint64_t standing_of(const struct zcrx_emu *emu, const struct zcrx_lib_ifq *queue)
{
	uint64_t mtu = emu->options.mtu ? emu->options.mtu : ZCRX_LIB_MTU;
	uint64_t size = (uint64_t)1 << queue->area.niov_shift;

	return emu->options.rx_descriptors * ((mtu + size - 1) / size);
}

int zcrx_lib_nic_make(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_nic *nic = &queue->nic;

	nic->mtu = emu->options.mtu;
	nic->descriptors = emu->options.rx_descriptors;
	nic->wanted = queue->is_nodev ? 0 : standing_of(emu, queue);
	return zcrx_lib_nic_grow(queue);
}

int zcrx_lib_nic_grow(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_nic *nic = &queue->nic;
	uint32_t niovs = queue->area.num_niovs;
	uint32_t capacity = nic->wanted < niovs ? (uint32_t)nic->wanted : niovs;
	uint32_t *standing;

	if (capacity == nic->capacity)
		return 0;
	standing = malloc(capacity * sizeof(*standing));
	if (!standing)
		return -ENOMEM;
	for (uint32_t i = 0; i < nic->count; i++)
		standing[i] = nic->standing[(nic->first + i) % nic->capacity];
	free(nic->standing);
	nic->standing = standing;
	nic->first = 0;
	nic->capacity = capacity;
	return 0;
}

void zcrx_lib_nic_start(struct zcrx_lib_ifq *queue)
{
	const struct zcrx_lib_nic *nic = &queue->nic;
	struct zcrx_emu_report report = {
		.kind = ZCRX_EMU_STANDING,
		.zcrx_id = queue->ledger.zcrx_id,
	};

	zcrx_lib_nic_refill(queue);
	if (nic->wanted <= queue->area.num_niovs || !zcrx_lib_ifq_checks(queue))
		return;
	zcrx_lib_report(queue->ledger.reports, &report,
			"the NIC's %u descriptors want %llu buffers to stand in them, and the area "
			"has %u: none is left to copy into, or for a packet while others are out",
			nic->descriptors, (unsigned long long)nic->wanted, queue->area.num_niovs);
}

/* The oldest of those that stand; there is one. */
static uint32_t pop_standing(struct zcrx_lib_nic *nic)
{
	uint32_t niov = nic->standing[nic->first];

	nic->first = (nic->first + 1) % nic->capacity;
	nic->count--;
	return niov;
}

/* All that the NIC has goes back. */
static void empty(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_nic *nic = &queue->nic;

	zcrx_lib_nic_close_buffer(queue);
	zcrx_lib_nic_give_back(queue);
	while (nic->count)
		zcrx_ifq_drop(&queue->ifq, pop_standing(nic), 1);
}

void zcrx_lib_nic_stop(struct zcrx_lib_ifq *queue)
{
	empty(queue);
	free(queue->nic.standing);
}

int zcrx_lib_nic_restart(struct zcrx_lib_ifq *queue)
{
	int error;

	empty(queue);
	error = zcrx_lib_queue_restart(queue);
	zcrx_lib_nic_refill(queue);
	return error;
}

static int64_t take_standing(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_nic *nic = &queue->nic;

	if (nic->count == 0)
		zcrx_lib_nic_refill(queue);
	if (nic->count == 0)
		return -ENOMEM;
	return pop_standing(nic);
}

/* The next buffer to fill, or -ENOMEM. */
static int64_t take(struct zcrx_lib_ifq *queue)
{
	return queue->nic.capacity ? take_standing(queue) : zcrx_lib_queue_alloc(queue);
}

void zcrx_lib_nic_hold(struct zcrx_lib_ifq *queue, uint32_t count, uint32_t packets)
{
	struct zcrx_lib_nic *nic = &queue->nic;
	uint32_t most = zcrx_lib_nic_may_hold(queue);

	if (most < count)
		count = most;
	if (count == 0)
		return;
	nic->held = malloc(count * sizeof(*nic->held));
	while (nic->held && nic->held_count < count) {
		int64_t niov = take(queue);

		if (niov < 0)
			break;
		nic->held[nic->held_count++] = (uint32_t)niov;
	}
	nic->hold_left = packets;
	if (nic->held_count == 0)
		zcrx_lib_nic_give_back(queue);
}

void zcrx_lib_nic_give_back(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_nic *nic = &queue->nic;

	while (nic->held_count)
		zcrx_ifq_drop(&queue->ifq, nic->held[--nic->held_count], 1);
	free(nic->held);
	nic->held = NULL;
}

/* What is taken `after` one more, if nothing comes in between; -1: that is not known. */
static int64_t taken_after(struct zcrx_lib_ifq *queue, uint32_t after)
{
	const struct zcrx_lib_nic *nic = &queue->nic;
	const struct zcrx_page_pool *pool = zcrx_ifq_pool(&queue->ifq);
	uint32_t cached = zcrx_pp_cache_count(pool);

	if (after >= (nic->capacity ? nic->count : cached))
		return -1;
	return nic->capacity ? nic->standing[(nic->first + after) % nic->capacity] :
			       pool->shared->cache[cached - 1 - after];
}

/* Those that this delivery takes next are looked at together with this one. */
static void look_ahead(struct zcrx_lib_ifq *queue, uint32_t niov)
{
	uint32_t niovs[ZCRX_EMU_PIECES_MAX] = {niov}, count = 1;
	uint32_t most = ZCRX_LIB_AHEAD_MAX >> queue->area.niov_shift;
	const struct zcrx_lib_window *bytes;

	zcrx_lib_area_at(queue, niov, &bytes);
	if (!zcrx_lib_batch_suits(bytes))
		return;
	if (most > ZCRX_EMU_PIECES_MAX)
		most = ZCRX_EMU_PIECES_MAX;
	if (most > queue->nic.wanted_now)
		most = queue->nic.wanted_now;
	for (uint32_t after = 0; count < most; after++) {
		int64_t next = taken_after(queue, after);

		if (next < 0)
			break;
		if (zcrx_lib_watch_is_due(queue, (uint32_t)next))
			niovs[count++] = (uint32_t)next;
	}
	if (count > 1)
		zcrx_lib_watch_ahead(queue, niovs, count);
}

int64_t zcrx_lib_nic_take(struct zcrx_lib_ifq *queue)
{
	int64_t niov = take(queue);

	if (niov < 0 && queue->nic.held_count) {
		zcrx_lib_nic_give_back(queue);
		niov = take(queue);
	}
	if (niov < 0)
		return niov;
	if (zcrx_lib_watch_is_due(queue, (uint32_t)niov) && queue->nic.wanted_now > 1)
		look_ahead(queue, (uint32_t)niov);
	zcrx_lib_watch_leaving(queue, (uint32_t)niov);
	queue->nic.wanted_now -= queue->nic.wanted_now != 0;
	return niov;
}

void zcrx_lib_nic_refill(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_nic *nic = &queue->nic;

	while (nic->count < nic->capacity) {
		int64_t niov = zcrx_lib_queue_alloc(queue);

		if (niov < 0)
			return;
		nic->standing[(nic->first + nic->count++) % nic->capacity] = (uint32_t)niov;
	}
}
