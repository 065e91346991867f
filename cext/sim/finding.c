/* SPDX-License-Identifier: MIT */
/* A finding ends its execution: what is left of an actor's life is left out. */
#include "finding.h"
#include "execution.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	enum sim_finding_kind kind;
	uint32_t numbers, telling;
} rows[] = {[SIM_FOUND_NOTHING] = {"NOTHING", SIM_NOTHING, 0, 0},
#define SIM_FOUND_ROW(name, kind, numbers, telling) \
	[SIM_FOUND_##name] = {#name, SIM_##kind, numbers, telling},
	    SIM_FINDINGS(SIM_FOUND_ROW)
#undef SIM_FOUND_ROW
};

enum sim_finding_kind sim_kind_of(enum sim_found found)
{
	return rows[found].kind;
}

static bool has_same_text(const struct sim_finding *one, const struct sim_finding *other)
{
	return one->quote.text == other->quote.text ||
	       (one->quote.text && other->quote.text &&
		strcmp(one->quote.text, other->quote.text) == 0);
}

bool sim_is_same(const struct sim_finding *one, const struct sim_finding *other)
{
	return one->found == other->found &&
	       memcmp(one->numbers, other->numbers,
		      sizeof(one->numbers[0]) * rows[one->found].telling) == 0 &&
	       has_same_text(one, other);
}

/* It is the user's source: whatever it holds, it is one value of one line. */
static void print_quoted(FILE *to, const char *name, const char *text)
{
	fprintf(to, "\t%s=", name);
	for (; *text; text++)
		putc((unsigned char)*text < ' ' ? ' ' : *text, to);
}

void sim_print_finding(FILE *to, const struct sim_finding *finding)
{
	const struct sim_quote *quote = &finding->quote;

	fprintf(to, "\tfound=%s\tnumbers=", rows[finding->found].name);
	for (uint32_t i = 0; i < rows[finding->found].numbers; i++)
		fprintf(to, i ? " %" PRIu64 : "%" PRIu64, finding->numbers[i]);
	if (!quote->text)
		return;
	print_quoted(to, "file", quote->file);
	print_quoted(to, "function", quote->function);
	print_quoted(to, "text", quote->text);
}

/* There is nothing to search: the scenario's own setup fails. */
static void __attribute__((noreturn)) refuse(const struct sim_finding *finding)
{
	fprintf(stderr, "setup");
	sim_print_finding(stderr, finding);
	fprintf(stderr, "\n");
	_exit(2);
}

void sim_report(struct sim_finding finding)
{
	struct sim_engine *engine = execution_now;

	if (!engine)
		refuse(&finding);
	if (engine->finding.found == SIM_FOUND_NOTHING) {
		finding.actor = engine->current < 0 ? NONE : (uint32_t)engine->current;
		engine->finding = finding;
	}
	if (engine->current >= 0)
		execution_leave(engine);
}
