/* SPDX-License-Identifier: MIT */
/*
 * The fuzzer's own parts: the codec goes both ways, whatever is made up is a
 * program in which nothing is found, and each kind of damage is seen by the
 * comparison that follows it.
 */
#include "check.h"
#include "mutate.h"
#include "run.h"
#include "sandbox.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#define SEED 20260601U

static struct fuzz_runner runner;

static bool same_program(const struct fuzz_program *one, const struct fuzz_program *other)
{
	if (one->count != other->count || one->shape.num_niovs != other->shape.num_niovs ||
	    one->shape.rq_entries != other->shape.rq_entries ||
	    one->shape.ptr_ring_size != other->shape.ptr_ring_size ||
	    one->shape.initial_index != other->shape.initial_index ||
	    one->shape.queues != other->shape.queues ||
	    one->shape.contract.level != other->shape.contract.level ||
	    one->shape.has_no_device != other->shape.has_no_device ||
	    one->shape.contract.deviations != other->shape.contract.deviations ||
	    one->shape.is_checked != other->shape.is_checked ||
	    one->shape.records != other->shape.records)
		return false;
	return memcmp(one->ops, other->ops, sizeof(one->ops[0]) * one->count) == 0;
}

static void check_codec(const struct fuzz_program *program, uint64_t seed)
{
	uint8_t bytes[FUZZ_PROGRAM_BYTES], again[FUZZ_PROGRAM_BYTES];
	struct fuzz_program decoded;
	size_t size = fuzz_encode(program, bytes, sizeof(bytes));

	REQUIRE(size > 0);
	fuzz_decode(&decoded, bytes, size);
	for (uint32_t i = 0; i < program->count && !same_program(program, &decoded); i++) {
		if (memcmp(&program->ops[i], &decoded.ops[i], sizeof(decoded.ops[i])) != 0)
			fprintf(stderr, "seed %" PRIu64 ", operation %u: %s, read back: %s\n", seed,
				i, fuzz_words[program->ops[i].kind],
				fuzz_words[decoded.ops[i].kind]);
	}
	CHECK(same_program(program, &decoded));
	CHECK_EQ(fuzz_encode(&decoded, again, sizeof(again)), size);
	CHECK(memcmp(bytes, again, size) == 0);
}

static void show_finding(const char *name)
{
	fputs(name, stderr);
	fuzz_put_finding(stderr, &runner.finding);
	fputc('\n', stderr);
}

static void check_is_clean(const struct fuzz_program *program, const char *name)
{
	if (!fuzz_run(&runner, program))
		show_finding(name);
	CHECK_EQ(runner.finding.what, WRONG_NOTHING);
}

static void any_bytes_are_a_program(void)
{
	uint32_t kinds[FUZZ_OP_KINDS] = {0};

	for (uint64_t seed = SEED; seed < SEED + CHECK_REPEAT(4000); seed++) {
		struct zcrx_rng rng = zcrx_rng_for(seed, 0);
		uint8_t bytes[700];
		size_t size = zcrx_rng_below(&rng, sizeof(bytes) + 1);
		struct fuzz_program program;
		char name[32];

		for (size_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)zcrx_rng_next(&rng);
		fuzz_decode(&program, bytes, size);
		check_codec(&program, seed);
		snprintf(name, sizeof(name), "bytes of seed %" PRIu64, seed);
		check_is_clean(&program, name);
		for (uint32_t i = 0; i < program.count; i++)
			kinds[program.ops[i].kind]++;
	}
	for (uint32_t kind = 0; kind < FUZZ_OP_KINDS; kind++)
		CHECK(kinds[kind] > 0);
}

static void nothing_is_a_program_too(void)
{
	struct fuzz_program program;

	fuzz_decode(&program, NULL, 0);
	CHECK_EQ(program.count, 0);
	CHECK_EQ(program.shape.num_niovs, 1);
	check_codec(&program, 0);
	check_is_clean(&program, "nothing");
}

static void a_program_that_does_not_fit_is_not_cut(void)
{
	struct zcrx_rng rng = zcrx_rng_for(SEED, 0);
	struct fuzz_program program;
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	size_t size;

	fuzz_generate(&program, 20, &rng);
	size = fuzz_encode(&program, bytes, sizeof(bytes));
	CHECK_EQ(fuzz_encode(&program, bytes, size), size);
	CHECK_EQ(fuzz_encode(&program, bytes, size - 1), 0);
}

static void what_is_made_up_is_clean(void)
{
	static struct fuzz_program program, other, child;

	for (uint64_t seed = SEED; seed < SEED + CHECK_REPEAT(8000); seed++) {
		struct zcrx_rng rng = zcrx_rng_for(seed, 0);
		char name[40];

		fuzz_generate(&program, 1 + zcrx_rng_below(&rng, FUZZ_OPS_MAX), &rng);
		check_codec(&program, seed);
		fuzz_generate(&other, zcrx_rng_below(&rng, 40), &rng);
		fuzz_cross(&child, &program, &other, &rng);
		for (uint32_t i = zcrx_rng_below(&rng, 8); i > 0; i--)
			fuzz_mutate(&child, &rng);
		fuzz_set_level(&child, seed % ZCRX_LEVELS);
		check_codec(&child, seed);
		snprintf(name, sizeof(name), "child of seed %" PRIu64, seed);
		check_is_clean(&child, name);
	}
}

static void the_same_seed_makes_the_same(void)
{
	struct zcrx_rng one = zcrx_rng_for(SEED, 0), other = zcrx_rng_for(SEED, 0);
	struct fuzz_program programs[2];

	fuzz_generate(&programs[0], 60, &one);
	fuzz_generate(&programs[1], 60, &other);
	CHECK(same_program(&programs[0], &programs[1]));
	fuzz_mutate(&programs[0], &one);
	fuzz_mutate(&programs[1], &other);
	CHECK(same_program(&programs[0], &programs[1]));
}

static uint32_t repeats_of(const struct fuzz_program *program)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < program->count; i++)
		count += program->ops[i].kind == FUZZ_REPEAT;
	return count;
}

/* What takes long is kept for what it shows; a campaign's time must not go to its children. */
static void children_of_repetitions_mostly_repeat_nothing(void)
{
	static struct fuzz_program parent, child;
	uint32_t mutated = 0, crossed = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		struct zcrx_rng rng = zcrx_rng_for(SEED, i);

		parent = (struct fuzz_program){
			.shape = {.num_niovs = 4, .rq_entries = 4, .ptr_ring_size = 4, .queues = 1},
			.count = 2,
			.ops = {{.kind = FUZZ_REFILL}, {.kind = FUZZ_REPEAT, .value = 300}},
		};
		child = parent;
		fuzz_mutate(&child, &rng);
		mutated += repeats_of(&child) > 0;
		fuzz_cross(&child, &parent, &parent, &rng);
		crossed += repeats_of(&child) > 0;
	}
	CHECK(mutated > 0 && mutated < 250);
	CHECK(crossed > 0 && crossed < 250);
}

/* ---- damage is seen ------------------------------------------------------------------- */

/*
 * Four buffers: niov 3 is the NIC's, 2 waits in the alloc cache, 1 is the user's, 0 waits in
 * the ptr ring; two more lie on the freelist … of a pool with room for 64, so the freelist is
 * empty: copies take what is left first.
 */
static const struct fuzz_op scene[] = {
	{.kind = FUZZ_COPY, .count = 2},
	{.kind = FUZZ_DROP, .pick = 4, .count = 2}, /* … and they are back on the freelist */
	{.kind = FUZZ_COPY, .count = 2},
	{.kind = FUZZ_ALLOC, .count = 3},
	{.kind = FUZZ_DROP, .pick = 4, .count = 1}, /* the freelist has one buffer again */
	{.kind = FUZZ_DROP, .pick = 0, .count = 1}, /* to the ptr ring */
	{.kind = FUZZ_DELIVER, .pick = 1, .count = 1},
	{.kind = FUZZ_CHECK},
	{.kind = FUZZ_NETLINK, .pick = 4}, /* changes nothing; damaged before this one */
};
#define SCENE_STEPS (sizeof(scene) / sizeof(scene[0]))

struct damage {
	const char *name;
	enum fuzz_wrong what;
	void (*act)(struct fuzz_subject *subject);
};

static const struct damage *damage;

static void damage_user_refs(struct fuzz_subject *subject)
{
	subject->area.niovs[1].user_refs++;
}

static void damage_pp_refs(struct fuzz_subject *subject)
{
	subject->area.niovs[1].pp_refs++;
}

static void damage_binding(struct fuzz_subject *subject)
{
	subject->area.niovs[1].pool = 2;
}

static void damage_freelist(struct fuzz_subject *subject)
{
	subject->area.freelist[0] = 0;
}

static void damage_free_count(struct fuzz_subject *subject)
{
	subject->area.shared->free_count++;
}

static void damage_free_count_beyond(struct fuzz_subject *subject)
{
	subject->area.shared->free_count = 7;
}

static void damage_overflows(struct fuzz_subject *subject)
{
	subject->area.shared->freelist_overflows++;
}

static void damage_underflows(struct fuzz_subject *subject)
{
	subject->area.shared->ref_underflows++;
}

static void damage_cache(struct fuzz_subject *subject)
{
	subject->ifq.pools[0].shared->cache[0] ^= 1;
}

static void damage_cache_count(struct fuzz_subject *subject)
{
	subject->ifq.pools[0].shared->cache_count--;
}

static void damage_ptr_ring(struct fuzz_subject *subject)
{
	subject->ifq.pools[0].ring[0]++;
}

static void damage_ptr_ring_end(struct fuzz_subject *subject)
{
	subject->ifq.pools[0].ring[1] = 1;
}

static void damage_ptr_ring_head(struct fuzz_subject *subject)
{
	subject->ifq.pools[0].shared->ring_head = 99;
}

static void damage_phase(struct fuzz_subject *subject)
{
	subject->ifq.pools[5].shared->phase = ZCRX_POOL_DYING;
}

static void damage_bound(struct fuzz_subject *subject)
{
	subject->ifq.pools[0].shared->hold_count++;
}

static void damage_producer_lock(struct fuzz_subject *subject)
{
	subject->ifq.pools[0].shared->producer_lock.word = 1;
}

static void damage_rq_lock(struct fuzz_subject *subject)
{
	subject->ifq.shared->rq_lock.word = 1;
}

static void damage_head(struct fuzz_subject *subject)
{
	(*subject->ifq.rq.head)++;
}

static void damage_own_head(struct fuzz_subject *subject)
{
	subject->ifq.rq.cached_head++;
}

static void damage_tail(struct fuzz_subject *subject)
{
	(*subject->ifq.rq.tail)--;
}

static void damage_verdicts(struct fuzz_subject *subject)
{
	subject->ifq.shared->verdicts[ZCRX_BAD_PAD]++;
}

static void damage_consumed(struct fuzz_subject *subject)
{
	subject->ifq.shared->consumed++;
}

static void damage_aliases(struct fuzz_subject *subject)
{
	subject->ifq.shared->aliases++;
}

static void damage_alloc_failures(struct fuzz_subject *subject)
{
	subject->ifq.shared->alloc_failures++;
}

static void damage_shown_head(struct fuzz_subject *subject)
{
	subject->ifq.shared->cached_rq_head++;
}

static void damage_freelist_lock(struct fuzz_subject *subject)
{
	subject->area.shared->freelist_lock.word = 1;
}

static void damage_warnings(struct fuzz_subject *subject)
{
	subject->ifq.shared->destroy_warnings++;
}

static void damage_instance_refs(struct fuzz_subject *subject)
{
	subject->ifq.shared->refs++;
}

static void damage_current(struct fuzz_subject *subject)
{
	subject->ifq.shared->current_pool = 0;
}

static void damage_reserved(struct fuzz_subject *subject)
{
	subject->area.niovs[2].delivered = 1;
}

static const struct damage damages[] = {
	{"user references", WRONG_USER_REFS, damage_user_refs},
	{"page-pool references", WRONG_PP_REFS, damage_pp_refs},
	{"binding", WRONG_BINDING, damage_binding},
	{"freelist", WRONG_FREELIST, damage_freelist},
	{"free count", WRONG_FREELIST, damage_free_count},
	{"free count beyond", WRONG_FREE_COUNT, damage_free_count_beyond},
	{"overflows", WRONG_FREELIST_OVERFLOWS, damage_overflows},
	{"underflows", WRONG_REF_UNDERFLOWS, damage_underflows},
	{"cache", WRONG_CACHE, damage_cache},
	{"cache count", WRONG_CACHE, damage_cache_count},
	{"ptr ring", WRONG_PTR_RING, damage_ptr_ring},
	{"ptr ring's end", WRONG_PTR_RING, damage_ptr_ring_end},
	{"ptr ring's head", WRONG_PTR_RING_HEAD, damage_ptr_ring_head},
	{"phase", WRONG_PHASE, damage_phase},
	{"bound", WRONG_BOUND, damage_bound},
	{"producer lock", WRONG_PRODUCER_LOCK, damage_producer_lock},
	{"freelist lock", WRONG_FREELIST_LOCK, damage_freelist_lock},
	{"consumed", WRONG_RQES_CONSUMED, damage_consumed},
	{"aliases", WRONG_ALIASES, damage_aliases},
	{"failed allocations", WRONG_ALLOC_FAILURES, damage_alloc_failures},
	{"shown head", WRONG_SHOWN_HEAD, damage_shown_head},
	{"rq lock", WRONG_RQ_LOCK, damage_rq_lock},
	{"head", WRONG_HEAD, damage_head},
	{"own head", WRONG_OWN_HEAD, damage_own_head},
	{"tail", WRONG_TAIL, damage_tail},
	{"verdicts", WRONG_VERDICTS, damage_verdicts},
	{"warnings", WRONG_DESTROY_WARNINGS, damage_warnings},
	{"instance references", WRONG_INSTANCE_REFS, damage_instance_refs},
	{"current pool", WRONG_CURRENT_POOL, damage_current},
	{"reserved", WRONG_NIOV_RESERVED, damage_reserved},
};

static void strike(struct fuzz_runner *struck, const struct fuzz_program *program, uint32_t step)
{
	if (step + 2 == program->count)
		damage->act(&struck->subjects[0]);
}

static struct fuzz_program scene_program(void)
{
	struct fuzz_program program = {
		.shape = {.num_niovs = 6, .rq_entries = 4, .ptr_ring_size = 4, .queues = 1},
		.count = SCENE_STEPS,
	};

	memcpy(program.ops, scene, sizeof(scene));
	return program;
}

static void each_damage_is_seen(void)
{
	struct fuzz_program program = scene_program();

	check_is_clean(&program, "scene");
	/* Damage must find something to damage. */
	CHECK(runner.judges[0].areas[0].free_count > 0);
	CHECK(runner.judges[0].pools[0].cache_count > 0);
	CHECK(runner.judges[0].pools[0].ring_count > 0);
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		damage = &damages[i];
		runner.after = strike;
		CHECK(!fuzz_run(&runner, &program));
		runner.after = NULL;
		if (runner.finding.what != damage->what || runner.finding.step != SCENE_STEPS - 1)
			show_finding(damage->name);
		CHECK_EQ(runner.finding.what, damage->what);
		CHECK_EQ(runner.finding.step, SCENE_STEPS - 1);
	}
	check_is_clean(&program, "scene again"); /* nothing of it is left */
}

/* In places that the last operation has no part in, too. */
static void each_damage_is_seen_by_a_quick_run(void)
{
	struct fuzz_program program = scene_program();

	runner.is_quick = true;
	check_is_clean(&program, "scene");
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		damage = &damages[i];
		runner.after = strike;
		CHECK(!fuzz_run(&runner, &program));
		runner.after = NULL;
		CHECK_EQ(runner.finding.what, damage->what);
	}
	check_is_clean(&program, "scene again");
	runner.is_quick = false;
}

/* A provider that reads as it should not, by the calls that its accesses would make. */
static int64_t misread(bool late)
{
	struct fuzz_watch *watch = fuzz_watching;
	struct zcrx_ifq_shared *shared = watch->ifq->shared;

	zcrx_lock(&shared->rq_lock, NULL);
	fuzz_at_tail_load(watch, watch->ifq->rq.tail);
	fuzz_at_rqe_load(watch, watch->rqes);
	if (late)
		fuzz_at_head_store(watch, watch->ifq->rq.head);
	fuzz_at_rqe_load(watch, watch->rqes + (late ? 8 : 0));
	zcrx_unlock(&shared->rq_lock);
	return -1;
}

static int64_t misread_twice(struct zcrx_page_pool *pool, void *provider)
{
	(void)pool, (void)provider;
	return misread(false);
}

static int64_t misread_late(struct zcrx_page_pool *pool, void *provider)
{
	(void)pool, (void)provider;
	return misread(true);
}

static struct zcrx_mp_ops misreading;

static void misdirect(struct fuzz_runner *struck, const struct fuzz_program *program, uint32_t step)
{
	(void)program;
	if (step == 0)
		struck->subjects[0].ifq.pools[0].ops = &misreading;
}

static void bad_readings_are_seen(void)
{
	struct fuzz_program program = {
		.shape = {.num_niovs = 2, .rq_entries = 4, .ptr_ring_size = 4, .queues = 1},
		.count = 2,
		.ops = {{.kind = FUZZ_CHECK}, {.kind = FUZZ_ALLOC, .count = 1}},
	};

	misreading = zcrx_mp_ops;
	for (size_t i = 0; i < 2; i++) {
		misreading.alloc_netmems = i ? misread_late : misread_twice;
		runner.after = misdirect;
		CHECK(!fuzz_run(&runner, &program));
		runner.after = NULL;
		CHECK_EQ(runner.finding.what, i ? WRONG_READ_LATE : WRONG_READ_TWICE);
	}
}

#ifndef HAS_ASAN
static void damage_zone(struct fuzz_subject *subject)
{
	subject->area.freelist[64 / sizeof(uint32_t)] = 7; /* the first word behind its line */
}

/* Whoever does it before the end is seen at once; deep in a zone, at the end. */
static void writing_behind_an_array_is_seen(void)
{
	static const struct damage behind = {"zone", WRONG_ZONE_FREELIST, damage_zone};
	struct fuzz_program program = scene_program();

	damage = &behind;
	runner.after = strike;
	CHECK(!fuzz_run(&runner, &program));
	runner.after = NULL;
	CHECK_EQ(runner.finding.what, WRONG_ZONE_FREELIST);
	check_is_clean(&program, "scene after a broken zone");
}
#endif

/* ---- the user writes while the provider reads --------------------------------------------- */

static void a_rewrite_is_judged_by_what_was_read(void)
{
	/* The entry's offset is read; then pad changes: what was read must earn bad_pad. */
	struct fuzz_program program = {
		.shape = {.num_niovs = 4, .rq_entries = 4, .ptr_ring_size = 4, .queues = 1},
		.count = 5,
		.ops = {{.kind = FUZZ_ALLOC, .count = 1},
			{.kind = FUZZ_DELIVER, .count = 1},
			{.kind = FUZZ_RETURN, .count = 1},
			{.kind = FUZZ_REWRITE, .count = 2, .rqe = {.__pad = 5}},
			{.kind = FUZZ_FLUSH}},
	};

	check_is_clean(&program, "rewrite");
	CHECK_EQ(runner.judges[0].verdicts[JUDGE_BAD_PAD], 1);
	program.ops[3].count = 3; /* after both loads: nobody sees it any more */
	check_is_clean(&program, "late rewrite");
	CHECK_EQ(runner.judges[0].verdicts[JUDGE_ACCEPTED], 1);
}

/* ---- trials ------------------------------------------------------------------------------------ */

/* Providers that do their work and spoil a count, that crash, and that never return. */
static int64_t spoil(struct zcrx_page_pool *pool, void *provider)
{
	pool->area->shared->freelist_overflows++;
	return zcrx_mp_ops.alloc_netmems(pool, provider);
}

static int64_t crash(struct zcrx_page_pool *pool, void *provider)
{
	(void)pool, (void)provider;
	abort();
}

static int64_t hang(struct zcrx_page_pool *pool, void *provider)
{
	(void)pool, (void)provider;
	while (misreading.alloc_netmems == hang)
		shm_pause();
	return -1;
}

static void a_trial_survives_what_the_program_does(void)
{
	static const struct {
		int64_t (*alloc)(struct zcrx_page_pool *pool, void *provider);
		enum fuzz_outcome outcome;
		enum fuzz_wrong what;
		int signal;
	} cases[] = {
		{spoil, FUZZ_FOUND, WRONG_FREELIST_OVERFLOWS, 0},
		{crash, FUZZ_CRASHED, WRONG_NOTHING, SIGABRT},
		{hang, FUZZ_HUNG, WRONG_NOTHING, SIGALRM},
	};
	struct fuzz_sandbox *sandbox = fuzz_sandbox_open(NULL, 1, -1);
	struct fuzz_program program = {
		.shape = {.num_niovs = 4, .rq_entries = 4, .ptr_ring_size = 4, .queues = 1},
		.count = 3,
		.ops = {{.kind = FUZZ_CHECK},
			{.kind = FUZZ_HEAD, .value = 7},
			{.kind = FUZZ_ALLOC, .count = 1}},
	};

	REQUIRE(sandbox != NULL);
	misreading = zcrx_mp_ops;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fuzz_trial trial;

		misreading.alloc_netmems = cases[i].alloc;
		fuzz_try(sandbox, &program, misdirect, &trial);
		CHECK_EQ(trial.outcome, cases[i].outcome);
		CHECK_EQ(trial.finding.what, cases[i].what);
		CHECK_EQ(trial.end.signal, cases[i].signal);
		CHECK_EQ(fuzz_trial_step(&trial), 2);
	}
	fuzz_sandbox_close(sandbox);
}

/* ---- programs of a folder ------------------------------------------------------------------------ */

static void run_folder(const char *folder)
{
	DIR *files = opendir(folder);
	struct dirent *entry;
	uint32_t count = 0;

	REQUIRE(files != NULL);
	while ((entry = readdir(files))) {
		uint8_t bytes[FUZZ_PROGRAM_BYTES];
		struct fuzz_program program;
		char path[4096];
		size_t size;
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		file = fopen(path, "rb");
		REQUIRE(file != NULL);
		size = fread(bytes, 1, sizeof(bytes), file);
		fclose(file);
		fuzz_decode(&program, bytes, size);
		check_codec(&program, 0);
		check_is_clean(&program, entry->d_name);
		count++;
	}
	closedir(files);
	CHECK(count > 0);
}

static void programs_that_were_worth_keeping_are_clean(void)
{
	run_folder(FUZZ_CORPUS);
}

CHECK_MAIN(CASE(any_bytes_are_a_program), CASE(nothing_is_a_program_too),
	   CASE(a_program_that_does_not_fit_is_not_cut), CASE(what_is_made_up_is_clean),
	   CASE(the_same_seed_makes_the_same), CASE(children_of_repetitions_mostly_repeat_nothing),
	   CASE(each_damage_is_seen), CASE(each_damage_is_seen_by_a_quick_run),
	   CASE(bad_readings_are_seen),
#ifndef HAS_ASAN
	   CASE(writing_behind_an_array_is_seen),
#endif
	   CASE(a_rewrite_is_judged_by_what_was_read), CASE(a_trial_survives_what_the_program_does),
	   CASE(programs_that_were_worth_keeping_are_clean))
