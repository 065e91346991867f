#!/bin/bash -eu
# One target for each level: mine_6_18 plays Linux 6.18, and programs are made up for it.
make -C "$SRC/zcrx-emu/oss-fuzz" -j"$(nproc)" NAME=mine LEVELS=6.18 \
  PROVIDER="$SRC/mine/provider.c" PROVIDER_FLAGS="-I$SRC/mine"
