/* SPDX-License-Identifier: MIT */
/* What is said to whoever started us: a line of JSON each. */
#ifndef EXEC_MESSAGE_H
#define EXEC_MESSAGE_H

#include <sys/types.h>

struct zcrx_emu_report;

/* The program runs. */
void message_started(int to, pid_t pid);
/* It could not be started: at which step ("fork", "filter", "exec"), and errno. */
void message_refused(int to, const char *step, int error);
/* It has ended: its status as wait() gives it. */
void message_ended(int to, int status);
/* The checker found something, in a call of the thread (0: in none). */
void message_report(int to, const struct zcrx_emu_report *report, unsigned int ring, pid_t tid,
		    int nr);
/* A call was refused. */
void message_refusal(int to, unsigned int ring, pid_t tid, int error, const char *why);

/* The plan's text is wrong: the program is not started. */
void message_wrong_plan(int to, const char *why);
/* A piece of what the ring's plan did. */
void message_journal(int to, unsigned int ring, const char *piece);
/* How often in all: `event` is what became of it, "found" or "fired". */
void message_sum(int to, const char *event, const char *name, unsigned long long count);

#endif /* EXEC_MESSAGE_H */
