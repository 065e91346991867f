/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/zcrx_emu.h"
#include "numbers.h"

#define MESSAGE_MAX 2048

static void say(int to, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Texts are the library's and ours: without quotes and control characters. Nobody is there: it is lost. */
static void say(int to, const char *format, ...)
{
	char text[MESSAGE_MAX];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size > 0 && size < MESSAGE_MAX)
		(void)send(to, text, (size_t)size, MSG_NOSIGNAL);
}

void message_started(int to, pid_t pid)
{
	say(to, "{\"event\": \"started\", \"pid\": %d}", pid);
}

void message_refused(int to, const char *step, int error)
{
	say(to, "{\"event\": \"refused\", \"step\": \"%s\", \"error\": %d}", step, error);
}

void message_ended(int to, int status)
{
	say(to, "{\"event\": \"ended\", \"status\": %d}", status);
}

static const char *name_of(int nr)
{
	return nr == SYS_io_uring_setup	   ? "io_uring_setup" :
	       nr == SYS_io_uring_enter	   ? "io_uring_enter" :
	       nr == SYS_io_uring_register ? "io_uring_register" :
	       nr == SYS_exit_group	   ? "exit_group" :
					     "close";
}

void message_report(int to, const struct zcrx_emu_report *report, unsigned int ring, pid_t tid,
		    int nr)
{
	say(to,
	    "{\"event\": \"report\", \"kind\": \"%s\", \"ring\": %u, \"thread\": %d, "
	    "\"call\": \"%s\", \"zcrx_id\": %u, \"entry\": %u, \"niov\": %u, "
	    "\"completion\": %llu, \"flow\": %u, \"age_ms\": %u, \"text\": \"%s\", \"advice\": "
	    "\"%s\"}",
	    report->name, ring, tid, name_of(nr), report->zcrx_id, report->entry, report->niov,
	    (unsigned long long)report->completion, report->flow, report->age_ms, report->text,
	    report->advice);
}

void message_refusal(int to, unsigned int ring, pid_t tid, int error, const char *why)
{
	say(to,
	    "{\"event\": \"refusal\", \"ring\": %u, \"thread\": %d, \"error\": %d, \"why\": "
	    "\"%s\"}",
	    ring, tid, error, why);
}

/* What a user typed may have quotes in it. */
void message_wrong_plan(int to, const char *why)
{
	char text[MESSAGE_MAX / 2];
	size_t used = 0;

	for (; *why && used < sizeof(text) - 2; why++) {
		if (*why == '"' || *why == '\\')
			text[used++] = '\\';
		text[used++] = *why;
	}
	text[used] = 0;
	say(to, "{\"event\": \"refused\", \"step\": \"faults\", \"error\": 22, \"why\": \"%s\"}",
	    text);
}

void message_journal(int to, unsigned int ring, const char *piece)
{
	say(to, "{\"event\": \"journal\", \"ring\": %u, \"text\": \"%s\"}", ring, piece);
}

void message_sum(int to, const char *event, const char *name, unsigned long long count)
{
	say(to, "{\"event\": \"%s\", \"name\": \"%s\", \"count\": %llu}", event, name, count);
}
