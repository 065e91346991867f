/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* The coarse one: a fragment more or less a tick is as old. */
uint32_t zcrx_lib_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
}

int zcrx_lib_ledger_grow(struct zcrx_lib_ledger *ledger, uint32_t num_niovs)
{
	struct zcrx_lib_account *accounts =
		realloc(ledger->accounts, num_niovs * sizeof(*accounts));
	uint32_t old = ledger->account_count;

	if (!accounts)
		return -ENOMEM;
	memset(accounts + old, 0, (num_niovs - old) * sizeof(*accounts));
	ledger->accounts = accounts;
	ledger->account_count = num_niovs;
	return 0;
}

void zcrx_lib_ledger_free(struct zcrx_lib_ledger *ledger)
{
	free(ledger->accounts);
	free(ledger->helds);
}

int zcrx_lib_ledger_reserve(struct zcrx_lib_ledger *ledger)
{
	uint32_t capacity = ledger->held_capacity ? 2 * ledger->held_capacity : 16;
	struct zcrx_lib_held *helds;

	if (ledger->spare || ledger->held_count < ledger->held_capacity)
		return 0;
	helds = realloc(ledger->helds, capacity * sizeof(*helds));
	if (!helds)
		return -ENOMEM;
	ledger->helds = helds;
	ledger->held_capacity = capacity;
	return 0;
}

void zcrx_lib_ledger_give(struct zcrx_lib_ledger *ledger, uint32_t niov,
			  const struct zcrx_lib_held *fragment)
{
	struct zcrx_lib_account *account = &ledger->accounts[niov];
	uint32_t slot;

	if (ledger->spare) {
		slot = ledger->spare - 1;
		ledger->spare = ledger->helds[slot].next;
	} else {
		assert(ledger->held_count < ledger->held_capacity);
		slot = ledger->held_count++;
	}
	if (account->out == 0 && account->excused == 0)
		account->is_shaken = false;
	ledger->helds[slot] = *fragment;
	ledger->helds[slot].next = account->first;
	account->first = slot + 1;
	account->out++;
	account->was_given = true;
	ledger->given++;
}

void zcrx_lib_ledger_take_back(struct zcrx_lib_ledger *ledger, uint32_t niov)
{
	struct zcrx_lib_account *account = &ledger->accounts[niov];
	uint32_t slot = account->first - 1;

	account->first = ledger->helds[slot].next;
	account->out--;
	ledger->helds[slot].next = ledger->spare;
	ledger->spare = slot + 1;
	ledger->given--;
}

/* Forget fragments of a buffer: those that were returned, or all. */
static void forget(struct zcrx_lib_ledger *ledger, uint32_t niov, bool all)
{
	uint32_t *link = &ledger->accounts[niov].first;

	while (*link) {
		uint32_t slot = *link - 1;
		struct zcrx_lib_held *held = &ledger->helds[slot];

		if (!held->is_returned && !all) {
			link = &held->next;
			continue;
		}
		*link = held->next;
		held->next = ledger->spare;
		ledger->spare = slot + 1;
	}
}

void zcrx_lib_ledger_reused(struct zcrx_lib_ledger *ledger, uint32_t niov)
{
	forget(ledger, niov, false);
}

void zcrx_lib_ledger_scrubbed(struct zcrx_lib_ledger *ledger)
{
	for (uint32_t niov = 0; niov < ledger->account_count; niov++) {
		struct zcrx_lib_account *account = &ledger->accounts[niov];

		if (account->out == 0)
			continue;
		account->is_shaken = true;
		account->excused += account->out;
		account->out = 0;
		forget(ledger, niov, true);
	}
}

/* ---- which fragment an entry returns -------------------------------------------------- */

/* An entry, as far as it names a buffer. */
struct entry {
	uint32_t index;
	uint32_t niov;
	uint32_t at, length;
};

/* Could the writer of the entry have seen that fragment's completion? */
static bool is_after(const struct entry *entry, const struct zcrx_lib_held *held)
{
	return (int32_t)(entry->index - held->tail) >= 0;
}

static bool is_same(const struct entry *entry, const struct zcrx_lib_held *held)
{
	return held->at == entry->at && held->length == entry->length;
}

/*
 * How well a fragment that is out fits to an entry; of those that fit alike the oldest is
 * taken. It matters for what is said only: the kernel counts.
 */
static uint32_t fit_of(const struct entry *entry, const struct zcrx_lib_held *held)
{
	if (!is_after(entry, held))
		return 1;
	if (is_same(entry, held))
		return 5;
	if (entry->at - held->at < held->length)
		return 4;
	return entry->length == held->length ? 3 : 2;
}

struct match {
	struct zcrx_lib_held *out; /* the one that the entry returns; NULL: none is out */
	struct zcrx_lib_held *before; /* that very fragment, returned already, or NULL */
	uint32_t fit;
	bool has_length; /* one that is out has the entry's length */
};

static struct match match_of(struct zcrx_lib_ledger *ledger, const struct entry *entry)
{
	struct match match = {.fit = 0};

	for (uint32_t at = ledger->accounts[entry->niov].first; at;) {
		struct zcrx_lib_held *held = &ledger->helds[at - 1];
		uint32_t fit = fit_of(entry, held);

		at = held->next;
		if (held->is_returned) {
			if (is_same(entry, held) && is_after(entry, held))
				match.before = held;
			continue;
		}
		match.has_length |= held->length == entry->length;
		if (fit >= match.fit) {
			match.fit = fit;
			match.out = held;
		}
	}
	return match;
}

/* ---- what it was ------------------------------------------------------------------------ */

static struct zcrx_emu_report about(const struct zcrx_lib_ledger *ledger, uint32_t kind,
				    const struct entry *entry, const struct zcrx_lib_held *held)
{
	return (struct zcrx_emu_report){
		.kind = kind,
		.zcrx_id = ledger->zcrx_id,
		.entry = entry->index,
		.niov = entry->niov,
		.completion = held ? held->completion : 0,
		.flow = held ? held->flow : 0,
		.age_ms = held ? zcrx_lib_now_ms() - held->given_ms : 0,
	};
}

#define REPORT(ledger, kind, entry, held, ...)                                             \
	do {                                                                               \
		struct zcrx_emu_report report_ = about((ledger), (kind), (entry), (held)); \
		zcrx_lib_report((ledger)->reports, &report_, __VA_ARGS__);                 \
	} while (0)

#define FRAGMENT "bytes %u to %u of buffer %u (completion %llu, flow %u)"
#define FRAGMENT_OF(held, niov)                              \
	(held)->at, (held)->at + (held)->length - 1, (niov), \
		(unsigned long long)(held)->completion, (held)->flow

/* Nothing of the buffer is out that its writer can mean. */
static void report_unfounded(struct zcrx_lib_ledger *ledger, const struct entry *entry)
{
	const struct zcrx_lib_account *account = &ledger->accounts[entry->niov];
	const struct zcrx_lib_held *last = &account->last;

	if (ledger->given == 0) {
		if (!ledger->is_primed)
			REPORT(ledger, ZCRX_EMU_PRIMED, entry, NULL,
			       "entry %u returns buffer %u, and no completion has given any yet",
			       entry->index, entry->niov);
		ledger->is_primed = true;
	} else if (!account->was_given || last->completion == 0) {
		REPORT(ledger, ZCRX_EMU_NEVER_GIVEN, entry, NULL,
		       "entry %u returns buffer %u, of which nothing was given", entry->index,
		       entry->niov);
	} else {
		REPORT(ledger, ZCRX_EMU_TWICE, entry, last,
		       "entry %u returns buffer %u, of which nothing is out; the last of it "
		       "was " FRAGMENT ", returned by entry %u",
		       entry->index, entry->niov, FRAGMENT_OF(last, entry->niov),
		       last->returned_by);
	}
}

/* The provider took a reference for it: say whose, and whether that was right. */
static void take_back(struct zcrx_lib_ledger *ledger, const struct entry *entry)
{
	struct zcrx_lib_account *account = &ledger->accounts[entry->niov];
	struct match match = match_of(ledger, entry);
	/* As good as any for one of the others, if the program goes by buffers and not by fragments. */
	bool is_loose = ledger->is_loose || (entry->at == 0 && match.has_length);

	assert(match.out);
	if (account->is_shaken) {
		/* It may be another one's that the program means: either is as good. */
	} else if (match.fit == 1) {
		REPORT(ledger, ZCRX_EMU_STALE, entry, match.out,
		       "entry %u for buffer %u was written before " FRAGMENT
		       " was given, and takes its reference: the buffer may be filled again while "
		       "it is read",
		       entry->index, entry->niov, FRAGMENT_OF(match.out, entry->niov));
	} else if (match.fit < 5 && match.before && !is_loose) {
		REPORT(ledger, ZCRX_EMU_EARLY, entry, match.before,
		       "entry %u returns " FRAGMENT " again (entry %u did), while completion "
		       "%llu's is out: it takes that one's reference",
		       entry->index, FRAGMENT_OF(match.before, entry->niov),
		       match.before->returned_by, (unsigned long long)match.out->completion);
	} else if (match.fit < 5) {
		ledger->is_loose = true;
	}
	match.out->is_returned = true;
	match.out->returned_by = entry->index;
	account->last = *match.out;
	account->out--;
}

/* An entry that found no reference, of a buffer that was scrubbed. */
static void excuse(struct zcrx_lib_account *account)
{
	if (account->excused)
		account->excused--;
}

void zcrx_lib_ledger_alias(struct zcrx_lib_ledger *ledger, const struct zcrx_judgement *judgement,
			   const struct io_uring_zcrx_rqe *rqe)
{
	const struct entry entry = {.index = judgement->index, .niov = judgement->niov};

	if (judgement->alias)
		REPORT(ledger, ZCRX_EMU_ALIAS, &entry, NULL,
		       "entry %u has off 0x%llx, far behind the area; the kernel keeps 32 bits of "
		       "the index, and they name buffer %u",
		       entry.index, (unsigned long long)rqe->off, entry.niov);
}

void zcrx_lib_ledger_judged(struct zcrx_lib_ledger *ledger, const struct zcrx_judgement *judgement,
			    const struct io_uring_zcrx_rqe *rqe)
{
	struct entry entry = {
		.index = judgement->index,
		.niov = judgement->niov,
		.at = (uint32_t)rqe->off & (((uint32_t)1 << ledger->area->niov_shift) - 1),
		.length = rqe->len,
	};
	uint32_t area = (uint32_t)(rqe->off >> IORING_ZCRX_AREA_SHIFT);

	switch ((enum zcrx_verdict)judgement->verdict) {
	case ZCRX_BAD_PAD:
		REPORT(ledger, ZCRX_EMU_BAD_PAD, &entry, NULL, "entry %u has __pad 0x%x",
		       entry.index, rqe->__pad);
		return;
	case ZCRX_BAD_AREA:
		REPORT(ledger, ZCRX_EMU_BAD_AREA, &entry, NULL,
		       "entry %u names area %u (off 0x%llx), and the last one is area %u",
		       entry.index, area, (unsigned long long)rqe->off,
		       zcrx_area_count(ledger->area) - 1);
		return;
	case ZCRX_BAD_INDEX:
		REPORT(ledger, ZCRX_EMU_BAD_INDEX, &entry, NULL,
		       "entry %u names buffer %u (off 0x%llx) of an area of %u", entry.index,
		       entry.niov, (unsigned long long)rqe->off,
		       zcrx_area_size(ledger->area, area));
		return;
	case ZCRX_ACCEPTED:
	case ZCRX_STILL_REFERENCED:
	case ZCRX_OTHER_POOL:
	case ZCRX_NO_USER_REF:
		break;
	}
	zcrx_lib_ledger_alias(ledger, judgement, rqe);
	if (judgement->verdict != ZCRX_NO_USER_REF)
		take_back(ledger, &entry);
	else if (ledger->accounts[entry.niov].is_shaken)
		excuse(&ledger->accounts[entry.niov]);
	else if (ledger->accounts[entry.niov].out == 0)
		report_unfounded(ledger, &entry);
	else
		REPORT(ledger, ZCRX_EMU_TWICE, &entry, NULL,
		       "entry %u is of a row that returns buffer %u more often than the %u "
		       "fragments that are out: all of the row is ignored",
		       entry.index, entry.niov, ledger->accounts[entry.niov].out);
}

/* ---- the end ------------------------------------------------------------------------------ */

struct left {
	uint64_t completion;
	uint32_t niov, slot;
};

static int by_completion(const void *a, const void *b)
{
	const struct left *one = a, *other = b;

	return (one->completion > other->completion) - (one->completion < other->completion);
}

void zcrx_lib_ledger_close(struct zcrx_lib_ledger *ledger)
{
	struct left *left = malloc((ledger->held_count + 1) * sizeof(*left));
	uint32_t count = 0;

	for (uint32_t niov = 0; left && niov < ledger->account_count; niov++) {
		if (ledger->accounts[niov].is_shaken)
			continue;
		for (uint32_t at = ledger->accounts[niov].first; at;
		     at = ledger->helds[at - 1].next) {
			if (!ledger->helds[at - 1].is_returned)
				left[count++] = (struct left){ledger->helds[at - 1].completion,
							      niov, at - 1};
		}
	}
	if (count)
		qsort(left, count, sizeof(*left), by_completion);
	for (uint32_t i = 0; i < count; i++) {
		const struct zcrx_lib_held *held = &ledger->helds[left[i].slot];
		struct zcrx_emu_report report = {
			.kind = ZCRX_EMU_NOT_RETURNED,
			.zcrx_id = ledger->zcrx_id,
			.niov = left[i].niov,
			.completion = held->completion,
			.flow = held->flow,
			.age_ms = zcrx_lib_now_ms() - held->given_ms,
		};

		zcrx_lib_report(ledger->reports, &report, FRAGMENT " were never returned",
				FRAGMENT_OF(held, left[i].niov));
	}
	free(left);
}
