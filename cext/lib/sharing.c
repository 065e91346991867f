/* SPDX-License-Identifier: MIT */
/*
 * The program's descriptor is one end of a pipe, of which we keep the other: so it may be
 * duplicated, inherited and passed on as any other, and when the last of it is closed,
 * wherever that is, our end says so. By its inode we know it again under any number.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sharing.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "events.h"
#include "nic.h"
#include "queue.h"

#define REFUSE(error, ...) zcrx_lib_refuse(emu, -(error), __VA_ARGS__)

/* ---- rings ---------------------------------------------------------------------------- */

static uint32_t id_of(const struct zcrx_emu *emu, const struct zcrx_lib_ifq *queue)
{
	uint32_t id = 0;

	while (id < emu->ifq_count && emu->ifqs[id] != queue)
		id++;
	return id;
}

static bool has_queue(const struct zcrx_emu *emu, const struct zcrx_lib_ifq *queue)
{
	return id_of(emu, queue) < emu->ifq_count;
}

/* What the checker finds there is told to this ring from now on. */
static void tell(struct zcrx_lib_ifq *queue, struct zcrx_emu *emu)
{
	queue->ledger.reports = &emu->reports;
	queue->ledger.zcrx_id = id_of(emu, queue);
}

static void put_queue(struct zcrx_emu_machine *machine, struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_ifq **link = &machine->queues;

	if (--queue->users)
		return;
	while (*link != queue)
		link = &(*link)->next;
	*link = queue->next;
	zcrx_lib_nic_stop(queue);
	zcrx_lib_queue_free(queue);
}

void zcrx_lib_attach(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	if (queue->users++ == 0) {
		queue->next = emu->machine->queues;
		emu->machine->queues = queue;
	}
	emu->ifqs[emu->ifq_count++] = queue;
	if (!queue->ledger.reports)
		tell(queue, emu);
}

static void detach(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	struct zcrx_emu *other = emu->machine->rings;

	if (queue->ledger.reports == &emu->reports) {
		queue->ledger.reports = NULL;
		while (other && (other == emu || !has_queue(other, queue)))
			other = other->next;
		if (other)
			tell(queue, other);
	}
	put_queue(emu->machine, queue);
}

void zcrx_lib_detach_all(struct zcrx_emu *emu)
{
	zcrx_lib_events_forget(emu);
	while (emu->ifq_count) {
		struct zcrx_lib_ifq *queue = emu->ifqs[--emu->ifq_count];

		detach(emu, queue);
	}
}

bool zcrx_lib_is_in_use_elsewhere(const struct zcrx_emu *emu, const struct zcrx_lib_ifq *queue)
{
	for (const struct zcrx_emu *other = emu->machine->rings; other; other = other->next) {
		if (other != emu && !other->is_finished && has_queue(other, queue))
			return true;
	}
	return false;
}

/* ---- descriptors ----------------------------------------------------------------------- */

/* `ends` are those of its pipe. The export, which has the one to watch; NULL: no memory. */
static struct zcrx_lib_export *export_of(struct zcrx_lib_ifq *queue, const int ends[2])
{
	struct zcrx_lib_export *export = calloc(1, sizeof(*export));
	struct stat status;

	if (!export || fstat(ends[0], &status)) {
		free(export);
		return NULL;
	}
	export->queue = queue;
	export->watch = ends[0];
	export->device = status.st_dev;
	export->inode = status.st_ino;
	return export;
}

/* The program has a descriptor and knows its number, or has none. 0 or -errno. */
static int hand_out(struct zcrx_emu *emu, int end, uint64_t address, struct zcrx_ctrl *ctrl)
{
	const struct zcrx_emu_memory *memory = &emu->memory;
	const struct zcrx_emu_descriptors *descriptors = &emu->descriptors;
	int fd;

	/* Of another process it may not be possible to take one back: so first we look. */
	if (memory->write(memory->context, address, ctrl, sizeof(*ctrl)))
		return REFUSE(EFAULT, "the struct cannot be written");
	fd = descriptors->install(descriptors->context, end);
	if (fd < 0)
		return REFUSE(-fd, "the program can have no descriptor more");
	memcpy(ctrl->payload, &fd, sizeof(fd));
	if (memory->write(memory->context, address, ctrl, sizeof(*ctrl)) == 0)
		return 0;
	if (descriptors->remove)
		descriptors->remove(descriptors->context, fd);
	return REFUSE(EFAULT, "the struct cannot be written");
}

int zcrx_lib_export(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, uint64_t address,
		    struct zcrx_ctrl *ctrl)
{
	struct zcrx_lib_export *export;
	int ends[2];
	int error;

	if (pipe2(ends, O_CLOEXEC))
		return REFUSE(errno, "no descriptor can be made");
	export = export_of(queue, ends);
	error = export ? hand_out(emu, ends[1], address, ctrl) :
			 REFUSE(ENOMEM, "no memory for an export");
	close(ends[1]);
	if (error) {
		close(ends[0]);
		free(export);
		return error;
	}
	queue->users++;
	export->next = emu->machine->exports;
	emu->machine->exports = export;
	return 0;
}

struct zcrx_lib_ifq *zcrx_lib_exported(struct zcrx_emu *emu, int fd)
{
	const struct zcrx_emu_descriptors *descriptors = &emu->descriptors;
	int here = descriptors->fetch(descriptors->context, fd);
	struct zcrx_lib_ifq *found = NULL;
	struct stat status;

	if (here < 0)
		return NULL;
	if (fstat(here, &status) == 0) {
		for (const struct zcrx_lib_export *export = emu->machine->exports; export;
		     export = export->next) {
			if (export->inode == status.st_ino && export->device == status.st_dev)
				found = export->queue;
		}
	}
	close(here);
	return found;
}

static bool is_closed(const struct zcrx_lib_export *export)
{
	struct pollfd watched = {.fd = export->watch};

	return poll(&watched, 1, 0) == 1 && watched.revents & POLLHUP;
}

static void drop_if(struct zcrx_emu_machine *machine,
		    bool (*is_due)(const struct zcrx_lib_export *export))
{
	struct zcrx_lib_export **link = &machine->exports;

	while (*link) {
		struct zcrx_lib_export *export = *link;

		if (!is_due(export)) {
			link = &export->next;
			continue;
		}
		*link = export->next;
		close(export->watch);
		put_queue(machine, export->queue);
		free(export);
	}
}

static bool is_any(const struct zcrx_lib_export *export)
{
	(void)export;
	return true;
}

void zcrx_lib_exports_reap(struct zcrx_emu_machine *machine)
{
	drop_if(machine, is_closed);
}

void zcrx_lib_exports_drop(struct zcrx_emu_machine *machine)
{
	drop_if(machine, is_any);
}

void zcrx_lib_exports_report(struct zcrx_emu *emu)
{
	struct zcrx_emu_report report = {.kind = ZCRX_EMU_EXPORT_OPEN};

	zcrx_lib_exports_reap(emu->machine);
	for (const struct zcrx_emu *ring = emu->machine->rings; ring; ring = ring->next) {
		if (!ring->is_finished)
			return;
	}
	for (const struct zcrx_lib_export *export = emu->machine->exports; export;
	     export = export->next)
		zcrx_lib_report(&emu->reports, &report,
				"a descriptor that stands for the queue of if_idx %u, if_rxq %u is "
				"still open: it keeps the queue and all of its buffers",
				export->queue->if_idx, export->queue->if_rxq);
}
