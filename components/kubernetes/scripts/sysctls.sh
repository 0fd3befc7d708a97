#!/bin/sh
# Kernel settings for Redis, from a privileged init container where that is wanted. What the kernel doesn't let us set is said, and
# is no reason not to start.
set -u

put() {
  if ! echo "$2" >"$1" 2>/dev/null; then
    echo "meridian: $1 can't be set to $2" >&2
  fi
}

# Of the pod: connections that wait to be accepted, and TCP windows wide enough for a long fat link (16 MiB fill 1 Gbit/s at 130 ms).
put /proc/sys/net/core/somaxconn 4096
put /proc/sys/net/ipv4/tcp_rmem '4096 131072 16777216'
put /proc/sys/net/ipv4/tcp_wmem '4096 65536 16777216'
put /proc/sys/net/ipv4/tcp_congestion_control bbr
# Of the whole node: without overcommit a fork for a rewrite fails when half of the memory is used; huge pages make each fork's copies 2 MiB.
put /proc/sys/vm/overcommit_memory 1
put /proc/sys/net/core/rmem_max 16777216
put /proc/sys/net/core/wmem_max 16777216
put /sys/kernel/mm/transparent_hugepage/enabled never
exit 0
