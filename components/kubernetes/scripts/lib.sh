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

# agreed_primary  — prints `host port` on which more than half of all Sentinels agree; fails where there is no majority. During a
# failover they learn of it one after the other: until most know, there is no answer rather than the old one.
agreed_primary() {
  agreed_needed=$(($(echo "$MERIDIAN_SENTINELS" | wc -w) / 2 + 1))
  for agreed_at in $MERIDIAN_SENTINELS; do
    call "${agreed_at%:*}" "${agreed_at##*:}" SENTINEL get-master-addr-by-name "$MERIDIAN_PRIMARY_NAME" | paste -sd' ' -
  done | grep -E '^[^ ]+ [0-9]+$' | sort | uniq -c | awk -v needed="$agreed_needed" '
    $1 >= needed { print $2, $3; found = 1 }
    END { exit !found }'
}
