#!/bin/sh
# probe.sh startup|live|ready|sentinel  — what Kubernetes asks about a pod. Says why when the answer is no.
set -eu
# shellcheck source=lib.sh
. "${0%/*}/lib.sh"

reply=$(own PING) || true
case "$1" in
  live)
    # Whoever answers lives, whatever it answers: a restart cures neither a load that takes long, nor a slow script, nor a wrong password.
    case "$reply" in
      PONG | LOADING* | MASTERDOWN* | BUSY* | NOAUTH* | NOPERM* | *WRONGPASS*) exit 0 ;;
    esac
    ;;
  startup | sentinel)
    [ "$reply" = PONG ] && exit 0
    ;;
  ready)
    if [ "$reply" = PONG ]; then
      info=$(own INFO replication)
      [ "$(echo "$info" | field role)" = master ] && exit 0
      if [ "$(echo "$info" | field master_sync_in_progress)" = 1 ]; then
        reply='a full sync is under way'
      elif [ "$(echo "$info" | field master_link_status)" = up ]; then
        exit 0
      else
        # During a failover replicas go on answering reads; one that has been cut off for longer does not.
        down=$(echo "$info" | field master_link_down_since_seconds)
        [ "${down:--1}" -ge 0 ] && [ "$down" -le "${MERIDIAN_STALE_SECONDS:-30}" ] && exit 0
        reply="cut off from the primary for ${down} s"
      fi
    fi
    ;;
esac
say "$1: ${reply:-no answer}"
exit 1
