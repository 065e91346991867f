// SPDX-License-Identifier: MIT
//! The kernel's structs and the library's functions, as their headers have them.
#![allow(
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case
)]
#![allow(clippy::all)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
