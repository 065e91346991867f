/* SPDX-License-Identifier: MIT */
/*
 * Whatever stands in structs and rings: an answer, never a crash, and nothing of a refused
 * registration. Meant for a sanitized build as well.
 */
#include "lib_program.h"
#include "wire/rng.h"

static struct program program;

/* Numbers at which something ends, and any. */
static uint64_t odd_number(struct zcrx_rng *rng)
{
	static const uint64_t numbers[] = {
		0,     1,	   2,	       3,	   4,
		7,     8,	   63,	       64,	   4095,
		4096,  8192,	   32768,      32769,	   UINT32_MAX,
		65536, 1ULL << 30, 1ULL << 44, 1ULL << 48, UINT64_MAX,
		12288, 1ULL << 31, 1ULL << 32, 1ULL << 63, UINT64_MAX - 4095};

	return zcrx_rng_below(rng, 8) ? numbers[zcrx_rng_below(rng, COUNT_OF(numbers))] :
					zcrx_rng_next(rng);
}

/* Some words of a struct are odd. Addresses of memory that is there stay as they are. */
static void scribble(struct zcrx_rng *rng, void *from, size_t size, bool (*is_spared)(size_t at))
{
	uint32_t *words = from;

	for (uint32_t times = zcrx_rng_below(rng, 3); times; times--) {
		size_t at = zcrx_rng_below(rng, (uint32_t)(size / sizeof(*words)));

		if (!is_spared(at * sizeof(*words)))
			words[at] = (uint32_t)odd_number(rng);
	}
}

static bool spared_of_reg(size_t at)
{
	return at >= 16 && at < 32;
}

static bool spared_of_first(size_t at)
{
	return at < 8;
}

static void any_struct_is_answered(const char *level)
{
	struct zcrx_rng rng = zcrx_rng_for(1, 2);
	uint32_t accepted = 0, refused = 0;

	for (uint32_t round = 0; round < CHECK_REPEAT(4000); round++) {
		struct io_uring_zcrx_ifq_reg before;
		int error;

		program_init(&program, level, 8, 16);
		program.options.ring_flags = zcrx_rng_below(&rng, 8) ? 0 :
								       (uint32_t)odd_number(&rng);
		program_create(&program);
		scribble(&rng, &program.reg, sizeof(program.reg), spared_of_reg);
		scribble(&rng, &program.region_reg, sizeof(program.region_reg), spared_of_first);
		scribble(&rng, &program.area_reg, sizeof(program.area_reg), spared_of_first);
		before = program.reg;
		error = zcrx_emu_register_ifq(program.emu, &program.reg);
		if (error) {
			refused++;
			CHECK(error < 0 && zcrx_emu_why(program.emu)[0]);
			CHECK_BYTES(&program.reg, &before, sizeof(before));
		} else {
			accepted++;
		}
		program_end(&program);
	}
	CHECK(accepted > 0 && refused > accepted);
}

static void any_ring_is_survived(const char *level)
{
	static const uint8_t bytes[4 * PAGE];

	for (uint64_t seed = 0; seed < 20; seed++) {
		struct zcrx_rng rng = zcrx_rng_for(seed, 3);

		program_start(&program, level, 1 + zcrx_rng_below(&rng, 20),
			      1U << zcrx_rng_below(&rng, 6));
		arm(&program, 1);
		for (uint32_t step = 0; step < CHECK_REPEAT(2000); step++) {
			struct zcrx_emu_shape shape = {
				.fragment_max = 1 + zcrx_rng_below(&rng, PAGE),
				.per_buffer = zcrx_rng_below(&rng, 5),
				.copy_percent = zcrx_rng_below(&rng, 50),
			};
			struct zcrx_emu_cqe cqe;

			switch (zcrx_rng_below(&rng, 8)) {
			case 0:
				*program.tail = (uint32_t)odd_number(&rng);
				break;
			case 1:
				*program.tail += zcrx_rng_below(&rng, 70);
				break;
			case 2:
				program.cq_head = zcrx_rng_below(&rng, 20) ?
							  program.cq_tail :
							  (uint32_t)odd_number(&rng);
				break;
			case 3:
				memset(program.region + zcrx_rng_below(&rng, PAGE - 8),
				       (int)zcrx_rng_below(&rng, 3), 8);
				break;
			case 4:
				if (next_cqe(&program, &cqe)) {
					give_back(&program, &cqe);
					give_back(&program, &cqe);
				}
				break;
			case 5:
				put_rqe(&program, odd_number(&rng), (uint32_t)odd_number(&rng),
					zcrx_rng_below(&rng, 9) == 0);
				break;
			case 6:
				arm(&program, 1);
				break;
			default:
				CHECK(zcrx_emu_deliver(program.emu, 0, 1, bytes,
						       1 + zcrx_rng_below(&rng, sizeof(bytes)),
						       &shape) >= 0);
				zcrx_emu_step(program.emu);
			}
			if (zcrx_rng_below(&rng, 20) == 0)
				zcrx_emu_drain(program.emu, 0);
			if (zcrx_rng_below(&rng, 200) == 0)
				zcrx_emu_close(program.emu, 1);
		}
		CHECK(zcrx_emu_finish(program.emu) > 0);
		program_end(&program);
	}
}

AT_EACH_LEVEL(any_struct_is_answered)
AT_EACH_LEVEL(any_ring_is_survived)

CHECK_MAIN(LEVELS(any_struct_is_answered), LEVELS(any_ring_is_survived))
