#!/usr/bin/env bash
# Builds Mosquitto of the 2.1 line, which Debian's stable release does not have yet, so that the plugin is tested there:
#   deploy/mosquitto.sh    → build/mosquitto-2.1.2/mosquitto
# The source package comes from the Debian mirror that this machine's apt is configured with, through lists of its own, so
# that the system's stay as they are. What was fetched must have the sum below. Needs what `deploy/system.sh broker` gets.
set -euo pipefail

version=2.1.2
package=2.1.2-3
sum=a8e37cc4c1d4141e56c5a8729c5fa36b1f0b1ca95378a12131d68f0509de122a
folder=$PWD/build/mosquitto-$version

[ -x "$folder/mosquitto" ] && exit 0
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
if [ -z "$mirror" ]; then
  echo "apt on this machine knows no Debian mirror to take Mosquitto's source package from" >&2
  exit 1
fi

own=$folder/apt
mkdir -p "$own/lists/partial" "$own/cache/archives/partial" "$own/empty"
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$own/sources.list"
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$own/sources.list" -o "Dir::Etc::sourceparts=$own/empty"
  -o "Dir::State::lists=$own/lists" -o "Dir::Cache=$own/cache" -o "Acquire::Languages=none" -o "APT::Sandbox::User=")
log=$folder/build.log
{
  "${apt[@]}" update
  cd "$folder"
  "${apt[@]}" source --download-only "mosquitto=$package"
} >"$log" 2>&1 || {
  tail -n 20 "$log" >&2
  echo "the mirror's sid has no source package mosquitto $package: if it has a newer one, change package and sum in $0" >&2
  exit 1
}
source=$(ls "$folder"/mosquitto_"$version".orig.tar.*z)
echo "$sum  $source" | sha256sum --check --quiet -

mkdir -p "$folder/source" "$folder/made"
tar -xf "$source" -C "$folder/source" --strip-components=1
off=(-DWITH_DOCS=OFF -DWITH_APPS=OFF -DWITH_CLIENTS=OFF -DWITH_TESTS=OFF -DWITH_PLUGINS=OFF -DWITH_HTTP_API=OFF
  -DWITH_CTRL_SHELL=OFF -DWITH_LTO=OFF -DWITH_SYSTEMD=OFF)
if ! { cmake -S "$folder/source" -B "$folder/made" -DCMAKE_BUILD_TYPE=Release "${off[@]}" &&
  cmake --build "$folder/made" --target mosquitto --parallel 2; } >>"$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "Mosquitto $version did not build; the whole log is $log" >&2
  exit 1
fi
# Under its name last: a build that was interrupted is not taken for one that is done.
cp "$(find "$folder/made" -name mosquitto -type f -perm -u+x)" "$folder/mosquitto.new"
mv "$folder/mosquitto.new" "$folder/mosquitto"
