/* SPDX-License-Identifier: MIT */
#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRED_MAX 16384U /* firings whose place is noted */

void zcrx_lib_journal_note(struct zcrx_lib_journal *journal, uint32_t rule, uint32_t queue,
			   uint64_t ordinal)
{
	journal->counts[rule]++;
	if (journal->count == FIRED_MAX)
		return;
	if (journal->count == journal->capacity) {
		uint32_t capacity = journal->capacity ? 2 * journal->capacity : 64;
		void *fired = realloc(journal->fired, capacity * sizeof(*journal->fired));

		if (!fired)
			return;
		journal->fired = fired;
		journal->capacity = capacity;
	}
	journal->fired[journal->count++] = (struct zcrx_lib_fired){ordinal, queue, rule};
}

void zcrx_lib_journal_free(struct zcrx_lib_journal *journal)
{
	free(journal->fired);
}

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

static void put_rule(struct sink *sink, const struct zcrx_lib_journal *journal,
		     const struct zcrx_lib_plan *plan, uint32_t rule, uint32_t queue)
{
	const struct zcrx_lib_fault *fault = plan->faults[rule];
	const char *before = ":at=";

	for (uint32_t i = 0; i < journal->count; i++) {
		const struct zcrx_lib_fired *fired = &journal->fired[i];

		if (fired->rule != rule || fired->queue != queue)
			continue;
		if (before[0] == ':')
			put(sink, "%s%s", sink->used ? "," : "", fault->name);
		put(sink, "%s%llu", before, (unsigned long long)fired->ordinal);
		before = "+";
	}
	if (before[0] == ':')
		return;
	for (uint32_t at = 0; at < ZCRX_LIB_PARAMS; at++) {
		const struct zcrx_lib_param *param = &fault->params[at];

		if (param->name && plan->rules[rule].params[at] != param->preset)
			put(sink, ":%s=%u", param->name, plan->rules[rule].params[at]);
	}
	if (fault->actor < ZCRX_LIB_RING)
		put(sink, ":queue=%u", queue);
}

size_t zcrx_lib_journal_text(const struct zcrx_lib_journal *journal,
			     const struct zcrx_lib_plan *plan, uint32_t queues, char *to,
			     size_t size)
{
	struct sink sink = {to, size, 0};

	for (uint32_t rule = 0; rule < plan->count; rule++) {
		/* What is asked once of each queue is said once. */
		bool is_of_queues = plan->faults[rule]->actor < ZCRX_LIB_RING;

		for (uint32_t queue = 0; queue <= (is_of_queues ? queues : 0); queue++)
			put_rule(&sink, journal, plan, rule, queue);
	}
	if (sink.used == 0)
		put(&sink, "none");
	return sink.used;
}
