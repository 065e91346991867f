/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* Linux 6.6 */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

void notify_prepare(int listener)
{
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

bool notify_receive(int listener, struct call *call)
{
	struct seccomp_notif seen;

	memset(&seen, 0, sizeof(seen)); /* the kernel asks for it */
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &seen))
		return false;
	call->id = seen.id;
	call->tid = (pid_t)seen.pid;
	call->nr = seen.data.nr;
	for (int i = 0; i < 6; i++)
		call->args[i] = seen.data.args[i];
	return true;
}

bool notify_is_valid(int listener, const struct call *call)
{
	uint64_t id = call->id;

	return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

/* Whoever waited may have been killed meanwhile: then there is nobody to answer. */
static void send_response(int listener, struct seccomp_notif_resp *response)
{
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response);
}

void notify_answer(int listener, const struct call *call, int64_t result)
{
	struct seccomp_notif_resp response = {.id = call->id};

	if (result < 0)
		response.error = (int32_t)result;
	else
		response.val = result;
	send_response(listener, &response);
}

void notify_pass(int listener, const struct call *call)
{
	struct seccomp_notif_resp response = {
		.id = call->id,
		.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE,
	};

	send_response(listener, &response);
}

static int add(int listener, struct seccomp_notif_addfd *request)
{
	int number = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, request);

	return number < 0 ? -errno : number;
}

int notify_install(int listener, const struct call *call, int fd, int flags)
{
	struct seccomp_notif_addfd request = {
		.id = call->id,
		.srcfd = (uint32_t)fd,
		.newfd_flags = (uint32_t)flags,
	};

	return add(listener, &request);
}

int notify_replace(int listener, const struct call *call, int fd, int number, int flags)
{
	struct seccomp_notif_addfd request = {
		.id = call->id,
		.flags = SECCOMP_ADDFD_FLAG_SETFD,
		.srcfd = (uint32_t)fd,
		.newfd = (uint32_t)number,
		.newfd_flags = (uint32_t)flags,
	};

	return add(listener, &request);
}

int notify_answer_with(int listener, const struct call *call, int fd)
{
	struct seccomp_notif_addfd request = {
		.id = call->id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)fd,
		.newfd_flags = O_CLOEXEC,
	};

	return add(listener, &request);
}
