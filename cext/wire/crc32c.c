/* SPDX-License-Identifier: MIT */
/*
 * CRC32C with the processor's instruction where there is one.
 *
 * The instruction takes three cycles but a new one can start each cycle, so a
 * block is cut into three lanes that run side by side. Their results are
 * joined by multiplying with x^(8 * LANE) modulo the polynomial, which for a
 * fixed lane length is a look-up of four tables ("append LANE zero bytes").
 *
 * Where the processor multiplies without carries in vectors of 64 bytes, larger
 * blocks are folded: see fold().
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
#define CRC_KIND "armv8-crc"
#ifdef __clang__ /* it has other names for both, and up to 15 forgets a feature with a plus */
#define CRC_TARGET __attribute__((target("crc")))
#define crc_step8(crc, word) __builtin_arm_crc32cd((crc), (word))
#define crc_step1(crc, byte) __builtin_arm_crc32cb((crc), (byte))
#else
#define CRC_TARGET __attribute__((target("+crc")))
#define crc_step8(crc, word) __builtin_aarch64_crc32cx((crc), (word))
#define crc_step1(crc, byte) __builtin_aarch64_crc32cb((crc), (byte))
#endif
static int crc_supported(void)
{
	return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}
#endif

#if defined(__x86_64__)
#define HAS_FOLDING
#include <immintrin.h>

#define FOLD_TARGET __attribute__((target("sse4.2,avx512f,avx512vl,pclmul,vpclmulqdq")))
#define FOLD_KIND "avx512-vpclmulqdq"
#define FOLD_BYTES 64U /* a vector; four of them are folded side by side */
#define FOLD_MIN (4 * FOLD_BYTES)

static int fold_supported(void)
{
	return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vpclmulqdq");
}

/*
 * What 16 bytes are multiplied with to stand so many bytes further in front, a factor
 * for each half. Reflected like all else here, and the product of two reflected
 * numbers, one of them short by 32 bits, stands 33 bits too far to the front: so
 * x^(bits + 64 - 33) for the first 8 bytes, and x^(bits - 33) for those behind them.
 */
struct factors {
	uint64_t first, second;
};

static struct factors by_four_vectors, by_vector, by_lane;
static pthread_once_t factors_once = PTHREAD_ONCE_INIT;

/* x^power modulo the polynomial. */
static uint32_t power_of_x(uint32_t power)
{
	uint32_t value = 0x80000000U; /* 1, reflected */

	while (power--)
		value = (value >> 1) ^ (value & 1 ? POLYNOMIAL : 0);
	return value;
}

static struct factors factors_of(uint32_t bytes)
{
	return (struct factors){
		.first = power_of_x(8 * bytes + 64 - 33),
		.second = power_of_x(8 * bytes - 33),
	};
}

static void build_factors(void)
{
	by_four_vectors = factors_of(4 * FOLD_BYTES);
	by_vector = factors_of(FOLD_BYTES);
	by_lane = factors_of(16);
}

FOLD_TARGET static inline __m512i load_vector(const uint8_t *at)
{
	return _mm512_loadu_si512((const void *)at);
}

FOLD_TARGET static inline __m512i broadcast(struct factors factors)
{
	return _mm512_broadcast_i32x4(
		_mm_set_epi64x((long long)factors.second, (long long)factors.first));
}

/* `sum` moved to the front by what the factors are of, and what stands there added. */
FOLD_TARGET static inline __m512i move_and_add(__m512i sum, __m512i factors, __m512i there)
{
	/* 0x96: the exclusive or of all three */
	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, factors, 0x00),
					 _mm512_clmulepi64_epi128(sum, factors, 0x11), there, 0x96);
}

FOLD_TARGET static inline __m128i move_lane(__m128i sum, __m128i factors, __m128i there)
{
	return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(sum, factors, 0x00),
					   _mm_clmulepi64_si128(sum, factors, 0x11)),
			     there);
}

/*
 * All whole vectors of at least FOLD_MIN bytes. A CRC is the remainder of a division,
 * and that stays the same when the front of the message is replaced by what leaves
 * the same remainder further behind: so four vectors move through the message side by
 * side, until 16 bytes are left of it, for which there is the instruction.
 */
FOLD_TARGET static uint32_t fold(uint32_t crc, const uint8_t **data, size_t *size)
{
	const uint8_t *at = *data;
	size_t left = *size;
	__m512i sums[4], sum, factors;
	__m128i lane, lane_factors;

	pthread_once(&factors_once, build_factors);
	for (int i = 0; i < 4; i++)
		sums[i] = load_vector(at + i * FOLD_BYTES);
	sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
	at += FOLD_MIN;
	left -= FOLD_MIN;
	factors = broadcast(by_four_vectors);
	for (; left >= FOLD_MIN; left -= FOLD_MIN, at += FOLD_MIN) {
		for (int i = 0; i < 4; i++)
			sums[i] = move_and_add(sums[i], factors, load_vector(at + i * FOLD_BYTES));
	}
	factors = broadcast(by_vector);
	sum = sums[0];
	for (int i = 1; i < 4; i++)
		sum = move_and_add(sum, factors, sums[i]);
	for (; left >= FOLD_BYTES; left -= FOLD_BYTES, at += FOLD_BYTES)
		sum = move_and_add(sum, factors, load_vector(at));
	lane_factors = _mm_set_epi64x((long long)by_lane.second, (long long)by_lane.first);
	lane = _mm512_castsi512_si128(sum);
	lane = move_lane(lane, lane_factors, _mm512_extracti32x4_epi32(sum, 1));
	lane = move_lane(lane, lane_factors, _mm512_extracti32x4_epi32(sum, 2));
	lane = move_lane(lane, lane_factors, _mm512_extracti32x4_epi32(sum, 3));
	*data = at;
	*size = left;
	crc = crc_step8(0, (uint64_t)_mm_extract_epi64(lane, 0));
	return crc_step8(crc, (uint64_t)_mm_extract_epi64(lane, 1));
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

static uint32_t by_steps(uint32_t crc, const void *data, size_t size)
{
#ifdef CRC_TARGET
	if (crc_supported()) {
		if (size >= 3 * LANE)
			pthread_once(&tables_once, build_tables);
		return crc_hardware(crc, data, size);
	}
#endif
	return crc_portable(crc, data, size);
}

uint32_t zcrx_crc32c_stepped(const void *data, size_t size)
{
	return by_steps(0xffffffffU, data, size);
}

uint32_t zcrx_crc32c(const void *data, size_t size)
{
	return zcrx_crc32c_more(0, data, size);
}

uint32_t zcrx_crc32c_more(uint32_t crc, const void *data, size_t size)
{
	const uint8_t *at = data;

	crc = ~crc;
#ifdef HAS_FOLDING
	if (size >= FOLD_MIN && fold_supported())
		crc = fold(crc, &at, &size);
#endif
	return by_steps(crc, at, size);
}

const char *zcrx_crc32c_kind(void)
{
#ifdef HAS_FOLDING
	if (fold_supported())
		return FOLD_KIND;
#endif
#ifdef CRC_TARGET
	if (crc_supported())
		return CRC_KIND;
#endif
	return "portable";
}
