/* SPDX-License-Identifier: MIT */
#include "instance.h"

#include <stdarg.h>
#include <stdio.h>

int zcrx_lib_refuse(struct zcrx_emu *emu, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(emu->why, sizeof(emu->why), format, arguments);
	va_end(arguments);
	return error;
}
