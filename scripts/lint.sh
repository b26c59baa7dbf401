#!/bin/bash
# lint.sh - layout, static analysis, shell and Python syntax of every file git knows or would add
set -u
cd "$(dirname "$0")/.." || exit 1

failed=0
say() { printf 'lint: %s\n' "$*"; }
fail() {
	say "$* FAILED"
	failed=1
}
# Prints what git tracks or would add (without git: what is there), by pattern.
files() {
	local f args=()
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files -co --exclude-standard -- "$@"
	else
		for f in "$@"; do args+=(-o -path "./$f"); done
		find . -path './build*' -prune -o -type f \( -false "${args[@]}" \) -print
	fi | while read -r f; do
		if [ -f "$f" ]; then echo "$f"; fi
	done
}
have() {
	command -v "$1" >/dev/null && return 0
	say "$1 is not installed: skipped"
	return 1
}

mapfile -t c_files < <(files '*.c' '*.h')
mapfile -t shell_files < <(files '*.sh' .ci/run)
mapfile -t python_files < <(files '*.py')

if have clang-format; then
	say "clang-format, ${#c_files[@]} files"
	clang-format --dry-run -Werror "${c_files[@]}" || fail clang-format
fi
if have clang-tidy; then
	# Only what the build compiles has its flags known.
	mapfile -t units < <(/usr/bin/python3 -c '
import json, os
top = os.getcwd() + os.sep
for entry in json.load(open("build/compile_commands.json")):
    path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
    if path.startswith(top) and path.endswith(".c"):
        print(path[len(top):])' | sort -u)
	say "clang-tidy, ${#units[@]} files (a minute or two)"
	# One file for each process: version 14 forgets va_start() in the second file it reads.
	printf '%s\0' "${units[@]}" |
		xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p build 2>/dev/null || fail clang-tidy
fi
if have shellcheck; then
	say "shellcheck, ${#shell_files[@]} files"
	shellcheck "${shell_files[@]}" || fail shellcheck
fi
say "python syntax, ${#python_files[@]} files"
for f in "${python_files[@]}"; do
	/usr/bin/python3 -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' "$f" ||
		fail "$f"
done

[ $failed -eq 0 ] && say "clean"
exit $failed
