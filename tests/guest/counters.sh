# shellcheck shell=sh disable=SC2154 # $cpu, $memory and their versions come from beds.sh
# The kernel's own counters, read without our program. Sourced by dialog.sh.

# key <file> <key>: one value of a flat keyed file.
key() { awk -v key="$2" '$1 == key { print $2 }' "$1"; }

cpu_ns() {
    if [ "$cpu_version" = 1 ]; then
        cat "$cpu/$1/cpuacct.usage"
    else
        echo $(($(key "$cpu/$1/cpu.stat" usage_usec) * 1000))
    fi
}

# memory.stat before the usage, as the kubelet's reader does it.
memory_values() {
    if [ "$memory_version" = 1 ]; then
        echo "inactive_file=$(key "$memory/$1/memory.stat" total_inactive_file)" \
            "usage=$(cat "$memory/$1/memory.usage_in_bytes")"
    else
        echo "inactive_file=$(key "$memory/$1/memory.stat" inactive_file)" \
            "usage=$(cat "$memory/$1/memory.current")"
    fi
}

node_values() {
    if [ "$memory_version" = 1 ]; then
        memory_values .
    else
        # The root of a unified tree has no memory.current.
        awk '$1 == "anon" || $1 == "file" { usage += $2 } $1 == "inactive_file" { inactive = $2 }
            END { printf "inactive_file=%.0f usage=%.0f\n", inactive, usage }' "$memory/memory.stat"
    fi
}

# report: every pod, container and the node; one line each.
report() {
    echo "uptime $(cat /proc/uptime)"
    echo "node / $(node_values) cpu_ns=$(cpu_ns .)"
    while read -r kind path; do
        echo "$kind $path $(memory_values "$path") cpu_ns=$(cpu_ns "$path")"
    done </run/targets
    echo "uptime $(cat /proc/uptime)"
}
