# shellcheck shell=bash
# Shared by the host-side scripts: paths, progress lines, and an apt configuration of our own.
# Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
# shellcheck disable=SC2034 # Those who source this use it.
guest_dir=$target/guest

# Progress goes to stderr, so that it never mixes with a script's own answer.
say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Where apt gets bookworm from, as far as it has fetched its lists.
known_mirror() {
    # shellcheck disable=SC2016 # apt expands these itself.
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "bookworm" { print $2; exit }'
}

# The Debian mirror this machine already uses, so that no address is written down here.
debian_mirror() {
    local uri=${KUBEVITALS_DEBIAN_MIRROR:-}
    [[ -n $uri ]] || uri=$(known_mirror)
    if [[ -z $uri && $(id -u) == 0 ]]; then
        apt-get -qq update
        uri=$(known_mirror)
    fi
    [[ -n $uri ]] || die "no Debian 12 (bookworm) apt source found; set KUBEVITALS_DEBIAN_MIRROR"
    printf '%s\n' "$uri"
}

# private_apt_options <directory> <suite>...: apt with sources, lists and archives below a directory of ours.
# /etc/apt stays as it is: what is needed here of newer suites (kernels, a qemu that fits qemu-utils from
# backports, kubectl) must not leak into other installs. The installed-package database stays the machine's own,
# so `install` works as usual.
private_apt_options() {
    local apt=$1/apt mirror suite
    shift
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    apt_options=(
        -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/nonexistent
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache"
        # The download user may not enter a checkout below a home directory.
        -o APT::Sandbox::User=root
        -o Acquire::Retries=3 -o Acquire::Languages=none -o APT::Install-Recommends=false
    )
    mirror=$(debian_mirror)
    for suite in "$@"; do
        printf 'deb [signed-by=%s] %s %s main\n' "$keys" "$mirror" "$suite"
    done >"$apt/sources.list"
    apt-get "${apt_options[@]}" -qq update
}
