/*
 * CRC32C (Castagnoli) of bytes that follow one another: by the processor's
 * instruction where it has one, else by a table. One chain of instructions,
 * eight bytes each: what verifying costs without further art.
 */
#ifndef BENCH_CRC32C_H
#define BENCH_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CRC32C_POLYNOMIAL 0x82f63b78u	/* bits reversed */

#if defined(__x86_64__)
#define CRC32C_TARGET __attribute__((target("sse4.2")))
#define crc32c_of_8(crc, word) \
	((uint32_t)__builtin_ia32_crc32di((crc), (word)))
#define crc32c_of_1(crc, byte) __builtin_ia32_crc32qi((crc), (byte))

static inline bool crc32c_has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2");
}

#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

#if defined(__clang__)
#define CRC32C_TARGET __attribute__((target("crc")))
#define crc32c_of_8(crc, word) __builtin_arm_crc32cd((crc), (word))
#define crc32c_of_1(crc, byte) __builtin_arm_crc32cb((crc), (byte))
#else
#define CRC32C_TARGET __attribute__((target("+crc")))
#define crc32c_of_8(crc, word) __builtin_aarch64_crc32cx((crc), (word))
#define crc32c_of_1(crc, byte) __builtin_aarch64_crc32cb((crc), (byte))
#endif

static inline bool crc32c_has_instruction(void)
{
	return getauxval(AT_HWCAP) & HWCAP_CRC32;
}
#endif

/* Fills on first use; each process does so for itself, before its run. */
static inline uint32_t crc32c_by_table(uint32_t crc, const unsigned char *bytes,
				       size_t size)
{
	static uint32_t table[256];

	if (!table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t rest = i;

			for (int bit = 0; bit < 8; bit++)
				rest = rest >> 1 ^
				       (rest & 1 ? CRC32C_POLYNOMIAL : 0);
			table[i] = rest;
		}
	}
	for (size_t i = 0; i < size; i++)
		crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
	return crc;
}

#ifdef CRC32C_TARGET
CRC32C_TARGET static inline uint32_t
crc32c_by_instruction(uint32_t crc, const unsigned char *bytes, size_t size)
{
	uint64_t word;

	for (; size >= sizeof(word); size -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		crc = crc32c_of_8(crc, word);
		bytes += sizeof(word);
	}
	for (; size > 0; size--)
		crc = crc32c_of_1(crc, *bytes++);
	return crc;
}
#endif

/*
 * Goes on from crc, which starts as 0; the customary inversions cancel out
 * between one piece and the next.
 */
static inline uint32_t crc32c(uint32_t crc, const unsigned char *bytes,
			      size_t size)
{
#ifdef CRC32C_TARGET
	if (crc32c_has_instruction())
		return ~crc32c_by_instruction(~crc, bytes, size);
#endif
	return ~crc32c_by_table(~crc, bytes, size);
}

#endif
