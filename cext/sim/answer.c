/* SPDX-License-Identifier: MIT */
#include "answer.h"
#include "ondemand/usage.h"
#include "words.h"

#include <inttypes.h>
#include <string.h>

extern const char __executable_start;

static const char *const finding_words[SIM_KIND_COUNT] = {
#define SIM_KIND_WORD(name, word) word,
	SIM_KINDS(SIM_KIND_WORD)
#undef SIM_KIND_WORD
};
static const char *const kind_words[] = {"load",  "store", "exchange", "fence",
					 "sleep", "wake",  "drain"};
static const char *const order_words[] = {"relaxed", "consume", "acquire",
					  "release", "acq_rel", "seq_cst"};

static uint64_t offset_of(const void *place)
{
	return place ? (uint64_t)((const char *)place - &__executable_start) : 0;
}

static void put_word(const struct search *search, uint32_t offset)
{
	printf("\tword=");
	words_print(stdout, words_at(search->world, offset));
}

static void put_event(const struct search *search, uint32_t step)
{
	const struct sim_event *event = sim_event(search->engine, step);
	uint32_t actors = search->world->scenario.actor_count;
	bool drains = event->actor >= actors;

	printf("step\tactor=%u\tkind=%s\torder=%s", event->actor - (drains ? actors : 0),
	       kind_words[event->kind], event->order <= 5 ? order_words[event->order] : "?");
	put_word(search, event->offset);
	printf("\toffset=%d", (int)event->offset);
	printf("\tbefore=%" PRIu64 "\tafter=%" PRIu64 "\tchanged=%d\tchoice=%u\tchoices=%u",
	       event->before, event->after, event->changed, event->choice, event->choices);
	printf("\tplace=%" PRIu64 "\n", offset_of(event->place));
}

static void put_schedule(const struct explore_step *steps, uint32_t count)
{
	printf("\tschedule=");
	for (uint32_t i = 0; i < count; i++) {
		printf(i ? " %u" : "%u", steps[i].actor);
		if (steps[i].choice)
			printf(":%u", steps[i].choice);
	}
}

void answer_events(const struct search *search)
{
	for (uint32_t i = 0; i < sim_steps(search->engine); i++)
		put_event(search, i);
}

/* A store that reaches memory out of a buffer is nobody's turn. */
static uint32_t count_switches(const struct sim_engine *engine)
{
	uint32_t switches = 0, last = UINT32_MAX;

	for (uint32_t i = 0; i < sim_steps(engine); i++) {
		const struct sim_event *event = sim_event(engine, i);

		if (event->kind == SIM_DRAIN)
			continue;
		switches += last != UINT32_MAX && last != event->actor;
		last = event->actor;
	}
	return switches;
}

/* Without steps: its schedule does not show it again. */
static void put_summary(const struct search *search, const struct sim_finding *finding,
			const struct explore_step *steps, uint32_t count)
{
	printf("finding\tkind=%s\tactor=%d", finding_words[sim_kind_of(finding->found)],
	       finding->actor == UINT32_MAX ? -1 : (int)finding->actor);
	sim_print_finding(stdout, finding);
	put_word(search, finding->offset);
	printf("\tshows_again=%d\tplace=%" PRIu64 "\tother_place=%" PRIu64, steps != NULL,
	       offset_of(finding->place), offset_of(finding->other_place));
	printf("\tswitches=%u\thash=%016" PRIx64, count_switches(search->engine),
	       sim_trace_hash(search->engine));
	put_schedule(steps, count);
	printf("\n");
}

void answer_finding(const struct search *search, const struct explore_step *steps, uint32_t count)
{
	answer_events(search);
	put_summary(search, sim_finding(search->engine), steps, count);
}

void answer_end(const struct search *search, bool found)
{
	double seconds = now_s() - search->began;

	printf("end\tfound=%d\tschedules=%" PRIu64 "\tcut=%" PRIu64 "\tsteps=%" PRIu64, found,
	       search->schedules, search->cut, search->steps);
	printf("\tseconds=%.3f\tlongest=%u\tcomplete=%d\tinterrupted=%d\trepeats=%d", seconds,
	       search->longest, search->is_complete, search_is_interrupted(),
	       !search->does_not_repeat);
	printf("\thash=%016" PRIx64 "\n",
	       search->last_hash ? search->last_hash : sim_trace_hash(search->engine));
	/* A finding takes seconds to shorten: who only wants to know whether there is one need not wait. */
	fflush(stdout);
}

void answer_shortly(struct search *search)
{
	static struct explore_step steps[SIM_STEPS_MAX], fewer[SIM_STEPS_MAX];
	uint32_t count = explore_schedule(search->engine, steps);
	struct sim_finding finding = *sim_finding(search->engine);
	uint32_t short_count = search_shorten(search, &finding, fewer);
	struct explore_replay replay;

	if (short_count && explore_switches(fewer, short_count) < explore_switches(steps, count)) {
		memcpy(steps, fewer, sizeof(steps[0]) * short_count);
		count = short_count;
	}
	explore_replay_start(&replay, steps, count);
	sim_execute(search->engine, &replay.chooser);
	if (!search_is_same(search, sim_finding(search->engine), &finding)) {
		/* What was seen was seen, though its schedule shows something else by now. */
		put_summary(search, &finding, NULL, 0);
		return;
	}
	answer_finding(search, steps, count);
}

void answer_refusal(struct world_refusal refusal)
{
	static const char *const names[] = {"NOTHING",
#define WORLD_REFUSED_NAME(name) #name,
					    WORLD_REFUSALS(WORLD_REFUSED_NAME)
#undef WORLD_REFUSED_NAME
	};

	fprintf(stderr, "refused\twhy=%s\toperation=%u\n", names[refusal.why], refusal.operation);
}
