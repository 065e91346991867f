/* SPDX-License-Identifier: MIT */
#include "completion.h"

#include <errno.h>
#include <stdlib.h>

#include "trouble.h"

#define SQ_CQ_OVERFLOW (1U << 1)
#define CQE_F_SKIP (1U << 5)

int zcrx_lib_cq_set(struct zcrx_emu *emu, const struct zcrx_lib_cq *cq)
{
	uint32_t least = zcrx_lib_is_mixed(emu) ? 2 : 1;

	if (!zcrx_is_power_of_two(cq->entries) || cq->entries < least)
		return zcrx_lib_refuse(emu, -EINVAL, "entries: %u; a power of two from %u on",
				       cq->entries, least);
	emu->cq = *cq;
	emu->cq.entry_shift = zcrx_lib_is_mixed(emu) ? 4 : 5;
	emu->cq.large = zcrx_lib_is_mixed(emu) ? 2 : 1;
	/* Nobody else writes it: where the program put it is where we go on. */
	emu->cq.cached_tail = zcrx_lib_window_load(&cq->tail, 0, 0);
	emu->cq.cached_head = zcrx_lib_window_load(&cq->head, 0, 0);
	return 0;
}

static struct zcrx_lib_window word_of(struct zcrx_emu *emu, uint64_t at)
{
	if (!at)
		return zcrx_lib_window_on(NULL);
	return zcrx_lib_window_of(&emu->memory, at, sizeof(uint32_t));
}

static bool is_there(struct zcrx_emu *emu, uint64_t at, uint64_t size, uint32_t alignment)
{
	const struct zcrx_emu_memory *memory = &emu->memory;
	uint64_t page = at / ZCRX_LIB_PAGE * ZCRX_LIB_PAGE;
	uint32_t word;

	if (at % alignment || size == 0 || at + size < at ||
	    memory->read(memory->context, &word, at, sizeof(word)))
		return false;
	return !memory->pin || memory->pin(memory->context, page, at + size - page) == 0;
}

int zcrx_lib_cq_set_at(struct zcrx_emu *emu, const struct zcrx_emu_cq_at *cq)
{
	const uint64_t size = (uint64_t)cq->entries * (zcrx_lib_is_mixed(emu) ? 16 : 32);

	if (cq->reserved)
		return zcrx_lib_refuse(emu, -EINVAL, "reserved: must be 0");
	if (!is_there(emu, cq->head, 4, 4) || !is_there(emu, cq->tail, 4, 4) ||
	    (cq->sq_flags && !is_there(emu, cq->sq_flags, 4, 4)) ||
	    !is_there(emu, cq->cqes, size, 8))
		return zcrx_lib_refuse(emu, -EFAULT,
				       "head 0x%llx, tail 0x%llx, cqes 0x%llx, %u entries: not all "
				       "memory that may be written",
				       (unsigned long long)cq->head, (unsigned long long)cq->tail,
				       (unsigned long long)cq->cqes, cq->entries);
	return zcrx_lib_cq_set(emu,
			       &(struct zcrx_lib_cq){
				       .head = word_of(emu, cq->head),
				       .tail = word_of(emu, cq->tail),
				       .cqes = zcrx_lib_window_of(&emu->memory, cq->cqes, size),
				       .sq_flags = word_of(emu, cq->sq_flags),
				       .entries = cq->entries,
			       });
}

void zcrx_lib_cq_check(struct zcrx_emu *emu)
{
	struct zcrx_emu_report report = {.kind = ZCRX_EMU_CQ_HEAD};
	uint32_t head;

	if (emu->cq.entries == 0 || emu->is_head_reported || !zcrx_lib_checks(emu))
		return;
	head = zcrx_lib_window_load(&emu->cq.head, 0, emu->cq.cached_head);
	if (emu->cq.cached_tail - head <= emu->cq.entries)
		return;
	emu->is_head_reported = true;
	zcrx_lib_report(&emu->reports, &report,
			"the completion queue's head is %u, its tail %u: nothing is given any more",
			head, emu->cq.cached_tail);
}

/* ---- entries ---------------------------------------------------------------------------- */

/*
 * A head that is not within one ring behind our tail makes no sense, and is taken as
 * "nothing was read yet".
 */
static bool has_entries(struct zcrx_lib_cq *cq, uint32_t wanted)
{
	uint32_t used = cq->cached_tail - cq->cached_head;

	if (cq->entries - used < wanted) {
		uint32_t head = zcrx_lib_window_load(&cq->head, 0, cq->cached_head);

		if (cq->cached_tail - head > cq->entries)
			return false;
		cq->cached_head = head;
		used = cq->cached_tail - head;
	}
	return cq->entries - used >= wanted;
}

/* Two words of an entry, or four of a large one. False: the queue's memory is gone. */
static bool put(struct zcrx_lib_cq *cq, const uint64_t *words, bool is_large)
{
	uint64_t at = (uint64_t)(cq->cached_tail & (cq->entries - 1)) << cq->entry_shift;
	uint32_t entries = is_large ? cq->large : 1;

	/* By constants, so that no loop is left of it. */
	if (!(is_large ? zcrx_lib_window_write(&cq->cqes, at, words, 4) :
			 zcrx_lib_window_write(&cq->cqes, at, words, 2)))
		return false;
	cq->cached_tail += entries;
	return zcrx_lib_window_store(&cq->tail, 0, cq->cached_tail);
}

/* The last slot of a ring of mixed sizes holds no half of a large entry: it is skipped. */
static bool skip_to_start(struct zcrx_lib_cq *cq)
{
	static const uint64_t skipped[2] = {0, (uint64_t)CQE_F_SKIP << 32};

	if (((cq->cached_tail + 1) & (cq->entries - 1)) != 0)
		return true;
	return has_entries(cq, 1) && put(cq, skipped, false);
}

/* How many the completion takes. */
static uint32_t entries_of(const struct zcrx_lib_cq *cq, const struct zcrx_emu_cqe *cqe)
{
	return cqe->flags & CQE_F_32 ? cq->large : 1;
}

static bool has_room(struct zcrx_emu *emu, uint32_t wanted)
{
	struct zcrx_lib_cq *cq = &emu->cq;

	if (cq->entries == 0)
		return emu->options.on_cqe != NULL;
	if ((wanted == 1 || skip_to_start(cq)) && has_entries(cq, wanted))
		return true;
	zcrx_lib_cq_check(emu);
	return false;
}

static bool call(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe)
{
	bool is_taken;

	emu->is_posting = true;
	is_taken = emu->options.on_cqe(emu->options.context, cqe) == 0;
	emu->is_posting = false;
	return is_taken;
}

static bool post(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe)
{
	struct zcrx_lib_cq *cq = &emu->cq;
	uint64_t words[sizeof(*cqe) / sizeof(uint64_t)];

	if (cq->entries == 0)
		return call(emu, cqe);
	memcpy(words, cqe, sizeof(words));
	return put(cq, words, cq->large == 1 || cqe->flags & CQE_F_32);
}

/* ---- those of data, and those that wait ------------------------------------------------- */

bool zcrx_lib_cq_has_room(struct zcrx_emu *emu)
{
	return emu->waiting_count == 0 && has_room(emu, emu->cq.large);
}

bool zcrx_lib_cq_post(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe)
{
	return post(emu, cqe);
}

static void tell_waiting(struct zcrx_emu *emu)
{
	const struct zcrx_lib_window *flags = &emu->cq.sq_flags;
	uint32_t now;

	if (!zcrx_lib_window_is_open(flags))
		return;
	now = zcrx_lib_window_load(flags, 0, 0) & ~SQ_CQ_OVERFLOW;
	zcrx_lib_window_store(flags, 0, now | (emu->waiting_count ? SQ_CQ_OVERFLOW : 0));
}

uint32_t zcrx_lib_cq_flush(struct zcrx_emu *emu)
{
	uint32_t done = 0, count = emu->waiting_count;

	if (count == 0)
		return 0;
	while (done < count && has_room(emu, entries_of(&emu->cq, &emu->waiting[done]))) {
		/* A callback may add others, for the next step: the array may move. */
		struct zcrx_emu_cqe cqe = emu->waiting[done];

		if (!post(emu, &cqe))
			break;
		done++;
	}
	emu->waiting_count -= done;
	memmove(emu->waiting, emu->waiting + done, emu->waiting_count * sizeof(*emu->waiting));
	tell_waiting(emu);
	return done;
}

void zcrx_lib_cq_post_or_keep(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe)
{
	/* What a callback causes comes after it, not within it. */
	if (!zcrx_lib_trouble_post(emu) && !emu->is_posting && emu->waiting_count == 0 &&
	    has_room(emu, entries_of(&emu->cq, cqe)) && post(emu, cqe))
		return;
	if (emu->waiting_count == emu->waiting_capacity) {
		uint32_t capacity = emu->waiting_capacity ? 2 * emu->waiting_capacity : 8;
		void *waiting = realloc(emu->waiting, capacity * sizeof(*emu->waiting));

		/* As with the kernel: what cannot be kept is dropped. */
		if (!waiting)
			return;
		emu->waiting = waiting;
		emu->waiting_capacity = capacity;
	}
	emu->waiting[emu->waiting_count++] = *cqe;
	tell_waiting(emu);
}

void zcrx_lib_cq_post_last(struct zcrx_emu *emu, uint64_t user_data, int32_t res)
{
	const struct zcrx_emu_cqe cqe = {.user_data = user_data, .res = res};

	zcrx_lib_cq_post_or_keep(emu, &cqe);
}
