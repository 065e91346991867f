/* SPDX-License-Identifier: MIT */
/*
 * What a registration answers, as a list: the first rule of the level that is broken gives the
 * code. It is written from what Linux does, beside the library and not from it, so that each
 * finds the other's mistakes. Where the kernel is free, or the machine decides, it says so.
 */
#ifndef LIB_RULES_H
#define LIB_RULES_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "zcrx_emu_uapi.h"

enum { SEED, V6_15, V6_18, V7_1, V7_2, V7_3, LEVELS_KNOWN };

#define RULES_UNKNOWN 1 /* no code: there is none to be expected */

/* What the call was made with. A struct that cannot be read is not there. */
struct call {
	uint32_t level;
	uint32_t ring_flags;
	uint32_t queues; /* of the ring, registered before */
	bool has_reg, has_region, has_area, has_events;
	bool is_written; /* the answers can be written */
	struct io_uring_zcrx_ifq_reg reg;
	struct io_uring_region_desc region;
	struct io_uring_zcrx_area_reg area;
	struct zcrx_event_desc events;
	bool (*is_memory)(uint64_t at, uint64_t size); /* the program's, and may be written */
	bool (*is_taken)(uint32_t if_idx, uint32_t if_rxq); /* that queue, by any ring */
};

struct rule {
	uint32_t from, to; /* levels, both included */
	int code;
	bool (*is_broken)(const struct call *call);
};

#define RULE(name) static bool name(const struct call *c)
#define PAGE_BYTES 4096U
#define IMPORT 1U
#define NODEV 2U

static inline bool any_set(const void *bytes, size_t size)
{
	static const uint8_t none[256];

	return memcmp(bytes, none, size) != 0;
}

static inline bool is_import(const struct call *c)
{
	return c->level >= V7_1 && c->reg.flags & IMPORT;
}

static inline bool is_nodev(const struct call *c)
{
	return c->level >= V7_1 && c->reg.flags & NODEV;
}

/* ---- the ring ---- */

RULE(ring_is_not_deferred)
{
	return !(c->ring_flags & 1U << 13);
}

RULE(ring_has_small_entries)
{
	return !(c->ring_flags & 1U << 11);
}

RULE(ring_has_only_small_entries)
{
	return !(c->ring_flags & (1U << 11 | 1U << 18));
}

RULE(ring_has_a_queue)
{
	return c->queues > 0;
}

/* ---- the struct ---- */

RULE(reg_is_unreadable)
{
	return !c->has_reg;
}

RULE(reserved_word_is_set)
{
	return any_set(c->reg.__resv, sizeof(c->reg.__resv)) || c->reg.zcrx_id;
}

RULE(later_reserved_word_is_set)
{
	return any_set(&c->reg.__resv[1], 16) || c->reg.zcrx_id;
}

RULE(buffer_size_is_set)
{
	return c->reg.rx_buf_len != 0;
}

RULE(region_is_unreadable)
{
	return !c->has_region;
}

RULE(flag_is_set)
{
	return c->reg.flags != 0;
}

RULE(flag_is_unknown)
{
	return c->reg.flags & ~(IMPORT | NODEV);
}

RULE(import_describes_something)
{
	return is_import(c) && (c->reg.if_rxq || c->reg.rq_entries || c->reg.area_ptr ||
				c->reg.region_ptr || c->reg.event_desc || c->reg.flags & NODEV);
}

RULE(import_is_of_nothing)
{
	return is_import(c);
}

RULE(no_such_queue)
{
	return c->reg.if_rxq == UINT32_MAX;
}

RULE(no_entries)
{
	return c->reg.rq_entries == 0;
}

RULE(device_of_none)
{
	return is_nodev(c) && (c->reg.if_idx || c->reg.if_rxq);
}

RULE(too_many_entries)
{
	return c->reg.rq_entries > 32768 && !(c->ring_flags & 1U << 4);
}

RULE(area_is_unreadable)
{
	return !c->has_area;
}

/* ---- events ---- */

RULE(events_are_unreadable)
{
	return c->reg.event_desc && !c->has_events;
}

RULE(events_are_malformed)
{
	return c->reg.event_desc && (c->events.type_mask > 3 || c->events.flags > 1 ||
				     (!c->events.flags && c->events.stats_offset) ||
				     any_set(c->events.__resv2, sizeof(c->events.__resv2)));
}

/* ---- the region ---- */

static inline uint64_t end_of_entries(const struct call *c)
{
	static const uint32_t begin[LEVELS_KNOWN] = {128, 8, 64, 64, 64, 128};
	uint64_t entries = 1;

	while (entries < c->reg.rq_entries && entries < 32768)
		entries *= 2;
	return begin[c->level] + 16 * entries;
}

RULE(region_is_too_small)
{
	return c->region.size < end_of_entries(c);
}

RULE(region_is_malformed)
{
	return any_set(c->region.__resv, sizeof(c->region.__resv)) || c->region.flags > 1;
}

RULE(region_flag_and_address_differ)
{
	return (c->region.flags == 1) != (c->region.user_addr != 0);
}

RULE(region_names_what_is_the_kernels)
{
	return c->region.mmap_offset || c->region.id;
}

RULE(region_has_too_many_pages)
{
	return c->region.size / PAGE_BYTES > INT_MAX;
}

RULE(region_is_not_of_pages)
{
	return (c->region.size | c->region.user_addr) % PAGE_BYTES != 0;
}

RULE(region_wraps)
{
	return c->region.user_addr + c->region.size < c->region.user_addr;
}

RULE(region_is_no_memory)
{
	return c->region.user_addr && !c->is_memory(c->region.user_addr, c->region.size);
}

/* Whether the machine has that much is not for us to say. */
RULE(region_is_huge)
{
	return !c->region.user_addr && c->region.size > 1 << 24;
}

RULE(statistics_are_misaligned)
{
	return c->events.flags && c->events.stats_offset % 8 != 0;
}

RULE(statistics_are_elsewhere)
{
	return c->events.flags && (c->events.stats_offset < end_of_entries(c) ||
				   c->events.stats_offset > c->region.size - 16);
}

/* ---- device and area ---- */

RULE(no_such_device)
{
	return !is_nodev(c) && c->reg.if_idx == 0;
}

RULE(buffer_size_is_odd)
{
	uint32_t size = c->reg.rx_buf_len;

	return size != 0 && (size < PAGE_BYTES || (size & (size - 1)) != 0);
}

RULE(buffers_without_device_are_not_pages)
{
	return is_nodev(c) && c->reg.rx_buf_len > PAGE_BYTES;
}

RULE(area_is_malformed)
{
	return c->area.flags > (c->level >= V6_18 ? 1 : 0) || c->area.rq_area_token ||
	       any_set(c->area.__resv2, sizeof(c->area.__resv2));
}

RULE(area_has_a_dmabuf)
{
	return c->area.dmabuf_fd != 0;
}

RULE(area_is_not_of_pages)
{
	return (c->area.addr | c->area.len) % PAGE_BYTES != 0;
}

RULE(area_has_no_size)
{
	return c->area.len == 0 || c->area.len > 1 << 30;
}

RULE(area_wraps)
{
	return c->area.addr + c->area.len < c->area.addr;
}

RULE(dmabuf_has_an_address)
{
	return c->area.flags && c->area.addr;
}

RULE(dmabuf_is_none)
{
	return c->area.flags != 0;
}

RULE(area_is_no_memory)
{
	return !c->is_memory(c->area.addr, c->area.len);
}

RULE(area_is_not_of_buffers)
{
	return c->reg.rx_buf_len &&
	       (c->area.addr | c->area.len) & (uint64_t)(c->reg.rx_buf_len - 1);
}

RULE(queue_is_taken)
{
	return !is_nodev(c) && c->is_taken(c->reg.if_idx, c->reg.if_rxq);
}

RULE(answer_cannot_be_written)
{
	return !c->is_written;
}

static const struct rule registration_rules[] = {
	{SEED, V7_3, -EINVAL, ring_is_not_deferred},
	{SEED, V6_15, -EINVAL, ring_has_small_entries},
	{V6_18, V7_3, -EINVAL, ring_has_only_small_entries},
	{SEED, V6_15, -EBUSY, ring_has_a_queue},
	{SEED, V7_3, -EFAULT, reg_is_unreadable},
	/* An import has no region: where there are imports, it is read after the flags. */
	{SEED, V6_18, -EFAULT, region_is_unreadable},
	{SEED, V7_1, -EINVAL, reserved_word_is_set},
	{V7_2, V7_3, -EINVAL, later_reserved_word_is_set},
	{SEED, V6_18, -EINVAL, buffer_size_is_set},
	{V7_1, V7_3, -EINVAL, flag_is_unknown},
	{V7_1, V7_3, -EINVAL, import_describes_something},
	{V7_1, V7_3, -EBADF, import_is_of_nothing},
	{V7_1, V7_3, -EFAULT, region_is_unreadable},
	{SEED, V7_3, -EINVAL, no_such_queue},
	{SEED, V7_3, -EINVAL, no_entries},
	{V7_1, V7_3, -EINVAL, device_of_none},
	{SEED, V7_3, -EINVAL, too_many_entries},
	{SEED, V6_18, -EINVAL, flag_is_set},
	{SEED, V7_3, -EFAULT, area_is_unreadable},
	{V7_2, V7_3, -EFAULT, events_are_unreadable},
	{V7_2, V7_3, -EINVAL, events_are_malformed},
	/* From here on something is made; all of it goes again. */
	{SEED, V7_3, -EINVAL, region_is_too_small},
	{SEED, V7_3, -EINVAL, region_is_malformed},
	{SEED, V7_3, -EFAULT, region_flag_and_address_differ},
	{SEED, V7_3, -EINVAL, region_names_what_is_the_kernels},
	{SEED, V7_3, -E2BIG, region_has_too_many_pages},
	{SEED, V7_3, -EINVAL, region_is_not_of_pages},
	{SEED, V7_3, -EOVERFLOW, region_wraps},
	{SEED, V7_3, -EFAULT, region_is_no_memory},
	{SEED, V7_3, RULES_UNKNOWN, region_is_huge},
	{V7_2, V7_3, -EINVAL, statistics_are_misaligned},
	{V7_2, V7_3, -ERANGE, statistics_are_elsewhere},
	{V6_18, V7_3, -ENODEV, no_such_device},
	{V7_1, V7_3, -EINVAL, buffer_size_is_odd},
	{V7_1, V7_3, -EOPNOTSUPP, buffers_without_device_are_not_pages},
	{SEED, V7_3, -EINVAL, area_is_malformed},
	/* Before there were dma-bufs their word was a reserved one. */
	{SEED, V6_15, -EINVAL, area_has_a_dmabuf},
	{SEED, V6_15, -EINVAL, area_is_not_of_pages},
	{SEED, V7_3, -EFAULT, area_has_no_size},
	{SEED, V7_3, -EOVERFLOW, area_wraps},
	{V6_18, V7_3, -EINVAL, area_is_not_of_pages},
	{V6_18, V7_3, -EINVAL, dmabuf_has_an_address},
	{V6_18, V7_3, -EBADF, dmabuf_is_none},
	{V6_18, V7_3, -EINVAL, area_has_a_dmabuf},
	{SEED, V7_3, -EFAULT, area_is_no_memory},
	{V7_1, V7_3, -ERANGE, area_is_not_of_buffers},
	{SEED, V6_15, -ENODEV, no_such_device},
	{SEED, V7_3, -EEXIST, queue_is_taken},
	{SEED, V7_3, -EFAULT, answer_cannot_be_written},
};

/* 0, the code, or RULES_UNKNOWN. */
static inline int rules_answer(const struct call *call)
{
	for (size_t i = 0; i < sizeof(registration_rules) / sizeof(registration_rules[0]); i++) {
		const struct rule *rule = &registration_rules[i];

		if (call->level >= rule->from && call->level <= rule->to && rule->is_broken(call))
			return rule->code;
	}
	return 0;
}

#undef RULE
#undef PAGE_BYTES

#endif /* LIB_RULES_H */
