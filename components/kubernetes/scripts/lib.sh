# shellcheck shell=sh
# What the other scripts share. Read by them, never run. No secret stands in the environment or on a command line: passwords are
# read from files where they are needed.
#
#   MERIDIAN_HOST, MERIDIAN_PORT    the address by which others reach this server
#   MERIDIAN_SENTINELS              `host:port host:port …`; empty where there are none
#   MERIDIAN_PRIMARY_NAME           the primary's name at its Sentinels
#   MERIDIAN_FIRST                  `host port` of the node that begins as the primary
#   MERIDIAN_TLS                    yes or no
#   MERIDIAN_CONFIG, _DATA, _RUN, _NODE, _TLS_DIR   directories: config, data, scratch, user and password, certificates

say() {
  echo "meridian: $*" >&2
}

# serve COMMAND …  — a server in the place of this script, to its end. The first process of a container stays in front of it: it takes in what probes
# leave behind (a busybox `timeout` does at every call), which a Redis that is the first one reaps only at the end of a BGSAVE, and one each 100 ms:
# after a day of probes a full sync would take an hour to be noticed.
serve() {
  [ $$ -eq 1 ] || exec "$@"
  "$@" &
  serve_pid=$!
  trap 'kill -TERM "$serve_pid"' TERM INT
  # A signal ends the wait, not yet the server.
  while
    serve_status=0
    wait "$serve_pid" || serve_status=$?
    kill -0 "$serve_pid" 2>/dev/null
  do :; done
  exit "$serve_status"
}

# call HOST PORT COMMAND …  — one command to a Redis or a Sentinel, at most three seconds.
call() {
  call_host=$1
  call_port=$2
  shift 2
  if [ "$MERIDIAN_TLS" = yes ]; then
    set -- --tls --cacert "$MERIDIAN_TLS_DIR/ca.crt" --cert "$MERIDIAN_TLS_DIR/tls.crt" --key "$MERIDIAN_TLS_DIR/tls.key" "$@"
  fi
  REDISCLI_AUTH="$(cat "$MERIDIAN_NODE/password")" timeout 3 redis-cli \
    --user "$(cat "$MERIDIAN_NODE/username")" --no-auth-warning -h "$call_host" -p "$call_port" "$@" 2>&1
}

# own COMMAND …  — to the server of this pod. By the loopback: it answers also where its name isn't known yet.
own() {
  call "${MERIDIAN_OWN:-127.0.0.1}" "$MERIDIAN_PORT" "$@"
}

# field NAME  — the value of one field of INFO, from stdin.
field() {
  sed -n "s/^$1:\([^[:cntrl:]]*\).*/\1/p"
}

# each_view  — what each Sentinel that answers says of the primary: `epoch host port flags`.
each_view() {
  for view_at in $MERIDIAN_SENTINELS; do
    call "${view_at%:*}" "${view_at##*:}" SENTINEL master "$MERIDIAN_PRIMARY_NAME" | awk '
      NR % 2 { key = $1; next }
      { value[key] = $1 }
      END { if ("config-epoch" in value) print value["config-epoch"], value["ip"], value["port"], value["flags"] }'
  done
}

# agreed_primary  — of the views on its stdin: prints `host port`; fails where no majority of the Sentinels answers. Among those that do the newest epoch is right, though it may
# still be the view of one: after a failover the others learn of it within seconds, and until then most name the old primary.
agreed_primary() {
  agreed_needed=$(($(echo "$MERIDIAN_SENTINELS" | wc -w) / 2 + 1))
  sort -n | awk -v needed="$agreed_needed" '
    NF { views++; primary = $2 " " $3 }
    END { if (views < needed) exit 1; print primary }'
}

# failover_under_way  — of the views on its stdin: whether a Sentinel is about to make another node the primary. They must be those that the primary was
# taken from: between two looks a failover may end, and then neither shows it.
failover_under_way() {
  grep -q failover_in_progress
}
