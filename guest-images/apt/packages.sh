# packages.sh, to be sourced: getting Debian packages without installing them and without
# privilege. apt checks the signatures as always.
#
# The system's package lists are used when they are there. When they lack a package, or are so old
# that the server no longer has the file, lists of our own are fetched into $DUPLEX_APT (a directory
# that is kept, so that the next call need not fetch them again). Progress goes to stdout as
# "step TEXT" lines, everything else to stderr.
# shellcheck shell=sh

own_lists=${DUPLEX_APT:-${XDG_CACHE_HOME:-$HOME/.cache}/duplex/apt}

die() {
    echo "$1" >&2
    exit 1
}

need_apt() {
    for tool in apt-get apt-cache dpkg-deb; do
        command -v "$tool" >/dev/null ||
            die "this host has no $tool: Debian's packages can only be had on a Debian"
    done
}

use_own_lists() {
    mkdir -p "$own_lists/lists/partial" "$own_lists/cache/archives/partial"
    cat >"$own_lists/apt.conf" <<END
Dir::State "$own_lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$own_lists/cache";
END
    export APT_CONFIG="$own_lists/apt.conf"
}

update_own_lists() {
    echo "step fetching Debian's package lists"
    use_own_lists
    # Root's apt would switch to a user who may not write to our directory, and apt takes a server that
    # cannot be reached for a warning.
    apt-get -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any -qq update >&2 ||
        die "Debian's package lists cannot be fetched (no network?)"
}

# record PACKAGE: its current record; empty when the lists in use do not have it.
record() {
    apt-cache show --no-all-versions "$1" 2>/dev/null || true
}

# with_lists COMMAND...: runs it until it succeeds: with the lists in use, then with lists of our own
# as they are, then with lists of our own fetched anew.
with_lists() {
    need_apt
    "$@" && return
    if [ "${APT_CONFIG-}" != "$own_lists/apt.conf" ] && [ -d "$own_lists/lists" ]; then
        use_own_lists
        "$@" && return
    fi
    update_own_lists
    "$@"
}

download() {
    rm -f ./*.deb
    apt-get -o APT::Sandbox::User=root -qq download "$1" >&2
}

# unpack_package PACKAGE DIR: downloads it and unpacks it into DIR. Name, version and digest are
# appended to the file $DUPLEX_INPUTS, if that is set.
unpack_package() {
    echo "step downloading $1"
    with_lists download "$1" || die "Debian's package $1 cannot be downloaded"
    if [ -n "${DUPLEX_INPUTS-}" ]; then
        record "$1" | grep -E '^(Package|Version|SHA256):' >>"$DUPLEX_INPUTS"
    fi
    echo "step unpacking $1"
    dpkg-deb -x ./*.deb "$2"
    rm -f ./*.deb
}
