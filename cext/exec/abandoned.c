/* SPDX-License-Identifier: MIT */
#include "abandoned.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "space.h"

struct abandoned {
	struct abandoned *next;
	uint32_t flow;
	int number; /* in the program */
	dev_t device;
	ino_t inode;
};

static void tell(struct ring *ring, const struct abandoned *abandoned, int fd)
{
	int bytes = 0;

	if (ioctl(fd, SIOCINQ, &bytes) == 0)
		zcrx_emu_left(ring->emu, abandoned->flow, (uint64_t)bytes);
}

bool abandoned_note(const struct request *request)
{
	struct ring *ring = request->ring;
	struct abandoned *abandoned;
	struct stat status;

	if (fstat(request->watch.fd, &status))
		return false;
	abandoned = malloc(sizeof(*abandoned));
	if (!abandoned)
		return false;
	*abandoned = (struct abandoned){
		.next = ring->abandoned,
		.flow = request->flow,
		.number = request->sqe.fd,
		.device = status.st_dev,
		.inode = status.st_ino,
	};
	ring->abandoned = abandoned;
	tell(ring, abandoned, request->watch.fd);
	return true;
}

static bool is_same(const struct abandoned *abandoned, const struct stat *status)
{
	return abandoned->device == status->st_dev && abandoned->inode == status->st_ino;
}

static void forget(struct ring *ring, const struct request *request, const struct stat *status)
{
	struct abandoned **link = &ring->abandoned;

	while (*link) {
		struct abandoned *abandoned = *link;

		if (!is_same(abandoned, status) &&
		    !(ring == request->ring && abandoned->number == request->sqe.fd)) {
			link = &abandoned->next;
			continue;
		}
		zcrx_emu_close(ring->emu, abandoned->flow);
		*link = abandoned->next;
		free(abandoned);
	}
}

void abandoned_forget(const struct request *request)
{
	struct stat status;

	if (fstat(request->watch.fd, &status))
		return;
	for (struct ring *ring = request->ring->kernel->rings; ring; ring = ring->next)
		forget(ring, request, &status);
}

void abandoned_look(struct ring *ring)
{
	struct task *task = NULL;

	if (ring->abandoned)
		task = tasks_find(&ring->kernel->tasks, ring->space->pid);
	for (struct abandoned *one = ring->abandoned; task && one; one = one->next) {
		int fd = task_fetch(task, one->number);
		struct stat status;

		if (fd >= 0 && fstat(fd, &status) == 0 && is_same(one, &status))
			tell(ring, one, fd);
		else
			zcrx_emu_left(ring->emu, one->flow, 0);
		if (fd >= 0)
			close(fd);
	}
}

void abandoned_free(struct ring *ring)
{
	bool lives_on = !ring->is_finished && space_is_alive(ring->space);

	while (ring->abandoned) {
		struct abandoned *abandoned = ring->abandoned;

		ring->abandoned = abandoned->next;
		if (lives_on)
			zcrx_emu_close(ring->emu, abandoned->flow);
		free(abandoned);
	}
}
