/* SPDX-License-Identifier: MIT */
#include "handle.h"

#include <stdlib.h>
#include <string.h>

#define KEPT 64U /* so many must be destroyed after one before its memory is used again */

static struct zcrx_lib_handle *take_oldest(struct zcrx_lib_handles *handles)
{
	struct zcrx_lib_handle *handle = NULL;

	pthread_mutex_lock(&handles->lock);
	if (handles->count > KEPT) {
		handle = handles->first;
		handles->first = handle->next;
		handles->count--;
	}
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

void *zcrx_lib_handle_make(struct zcrx_lib_handles *handles)
{
	struct zcrx_lib_handle *handle = take_oldest(handles);

	if (handle)
		memset(handle, 0, handles->size);
	else
		handle = calloc(1, handles->size);
	if (handle)
		shm_store_relaxed_u32(&handle->is_alive, 1, POINT_RUN_STATE);
	return handle;
}

void zcrx_lib_handle_end(struct zcrx_lib_handles *handles, struct zcrx_lib_handle *handle)
{
	shm_store_relaxed_u32(&handle->is_alive, 0, POINT_RUN_STATE);
	handle->next = NULL;
	pthread_mutex_lock(&handles->lock);
	if (handles->count++)
		handles->last->next = handle;
	else
		handles->first = handle;
	handles->last = handle;
	pthread_mutex_unlock(&handles->lock);
}
