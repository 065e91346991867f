/* SPDX-License-Identifier: MIT */
/* A library to open: the plain provider, or with one member of its table spoilt by a macro. */
#include "zcrx_provider.h"

#define zcrx_provider plain_operations
#include "plain_provider.c"
#undef zcrx_provider

#ifndef NO_TABLE
#ifndef ABI
#define ABI ZCRX_PROVIDER_ABI
#endif
#ifndef SIZE
#define SIZE sizeof(struct zcrx_provider_ops)
#endif
#ifndef INIT
#define INIT plain_init
#endif
#ifndef ALLOC
#define ALLOC plain_alloc_netmems
#endif
#ifndef RELEASE
#define RELEASE plain_release_netmem
#endif
#ifndef DESTROY
#define DESTROY plain_destroy
#endif
#ifndef SCRUB
#define SCRUB plain_scrub
#endif
#ifndef COPY
#define COPY plain_copy_buffer
#endif

const struct zcrx_provider_ops zcrx_provider = {
	.abi = ABI,
	.size = SIZE,
	.name = "library",
	.init = INIT,
	.alloc_netmems = ALLOC,
	.release_netmem = RELEASE,
	.destroy = DESTROY,
	.scrub = SCRUB,
	.copy_buffer = COPY,
};
#endif
