#!/bin/bash
# What mongo's entry point does, as far as tests need it; it makes no users, and says so rather than pretend.
set -euo pipefail
if [[ -n ${MONGO_INITDB_ROOT_USERNAME:-} ]]; then
    echo "this test image makes no users; leave MONGO_INITDB_ROOT_USERNAME out" >&2
    exit 64
fi
mkdir -p /data/db
if [[ ${1:-} == mongod && " $* " != *" --bind_ip"* ]]; then
    set -- "$@" --bind_ip_all
fi
exec "$@"
