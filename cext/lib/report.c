/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTES_MAX 1024U /* of these the text is kept; the others are counted */

static const struct {
	const char *name, *advice;
} kinds[ZCRX_EMU_KINDS] = {
	[ZCRX_EMU_BAD_PAD] = {"bad-pad", "write all 16 bytes of an entry; __pad is 0"},
	[ZCRX_EMU_BAD_AREA] = {"bad-area",
			       "take the upper 16 bits from rq_area_token, or from the completion"},
	[ZCRX_EMU_BAD_INDEX] = {"bad-index", "return the completion's off as it is"},
	[ZCRX_EMU_ALIAS] = {"alias", "return the completion's off as it is"},
	[ZCRX_EMU_PRIMED] =
		{"primed", "leave the ring empty at the start: all buffers are the kernel's then"},
	[ZCRX_EMU_NEVER_GIVEN] = {"never-given", "return what completions gave, and nothing else"},
	[ZCRX_EMU_TWICE] = {"twice", "write one entry for each completion that has bytes"},
	[ZCRX_EMU_STALE] = {"stale", "return a fragment once, and after its completion was read"},
	[ZCRX_EMU_EARLY] = {"early", "count the fragments of a buffer: one entry for each"},
	[ZCRX_EMU_RING_OVERRUN] = {"ring-overrun",
				   "read the ring's head, and keep back what does not fit"},
	[ZCRX_EMU_TAIL_BACK] = {"tail-back",
				"the tail only grows, by one for each entry, and wraps"},
	[ZCRX_EMU_HEAD_WRITTEN] = {"head-written",
				   "the head is the kernel's: read it, never write"},
	[ZCRX_EMU_HEADER_WRITTEN] = {"header-written",
				     "take the places of tail and entries from offsets"},
	[ZCRX_EMU_HEAD_UNREAD] = {"head-unread",
				  "read the ring's head, and keep back what does not fit"},
	[ZCRX_EMU_ENTRY_LATE] = {"entry-late", "store the entry, and then the tail, by a release"},
	[ZCRX_EMU_WRITTEN] = {"written", "leave a buffer alone once the last of it is returned"},
	[ZCRX_EMU_CQ_HEAD] = {"cq-head", "advance the head by the completions that were there"},
	[ZCRX_EMU_CQ_OVERFLOW] = {"cq-overflow",
				  "make room and enter the ring when IORING_SQ_CQ_OVERFLOW is set"},
	[ZCRX_EMU_NOT_ARMED] = {"not-armed",
				"arm the receive again when its last completion is no end"},
	[ZCRX_EMU_STANDING] = {"standing-buffers",
			       "more memory, or fewer descriptors (ethtool -G): their number times "
			       "what a packet of the MTU needs must stand, and more circulates"},
	[ZCRX_EMU_EXPORT_OPEN] = {"export-open",
				  "close what an export gave when the other ring has imported it"},
	[ZCRX_EMU_MEMORY_GONE] = {"memory-gone",
				  "keep area and refill ring as they are until the ring is closed"},
	[ZCRX_EMU_NOT_RETURNED] = {"not-returned", "return each fragment when it is read"},
};

const char *zcrx_emu_kind_name(uint32_t kind)
{
	return kind < ZCRX_EMU_KINDS ? kinds[kind].name : NULL;
}

static struct zcrx_lib_note *next_note(struct zcrx_lib_reports *reports)
{
	if (reports->count == NOTES_MAX)
		return NULL;
	if (reports->count == reports->capacity) {
		uint32_t capacity = reports->capacity ? 2 * reports->capacity : 16;
		void *notes = realloc(reports->notes, capacity * sizeof(*reports->notes));

		if (!notes)
			return NULL;
		reports->notes = notes;
		reports->capacity = capacity;
	}
	return &reports->notes[reports->count++];
}

void zcrx_lib_report(struct zcrx_lib_reports *reports, const struct zcrx_emu_report *about,
		     const char *format, ...)
{
	struct zcrx_lib_note *kept = next_note(reports), note = {.report = *about};
	va_list arguments;

	reports->counts[about->kind]++;
	va_start(arguments, format);
	vsnprintf(note.text, sizeof(note.text), format, arguments);
	va_end(arguments);
	note.report.name = kinds[about->kind].name;
	note.report.advice = kinds[about->kind].advice;
	if (kept)
		*kept = note;
	note.report.text = note.text;
	if (reports->on_report)
		reports->on_report(reports->context, &note.report);
}

uint64_t zcrx_lib_report_count(const struct zcrx_lib_reports *reports, uint32_t kind)
{
	uint64_t all = 0;

	if (kind < ZCRX_EMU_KINDS)
		return reports->counts[kind];
	for (uint32_t one = 0; one < ZCRX_EMU_KINDS; one++)
		all += reports->counts[one];
	return all;
}

void zcrx_lib_reports_free(struct zcrx_lib_reports *reports)
{
	free(reports->notes);
}

/* ---- in words, and for programs ----------------------------------------------------- */

/* What snprintf() does, again and again behind each other. */
struct sink {
	char *to;
	size_t size, used;
};

static void put(struct sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct sink *sink, const char *format, ...)
{
	size_t left = sink->used < sink->size ? sink->size - sink->used : 0;
	va_list arguments;
	int count;

	va_start(arguments, format);
	count = vsnprintf(left ? sink->to + sink->used : NULL, left, format, arguments);
	va_end(arguments);
	sink->used += count > 0 ? (size_t)count : 0;
}

size_t zcrx_lib_reports_text(const struct zcrx_lib_reports *reports, char *to, size_t size)
{
	struct sink sink = {to, size, 0};
	uint64_t all = zcrx_lib_report_count(reports, ZCRX_EMU_KINDS);

	for (uint32_t i = 0; i < reports->count; i++) {
		const struct zcrx_lib_note *note = &reports->notes[i];

		put(&sink, "%s: queue %u: %s\n    do: %s\n", note->report.name,
		    note->report.zcrx_id, note->text, note->report.advice);
	}
	if (all == 0) {
		put(&sink, "nothing found\n");
		return sink.used;
	}
	put(&sink, "%llu found:", (unsigned long long)all);
	for (uint32_t kind = 0; kind < ZCRX_EMU_KINDS; kind++) {
		if (reports->counts[kind])
			put(&sink, " %s %llu", kinds[kind].name,
			    (unsigned long long)reports->counts[kind]);
	}
	put(&sink, "\n");
	return sink.used;
}

/* Our own texts have neither quotes nor control characters in them. */
size_t zcrx_lib_reports_json(const struct zcrx_lib_reports *reports, char *to, size_t size)
{
	struct sink sink = {to, size, 0};
	const char *comma = "";

	put(&sink, "{\"counts\": {");
	for (uint32_t kind = 0; kind < ZCRX_EMU_KINDS; kind++, comma = ", ")
		put(&sink, "%s\"%s\": %llu", comma, kinds[kind].name,
		    (unsigned long long)reports->counts[kind]);
	put(&sink, "}, \"reports\": [");
	comma = "";
	for (uint32_t i = 0; i < reports->count; i++, comma = ", ") {
		const struct zcrx_lib_note *note = &reports->notes[i];

		put(&sink,
		    "%s{\"kind\": \"%s\", \"zcrx_id\": %u, \"entry\": %u, \"niov\": %u, "
		    "\"completion\": %llu, \"flow\": %u, \"age_ms\": %u, \"text\": \"%s\", "
		    "\"advice\": \"%s\"}",
		    comma, note->report.name, note->report.zcrx_id, note->report.entry,
		    note->report.niov, (unsigned long long)note->report.completion,
		    note->report.flow, note->report.age_ms, note->text, note->report.advice);
	}
	put(&sink, "]}\n");
	return sink.used;
}
