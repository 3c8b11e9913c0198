#!/bin/sh
# Print every 2 seconds what a gateway and an agent of this machine wait for (readers,
# delayed calls and threads together) and how busy the gateway is.  Both need
# debug.enabled.  Ctrl-C ends it.
#
#   monitor.sh [-i SECONDS] [-n ROUNDS] [-s GATEWAY_URL] [-c AGENT_URL] [-p PID]
#
# -p is the gateway's process; left out, the first `twistd gotunnel` of this machine.
set -u

interval=2 rounds=0 pid=
server=http://127.0.0.1:6060 client=http://127.0.0.1:6061
while getopts i:n:s:c:p: option; do
    case $option in
        i) interval=$OPTARG ;;
        n) rounds=$OPTARG ;;
        s) server=$OPTARG ;;
        c) client=$OPTARG ;;
        p) pid=$OPTARG ;;
        *) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
    esac
done

escape=$(printf '\033')
green="$escape[32m" yellow="$escape[33m" red="$escape[31m" plain="$escape[0m"

# coloured TEXT VALUE YELLOW_ABOVE RED_ABOVE
coloured() {
    if [ "$2" -gt "$4" ]; then colour=$red
    elif [ "$2" -gt "$3" ]; then colour=$yellow
    else colour=$green; fi
    printf '%s%s%s' "$colour" "$1" "$plain"
}

# waiting URL: the number that a debug site tells
waiting() {
    number=$(curl -s --noproxy '*' --max-time 2 "$1/debug/pprof/goroutine?debug=1" |
        sed -n '1s/^goroutine profile: total \([0-9][0-9]*\)$/\1/p')
    if [ -n "$number" ]; then coloured "$number" "$number" 15 20
    else printf '%s离线%s' "$red" "$plain"; fi
}

gateway_pid() {
    [ -n "$pid" ] && echo "$pid" && return
    pgrep -f 'twistd.* gotunnel( |$)' | head -n 1
}

# ticks PID: processor time used up to now, in hundredths of a second
ticks() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk -v hertz="$(getconf CLK_TCK)" \
        '{ printf "%d\n", ($12 + $13) * 100 / hertz }'
}

# busy: percent of one processor within the last interval
busy() {
    if [ -z "$after" ]; then printf '%s未运行%s' "$red" "$plain"; return; fi
    percent=$(awk -v used="$((after - ${before:-$after}))" -v seconds="$interval" \
        'BEGIN { printf "%.1f", used / seconds }')
    coloured "$percent%" "${percent%.*}" 10 50
}

round=0
while :; do
    found=$(gateway_pid) before='' after=''
    [ -n "$found" ] && before=$(ticks "$found")
    sleep "$interval"
    [ -n "$found" ] && after=$(ticks "$found")
    printf '%s  Server: %s  Client: %s  CPU: %s\n' "$(date +%H:%M:%S)" \
        "$(waiting "$server")" "$(waiting "$client")" "$(busy)"
    round=$((round + 1))
    [ "$round" = "$rounds" ] && exit 0
done
