#!/bin/bash -eu
# The same as for ClusterFuzzLite.
exec bash -eu "$SRC/zcrx-emu/.clusterfuzzlite/build.sh"
