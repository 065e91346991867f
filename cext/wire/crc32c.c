/* SPDX-License-Identifier: MIT */
/*
 * CRC32C with the processor's instruction where there is one.
 *
 * The instruction takes three cycles but a new one can start each cycle, so a
 * block is cut into three lanes that run side by side. Their results are
 * joined by multiplying with x^(8 * LANE) modulo the polynomial, which for a
 * fixed lane length is a look-up of four tables ("append LANE zero bytes").
 */
#include "crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78U /* reflected */
#define LANE 336U /* 3 * 336 = 1008: four rounds a page, one and a rest an MSS */

static uint32_t byte_table[8][256];
static uint32_t shift_table[2][4][256]; /* [0]: append LANE zeros, [1]: append 2 * LANE */
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static uint32_t append_zeros(uint32_t crc, uint32_t count)
{
	while (count--)
		crc = (crc >> 8) ^ byte_table[0][crc & 0xff];
	return crc;
}

static void build_tables(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;

		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
		byte_table[0][byte] = crc;
	}
	for (uint32_t byte = 0; byte < 256; byte++) {
		for (int row = 1; row < 8; row++)
			byte_table[row][byte] = append_zeros(byte_table[row - 1][byte], 1);
		for (int pos = 0; pos < 4; pos++) {
			uint32_t once = append_zeros(byte << (8 * pos), LANE);

			shift_table[0][pos][byte] = once;
			shift_table[1][pos][byte] = append_zeros(once, LANE);
		}
	}
}

static inline uint64_t load64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint32_t crc_portable(uint32_t crc, const uint8_t *at, size_t size)
{

	pthread_once(&tables_once, build_tables);
	for (; size >= 8; size -= 8, at += 8) {
		uint64_t word = load64(at) ^ crc;

		crc = 0;
		for (int row = 0; row < 8; row++)
			crc ^= byte_table[7 - row][(word >> (8 * row)) & 0xff];
	}
	while (size--)
		crc = (crc >> 8) ^ byte_table[0][(crc ^ *at++) & 0xff];
	return ~crc;
}

uint32_t zcrx_crc32c_portable(const void *data, size_t size)
{
	return crc_portable(0xffffffffU, data, size);
}

#if defined(__x86_64__)
#define CRC_TARGET __attribute__((target("sse4.2")))
#define CRC_KIND "sse4.2"
#define crc_step8(crc, word) ((uint32_t)__builtin_ia32_crc32di((crc), (word)))
#define crc_step1(crc, byte) __builtin_ia32_crc32qi((crc), (byte))
static int crc_supported(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#define CRC_TARGET __attribute__((target("+crc")))
#define CRC_KIND "armv8-crc"
#define crc_step8(crc, word) __builtin_aarch64_crc32cx((crc), (word))
#define crc_step1(crc, byte) __builtin_aarch64_crc32cb((crc), (byte))
static int crc_supported(void)
{
	return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}
#endif

#ifdef CRC_TARGET
static inline uint32_t shift_lane(uint32_t crc, int lanes)
{
	const uint32_t (*table)[256] = (const uint32_t (*)[256])shift_table[lanes - 1];

	return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^
	       table[3][crc >> 24];
}

CRC_TARGET static uint32_t crc_hardware(uint32_t crc, const uint8_t *at, size_t size)
{
	for (; size >= 3 * LANE; size -= 3 * LANE, at += 3 * LANE) {
		uint32_t second = 0, third = 0;

		for (size_t pos = 0; pos < LANE; pos += 8) {
			crc = crc_step8(crc, load64(at + pos));
			second = crc_step8(second, load64(at + LANE + pos));
			third = crc_step8(third, load64(at + 2 * LANE + pos));
		}
		crc = shift_lane(crc, 2) ^ shift_lane(second, 1) ^ third;
	}
	for (; size >= 8; size -= 8, at += 8)
		crc = crc_step8(crc, load64(at));
	while (size--)
		crc = crc_step1(crc, *at++);
	return ~crc;
}
#endif

uint32_t zcrx_crc32c(const void *data, size_t size)
{
	return zcrx_crc32c_more(0, data, size);
}

uint32_t zcrx_crc32c_more(uint32_t crc, const void *data, size_t size)
{
#ifdef CRC_TARGET
	if (crc_supported()) {
		if (size >= 3 * LANE)
			pthread_once(&tables_once, build_tables);
		return crc_hardware(~crc, data, size);
	}
#endif
	return crc_portable(~crc, data, size);
}

const char *zcrx_crc32c_kind(void)
{
#ifdef CRC_TARGET
	if (crc_supported())
		return CRC_KIND;
#endif
	return "portable";
}
