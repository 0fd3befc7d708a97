#!/bin/sh
# Starts a Sentinel with the stack's settings and its own memory. What it remembers is kept on disk: one that forgets its vote
# could vote twice in one epoch, and so make two primaries.
set -eu
# shellcheck source=lib.sh
. "${0%/*}/lib.sh"
umask 077

conf="$MERIDIAN_DATA/sentinel.conf"
name=$MERIDIAN_PRIMARY_NAME
primary=''
memory=''

if [ -s "$conf" ]; then
  primary=$(sed -n "s/^sentinel monitor $name \([^ ]* [0-9]*\) .*/\1/p" "$conf" | head -n 1)
  memory=$(grep -E "^sentinel (myid|current-epoch|(config-epoch|leader-epoch|known-replica|known-sentinel) $name) " "$conf" || true)
fi
if [ -z "$primary" ]; then
  # New, or its disk was lost: the others may know a primary that is not the first node any more.
  memory=''
  primary=$(each_view | sort -n | awk '{ primary = $2 " " $3 } END { print primary }')
fi
[ -n "$primary" ] || primary=$MERIDIAN_FIRST

password=$(cat "$MERIDIAN_NODE/password")
{
  # Names, not addresses: a pod that moves has another address. They must stand before the first name.
  echo 'sentinel resolve-hostnames yes'
  echo 'sentinel announce-hostnames yes'
  echo "sentinel monitor $name $primary $MERIDIAN_QUORUM"
  cat "$MERIDIAN_CONFIG/sentinel.conf"
  echo "sentinel announce-ip $MERIDIAN_HOST"
  echo "sentinel announce-port $MERIDIAN_PORT"
  echo "sentinel auth-pass $name $password"
  echo "sentinel sentinel-pass $password"
  [ -z "$memory" ] || echo "$memory"
} >"$conf.new"
mv "$conf.new" "$conf"

say "watching $name at $primary"
serve "${MERIDIAN_SERVER:-redis-server}" "$conf" --sentinel
