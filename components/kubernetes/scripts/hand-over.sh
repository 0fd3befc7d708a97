#!/bin/sh
# Before a primary's pod ends (a new version, a drained node, scaling in): a replica that has every write takes over. Always ends
# well, for Kubernetes would stop the pod all the same.
set -u
# shellcheck source=lib.sh
. "${0%/*}/lib.sh"

[ -n "${MERIDIAN_SENTINELS:-}" ] || exit 0
[ "$(own ROLE | head -n 1)" = master ] || exit 0

# Up to here or not at all: writes wait, so that nothing is written which the replica will not have. Not for longer than it takes
# Sentinel to call this node down, as Sentinel's own PUBLISH waits too.
say 'handing over: writes are paused'
own CLIENT PAUSE 15000 WRITE >/dev/null
tries=0
while [ "$tries" -lt 20 ]; do
  # Every replica that is online has everything. (An agent in semi-sync may not say so for a while; hence the limit.)
  own INFO replication | tr -d '\r' | awk -F'[:,=]' '
    /^master_repl_offset:/ { end = $2 }
    /^slave[0-9]+:.*state=online/ { online++; for (i = 1; i < NF; i++) if ($i == "offset") have[online] = $(i + 1) }
    END { for (i = 1; i <= online; i++) if (have[i] < end) exit 1; exit online == 0 }' && break
  tries=$((tries + 1))
  sleep 0.1
done

me="$MERIDIAN_HOST $MERIDIAN_PORT"
for at in $MERIDIAN_SENTINELS; do
  case "$(call "${at%:*}" "${at##*:}" SENTINEL FAILOVER "$MERIDIAN_PRIMARY_NAME")" in
    OK | *INPROG*) break ;;
  esac
done
tries=0
while [ "$tries" -lt 50 ]; do
  now=$(each_view | agreed_primary) || now=''
  if [ -n "$now" ] && [ "$now" != "$me" ]; then
    # Writes stay paused: what a client wrote here now would be lost. The end of the process sends clients to the new primary.
    say "handed over to $now"
    exit 0
  fi
  tries=$((tries + 1))
  sleep 0.2
done
say 'no replica has taken over; this node stays the primary until it stops'
own CLIENT UNPAUSE >/dev/null
exit 0
