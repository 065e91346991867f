/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096U
#define REGIONS_AT 0x30000000U
#define REGIONS_END IORING_OFF_PBUF_RING
#define GROUP_SIZE_MAX 0x80000U
/* Sparse: what nobody touches is not there. */
#define FILE_SIZE (IORING_OFF_PBUF_RING + (UINT16_MAX * 0x10000LL) + GROUP_SIZE_MAX)

/* Words of different writers lie on cache lines of their own. */
enum {
	SQ_HEAD = 0,
	SQ_TAIL = 64,
	CQ_HEAD = 128,
	CQ_TAIL = 192,
	SQ_MASK = 256,
	CQ_MASK = 260,
	SQ_ENTRIES = 264,
	CQ_ENTRIES = 268,
	SQ_DROPPED = 272,
	SQ_FLAGS = 276,
	CQ_FLAGS = 280,
	CQ_OVERFLOW = 284,
	CQES = 320,
};

static size_t up(size_t size)
{
	return (size + PAGE - 1) / PAGE * PAGE;
}

static void lay_out(struct file *file, struct io_uring_params *params)
{
	uint32_t cqe_size = params->flags & IORING_SETUP_CQE32 ? 32 : 16;
	uint32_t array = CQES + params->cq_entries * cqe_size;

	params->sq_off = (struct io_sqring_offsets){
		.head = SQ_HEAD,
		.tail = SQ_TAIL,
		.ring_mask = SQ_MASK,
		.ring_entries = SQ_ENTRIES,
		.flags = SQ_FLAGS,
		.dropped = SQ_DROPPED,
		.array = params->flags & IORING_SETUP_NO_SQARRAY ? 0 : array,
	};
	params->cq_off = (struct io_cqring_offsets){
		.head = CQ_HEAD,
		.tail = CQ_TAIL,
		.ring_mask = CQ_MASK,
		.ring_entries = CQ_ENTRIES,
		.overflow = CQ_OVERFLOW,
		.cqes = CQES,
		.flags = CQ_FLAGS,
	};
	file->rings_size = up(array + params->sq_entries * sizeof(uint32_t));
	file->sqes_size = up(params->sq_entries * sizeof(struct io_uring_sqe));
	file->next_region = REGIONS_AT;
}

static void *map(const struct file *file, size_t size, uint64_t offset)
{
	void *mapped =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, (off_t)offset);

	return mapped == MAP_FAILED ? NULL : mapped;
}

/* Opened a second time, since our mappings keep the description open that they were made with. */
static int open_again(const struct file *file)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int open_file(struct file *file)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct stat status;

	file->fd = memfd_create("io_uring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file->fd < 0 || ftruncate(file->fd, FILE_SIZE) || fcntl(file->fd, F_ADD_SEALS, seals) ||
	    fstat(file->fd, &status))
		return -errno;
	file->device = status.st_dev;
	file->inode = status.st_ino;
	file->given = open_again(file);
	return file->given < 0 ? -errno : 0;
}

/* Of the completion queue at its other place, too: they are read before anything is asked for. */
static bool write_constants(const struct file *file, const struct io_uring_params *params)
{
	uint32_t *words = (uint32_t *)(void *)file->rings;

	words[SQ_MASK / sizeof(*words)] = params->sq_entries - 1;
	words[CQ_MASK / sizeof(*words)] = params->cq_entries - 1;
	words[SQ_ENTRIES / sizeof(*words)] = params->sq_entries;
	words[CQ_ENTRIES / sizeof(*words)] = params->cq_entries;
	return pwrite(file->fd, words, CQES, IORING_OFF_CQ_RING) == CQES;
}

int file_create(struct file *file, struct io_uring_params *params)
{
	int error;

	*file = (struct file){.fd = -1, .given = -1};
	error = open_file(file);
	if (!error) {
		lay_out(file, params);
		file->rings = map(file, file->rings_size, 0);
		file->sqes = map(file, file->sqes_size, IORING_OFF_SQES);
		file->cq = file->rings;
		if (!file->rings || !file->sqes || !write_constants(file, params))
			error = -ENOMEM;
	}
	if (error)
		file_close(file);
	return error;
}

static bool is_cq_mapped(const struct file *file, FILE *maps)
{
	char line[512];
	unsigned long long offset, inode;

	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%*s %*s %llx %*s %llu", &offset, &inode) == 2 &&
		    offset == IORING_OFF_CQ_RING && inode == file->inode)
			return true;
	}
	return false;
}

bool file_part_cq(struct file *file, pid_t pid)
{
	uint8_t *mapped = NULL;
	char path[32];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	if (!maps)
		return false;
	if (is_cq_mapped(file, maps))
		mapped = map(file, file->rings_size, IORING_OFF_CQ_RING);
	fclose(maps);
	if (mapped)
		file->cq = mapped;
	return mapped != NULL;
}

void file_give(struct file *file)
{
	if (file->given >= 0)
		close(file->given);
	file->given = -1;
}

void file_close(struct file *file)
{
	if (file->cq != file->rings)
		munmap(file->cq, file->rings_size);
	if (file->rings)
		munmap(file->rings, file->rings_size);
	if (file->sqes)
		munmap(file->sqes, file->sqes_size);
	file_give(file);
	if (file->fd >= 0)
		close(file->fd);
	*file = (struct file){.fd = -1, .given = -1};
}

uint64_t file_group_at(uint16_t group)
{
	return IORING_OFF_PBUF_RING + ((uint64_t)group << IORING_OFF_PBUF_SHIFT);
}

void *file_group(struct file *file, uint16_t group, uint64_t size)
{
	off_t at = (off_t)file_group_at(group);
	const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	/* What another one has left there. */
	if (size > GROUP_SIZE_MAX || fallocate(file->fd, hole, at, (off_t)up(size)))
		return NULL;
	return map(file, up(size), (uint64_t)at);
}

void file_unmap(void *region, uint64_t size)
{
	munmap(region, up(size));
}

void *file_region(struct file *file, uint64_t size, uint64_t *offset)
{
	uint64_t whole = up(size);
	void *region;

	if (size > REGIONS_END || file->next_region + whole > REGIONS_END)
		return NULL;
	region = map(file, whole, file->next_region);
	if (!region)
		return NULL;
	*offset = file->next_region;
	file->next_region += whole;
	return region;
}
