/* SPDX-License-Identifier: MIT */
#include "events.h"

#include <errno.h>

#include "completion.h"

#define REFUSE(error, ...) zcrx_lib_refuse(emu, -(error), __VA_ARGS__)

#define TYPES 2U
#define TYPE_MASK ((1U << TYPES) - 1)

int zcrx_lib_events_check(struct zcrx_emu *emu, const struct zcrx_event_desc *desc)
{
	if (desc->type_mask & ~TYPE_MASK)
		return REFUSE(EINVAL, "event_desc type_mask: 0x%x; of 0x%x", desc->type_mask,
			      TYPE_MASK);
	if (desc->flags & ~ZCRX_EVENT_DESC_FLAG_STATS)
		return REFUSE(EINVAL, "event_desc flags: 0x%x; ZCRX_EVENT_DESC_FLAG_STATS (1) or 0",
			      desc->flags);
	if (desc->flags == 0 && desc->stats_offset)
		return REFUSE(EINVAL,
			      "event_desc stats_offset: %llu; must be 0 without "
			      "ZCRX_EVENT_DESC_FLAG_STATS (1)",
			      (unsigned long long)desc->stats_offset);
	if (!zcrx_lib_is_zero(desc->__resv2, sizeof(desc->__resv2)))
		return REFUSE(EINVAL, "event_desc __resv2: must be 0");
	return 0;
}

static int check_stats(struct zcrx_emu *emu, const struct zcrx_lib_ifq *queue, uint64_t offset,
		       uint32_t rq_entries)
{
	uint64_t used =
		queue->level->rqes_at + (uint64_t)rq_entries * sizeof(struct io_uring_zcrx_rqe);

	if (offset % _Alignof(struct zcrx_stats))
		return REFUSE(EINVAL, "event_desc stats_offset: %llu; must be a multiple of %zu",
			      (unsigned long long)offset, _Alignof(struct zcrx_stats));
	if (offset < used || offset + sizeof(struct zcrx_stats) < offset ||
	    offset + sizeof(struct zcrx_stats) > queue->region_size)
		return REFUSE(ERANGE,
			      "event_desc stats_offset: %llu; entries end at %llu, the region of "
			      "%llu bytes must have %zu from there on",
			      (unsigned long long)offset, (unsigned long long)used,
			      (unsigned long long)queue->region_size, sizeof(struct zcrx_stats));
	return 0;
}

int zcrx_lib_events_start(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
			  const struct zcrx_event_desc *desc, uint32_t rq_entries)
{
	struct zcrx_lib_events *events = &queue->events;
	const uint64_t none[2] = {0};
	int error;

	if (desc->type_mask)
		events->ring = emu;
	events->user_data = desc->user_data;
	events->wanted = desc->type_mask;
	if (desc->flags == 0)
		return 0;
	error = check_stats(emu, queue, desc->stats_offset, rq_entries);
	if (error)
		return error;
	events->stats_at = desc->stats_offset;
	if (!zcrx_lib_window_write(&queue->region, events->stats_at, none, 2))
		return REFUSE(EFAULT, "event_desc stats_offset: cannot be written there");
	return 0;
}

void zcrx_lib_events_forget(struct zcrx_emu *emu)
{
	for (struct zcrx_lib_ifq *queue = emu->machine->queues; queue; queue = queue->next) {
		if (queue->events.ring == emu)
			queue->events.ring = NULL;
	}
}

void zcrx_lib_event(struct zcrx_lib_ifq *queue, enum zcrx_event_type type)
{
	struct zcrx_lib_events *events = &queue->events;
	uint32_t bit = 1U << type;

	if (!events->ring || !(events->wanted & bit) || events->fired & bit)
		return;
	events->fired |= bit;
	events->due |= bit;
}

/* As the kernel does: read, added to and written, in memory that the program can write, too. */
void zcrx_lib_event_copied(struct zcrx_lib_ifq *queue, uint32_t size)
{
	uint64_t at = queue->events.stats_at, stats[2];

	if (at && zcrx_lib_window_read(&queue->region, at, stats, 2)) {
		stats[0] += 1;
		stats[1] += size;
		zcrx_lib_window_write(&queue->region, at, stats, 2);
	}
	zcrx_lib_event(queue, ZCRX_EVENT_COPY);
}

int zcrx_lib_event_arm(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
		       const struct zcrx_ctrl *ctrl)
{
	struct {
		uint32_t event_type;
		uint32_t resv[11];
	} arm;

	memcpy(&arm, ctrl->payload, sizeof(arm));
	if (arm.event_type >= TYPES)
		return REFUSE(EINVAL, "event_type: %u; 0 to %u", arm.event_type, TYPES - 1);
	if (!zcrx_lib_is_zero(arm.resv, sizeof(arm.resv)))
		return REFUSE(EINVAL, "payload of ZCRX_CTRL_ARM_EVENT: the rest must be 0");
	if (!(queue->events.fired & 1U << arm.event_type))
		return REFUSE(EINVAL, "event_type: %u has not fired: it is armed", arm.event_type);
	queue->events.fired &= ~(1U << arm.event_type);
	return 0;
}

uint32_t zcrx_lib_events_post(struct zcrx_emu *emu)
{
	uint32_t count = 0;

	for (uint32_t id = 0; id < emu->ifq_count; id++) {
		struct zcrx_lib_events *events = &emu->ifqs[id]->events;

		for (uint32_t type = 0; events->ring == emu && type < TYPES; type++) {
			if (!(events->due & 1U << type))
				continue;
			events->due &= ~(1U << type);
			zcrx_lib_cq_post_last(emu, events->user_data, (int32_t)type);
			count++;
		}
	}
	return count;
}
