/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <errno.h>

#include "instance.h"
#include "sharing.h"

static struct zcrx_lib_handles machines = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.size = sizeof(struct zcrx_emu_machine),
};

static struct zcrx_emu_machine *machine_make(void)
{
	struct zcrx_emu_machine *machine = zcrx_lib_handle_make(&machines);
	pthread_mutexattr_t recursive;

	if (!machine)
		return NULL;
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&machine->lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	return machine;
}

static void machine_end(struct zcrx_emu_machine *machine)
{
	zcrx_lib_exports_drop(machine);
	pthread_mutex_destroy(&machine->lock);
	zcrx_lib_handle_end(&machines, &machine->handle);
}

int zcrx_emu_machine_create(struct zcrx_emu_machine **machine)
{
	*machine = machine_make();
	return *machine ? 0 : -ENOMEM;
}

int zcrx_emu_machine_destroy(struct zcrx_emu_machine *machine)
{
	bool has_rings;

	if (!machine)
		return 0;
	if (!zcrx_lib_handle_is_alive(&machine->handle))
		return -EBADF;
	pthread_mutex_lock(&machine->lock);
	has_rings = machine->rings != NULL;
	pthread_mutex_unlock(&machine->lock);
	if (has_rings)
		return -EBUSY;
	machine_end(machine);
	return 0;
}

int zcrx_lib_machine_join(struct zcrx_emu *emu)
{
	struct zcrx_emu_machine *machine = emu->options.machine;
	int error = 0;

	if (machine && !zcrx_lib_handle_is_alive(&machine->handle))
		return -EBADF;
	if (!machine) {
		machine = machine_make();
		if (!machine)
			return -ENOMEM;
		machine->is_private = true;
	}
	pthread_mutex_lock(&machine->lock);
	if (machine->rings && machine->level != emu->contract.level) {
		error = -EINVAL;
	} else {
		machine->level = emu->contract.level;
		emu->machine = machine;
		emu->next = machine->rings;
		machine->rings = emu;
	}
	pthread_mutex_unlock(&machine->lock);
	return error;
}

void zcrx_lib_machine_leave(struct zcrx_emu *emu)
{
	struct zcrx_emu_machine *machine = emu->machine;
	struct zcrx_emu **link = &machine->rings;

	pthread_mutex_lock(&machine->lock);
	while (*link != emu)
		link = &(*link)->next;
	*link = emu->next;
	pthread_mutex_unlock(&machine->lock);
	if (machine->is_private)
		machine_end(machine);
}
