#!/bin/bash
# deps.sh - installs the Debian packages that are missing: deps.sh [group...] (default: required optional)
set -u
cd "$(dirname "$0")/.." || exit 1

list=scripts/packages.txt
given_up=build-deps/unavailable # optional packages that failed once; `make clean` forgets them

say() { printf 'deps: %s\n' "$*"; }

names_of() { awk -v group="$1" '!/^#/ && $2 == group { print $1 }' "$list"; }

# Prints those of the given packages that are not installed.
missing_of() {
	[ $# -gt 0 ] || return 0
	local have
	have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
		awk '$2 == "installed" { print $1 }')
	comm -23 <(printf '%s\n' "$@" | sort -u) <(printf '%s\n' "$have" | sort -u)
}

# Sets `root` to the words that make the next command run as root; fails where that is impossible.
find_root() {
	root=()
	[ "$(id -u)" -eq 0 ] && return 0
	command -v sudo >/dev/null || return 1
	if sudo -n true 2>/dev/null; then
		root=(sudo -n)
	elif [ -t 0 ]; then
		root=(sudo)
	else
		return 1
	fi
}

apt() {
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

updated=0
install() { # packages; `install_error` says why it failed
	local log rc
	log=$(mktemp)
	if [ $updated -eq 0 ]; then
		say "apt-get update"
		apt update >"$log" 2>&1 || say "apt-get update failed: $(tail -n 1 "$log")"
		updated=1
	fi
	say "installing $*"
	apt install --no-install-recommends "$@" >"$log" 2>&1
	rc=$?
	install_error=
	[ $rc -eq 0 ] || install_error=$(grep '^E:' "$log" | head -n 1)
	rm -f "$log"
	return $rc
}

install_all() { # group, packages: all or nothing
	[ $# -gt 1 ] || return 0
	local group=$1
	shift
	if ! find_root; then
		say "missing $group packages, and neither root nor a usable sudo to install them;" \
			"as root: apt-get install $*"
		return 1
	fi
	install "$@" && return 0
	say "apt-get could not install the $group packages: $*: ${install_error:-no reason given}"
	return 1
}

install_each() { # packages: each may fail, with one line
	local name
	for name in "$@"; do
		if grep -qsx "$name" "$given_up"; then
			continue
		elif ! find_root; then
			say "optional package $name is missing (neither root nor a usable sudo)"
		elif ! install "$name"; then
			say "optional package $name is unavailable: ${install_error:-no reason given}"
			mkdir -p "${given_up%/*}" && printf '%s\n' "$name" >>"$given_up"
		fi
	done
}

main() {
	[ $# -gt 0 ] || set -- required optional
	local group wanted missing
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		mapfile -t wanted < <(names_of required)
		say "no apt on this system; needed are the equivalents of: ${wanted[*]}"
		return 0
	fi
	for group in "$@"; do
		mapfile -t wanted < <(names_of "$group")
		mapfile -t missing < <(missing_of "${wanted[@]}")
		[ ${#missing[@]} -gt 0 ] || continue
		if [ "$group" = optional ]; then
			install_each "${missing[@]}"
		else
			install_all "$group" "${missing[@]}" || return 1
		fi
	done
}

main "$@"
