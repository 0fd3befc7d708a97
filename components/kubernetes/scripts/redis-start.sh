#!/bin/sh
# Starts Redis as what the Sentinels say that it is. A node never decides by itself: an old primary that comes back, or one that
# lost its disk, would otherwise take writes beside the new one, or empty its replicas.
set -eu
# shellcheck source=lib.sh
. "${0%/*}/lib.sh"
umask 077

has_data() {
  [ -n "$(find "$MERIDIAN_DATA" \( -name '*.aof' -o -name '*.rdb' \) -size +0 2>/dev/null | head -n 1)" ]
}

# Whether a replica that Sentinel may promote has ever replicated. (The agent hides from this list.)
has_replica() {
  for at in $MERIDIAN_SENTINELS; do
    call "${at%:*}" "${at##*:}" SENTINEL replicas "$MERIDIAN_PRIMARY_NAME" || true
  done | awk '
    last == "slave-priority" { priority = $1 }
    last == "slave-repl-offset" { if ($1 > 0 && priority > 0) found = 1 }
    { last = $1 }
    END { exit !found }'
}

me="$MERIDIAN_HOST $MERIDIAN_PORT"
primary=$me
if [ -n "${MERIDIAN_SENTINELS:-}" ]; then
  said=''
  while :; do
    why=''
    views=$(each_view)
    primary=$(echo "$views" | agreed_primary) || why='no majority of Sentinels answers yet'
    if [ -z "$why" ] && [ "$primary" = "$me" ]; then
      if echo "$views" | failover_under_way; then
        why='another node is being made the primary'
      elif ! has_data && has_replica; then
        why='the Sentinels call this node the primary, but it has no data and its replicas have: waiting for a failover'
      fi
    fi
    [ -z "$why" ] && break
    [ "$why" = "$said" ] || say "$why"
    said=$why
    sleep 1
  done
fi

conf="$MERIDIAN_RUN/redis.conf"
{
  echo "include $MERIDIAN_CONFIG/redis.conf"
  echo "masterauth \"$(cat "$MERIDIAN_NODE/password")\""
  if [ "${MERIDIAN_CLUSTER:-no}" = yes ]; then
    echo "cluster-announce-hostname $MERIDIAN_HOST"
    [ -z "${POD_IP:-}" ] || echo "cluster-announce-ip $POD_IP"
  else
    echo "replica-announce-ip $MERIDIAN_HOST"
    echo "replica-announce-port $MERIDIAN_PORT"
    [ "$primary" = "$me" ] || echo "replicaof $primary"
  fi
} >"$conf"

say "starting; the primary is $primary"
serve "${MERIDIAN_SERVER:-redis-server}" "$conf"
