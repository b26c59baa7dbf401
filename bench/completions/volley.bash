# volley.bash - completion of the volley command; what there is, the command is asked for
_volley()
{
	local volley=${COMP_WORDS[0]} command=${COMP_WORDS[1]} cur=${COMP_WORDS[COMP_CWORD]}
	local before=${COMP_WORDS[COMP_CWORD - 1]} words=

	COMPREPLY=()
	# --format=csv comes as three words.
	if [[ $cur == '=' ]]; then
		cur=
	elif [[ $before == '=' ]]; then
		before=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	if ((COMP_CWORD == 1)) || [[ $command == help ]]; then
		words=$("$volley" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "$words --help --version" -- "$cur")
		return
	fi
	case $before in
	-j | --json | --python | --save-plot) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
	-e | --exec) mapfile -t COMPREPLY < <(compgen -c -- "$cur") && return ;;
	--format) words='text markdown csv' ;;
	--preset) words='smoke standard publish' ;;
	--by) words='auto cpu rate' ;;
	--nic | --load-nic) words='auto uring epoll' ;;
	--source) words='internal uring loop dpdk' ;;
	--work) words='echo sink record' ;;
	--gc) words='on off frozen' ;;
	--mode) words='inline thread process' ;;
	--arrivals) words='poisson constant' ;;
	--server-cpus | --load-cpus) words=none ;;
	esac
	if [[ ! $words && $cur == -* ]]; then
		words=$("$volley" "$command" --help 2>/dev/null | sed -n 's/^ *\(-., \)\{0,1\} *\(--[a-z][a-z-]*\).*/\2/p')
	elif [[ ! $words ]]; then
		case $command in
		pingpong | ab | serve) words=$("$volley" list 2>/dev/null | sed -n 's/^\([a-z][a-z0-9_]*\)  *available .*/\1/p') ;;
		keepup) words=$("$volley" keepup --help 2>/dev/null | tr '\n' ' ' | grep -o 'Consumers: [a-z_ ]*' | tr ' ' '\n' | grep '[a-z]$') ;;
		compare) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _volley volley
