#!/bin/sh
# check.sh SERVER [OPTION...]: runs the server under `zcrx-emu exec` with these options, and its
# client. The exit code is that of `exec`: 99 if something was found.
set -eu
here=$(dirname "$0")
server=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/output"
zcrx-emu exec "$@" "$server" lo 0 2 >"$folder/output" &
exec 3<"$folder/output"
if read -r _ port <&3; then
	python3 "$here/client.py" "$port" 2
	cat <&3
fi
wait $!
