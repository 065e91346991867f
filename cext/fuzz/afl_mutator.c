/* SPDX-License-Identifier: MIT */
/* The same mutator as a library for AFL++ (AFL_CUSTOM_MUTATOR_LIBRARY). */
#include "mutate.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

struct mutator {
	struct zcrx_rng rng;
	uint32_t level; /* of the kernel, of every program */
	struct fuzz_program program, other, child;
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
};

void *afl_custom_init(void *afl, unsigned int seed);
void afl_custom_deinit(void *data);
size_t afl_custom_fuzz(void *data, uint8_t *bytes, size_t size, uint8_t **out, uint8_t *added,
		       size_t added_size, size_t max_size);

/*
 * We live in afl-fuzz, which is to die with the campaign that started it; the
 * harness ends when nobody asks it for anything any more.
 */
void *afl_custom_init(void *afl, unsigned int seed)
{
	const char *parent = getenv("ZCRX_FUZZ_AFL_PARENT");
	struct mutator *mutator = calloc(1, sizeof(*mutator));

	(void)afl;
	if (parent) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != (pid_t)strtol(parent, NULL, 10))
			exit(2);
	}
	if (mutator)
		mutator->rng = zcrx_rng_for(seed, 3), mutator->level = fuzz_level_asked();
	return mutator;
}

void afl_custom_deinit(void *data)
{
	free(data);
}

size_t afl_custom_fuzz(void *data, uint8_t *bytes, size_t size, uint8_t **out, uint8_t *added,
		       size_t added_size, size_t max_size)
{
	struct mutator *mutator = data;
	struct fuzz_program *result = &mutator->program;
	size_t max = max_size < sizeof(mutator->bytes) ? max_size : sizeof(mutator->bytes);

	fuzz_decode(&mutator->program, bytes, size);
	if (added && added_size && zcrx_rng_below(&mutator->rng, 4) == 0) {
		fuzz_decode(&mutator->other, added, added_size);
		fuzz_cross(&mutator->child, &mutator->program, &mutator->other, &mutator->rng);
		result = &mutator->child;
	} else if (mutator->program.count == 0 || zcrx_rng_below(&mutator->rng, 64) == 0) {
		fuzz_generate(result, 1 + zcrx_rng_below(&mutator->rng, 32), &mutator->rng);
	} else {
		fuzz_mutate(result, &mutator->rng);
	}
	fuzz_set_level(result, mutator->level);
	*out = mutator->bytes;
	return fuzz_encode(result, mutator->bytes, max);
}
