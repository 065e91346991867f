/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "rights.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "briefly.h"
#include "descriptor.h"

/* How many descriptors; 0: something else. */
static unsigned int count_of(const struct cmsghdr *header)
{
	if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len < CMSG_LEN(0))
		return 0;
	return (unsigned int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

static int fetch_all(struct rights *rights, const struct task *task, struct cmsghdr *header)
{
	unsigned int count = count_of(header);

	if (count > RIGHTS_MAX - rights->count)
		return -EINVAL;
	for (unsigned int i = 0; i < count; i++) {
		uint8_t *place = CMSG_DATA(header) + i * sizeof(int);
		int fd;

		memcpy(&fd, place, sizeof(fd));
		fd = task_fetch(task, fd);
		if (fd < 0)
			return fd;
		rights->fds[rights->count++] = fd;
		memcpy(place, &fd, sizeof(fd));
	}
	return 0;
}

int rights_fetch(struct rights *rights, const struct task *task, struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int error = 0;

	rights->count = 0;
	while (!error && header) {
		/* Its length is the program's word: the data ends where they end. */
		const uint8_t *end = (uint8_t *)message->msg_control + message->msg_controllen;

		if (header->cmsg_len > (size_t)(end - (uint8_t *)header))
			return -EINVAL;
		error = task ? fetch_all(rights, task, header) : -EBADF;
		header = CMSG_NXTHDR(message, header);
	}
	return error;
}

void rights_drop(struct rights *rights)
{
	while (rights->count)
		briefly_close(rights->fds[--rights->count]);
}

/* As many as it has room for: the others are closed, as they are of a message that was cut. */
static void give_all(struct kernel *kernel, struct msghdr *message, struct cmsghdr *header,
		     int flags)
{
	unsigned int count = count_of(header), given = 0;

	for (unsigned int i = 0; i < count; i++) {
		uint8_t *place = CMSG_DATA(header) + i * sizeof(int);
		int fd;

		memcpy(&fd, place, sizeof(fd));
		fd = descriptor_give(kernel, fd, flags);
		if (fd < 0 || given < i) {
			message->msg_flags |= MSG_CTRUNC;
			continue;
		}
		memcpy(place, &fd, sizeof(fd));
		given++;
	}
	if (given < count)
		header->cmsg_len = CMSG_LEN(given * sizeof(int));
}

void rights_give(struct kernel *kernel, struct msghdr *message, int flags)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	while (header) {
		struct cmsghdr *next = CMSG_NXTHDR(message, header);

		give_all(kernel, message, header, flags);
		header = next;
	}
}
