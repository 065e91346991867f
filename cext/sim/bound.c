/* SPDX-License-Identifier: MIT */
/*
 * Where the data of somebody else's provider begin and end. This file is compiled
 * twice, and linked before and behind the provider's object: linkers keep the order
 * of files within .data, .bss and their thread-local counterparts, so that what
 * lies between is the provider's own, statics of its functions included.
 */
#include "state.h"

#ifdef SIM_BOUND_LAST
struct sim_bound sim_last_data = {{1}};
struct sim_bound sim_last_bss;
_Thread_local struct sim_bound sim_last_tdata = {{1}};
_Thread_local struct sim_bound sim_last_tbss;
#else
struct sim_bound sim_first_data = {{1}};
struct sim_bound sim_first_bss;
_Thread_local struct sim_bound sim_first_tdata = {{1}};
_Thread_local struct sim_bound sim_first_tbss;
#endif
