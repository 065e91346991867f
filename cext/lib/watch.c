/* SPDX-License-Identifier: MIT */
#include "watch.h"

#include <stdlib.h>

#include "area.h"

/* ---- the refill ring ----------------------------------------------------------------- */

void zcrx_lib_watch_tail(struct zcrx_lib_ifq *queue, uint32_t tail)
{
	struct zcrx_emu_report report = {.zcrx_id = queue->ledger.zcrx_id, .entry = tail};
	struct zcrx_lib_reports *reports = queue->ledger.reports;
	uint32_t head = queue->ifq.rq.cached_head;

	if ((int32_t)(tail - queue->last_tail) < 0) {
		report.kind = ZCRX_EMU_TAIL_BACK;
		zcrx_lib_report(reports, &report,
				"the tail was %u and is %u: the kernel takes the ring for full, "
				"and judges old entries again",
				queue->last_tail, tail);
	} else if (tail - head > queue->ifq.rq.entries) {
		report.kind = ZCRX_EMU_RING_OVERRUN;
		zcrx_lib_report(reports, &report,
				"the tail is %u, %u entries before the head (%u), in a ring of %u: "
				"those overwritten are lost, others are judged twice",
				tail, tail - head, head, queue->ifq.rq.entries);
	} else if (tail - queue->head > queue->ifq.rq.entries) {
		report.kind = ZCRX_EMU_HEAD_UNREAD;
		zcrx_lib_report(reports, &report,
				"the tail is %u, %u entries before the head that the program can "
				"see (%u), in a ring of %u: it was not read",
				tail, tail - queue->head, queue->head, queue->ifq.rq.entries);
	}
}

void zcrx_lib_watch_header(struct zcrx_lib_ifq *queue, const uint64_t *words)
{
	struct zcrx_emu_report report = {.zcrx_id = queue->ledger.zcrx_id};
	struct zcrx_lib_reports *reports = queue->ledger.reports;
	uint32_t tail_at = queue->level->tail_at, rqes_at = queue->level->rqes_at;

	for (uint32_t at = 0; at < rqes_at; at += sizeof(uint32_t)) {
		uint32_t now, before;

		memcpy(&now, (const uint8_t *)words + at, sizeof(now));
		memcpy(&before, queue->header + at, sizeof(before));
		if (at == tail_at || now == before)
			continue;
		report.kind = at ? ZCRX_EMU_HEADER_WRITTEN : ZCRX_EMU_HEAD_WRITTEN;
		if (at == 0)
			zcrx_lib_report(reports, &report, "the head is %u and was written to be %u",
					before, now);
		else
			zcrx_lib_report(reports, &report,
					"0x%x was written at byte %u of the ring, where nothing "
					"is: the tail is at %u, entries begin at %u",
					now, at, tail_at, rqes_at);
		/* Said once for each value. */
		memcpy(queue->header + at, &now, sizeof(now));
	}
}

void zcrx_lib_watch_entries(struct zcrx_lib_ifq *queue, uint32_t index,
			    const struct io_uring_zcrx_rqe *now, uint32_t count)
{
	const struct zcrx_rq *rq = &queue->ifq.rq;

	for (uint32_t i = 0; i < count && (int32_t)(queue->seen - (index + i)) > 0; i++) {
		struct zcrx_emu_report report = {
			.kind = ZCRX_EMU_ENTRY_LATE,
			.zcrx_id = queue->ledger.zcrx_id,
			.entry = index + i,
		};
		struct io_uring_zcrx_rqe before;

		memcpy(&before, &rq->rqes[(index + i) & rq->mask], sizeof(before));
		if (memcmp(&before, &now[i], sizeof(before)) == 0)
			continue;
		zcrx_lib_report(queue->ledger.reports, &report,
				"entry %u had off 0x%llx and length %u, and has 0x%llx and %u: it "
				"was written after the tail that gives it to the kernel",
				index + i, (unsigned long long)before.off, before.len,
				(unsigned long long)now[i].off, now[i].len);
	}
}

/* ---- buffers ---------------------------------------------------------------------------- */

static uint32_t size_of(const struct zcrx_lib_ifq *queue)
{
	return (uint32_t)1 << queue->area.niov_shift;
}

void zcrx_lib_watch_start(struct zcrx_lib_ifq *queue, uint8_t poison)
{
	queue->poison = poison;
	queue->watch.look = 1;
	memset(queue->watch.poison, poison, sizeof(queue->watch.poison));
}

/* Written with others. */
static void put_off(struct zcrx_lib_ifq *queue, const struct zcrx_lib_window *bytes, uint64_t begin,
		    uint32_t niov)
{
	struct zcrx_lib_watch *watch = &queue->watch;
	struct zcrx_lib_batch *batch = &watch->poisoning;

	for (uint32_t done = 0; done < size_of(queue); done += ZCRX_LIB_PAGE) {
		if (!zcrx_lib_batch_has_room(batch, bytes))
			zcrx_lib_watch_poison_rest(queue);
		watch->niovs[batch->count] = niov;
		zcrx_lib_batch_add(batch, bytes, begin + done, watch->poison, ZCRX_LIB_PAGE);
	}
}

/* Once in a delivery: what it fills cannot come home before it ends. */
static void owe(struct zcrx_lib_ifq *queue, uint32_t niov)
{
	struct zcrx_lib_watch *watch = &queue->watch;

	assert(watch->owing_count < queue->area.num_niovs);
	watch->owed[niov] = ZCRX_LIB_OWED;
	watch->owing[watch->owing_count++] = niov;
}

void zcrx_lib_watch_poison(struct zcrx_lib_ifq *queue, uint32_t niov)
{
	const struct zcrx_lib_window *bytes;
	uint64_t begin = zcrx_lib_area_at(queue, niov, &bytes);
	bool suits = zcrx_lib_batch_suits(bytes);

	if (queue->flags & ZCRX_EMU_NO_POISON)
		return;
	if (queue->watch.puts_off && suits) {
		owe(queue, niov);
		return;
	}
	if (zcrx_lib_ifq_checks(queue))
		queue->ledger.accounts[niov].is_poisoned = !queue->ledger.accounts[niov].is_shaken;
	if (suits)
		put_off(queue, bytes, begin, niov);
	else if (!zcrx_lib_window_set(bytes, begin, queue->poison, size_of(queue)) &&
		 zcrx_lib_ifq_checks(queue))
		queue->ledger.accounts[niov].is_poisoned = false;
}

void zcrx_lib_watch_poison_rest(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_batch *batch = &queue->watch.poisoning;
	uint32_t count = batch->count;

	if (zcrx_lib_batch_write(batch))
		return;
	/* Not all of them are there any more: each for itself. */
	for (uint32_t i = 0; i < count; i++) {
		const struct zcrx_emu_memory *memory = batch->memory;
		const struct zcrx_emu_piece *piece = &batch->pieces[i];

		if (memory->write(memory->context, piece->there, piece->here, piece->size) &&
		    zcrx_lib_ifq_checks(queue))
			queue->ledger.accounts[queue->watch.niovs[i]].is_poisoned = false;
	}
}

void zcrx_lib_watch_delivery(struct zcrx_lib_ifq *queue)
{
	queue->watch.puts_off = true;
}

void zcrx_lib_watch_filling(struct zcrx_lib_ifq *queue, uint32_t niov, uint32_t size)
{
	const struct zcrx_lib_window *bytes;
	uint64_t begin = zcrx_lib_area_at(queue, niov, &bytes);

	if (queue->watch.owed[niov] && size < size_of(queue))
		put_off(queue, bytes, begin, niov);
	queue->watch.owed[niov] = ZCRX_LIB_NOT_OWED;
}

void zcrx_lib_watch_delivered(struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_watch *watch = &queue->watch;

	watch->puts_off = false;
	for (uint32_t i = 0; i < watch->owing_count; i++) {
		uint32_t niov = watch->owing[i];

		if (watch->owed[niov] == ZCRX_LIB_OWED)
			zcrx_lib_watch_poison(queue, niov);
		watch->owed[niov] = ZCRX_LIB_NOT_OWED;
	}
	watch->owing_count = 0;
	zcrx_lib_watch_poison_rest(queue);
	/* What was looked at may be written by anybody meanwhile, from here on. */
	if (++watch->look == 0)
		watch->look = 1;
}

/* Of the buffer, which is not as it was, byte `at` is the first that is another. */
static void report_written(struct zcrx_lib_ifq *queue, uint32_t niov, uint32_t at, uint8_t found)
{
	const struct zcrx_lib_held *last = &queue->ledger.accounts[niov].last;
	struct zcrx_emu_report report = {
		.kind = ZCRX_EMU_WRITTEN,
		.zcrx_id = queue->ledger.zcrx_id,
		.entry = last->returned_by,
		.niov = niov,
		.completion = last->completion,
		.flow = last->flow,
		.age_ms = zcrx_lib_now_ms() - last->given_ms,
	};

	zcrx_lib_report(
		queue->ledger.reports, &report,
		"byte %u of buffer %u is 0x%02x: it was written after entry %u had returned "
		"the last of the buffer",
		at, niov, found, last->returned_by);
}

/* `bytes` are those of its area. True: it is as it was. */
static bool compare(struct zcrx_lib_ifq *queue, const struct zcrx_lib_window *bytes, uint64_t begin,
		    uint32_t niov)
{
	uint8_t found;
	uint32_t at =
		zcrx_lib_window_find_other(bytes, begin, queue->poison, size_of(queue), &found);

	queue->ledger.accounts[niov].is_poisoned = false;
	if (at == size_of(queue))
		return true;
	report_written(queue, niov, at, found);
	return false;
}

/* It stays at home for now. */
static void compare_ahead(struct zcrx_lib_ifq *queue, uint32_t niov, uint8_t *bytes)
{
	const struct zcrx_lib_window here = zcrx_lib_window_on(bytes);

	if (!compare(queue, &here, 0, niov))
		return;
	queue->ledger.accounts[niov].is_poisoned = true;
	queue->ledger.accounts[niov].looked = queue->watch.look;
}

void zcrx_lib_watch_ahead(struct zcrx_lib_ifq *queue, const uint32_t *niovs, uint32_t count)
{
	struct zcrx_lib_batch batch = {.count = 0};
	uint8_t *here = queue->watch.bytes;

	if (!here)
		here = queue->watch.bytes = malloc(ZCRX_LIB_AHEAD_MAX);
	if (!here || count > ZCRX_EMU_PIECES_MAX || count > ZCRX_LIB_AHEAD_MAX / size_of(queue))
		return;
	for (uint32_t i = 0; i < count; i++) {
		const struct zcrx_lib_window *bytes;
		uint64_t begin = zcrx_lib_area_at(queue, niovs[i], &bytes);

		if (!zcrx_lib_batch_suits(bytes) || !zcrx_lib_batch_has_room(&batch, bytes))
			return;
		zcrx_lib_batch_add(&batch, bytes, begin, here + (size_t)i * size_of(queue),
				   size_of(queue));
	}
	if (!zcrx_lib_batch_read(&batch))
		return;
	for (uint32_t i = 0; i < count; i++)
		compare_ahead(queue, niovs[i], here + (size_t)i * size_of(queue));
}

void zcrx_lib_watch_compare(struct zcrx_lib_ifq *queue, uint32_t niov)
{
	const struct zcrx_lib_window *bytes;
	uint64_t begin = zcrx_lib_area_at(queue, niov, &bytes);

	compare(queue, bytes, begin, niov);
}

/* A program that is done may have unmapped its areas: they are looked at from afar. */
void zcrx_lib_watch_close(struct zcrx_lib_ifq *queue)
{
	for (uint32_t niov = 0; niov < queue->area.num_niovs && queue->ledger.accounts; niov++) {
		const struct zcrx_lib_window *bytes;
		uint64_t begin = zcrx_lib_area_at(queue, niov, &bytes);
		struct zcrx_lib_window far = *bytes;

		far.here = NULL;
		if (queue->ledger.accounts[niov].is_poisoned)
			compare(queue, &far, begin, niov);
	}
}
