/* SPDX-License-Identifier: MIT */
/*
 * The memory of a ring, as a file: where the program's mmap() of its ring finds what it expects
 * at each offset, and the same pages are mapped here. Nobody can make it smaller.
 */
#ifndef EXEC_FILE_H
#define EXEC_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "uring.h"

struct file {
	int fd; /* our own description of it */
	int given; /* the one that the program gets, -1 once it has it: see lifetime.h */
	dev_t device; /* these two say which file it is, whatever its number is where it is used */
	ino_t inode;
	uint8_t *rings; /* the words and entries of both rings */
	uint8_t *cq; /* where those of the completion queue are: the same, or mapped apart */
	size_t rings_size;
	struct io_uring_sqe *sqes;
	size_t sqes_size;
	uint64_t next_region; /* offset of what is made next */
};

/* As `params` says (entries rounded, flags known); its offsets are filled in. 0 or -errno. */
int file_create(struct file *file, struct io_uring_params *params);
/* The program has its own: ours is closed. */
void file_give(struct file *file);
/*
 * A program that maps the completion queue apart, as it had to before Linux 5.4, looks for it at
 * another offset: other pages of the file. Has the process done so? Then it is there from now
 * on, and empty. False: it has not.
 */
bool file_part_cq(struct file *file, pid_t pid);
/* Not mapped here any more, and not open. */
void file_close(struct file *file);
/* A ring of buffers for the group, all zero, where the program's mmap() looks for it. NULL: no room. */
void *file_group(struct file *file, uint16_t group, uint64_t size);
uint64_t file_group_at(uint16_t group);
void file_unmap(void *region, uint64_t size);
/* A region of its own, all zero, and at which offset the program maps it. NULL: no room. */
void *file_region(struct file *file, uint64_t size, uint64_t *offset);

#endif /* EXEC_FILE_H */
