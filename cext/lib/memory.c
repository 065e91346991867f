/* SPDX-License-Identifier: MIT */
/*
 * Structs are copied by the kernel's own call for the memory of another process: it knows
 * an address that is not mapped, and we are spared a signal handler. Where a sandbox
 * forbids the call, what else there is does, and a wrong pointer is the caller's fault.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "memory.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static int copied(ssize_t count, size_t size)
{
	return count == (ssize_t)size ? 0 : -EFAULT;
}

static void *at(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

static int own_read(void *context, void *to, uint64_t from, size_t size)
{
	struct iovec ours = {to, size}, theirs = {at(from), size};
	ssize_t count = process_vm_readv(getpid(), &ours, 1, &theirs, 1, 0);

	(void)context;
	if (count >= 0 || errno == EFAULT || from == 0)
		return copied(count, size);
	memcpy(to, at(from), size);
	return 0;
}

static int own_write(void *context, uint64_t to, const void *from, size_t size)
{
	struct iovec ours = {(void *)(uintptr_t)from, size}, theirs = {at(to), size};
	ssize_t count = process_vm_writev(getpid(), &ours, 1, &theirs, 1, 0);

	(void)context;
	if (count >= 0 || errno == EFAULT || to == 0)
		return copied(count, size);
	memcpy(at(to), from, size);
	return 0;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* Not the library's own, of 4096 bytes: on arm64 this machine's may have 16 or 64 KiB. */
static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Does this kernel know the advice? It says the same of what it does not know and of what it cannot do. */
static bool can_populate(void)
{
	char here;
	uint64_t page = page_size(), start = (uint64_t)(uintptr_t)&here / page * page;

	return madvise(at(start), page, MADV_POPULATE_WRITE) == 0;
}

static int check_mapped(uint64_t address, uint64_t size)
{
	unsigned char present[1024];
	uint64_t most = sizeof(present) * page_size();

	while (size > 0) {
		uint64_t now = size < most ? size : most;

		if (mincore(at(address), now, present) && errno == ENOMEM)
			return -EFAULT;
		address += now;
		size -= now;
	}
	return 0;
}

/* As pinning does: every page is there afterwards, and may be written. */
static int own_pin(void *context, uint64_t address, uint64_t size)
{
	uint64_t within = address % page_size();

	(void)context;
	address -= within;
	size += within;
	if (madvise(at(address), size, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno != EINVAL || can_populate())
		return -EFAULT;
	return check_mapped(address, size);
}

static void *own_map(void *context, uint64_t address, uint64_t size)
{
	(void)context;
	(void)size;
	return at(address);
}

const struct zcrx_emu_memory zcrx_lib_own_memory = {
	.read = own_read,
	.write = own_write,
	.pin = own_pin,
	.map = own_map,
};
