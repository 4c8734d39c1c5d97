# shellcheck shell=bash
# Sourced by the scripts of this folder: every command goes through `run`, which only prints it where DRY_RUN is set.

run() {
  if [[ -n ${DRY_RUN:-} ]]; then
    local word line=+
    for word in "$@"; do
      if [[ $word =~ ^[A-Za-z0-9_./:=@%+,~-]+$ ]]; then line+=" $word"; else line+=" ${word@Q}"; fi
    done
    echo "$line"
  else
    "$@"
  fi
}

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

# The words of an array as one string that a shell on another machine splits into the same words.
quoted() { printf '%q ' "$@"; }
