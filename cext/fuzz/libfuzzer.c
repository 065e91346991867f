/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer's entry points, and AFL++'s by its driver. Both change programs by
 * our mutator: changes of bytes would mostly move the borders of operations.
 */
#include "mutate.h"
#include "ondemand/usage.h"
#include "reporter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A target that is started by others (oss-fuzz/) is told nothing by its environment. What it does
 * then may be settled where it is compiled: a level, and a provider's library beside the target.
 */
#ifndef FUZZ_LEVEL
#define FUZZ_LEVEL ZCRX_LEVEL_SEED
#endif

static struct fuzz_reporter reporter;
static uint32_t level; /* of the kernel, of every program */
static bool tells_all; /* the engine asks what each program reaches */
static uint32_t operations; /* of every program, to compare speeds; 0 = as it comes */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
				 size_t size2, uint8_t *out, size_t max_size, unsigned int seed);

#ifdef FUZZ_PROVIDER
static void find_provider(void)
{
	char path[4096];
	ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - sizeof(FUZZ_PROVIDER));
	char *end;

	if (size <= 0)
		wrong_use("provider", FUZZ_PROVIDER, "there is no /proc to find it by");
	path[size] = '\0';
	end = strrchr(path, '/');
	strcpy(end ? end + 1 : path, FUZZ_PROVIDER);
	setenv("ZCRX_FUZZ_PROVIDER", path, 0);
}
#endif

static bool is_to_tell_all(int count, char **arguments)
{
	for (int i = 1; i < count; i++)
		if (strncmp(arguments[i], "-merge", strlen("-merge")) == 0)
			return true;
	return false;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *wanted = getenv("ZCRX_FUZZ_OPERATIONS");

	tells_all = is_to_tell_all(*argc, *argv);
#ifdef FUZZ_PROVIDER
	find_provider();
#endif
	sink_open(&reporter);
	level = getenv("ZCRX_FUZZ_KERNEL") ? fuzz_level_asked() : FUZZ_LEVEL;
	operations = wanted ? (uint32_t)strtoul(wanted, NULL, 10) % (FUZZ_OPS_MAX + 1) : 0;
	return 0;
}

/* ---- the last program ---------------------------------------------------------------- */

/*
 * The engine hands over bytes. As a rule they are those that it was given last, to be run, and
 * then to be changed once more: nothing has to be read.
 */
static struct fuzz_program programs[2];
static struct fuzz_program *last = &programs[0];
static uint8_t last_bytes[FUZZ_PROGRAM_BYTES];
static size_t last_size; /* 0 = there is none */

static void remember(const uint8_t *data, size_t size)
{
	last_size = size <= sizeof(last_bytes) ? size : 0;
	if (last_size)
		memcpy(last_bytes, data, last_size);
}

static struct fuzz_program *read_in(const uint8_t *data, size_t size)
{
	if (last_size == 0 || size != last_size || memcmp(data, last_bytes, size) != 0) {
		fuzz_decode(last, data, size);
		remember(data, size);
	}
	return last;
}

/* ---- what the engine is told -------------------------------------------------------- */

/* libFuzzer's counters of the subject's branches; another engine has its own. */
extern uint8_t __start___sancov_cntrs[] __attribute__((weak));
extern uint8_t __stop___sancov_cntrs[] __attribute__((weak));

#define COUNTERS_MAX 4096U
#define TELL_EVERY 512U

/* As many counters at once as have room in a register of any x86-64. */
typedef uint8_t lanes __attribute__((vector_size(16)));

static lanes better(lanes which, lanes has, uint8_t bit)
{
	return (which & ~has) | (has & bit);
}

/* The greatest of these numbers of passes that each counter has reached, as one bit. */
static lanes reached(lanes now)
{
	lanes which = (lanes)(now >= 1) & 1;

	which = better(which, (lanes)(now >= 2), 2);
	which = better(which, (lanes)(now >= 3), 4);
	which = better(which, (lanes)(now >= 4), 8);
	which = better(which, (lanes)(now >= 8), 16);
	which = better(which, (lanes)(now >= 16), 32);
	which = better(which, (lanes)(now >= 32), 64);
	return better(which, (lanes)(now >= 128), 128);
}

static bool is_zero(lanes which)
{
	uint64_t halves[2];

	memcpy(halves, &which, sizeof(halves));
	return (halves[0] | halves[1]) == 0;
}

/* Up to which number of passes all that are told apart have been shown. */
static lanes reached_by(lanes shown)
{
	static const uint8_t last[8] = {1, 2, 3, 7, 15, 31, 127, 255};
	lanes all = {0};

	for (size_t i = 0; i < sizeof(lanes); i++) {
		uint32_t first_missing = (uint32_t)__builtin_ctz(~(uint32_t)shown[i]);

		all[i] = first_missing ? last[first_missing - 1] : 0;
	}
	return all;
}

/*
 * These are the numbers that the engine tells apart. True if there is one that no program
 * has shown yet. As a rule no counter is beyond those numbers that have all been shown, and
 * then that is all that is looked at.
 */
static bool is_anything_new(const uint8_t *counters, size_t count)
{
	static lanes shown[COUNTERS_MAX / sizeof(lanes)];
	static lanes known[COUNTERS_MAX / sizeof(lanes)];
	bool is_any = false;

	for (size_t i = 0; i * sizeof(lanes) < count; i++) {
		size_t left = count - i * sizeof(lanes);
		lanes now = {0}, which;

		if (left >= sizeof(lanes))
			memcpy(&now, counters + i * sizeof(lanes), sizeof(lanes));
		else
			memcpy(&now, counters + i * sizeof(lanes), left);
		if (is_zero((lanes)(now > known[i])))
			continue;
		which = reached(now);
		if (is_zero(which & ~shown[i]))
			continue;
		shown[i] |= which;
		known[i] = reached_by(shown[i]);
		is_any = true;
	}
	return is_any;
}

/*
 * Most programs show nothing new, and then the engine takes as long to find that out as the
 * program took. Now and then it is told all the same: so it learns what is rare, and which
 * programs are shorter than those that it has.
 */
static void tell_engine(void)
{
	static uint32_t untold;
	size_t count = (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs);

	if (count == 0 || count > COUNTERS_MAX)
		return;
	if (is_anything_new(__start___sancov_cntrs, count) || ++untold == TELL_EVERY)
		untold = 0;
	else
		memset(__start___sancov_cntrs, 0, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	sink_run(&reporter, read_in(data, size), data, size);
	if (!reporter.runner.ops && !tells_all)
		tell_engine();
	return 0;
}

/* Cut it, or repeat it until it is long enough. */
static void bring_to_length(struct fuzz_program *program)
{
	uint32_t count = program->count;

	for (uint32_t i = count; count && i < operations; i++)
		program->ops[i] = program->ops[i - count];
	program->count = count ? operations : 0;
}

/* What does not fit any more loses its last operations. */
static size_t write_out(struct fuzz_program *program, uint8_t *to, size_t max_size)
{
	size_t size;

	fuzz_set_level(program, level);
	if (operations)
		bring_to_length(program);
	size = fuzz_encode(program, to, max_size);

	while (size == 0 && program->count > 0) {
		program->count /= 2;
		size = fuzz_encode(program, to, max_size);
	}
	last = program;
	remember(to, size);
	return size;
}

#define ANEW_EVERY 4U /* of those that are no child of two, which is about every other one */

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	struct fuzz_program *program = read_in(data, size);
	struct zcrx_rng rng = zcrx_rng_for(seed, 1);

	/* From nothing, and often anew: no corpus leads everywhere. */
	if (program->count == 0 || zcrx_rng_below(&rng, ANEW_EVERY) == 0)
		fuzz_generate(program, 1 + zcrx_rng_below(&rng, 32), &rng);
	else
		fuzz_mutate(program, &rng);
	return write_out(program, data, max_size);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
				 size_t size2, uint8_t *out, size_t max_size, unsigned int seed)
{
	static struct fuzz_program second;
	const struct fuzz_program *first = read_in(data1, size1);
	struct fuzz_program *child = &programs[first == &programs[0]];
	struct zcrx_rng rng = zcrx_rng_for(seed, 2);

	fuzz_decode(&second, data2, size2);
	fuzz_cross(child, first, &second, &rng);
	return write_out(child, out, max_size);
}
