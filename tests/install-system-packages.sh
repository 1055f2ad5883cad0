#!/usr/bin/env bash
# SLURM and Chromium for the scheduler and browser tests, where this machine lets us install them.
set -u
command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || { echo "not root on a Debian machine: using what is installed"; exit 0; }
missing=()
command -v sbatch >/dev/null || missing+=(slurm-wlm munge)
command -v chromium >/dev/null || missing+=(chromium)
[ ${#missing[@]} = 0 ] && exit 0
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
