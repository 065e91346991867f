#!/bin/bash -eu
# Runs in the base-builder image of OSS-Fuzz, whose environment says how: see oss-fuzz/Makefile.
make -C "$SRC/zcrx-emu/oss-fuzz" -j"$(nproc)"
