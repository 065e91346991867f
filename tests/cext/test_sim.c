/* SPDX-License-Identifier: MIT */
/*
 * The engine of the race tests against the textbook: small programs whose
 * outcomes each memory model allows or forbids, searched completely; the same
 * with and without partial-order reduction; and what it says of races, sleep and
 * deadlock. Actors call what a compiler would have put there.
 */
#include "check.h"
#include "explore.h"

#include <linux/futex.h>
#include <sys/syscall.h>

enum { RELAXED = 0, ACQUIRE = 2, RELEASE = 3, ACQ_REL = 4, SEQ_CST = 5 };

uint32_t __tsan_atomic32_load(const volatile uint32_t *at, int order);
void __tsan_atomic32_store(volatile uint32_t *at, uint32_t value, int order);
uint32_t __tsan_atomic32_fetch_add(volatile uint32_t *at, uint32_t value, int order);
uint32_t __tsan_atomic32_exchange(volatile uint32_t *at, uint32_t value, int order);
void __tsan_atomic_thread_fence(int order);
void __tsan_read4(void *at);
void __tsan_write4(void *at);
long sim_syscall(long number, ...);
void zcrx_pause_hook(void);

/* ---- programs ------------------------------------------------------------------------- */

#define ACTORS 4U
#define OPS 6U
#define WORDS 3U
#define RESULTS 8U
#define OUTCOMES 4096U

enum what { STOP, LOAD, STORE, ADD, FENCE, READ, WRITE, READ_IF, WAIT_FOR };

struct op {
	enum what what;
	uint32_t word;
	int order;
	uint32_t value; /* stored or added; READ_IF: only if the last load saw it */
};

struct program {
	uint32_t actors;
	struct op ops[ACTORS][OPS];
};

/* All of it is put back before each execution; the results too. */
struct memory {
	uint32_t results[ACTORS][RESULTS];
	uint32_t counts[ACTORS];
	_Alignas(64) uint32_t words[WORDS * 16]; /* each on a line of its own */
};

static struct memory *memory;
static const struct program *played;

/* What was seen: each outcome once. */
static struct {
	uint64_t outcomes[OUTCOMES];
	uint32_t count;
	uint64_t executions;
} seen;

static uint32_t *word_at(uint32_t word)
{
	return &memory->words[word * 16];
}

static void note(uint32_t actor, uint32_t value)
{
	/* Not instrumented, so the engine does not know of it: it is cleared by the judge. */
	memory->results[actor][memory->counts[actor]++] = value;
}

static void act(void *context, uint32_t actor)
{
	uint32_t last = 0;

	(void)context;
	memory->counts[actor] = 0;
	for (uint32_t i = 0; i < OPS; i++) {
		const struct op *op = &played->ops[actor][i];
		uint32_t *at = word_at(op->word);

		switch (op->what) {
		case STOP:
			return;
		case LOAD:
			note(actor, last = __tsan_atomic32_load(at, op->order));
			break;
		case STORE:
			__tsan_atomic32_store(at, op->value, op->order);
			break;
		case ADD:
			note(actor, __tsan_atomic32_fetch_add(at, op->value, op->order));
			break;
		case FENCE:
			__tsan_atomic_thread_fence(op->order);
			break;
		case READ_IF:
			if (last != op->value)
				break;
			/* fall through */
		case READ:
			__tsan_read4(at);
			note(actor, *at);
			break;
		case WRITE:
			__tsan_write4(at);
			*at = op->value;
			break;
		case WAIT_FOR:
			while (__tsan_atomic32_load(at, op->order) != op->value)
				zcrx_pause_hook();
			break;
		}
	}
}

/* Eight bits for each result, in order of actors; then the words as they are at the end. */
static uint64_t outcome(void)
{
	uint64_t value = 0;

	for (uint32_t actor = 0; actor < played->actors; actor++) {
		for (uint32_t i = 0; i < memory->counts[actor]; i++)
			value = value << 4 | (memory->results[actor][i] & 15);
	}
	return value;
}

static uint64_t with_words(uint64_t value)
{
	for (uint32_t i = 0; i < WORDS; i++)
		value = value << 4 | (*word_at(i) & 15);
	return value;
}

static bool keeps_words;
static struct sim_range ordered; /* size 0: none */

static void judge(void *context)
{
	uint64_t value = keeps_words ? with_words(outcome()) : outcome();

	(void)context;
	for (uint32_t i = 0; i < seen.count; i++) {
		if (seen.outcomes[i] == value)
			return;
	}
	REQUIRE(seen.count < OUTCOMES);
	seen.outcomes[seen.count++] = value;
}

static struct sim_engine *open_engine(const struct program *program, enum sim_memory model,
				      void (*acts)(void *, uint32_t))
{
	struct sim_engine *engine;

	played = program;
	if (!memory)
		memory = aligned_alloc(64, sizeof(*memory));
	REQUIRE(memory);
	memset(memory, 0, sizeof(*memory));
	engine = sim_open(&(struct sim_setup){
		.memory = model,
		.actors = program->actors,
		.shared = memory->words,
		.shared_size = sizeof(memory->words),
		.whole = memory,
		.whole_size = sizeof(*memory),
		.ordered = &ordered,
		.ordered_count = ordered.size != 0,
		.act = acts,
		.judge = judge,
	});
	REQUIRE(engine);
	return engine;
}

/* Everything; the kind of the first finding, if there is one. */
static enum sim_finding_kind search(const struct program *program, enum sim_memory model,
				    uint32_t bound, void (*acts)(void *, uint32_t))
{
	struct sim_engine *engine = open_engine(program, model, acts);
	struct explore_all *all = explore_all_open(bound);
	enum sim_finding_kind kind = SIM_NOTHING;

	REQUIRE(all);
	memset(&seen, 0, sizeof(seen));
	do {
		seen.executions++;
		if (!sim_execute(engine, explore_all_chooser(all))) {
			kind = sim_kind_of(sim_finding(engine)->found);
			break;
		}
	} while (explore_all_next(all));
	explore_all_close(all);
	sim_close(engine);
	return kind;
}

static bool can_be(uint64_t wanted)
{
	for (uint32_t i = 0; i < seen.count; i++) {
		if (seen.outcomes[i] == wanted)
			return true;
	}
	return false;
}

/* ---- the textbook ------------------------------------------------------------------------ */

struct litmus {
	const char *name;
	struct program program;
	uint64_t weak; /* the outcome in question */
	bool allowed[3]; /* by sc, tso, c11 */
};

static const struct litmus litmus_tests[] = {
	{"store buffering",
	 {2,
	  {{{STORE, 0, RELAXED, 1}, {LOAD, 1, RELAXED, 0}},
	   {{STORE, 1, RELAXED, 1}, {LOAD, 0, RELAXED, 0}}}},
	 0x00,
	 {false, true, true}},
	{"store buffering, release and acquire do not help",
	 {2,
	  {{{STORE, 0, RELEASE, 1}, {LOAD, 1, ACQUIRE, 0}},
	   {{STORE, 1, RELEASE, 1}, {LOAD, 0, ACQUIRE, 0}}}},
	 0x00,
	 {false, true, true}},
	{"store buffering, fences",
	 {2,
	  {{{STORE, 0, RELAXED, 1}, {FENCE, 0, SEQ_CST, 0}, {LOAD, 1, RELAXED, 0}},
	   {{STORE, 1, RELAXED, 1}, {FENCE, 0, SEQ_CST, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x00,
	 {false, false, false}},
	{"store buffering, one fence",
	 {2,
	  {{{STORE, 0, RELAXED, 1}, {FENCE, 0, SEQ_CST, 0}, {LOAD, 1, RELAXED, 0}},
	   {{STORE, 1, RELAXED, 1}, {LOAD, 0, RELAXED, 0}}}},
	 0x00,
	 {false, true, true}},
	{"message passing, relaxed",
	 {2,
	  {{{STORE, 0, RELAXED, 1}, {STORE, 1, RELAXED, 1}},
	   {{LOAD, 1, RELAXED, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x10,
	 {false, false, true}},
	{"message passing, release and acquire",
	 {2,
	  {{{STORE, 0, RELAXED, 1}, {STORE, 1, RELEASE, 1}},
	   {{LOAD, 1, ACQUIRE, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x10,
	 {false, false, false}},
	{"message passing, no acquire",
	 {2,
	  {{{STORE, 0, RELAXED, 1}, {STORE, 1, RELEASE, 1}},
	   {{LOAD, 1, RELAXED, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x10,
	 {false, false, true}},
	{"message passing, no release",
	 {2,
	  {{{STORE, 0, RELAXED, 1}, {STORE, 1, RELAXED, 1}},
	   {{LOAD, 1, ACQUIRE, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x10,
	 {false, false, true}},
	{"message passing, fences",
	 {2,
	  {{{STORE, 0, RELAXED, 1}, {FENCE, 0, RELEASE, 0}, {STORE, 1, RELAXED, 1}},
	   {{LOAD, 1, RELAXED, 0}, {FENCE, 0, ACQUIRE, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x10,
	 {false, false, false}},
	{"a release goes on through another's exchange",
	 {3,
	  {{{STORE, 0, RELAXED, 1}, {STORE, 1, RELEASE, 1}},
	   {{ADD, 1, RELAXED, 1}},
	   {{LOAD, 1, ACQUIRE, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x120,
	 {false, false, false}},
	{"but not through another's store",
	 {3,
	  {{{STORE, 0, RELAXED, 1}, {STORE, 1, RELEASE, 1}},
	   {{LOAD, 1, RELAXED, 0}, {STORE, 1, RELAXED, 2}},
	   {{LOAD, 1, ACQUIRE, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x120,
	 {false, false, true}},
	{"a word is not seen to go back",
	 {2, {{{STORE, 0, RELAXED, 1}}, {{LOAD, 0, RELAXED, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x10,
	 {false, false, false}},
	{"nor by somebody who was told",
	 {3,
	  {{{STORE, 0, RELAXED, 1}},
	   {{LOAD, 0, RELAXED, 0}, {STORE, 1, RELEASE, 1}},
	   {{LOAD, 1, ACQUIRE, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x110,
	 {false, false, false}},
	{"an actor sees its own store",
	 {2, {{{STORE, 0, RELAXED, 1}, {LOAD, 0, RELAXED, 0}}, {{STORE, 1, RELAXED, 1}}}},
	 0x0,
	 {false, false, false}},
	{"independent reads of independent writes",
	 {4,
	  {{{STORE, 0, RELEASE, 1}},
	   {{STORE, 1, RELEASE, 1}},
	   {{LOAD, 0, ACQUIRE, 0}, {LOAD, 1, ACQUIRE, 0}},
	   {{LOAD, 1, ACQUIRE, 0}, {LOAD, 0, ACQUIRE, 0}}}},
	 0x1010,
	 {false, false, true}},
	{"writes told on are known",
	 {3,
	  {{{STORE, 0, RELEASE, 1}},
	   {{LOAD, 0, ACQUIRE, 0}, {STORE, 1, RELEASE, 1}},
	   {{LOAD, 1, ACQUIRE, 0}, {LOAD, 0, RELAXED, 0}}}},
	 0x110,
	 {false, false, false}},
	{"two exchanges do not see the same",
	 {2, {{{ADD, 0, RELAXED, 1}}, {{ADD, 0, RELAXED, 1}}}},
	 0x00,
	 {false, false, false}},
};

static void each_model_allows_what_the_textbook_says(void)
{
	for (size_t i = 0; i < COUNT_OF(litmus_tests); i++) {
		for (uint32_t model = SIM_SC; model <= SIM_C11; model++) {
			const struct litmus *test = &litmus_tests[i];

			CHECK_EQ(search(&test->program, model, UINT32_MAX, act), SIM_NOTHING);
			CHECK(seen.count > 0);
			if (can_be(test->weak) != test->allowed[model])
				fprintf(stderr, "%s: model %u says %d\n", test->name, model,
					can_be(test->weak));
			CHECK_EQ(can_be(test->weak), test->allowed[model]);
		}
	}
}

/* ---- the reduction leaves nothing out -------------------------------------------------------- */

static struct op random_op(struct zcrx_rng *rng)
{
	static const int loads[] = {RELAXED, ACQUIRE}, stores[] = {RELAXED, RELEASE};
	uint32_t word = zcrx_rng_below(rng, WORDS), value = 1 + zcrx_rng_below(rng, 3);

	switch (zcrx_rng_below(rng, 8)) {
	case 0:
		return (struct op){ADD, word, zcrx_rng_below(rng, 2) ? RELAXED : ACQ_REL, value};
	case 1:
		return (struct op){FENCE, 0, SEQ_CST, 0};
	case 2:
	case 3:
	case 4:
		return (struct op){LOAD, word, loads[zcrx_rng_below(rng, 2)], 0};
	default:
		return (struct op){STORE, word, stores[zcrx_rng_below(rng, 2)], value};
	}
}

static void same_outcomes_with_and_without_reduction(void)
{
	uint64_t with[OUTCOMES];
	uint32_t fewer = 0;

	keeps_words = true;
	for (uint64_t seed = 1; seed <= 150; seed++) {
		struct zcrx_rng rng = zcrx_rng_for(seed, 0);
		enum sim_memory model = (enum sim_memory)zcrx_rng_below(&rng, 3);
		struct program program = {.actors = 2 + zcrx_rng_below(&rng, 2)};
		uint32_t count;
		uint64_t executions;

		for (uint32_t actor = 0; actor < program.actors; actor++) {
			for (uint32_t i = 0; i < (model == SIM_TSO ? 2U : 3U); i++)
				program.ops[actor][i] = random_op(&rng);
		}
		CHECK_EQ(search(&program, model, UINT32_MAX, act), SIM_NOTHING);
		memcpy(with, seen.outcomes, sizeof(with));
		count = seen.count;
		executions = seen.executions;
		/* More preemptions than there are steps: everything, step by step. */
		CHECK_EQ(search(&program, model, 1000, act), SIM_NOTHING);
		fewer += executions < seen.executions;
		if (count != seen.count)
			fprintf(stderr,
				"seed %" PRIu64
				" model %d: %u outcomes with reduction, %u without\n",
				seed, model, count, seen.count);
		CHECK_EQ(count, seen.count);
		for (uint32_t i = 0; i < count; i++)
			CHECK(can_be(with[i]));
	}
	keeps_words = false;
	CHECK(fewer > 100); /* it does reduce */
}

/* ---- plain accesses ------------------------------------------------------------------------------ */

static void plain_accesses_race_unless_they_are_ordered(void)
{
	static const struct program ordered = {2,
					       {{{WRITE, 0, 0, 7}, {STORE, 1, RELEASE, 1}},
						{{LOAD, 1, ACQUIRE, 0}, {READ_IF, 0, 0, 1}}}};
	static const struct program no_release = {2,
						  {{{WRITE, 0, 0, 7}, {STORE, 1, RELAXED, 1}},
						   {{LOAD, 1, ACQUIRE, 0}, {READ_IF, 0, 0, 1}}}};
	static const struct program no_acquire = {2,
						  {{{WRITE, 0, 0, 7}, {STORE, 1, RELEASE, 1}},
						   {{LOAD, 1, RELAXED, 0}, {READ_IF, 0, 0, 1}}}};
	static const struct program two_writes = {
		2,
		{{{WRITE, 0, 0, 1}, {STORE, 1, RELEASE, 1}}, {{WRITE, 0, 0, 2}, {LOAD, 1, 0, 0}}}};
	static const struct program two_reads = {
		2, {{{READ, 0, 0, 0}, {STORE, 1, RELAXED, 1}}, {{READ, 0, 0, 0}, {LOAD, 1, 0, 0}}}};
	static const struct program write_after_read = {
		2,
		{{{READ, 0, 0, 0}, {STORE, 1, RELAXED, 1}},
		 {{WAIT_FOR, 1, ACQUIRE, 1}, {WRITE, 0, 0, 2}}}};
	static const struct program mixed = {2, {{{WRITE, 0, 0, 1}}, {{LOAD, 0, RELAXED, 0}}}};

	for (uint32_t model = SIM_SC; model <= SIM_C11; model += 2) {
		CHECK_EQ(search(&ordered, model, UINT32_MAX, act), SIM_NOTHING);
		CHECK_EQ(search(&no_release, model, UINT32_MAX, act), SIM_RACE);
		CHECK_EQ(search(&no_acquire, model, UINT32_MAX, act), SIM_RACE);
		CHECK_EQ(search(&two_writes, model, UINT32_MAX, act), SIM_RACE);
		CHECK_EQ(search(&two_reads, model, UINT32_MAX, act), SIM_NOTHING);
		CHECK_EQ(search(&write_after_read, model, UINT32_MAX, act), SIM_RACE);
		CHECK_EQ(search(&mixed, model, UINT32_MAX, act), SIM_RACE);
	}
}

/* Word 0 is a slot, word 1 says that it is free: nothing but that shows it is reused too early. */
static void reuse_of_ordered_words_must_be_told(void)
{
	static const struct program told = {2,
					    {{{LOAD, 0, RELAXED, 0}, {STORE, 1, RELEASE, 1}},
					     {{WAIT_FOR, 1, ACQUIRE, 1}, {STORE, 0, RELAXED, 2}}}};
	static const struct program no_release = {
		2,
		{{{LOAD, 0, RELAXED, 0}, {STORE, 1, RELAXED, 1}},
		 {{WAIT_FOR, 1, ACQUIRE, 1}, {STORE, 0, RELAXED, 2}}}};
	static const struct program no_acquire = {
		2,
		{{{LOAD, 0, RELAXED, 0}, {STORE, 1, RELEASE, 1}},
		 {{WAIT_FOR, 1, RELAXED, 1}, {STORE, 0, RELAXED, 2}}}};

	for (uint32_t model = SIM_SC; model <= SIM_C11; model += 2) {
		CHECK_EQ(search(&no_release, model, UINT32_MAX, act), SIM_NOTHING);
		ordered = (struct sim_range){.offset = 0, .size = sizeof(uint32_t)};
		CHECK_EQ(search(&told, model, UINT32_MAX, act), SIM_NOTHING);
		CHECK_EQ(search(&no_release, model, UINT32_MAX, act), SIM_RACE);
		CHECK_EQ(search(&no_acquire, model, UINT32_MAX, act), SIM_RACE);
		ordered.size = 0;
	}
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

static void whoever_spins_goes_on_when_there_is_news(void)
{
	static const struct program turns = {
		2,
		{{{WAIT_FOR, 0, ACQUIRE, 1}, {STORE, 1, RELEASE, 1}},
		 {{STORE, 0, RELEASE, 1}, {WAIT_FOR, 1, ACQUIRE, 1}, {LOAD, 0, RELAXED, 0}}}};
	static const struct program never = {2, {{{WAIT_FOR, 0, ACQUIRE, 1}}, {{STORE, 1, 0, 1}}}};

	for (uint32_t model = SIM_SC; model <= SIM_C11; model++) {
		CHECK_EQ(search(&turns, model, UINT32_MAX, act), SIM_NOTHING);
		CHECK_EQ(seen.count, 1);
		CHECK_EQ(search(&never, model, UINT32_MAX, act), SIM_DEADLOCK);
	}
}

static bool announces, fences, looks_again;

/* A sleeper and a ringer: word 0 the message, word 1 "I sleep", word 2 what it sleeps on. */
static void sleep_or_ring(void *context, uint32_t actor)
{
	(void)context;
	if (actor == 1) {
		__tsan_atomic32_store(word_at(0), 1, RELEASE);
		if (fences)
			__tsan_atomic_thread_fence(SEQ_CST);
		if (!announces || __tsan_atomic32_load(word_at(1), RELAXED)) {
			__tsan_atomic32_fetch_add(word_at(2), 1, ACQ_REL);
			sim_syscall(SYS_futex, word_at(2), FUTEX_WAKE, 1, NULL, NULL, 0);
		}
		return;
	}
	while (!__tsan_atomic32_load(word_at(0), ACQUIRE)) {
		uint32_t value = __tsan_atomic32_load(word_at(2), RELAXED);

		__tsan_atomic32_store(word_at(1), 1, RELAXED);
		if (fences)
			__tsan_atomic_thread_fence(SEQ_CST);
		if (looks_again && __tsan_atomic32_load(word_at(0), ACQUIRE))
			return;
		sim_syscall(SYS_futex, word_at(2), FUTEX_WAIT, value, NULL, NULL, 0);
		if (sim_was_left_asleep() && __tsan_atomic32_load(word_at(0), ACQUIRE))
			sim_fail(USER_SLEEPS);
	}
}

static void a_lost_wakeup_is_found(void)
{
	static const struct program two = {.actors = 2};

	announces = fences = looks_again = true;
	for (uint32_t model = SIM_SC; model <= SIM_C11; model++)
		CHECK_EQ(search(&two, model, UINT32_MAX, sleep_or_ring), SIM_NOTHING);
	looks_again = false;
	CHECK_EQ(search(&two, SIM_SC, UINT32_MAX, sleep_or_ring), SIM_LOST_WAKEUP);
	looks_again = true;
	fences = false;
	CHECK_EQ(search(&two, SIM_SC, UINT32_MAX, sleep_or_ring), SIM_NOTHING);
	CHECK_EQ(search(&two, SIM_TSO, UINT32_MAX, sleep_or_ring), SIM_LOST_WAKEUP);
	CHECK_EQ(search(&two, SIM_C11, UINT32_MAX, sleep_or_ring), SIM_LOST_WAKEUP);
	/* Rung always: but the sleeper may have read the bell before it reads the message. */
	announces = false;
	CHECK_EQ(search(&two, SIM_TSO, UINT32_MAX, sleep_or_ring), SIM_NOTHING);
	CHECK_EQ(search(&two, SIM_C11, UINT32_MAX, sleep_or_ring), SIM_LOST_WAKEUP);
}

/* ---- the same again ------------------------------------------------------------------------------------ */

static void a_schedule_replays_to_the_same_trace(void)
{
	static struct explore_step steps[SIM_STEPS_MAX];
	const struct program *program = &litmus_tests[14].program;

	for (uint32_t model = SIM_SC; model <= SIM_C11; model++) {
		struct sim_engine *engine = open_engine(program, model, act);

		for (uint64_t seed = 0; seed < 200; seed++) {
			struct explore_random random;
			struct explore_pct pct;
			struct explore_replay replay;
			uint64_t hash;
			uint32_t count;

			explore_random_start(&random, seed);
			explore_pct_start(&pct, seed, 3, sim_actors(engine), 10);
			CHECK(sim_execute(engine, seed % 2 ? &random.chooser : &pct.chooser));
			hash = sim_trace_hash(engine);
			count = explore_schedule(engine, steps);
			explore_replay_start(&replay, steps, count);
			CHECK(sim_execute(engine, &replay.chooser));
			CHECK(!replay.does_not_fit);
			CHECK(sim_trace_hash(engine) == hash);
			explore_replay_start(&replay, steps, count - 1);
			sim_execute(engine, &replay.chooser);
			CHECK(sim_was_cut(engine));
		}
		sim_close(engine);
	}
}

static void the_same_mistake_may_have_other_numbers(void)
{
	struct sim_finding one = {.found = SIM_FOUND_VERDICTS, .numbers = {6, 1, 0}};
	struct sim_finding other = one;

	other.numbers[1] = 2;
	CHECK(sim_is_same(&one, &other));
	other.numbers[0] = 0;
	CHECK(!sim_is_same(&one, &other));
	one = other = (struct sim_finding){.found = SIM_FOUND_ASSERTION, .numbers = {7}};
	one.quote.text = "one";
	other.quote.text = "other";
	CHECK(!sim_is_same(&one, &other));
	CHECK(sim_is_same(&one, &one));
	CHECK_EQ(sim_kind_of(one.found), SIM_ASSERT);
}

CHECK_MAIN(CASE(each_model_allows_what_the_textbook_says),
	   CASE(same_outcomes_with_and_without_reduction),
	   CASE(plain_accesses_race_unless_they_are_ordered),
	   CASE(reuse_of_ordered_words_must_be_told),
	   CASE(whoever_spins_goes_on_when_there_is_news), CASE(a_lost_wakeup_is_found),
	   CASE(a_schedule_replays_to_the_same_trace),
	   CASE(the_same_mistake_may_have_other_numbers))
