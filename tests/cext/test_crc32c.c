/* SPDX-License-Identifier: MIT */
/* CRC32C against published values, and the instruction against the tables. */
#include "check.h"
#include "wire/crc32c.h"
#include "wire/rng.h"
#include "threads.h"

/* The check value of the catalogue, and the examples of RFC 3720, B.4. */
static void check_vector(const uint8_t *bytes, size_t size, uint32_t crc)
{
	CHECK_EQ(zcrx_crc32c(bytes, size), crc);
	CHECK_EQ(zcrx_crc32c_stepped(bytes, size), crc);
	CHECK_EQ(zcrx_crc32c_portable(bytes, size), crc);
}

static void published_values_come_out(void)
{
	uint8_t bytes[32];

	check_vector((const uint8_t *)"123456789", 9, 0xe3069283);
	check_vector((const uint8_t *)"", 0, 0);
	check_vector((const uint8_t *)"a", 1, 0xc1d04330);
	memset(bytes, 0, sizeof(bytes));
	check_vector(bytes, sizeof(bytes), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	check_vector(bytes, sizeof(bytes), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	check_vector(bytes, sizeof(bytes), 0x46dd794e);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = 31 - i;
	check_vector(bytes, sizeof(bytes), 0x113fdb5c);
}

static void an_iscsi_read_command_comes_out(void)
{
	const uint8_t command[48] = {
		[0] = 0x01,  [1] = 0xc0,  [16] = 0x14, [22] = 0x04,
		[27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
	};

	check_vector(command, sizeof(command), 0xd9963a56);
}

/* Bit by bit, as the definition has it. */
static uint32_t by_definition(const uint8_t *bytes, size_t size)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

#define SIZE_MAX_TESTED 5000U

static uint8_t *random_bytes(size_t size)
{
	struct zcrx_rng rng = zcrx_rng_for(1, size);
	uint8_t *bytes = malloc(size);

	REQUIRE(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)zcrx_rng_next(&rng);
	return bytes;
}

static void every_size_agrees_with_the_definition(void)
{
	uint8_t *bytes = random_bytes(SIZE_MAX_TESTED);

	for (size_t size = 0; size <= SIZE_MAX_TESTED; size += size < 1200 ? 1 : 37)
		CHECK_EQ(zcrx_crc32c_portable(bytes, size), by_definition(bytes, size));
	free(bytes);
}

static void the_instruction_agrees_with_the_tables_at_every_size(void)
{
	uint8_t *bytes = random_bytes(SIZE_MAX_TESTED);

	for (size_t size = 0; size <= SIZE_MAX_TESTED; size++) {
		uint32_t crc = zcrx_crc32c_portable(bytes, size);

		CHECK_EQ(zcrx_crc32c(bytes, size), crc);
		CHECK_EQ(zcrx_crc32c_stepped(bytes, size), crc);
	}
	free(bytes);
}

static void a_sum_goes_on_from_wherever_it_stood(void)
{
	uint8_t *bytes = random_bytes(SIZE_MAX_TESTED);
	uint32_t crc = zcrx_crc32c_portable(bytes, SIZE_MAX_TESTED);

	for (size_t cut = 0; cut <= SIZE_MAX_TESTED; cut += 13)
		CHECK_EQ(zcrx_crc32c_more(zcrx_crc32c(bytes, cut), bytes + cut,
					  SIZE_MAX_TESTED - cut),
			 crc);
	free(bytes);
}

static void the_instruction_agrees_with_the_tables_at_every_offset(void)
{
	const size_t sizes[] = {1, 7, 8, 63, 64, 335, 336, 1007, 1008, 1009, 1448, 2016, 4096};
	uint8_t *bytes = random_bytes(SIZE_MAX_TESTED);

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		for (size_t offset = 0; offset < 64; offset++)
			CHECK_EQ(zcrx_crc32c(bytes + offset, sizes[i]),
				 zcrx_crc32c_portable(bytes + offset, sizes[i]));
	}
	free(bytes);
}

static void one_flipped_bit_changes_the_sum(void)
{
	uint8_t *bytes = random_bytes(4096);
	uint32_t crc = zcrx_crc32c(bytes, 4096);

	for (uint32_t bit = 0; bit < 8 * 4096; bit += 61) {
		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
		CHECK(zcrx_crc32c(bytes, 4096) != crc);
		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	CHECK_EQ(zcrx_crc32c(bytes, 4096), crc);
	free(bytes);
}

static void the_kind_is_one_that_is_documented(void)
{
	const char *kind = zcrx_crc32c_kind();

	CHECK(!strcmp(kind, "avx512-vpclmulqdq") || !strcmp(kind, "sse4.2") ||
	      !strcmp(kind, "armv8-crc") || !strcmp(kind, "portable"));
}

static void *sum(void *context)
{
	uint8_t zeros[2048] = {0};
	uint32_t *crc = context;

	CHECK_EQ(zcrx_crc32c(zeros, sizeof(zeros)), *crc);
	CHECK_EQ(zcrx_crc32c_portable(zeros, sizeof(zeros)), *crc);
	return NULL;
}

/* The tables are built at the first use, which may be anybody's: hence the first test here. */
static void the_first_use_may_come_from_two_threads(void)
{
	uint8_t zeros[2048] = {0};
	uint32_t crc = by_definition(zeros, sizeof(zeros));

	run_both(sum, sum, &crc);
}

CHECK_MAIN(CASE(the_first_use_may_come_from_two_threads), CASE(published_values_come_out),
	   CASE(an_iscsi_read_command_comes_out), CASE(every_size_agrees_with_the_definition),
	   CASE(the_instruction_agrees_with_the_tables_at_every_size),
	   CASE(the_instruction_agrees_with_the_tables_at_every_offset),
	   CASE(a_sum_goes_on_from_wherever_it_stood), CASE(one_flipped_bit_changes_the_sum),
	   CASE(the_kind_is_one_that_is_documented))
