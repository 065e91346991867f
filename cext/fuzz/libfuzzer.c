/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer's entry points, and AFL++'s by its driver. Both change programs by
 * our mutator: changes of bytes would mostly move the borders of operations.
 */
#include "mutate.h"
#include "sink.h"

#include <stdlib.h>

static struct fuzz_sink sink;
static uint32_t operations; /* of every program, to compare speeds; 0 = as it comes */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
				 size_t size2, uint8_t *out, size_t max_size, unsigned int seed);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *wanted = getenv("ZCRX_FUZZ_OPERATIONS");

	(void)argc, (void)argv;
	sink_open(&sink);
	operations = wanted ? (uint32_t)strtoul(wanted, NULL, 10) % (FUZZ_OPS_MAX + 1) : 0;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	sink_run(&sink, data, size);
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

	if (operations)
		bring_to_length(program);
	size = fuzz_encode(program, to, max_size);

	while (size == 0 && program->count > 0) {
		program->count /= 2;
		size = fuzz_encode(program, to, max_size);
	}
	return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	static struct fuzz_program program;
	struct zcrx_rng rng = zcrx_rng_for(seed, 1);

	fuzz_decode(&program, data, size);
	/* From nothing, and now and then anew: no corpus leads everywhere. */
	if (program.count == 0 || zcrx_rng_below(&rng, 64) == 0)
		fuzz_generate(&program, 1 + zcrx_rng_below(&rng, 32), &rng);
	else
		fuzz_mutate(&program, &rng);
	return write_out(&program, data, max_size);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
				 size_t size2, uint8_t *out, size_t max_size, unsigned int seed)
{
	static struct fuzz_program first, second, child;
	struct zcrx_rng rng = zcrx_rng_for(seed, 2);

	fuzz_decode(&first, data1, size1);
	fuzz_decode(&second, data2, size2);
	fuzz_cross(&child, &first, &second, &rng);
	return write_out(&child, out, max_size);
}
