/* SPDX-License-Identifier: MIT */
/* The calls that a compiler puts into code for a thread sanitizer, answered by the engine. */
#include "access.h"
#include "races.h"
#include "written.h"

#include <string.h>

/* Is it a word of ours, and an actor that touches it? */
static bool is_shared(const volatile void *address, uint32_t *offset)
{
	const struct sim_engine *engine = execution_of_actor();

	if (!engine)
		return false;
	*offset = execution_offset(engine, address);
	return *offset != NONE;
}

#define PLACE __builtin_return_address(0)
#define ACCESS(bits) ((struct access){offset, (bits) / 8, order, PLACE})

#define DEFINE_PLAIN(bytes)                                 \
	void __tsan_read##bytes(void *at);                  \
	void __tsan_write##bytes(void *at);                 \
	void __tsan_unaligned_read##bytes(void *at);        \
	void __tsan_unaligned_write##bytes(void *at);       \
	void __tsan_volatile_read##bytes(void *at);         \
	void __tsan_volatile_write##bytes(void *at);        \
	void __tsan_read##bytes(void *at)                   \
	{                                                   \
		races_check_plain(at, bytes, false, PLACE); \
	}                                                   \
	void __tsan_write##bytes(void *at)                  \
	{                                                   \
		races_check_plain(at, bytes, true, PLACE);  \
	}                                                   \
	void __tsan_unaligned_read##bytes(void *at)         \
	{                                                   \
		races_check_plain(at, bytes, false, PLACE); \
	}                                                   \
	void __tsan_unaligned_write##bytes(void *at)        \
	{                                                   \
		races_check_plain(at, bytes, true, PLACE);  \
	}                                                   \
	void __tsan_volatile_read##bytes(void *at)          \
	{                                                   \
		races_check_plain(at, bytes, false, PLACE); \
	}                                                   \
	void __tsan_volatile_write##bytes(void *at)         \
	{                                                   \
		races_check_plain(at, bytes, true, PLACE);  \
	}

DEFINE_PLAIN(1)
DEFINE_PLAIN(2)
DEFINE_PLAIN(4)
DEFINE_PLAIN(8)
DEFINE_PLAIN(16)

void __tsan_read_range(void *at, size_t size);
void __tsan_write_range(void *at, size_t size);
void *sim_memcpy(void *to, const void *from, size_t size);
void *sim_memmove(void *to, const void *from, size_t size);
void *sim_memset(void *to, int value, size_t size);
void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int value, size_t size);
void __tsan_init(void);
void __tsan_func_entry(void *place);
void __tsan_func_exit(void);
void __tsan_vptr_update(void **at, void *value);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_read_range(void *at, size_t size)
{
	races_check_plain(at, size, false, PLACE);
}

void __tsan_write_range(void *at, size_t size)
{
	races_check_plain(at, size, true, PLACE);
}

void *__tsan_memcpy(void *to, const void *from, size_t size)
{
	races_check_plain(from, size, false, PLACE);
	races_check_plain(to, size, true, PLACE);
	return memcpy(to, from, size);
}

void *__tsan_memmove(void *to, const void *from, size_t size)
{
	races_check_plain(from, size, false, PLACE);
	races_check_plain(to, size, true, PLACE);
	return memmove(to, from, size);
}

void *__tsan_memset(void *to, int value, size_t size)
{
	races_check_plain(to, size, true, PLACE);
	return memset(to, value, size);
}

/* GCC leaves these alone, so the build names them by hand. */
void *sim_memcpy(void *to, const void *from, size_t size)
{
	return __tsan_memcpy(to, from, size);
}

void *sim_memmove(void *to, const void *from, size_t size)
{
	return __tsan_memmove(to, from, size);
}

void *sim_memset(void *to, int value, size_t size)
{
	return __tsan_memset(to, value, size);
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *place)
{
	(void)place;
}

void __tsan_func_exit(void)
{
}

void __tsan_atomic_thread_fence(int order)
{
	if (execution_of_actor())
		access_fence(order, PLACE);
	else
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}

#define DEFINE_RMW(bits, name, rmw, builtin)                                                      \
	uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *at,                  \
						    uint##bits##_t value, int order);             \
	uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *at,                  \
						    uint##bits##_t value, int order)              \
	{                                                                                         \
		uint32_t offset;                                                                  \
		if (is_shared(at, &offset))                                                       \
			return (uint##bits##_t)access_rmw(ACCESS(bits), rmw, value, NULL, order); \
		written_note(at, bits / 8);                                                       \
		return builtin(at, value, __ATOMIC_SEQ_CST);                                      \
	}

#define DEFINE_ATOMIC(bits)                                                                      \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *at, int order); \
	void __tsan_atomic##bits##_store(volatile uint##bits##_t *at, uint##bits##_t value,      \
					 int order);                                             \
	int __tsan_atomic##bits##_compare_exchange_strong(                                       \
		volatile uint##bits##_t *at, uint##bits##_t *expected, uint##bits##_t value,     \
		int order, int failure_order);                                                   \
	int __tsan_atomic##bits##_compare_exchange_weak(                                         \
		volatile uint##bits##_t *at, uint##bits##_t *expected, uint##bits##_t value,     \
		int order, int failure_order);                                                   \
	uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                               \
		volatile uint##bits##_t *at, uint##bits##_t expected, uint##bits##_t value,      \
		int order, int failure_order);                                                   \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *at, int order)  \
	{                                                                                        \
		uint32_t offset;                                                                 \
		if (is_shared(at, &offset))                                                      \
			return (uint##bits##_t)access_load(ACCESS(bits));                        \
		return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                    \
	}                                                                                        \
	void __tsan_atomic##bits##_store(volatile uint##bits##_t *at, uint##bits##_t value,      \
					 int order)                                              \
	{                                                                                        \
		uint32_t offset;                                                                 \
		if (is_shared(at, &offset))                                                      \
			access_store(ACCESS(bits), value);                                       \
		else {                                                                           \
			written_note(at, bits / 8);                                              \
			__atomic_store_n(at, value, __ATOMIC_SEQ_CST);                           \
		}                                                                                \
	}                                                                                        \
	int __tsan_atomic##bits##_compare_exchange_strong(                                       \
		volatile uint##bits##_t *at, uint##bits##_t *expected, uint##bits##_t value,     \
		int order, int failure_order)                                                    \
	{                                                                                        \
		uint32_t offset;                                                                 \
		uint64_t wanted = *expected, now;                                                \
		if (!is_shared(at, &offset)) {                                                   \
			written_note(at, bits / 8);                                              \
			return __atomic_compare_exchange_n(at, expected, value, false,           \
							   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
		}                                                                                \
		now = access_rmw(ACCESS(bits), RMW_EXCHANGE, value, &wanted, failure_order);     \
		*expected = (uint##bits##_t)now;                                                 \
		return now == wanted;                                                            \
	}                                                                                        \
	int __tsan_atomic##bits##_compare_exchange_weak(                                         \
		volatile uint##bits##_t *at, uint##bits##_t *expected, uint##bits##_t value,     \
		int order, int failure_order)                                                    \
	{                                                                                        \
		return __tsan_atomic##bits##_compare_exchange_strong(at, expected, value, order, \
								     failure_order);             \
	}                                                                                        \
	uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                               \
		volatile uint##bits##_t *at, uint##bits##_t expected, uint##bits##_t value,      \
		int order, int failure_order)                                                    \
	{                                                                                        \
		__tsan_atomic##bits##_compare_exchange_strong(at, &expected, value, order,       \
							      failure_order);                    \
		return expected;                                                                 \
	}                                                                                        \
	DEFINE_RMW(bits, exchange, RMW_EXCHANGE, __atomic_exchange_n)                            \
	DEFINE_RMW(bits, fetch_add, RMW_ADD, __atomic_fetch_add)                                 \
	DEFINE_RMW(bits, fetch_sub, RMW_SUB, __atomic_fetch_sub)                                 \
	DEFINE_RMW(bits, fetch_and, RMW_AND, __atomic_fetch_and)                                 \
	DEFINE_RMW(bits, fetch_or, RMW_OR, __atomic_fetch_or)                                    \
	DEFINE_RMW(bits, fetch_xor, RMW_XOR, __atomic_fetch_xor)

DEFINE_ATOMIC(8)
DEFINE_ATOMIC(16)
DEFINE_ATOMIC(32)
DEFINE_ATOMIC(64)
