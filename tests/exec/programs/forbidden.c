/* SPDX-License-Identifier: MIT */
/*
 * Loaded before the C library, it makes of this machine one whose io_uring is forbidden (the
 * sysctl of that name), for the gateway: what the gateway starts is answered by it anyway.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char *program_invocation_short_name;

static long do_call(long number, long one, long two, long three, long four, long five, long six)
{
	long result;
#ifdef __x86_64__
	register long r10 __asm__("r10") = four;
	register long r8 __asm__("r8") = five;
	register long r9 __asm__("r9") = six;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(one), "S"(two), "d"(three), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
#else
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = one;
	register long x1 __asm__("x1") = two;
	register long x2 __asm__("x2") = three;
	register long x3 __asm__("x3") = four;
	register long x4 __asm__("x4") = five;
	register long x5 __asm__("x5") = six;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	result = x0;
#endif
	return result;
}

long syscall(long number, ...)
{
	long arguments[6], result;
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	/* Without a struct it only asks whether anybody answers. */
	if (number == SYS_io_uring_setup && arguments[1] &&
	    strcmp(program_invocation_short_name, "zcrx-gateway") == 0)
		result = -EPERM;
	else
		result = do_call(number, arguments[0], arguments[1], arguments[2], arguments[3],
				 arguments[4], arguments[5]);
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}
