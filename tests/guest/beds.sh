# shellcheck shell=sh disable=SC2034 # what is set here is read by dialog.sh and counters.sh
# The five beds: how cgroups are mounted, and what the drivers call their directories. Sourced by dialog.sh.
#
# After `bed_mount`: $hierarchies lists every mount a container has a directory in; $cpu and $memory are the
# ones its counters are read from, and $cpu_version and $memory_version say in which format.

cgroups=/sys/fs/cgroup

# mount_v1 <controllers>: one version 1 hierarchy at its usual place.
mount_v1() {
    mkdir -p "$cgroups/$1"
    mount -t cgroup -o "$1" cgroup "$cgroups/$1" || return 1
    hierarchies="$hierarchies $cgroups/$1"
}

# mount_v1_cpu: cpu and cpuacct share one mount and each has a symlink, as distributions do it.
mount_v1_cpu() {
    mount_v1 cpu,cpuacct
    ln -s cpu,cpuacct "$cgroups/cpu"
    ln -s cpu,cpuacct "$cgroups/cpuacct"
    cpu="$cgroups/cpu,cpuacct" cpu_version=1
}

mount_unified() {
    mkdir -p "$1"
    mount -t cgroup2 cgroup2 "$1" || return 1
    hierarchies="$hierarchies $1"
}

bed_mount() {
    hierarchies=
    driver=cgroupfs
    # crun puts the processes one level below the container.
    nested=
    case $BED in
    v2)
        mount_unified $cgroups
        cpu=$cgroups cpu_version=2 memory=$cgroups memory_version=2 nested=/container
        ;;
    v1)
        driver=systemd
        mount -t tmpfs cgroups $cgroups
        mount_v1_cpu
        for controller in memory pids blkio; do mount_v1 $controller; done
        memory=$cgroups/memory memory_version=1
        ;;
    hybrid)
        nested=/container
        mount -t tmpfs cgroups $cgroups
        mount_v1_cpu
        for controller in memory pids blkio; do mount_v1 $controller; done
        mount_unified $cgroups/unified
        memory=$cgroups/memory memory_version=1
        ;;
    mixed)
        # A 6.12 kernel without CONFIG_MEMCG_V1: memory exists in the unified tree only.
        driver=systemd
        mount -t tmpfs cgroups $cgroups
        mount_v1_cpu
        mount_v1 pids
        mount_unified $cgroups/unified
        memory=$cgroups/unified memory_version=2
        ;;
    systemd)
        # systemd has mounted everything and names everything itself.
        driver=systemd
        cpu=$cgroups cpu_version=2 memory=$cgroups memory_version=2
        ;;
    esac
}

# enable_controllers <directory>: passes the controllers of a unified directory on to its children.
enable_controllers() {
    [ -e "$1/cgroup.subtree_control" ] || return 0
    for controller in cpu memory io pids; do
        if grep -qw $controller "$1/cgroup.controllers"; then
            echo +$controller >"$1/cgroup.subtree_control"
        fi
    done
}

# make_cgroup <path>: the directory in every hierarchy, with the controllers enabled level by level.
make_cgroup() {
    for hierarchy in $hierarchies; do
        directory=$hierarchy
        for level in $(echo "$1" | tr / ' '); do
            enable_controllers "$directory"
            directory=$directory/$level
            mkdir -p "$directory"
        done
    done
}

underscores() { echo "$1" | tr - _; }

# pod_path <driver> <qos> <uid>: where the kubelet puts a pod. Guaranteed pods have no level of their own.
pod_path() {
    case $1:$2 in
    cgroupfs:guaranteed) echo "kubepods/pod$3" ;;
    cgroupfs:*) echo "kubepods/$2/pod$3" ;;
    systemd:guaranteed) echo "kubepods.slice/kubepods-pod$(underscores "$3").slice" ;;
    systemd:*) echo "kubepods.slice/kubepods-$2.slice/kubepods-$2-pod$(underscores "$3").slice" ;;
    esac
}

# container_name <container id>: what containerd calls its directory under the bed's driver.
container_name() {
    case $driver in
    cgroupfs) echo "$1" ;;
    systemd) echo "cri-containerd-$1.scope" ;;
    esac
}

# start <pod path> <container id> <nested> <command...>: runs a command inside a container's cgroup.
start() {
    pod=$1 id=$2 inner=$3
    shift 3
    if [ "$BED" = systemd ]; then
        systemd-run --quiet --collect --scope --slice="${pod##*/}" --unit="$(container_name "$id")" "$@" \
            </dev/null &
        return
    fi
    container=$pod/$(container_name "$id")$inner
    make_cgroup "$container"
    (
        # 0 stands for the writer; $$ would name the parent shell.
        for hierarchy in $hierarchies; do echo 0 >"$hierarchy/$container/cgroup.procs"; done
        exec "$@" </dev/null
    ) &
}
